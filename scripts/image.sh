#!/usr/bin/env bash
# The root of the image, and a test of it that needs no Docker.
#
#   scripts/image.sh root BINARY DIR   put the root together in DIR, which is made
#   scripts/image.sh test BINARY       put one together and run tailwater in it as Kubernetes would: the root read-only, an own /tmp and
#                                      /proc, user 65532 without capabilities
#
# The test needs root or user namespaces. Where there is neither it is not run, and that is said; with CI=true it is a failure.
set -euo pipefail
shopt -s inherit_errexit # a failure within $(…) is one, too
cd "$(dirname "$0")/.."

die() {
  echo "image.sh: $*" >&2
  exit 1
}

make_root() {
  local binary=$1 root=$2 library path bundle=/etc/ssl/certs/ca-certificates.crt
  [ ! -e "$root" ] || die "$root is there already"
  command -v openssl >/dev/null || die "there is no openssl to ask where it looks for certificates: apt-get install openssl"
  [ -s "$bundle" ] || die "there are no certificates of authorities: apt-get install ca-certificates"
  mkdir -p "$root"/{etc/tailwater,etc/ssl/certs,proc,run,tmp,var/lib/tailwater}
  chmod 1777 "$root/tmp"
  for link in lib lib64; do # where /lib is a link to usr/lib
    [ ! -L "/$link" ] || ln -s "$(readlink "/$link")" "$root/$link"
  done

  scripts/package.sh install "$binary" "$root/usr"
  # The system's libraries and the loader, each where it is here.
  while read -r library; do
    path="$root$(realpath "$(dirname "$library")")"
    mkdir -p "$path"
    install -m 755 "$library" "$path/"
  done < <(ldd "$binary" | grep -oE '(^|[[:space:]])/(usr/)?lib[^ ]+' | tr -d '[:blank:]' | sort -u)

  # Where OpenSSL looks for certificates unless told otherwise: librdkafka asks it, for brokers and for OIDC.
  install -m 644 "$bundle" "$root$bundle"
  local openssl
  openssl=$(openssl version -d | sed 's/.*"\(.*\)"/\1/')
  mkdir -p "$root$openssl"
  ln -s "$bundle" "$root$openssl/cert.pem"

  echo 'nonroot:x:65532:65532::/:/usr/sbin/nologin' >"$root/etc/passwd"
  echo 'nonroot:x:65532:' >"$root/etc/group"
  echo 'hosts: files dns' >"$root/etc/nsswitch.conf" # libc alone would ask DNS for localhost
}

# Whether namespaces can be had: as root, or as a user who becomes one.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    unshare --mount --pid --fork "$@"
  else
    unshare --user --map-root-user --mount --pid --fork "$@"
  fi
}

test_image() {
  local binary=$1 scratch image
  [ -x "$binary" ] || die "there is no binary $binary: scripts/binary.sh builds it"
  if ! as_root true 2>/dev/null; then
    [ "${CI:-}" != true ] || die "the image can't be tested: it takes root or user namespaces"
    echo "NOT RUN, since there is neither root nor a user namespace: the test of the image" >&2
    return
  fi
  scratch=$(mktemp -d)
  trap "rm -rf '$scratch'" EXIT
  chmod 755 "$scratch"
  image=$scratch/image
  echo "-- image: the root"
  make_root "$binary" "$image"
  as_root scripts/image.sh inside "$image" "$(id -u)" "$scratch"
  echo "-- image: ok, $(du --apparent-size -sm "$image" | cut -f 1) MB, of them libtorch $(du --apparent-size -sm "$image/usr/lib/tailwater" | cut -f 1) MB"
}

# Runs a command in the root, as the image's user and without the environment of here: SSL_CERT_FILE would hide that none is found.
run() {
  if [ "$outer" = 0 ]; then
    timeout 300 env --ignore-environment PATH="$PATH" setpriv --no-new-privs chroot --userspec=65532:65532 --groups= "$root" "$@"
  else
    timeout 300 env --ignore-environment PATH="$PATH" unshare --user --map-user=65532 --map-group=65532 --root="$root" --wd=/ "$@"
  fi
}

# In namespaces of its own, which take the mounts with them when they go.
inside() {
  root=$1 outer=$2
  local work=$3
  mount --make-rprivate /
  mount --bind "$root" "$root"
  mount --options remount,bind,ro "$root"
  mount --types tmpfs --options mode=1777,size=64m tmpfs "$root/tmp"
  mount --types proc proc "$root/proc"
  mount --bind examples "$root/etc/tailwater" # as a ConfigMap would be
  mkdir "$root/tmp/data"
  mount --bind data "$root/tmp/data"

  echo "-- image: it has no shell, and its root can't be written to"
  [ ! -e "$root/bin/sh" ] && [ ! -e "$root/usr/bin/sh" ] || die "there is a shell in the image"
  [ "$(ls "$root/usr/bin")" = tailwater ] || die "there is more than tailwater in the image's /usr/bin"
  ! touch "$root/etc/x" 2>/dev/null || die "the root is not read-only: the test is wrong"
  echo "-- image: --version"
  run /usr/bin/tailwater --version
  echo "-- image: check --offline"
  run /usr/bin/tailwater check --offline --config /etc/tailwater/flights.toml >/dev/null
  echo "-- image: demo"
  run /usr/bin/tailwater demo --flights 20000 --set admin.listen=127.0.0.1:0 >"$work/demo" 2>&1 || { cat "$work/demo" >&2; die "the demo failed (see above)"; }
  grep -q '^20,000 flights scored' "$work/demo" || { cat "$work/demo" >&2; die "the demo has no summary (see above)"; }
  echo "-- image: replay of ten days, with a report"
  run /usr/bin/tailwater replay --config /etc/tailwater/flights.toml --input /tmp/data/flights-2013.csv.zst --to 2013-01-11T00:00:00Z --out /tmp/replay >/dev/null
  [ -s "$root/tmp/replay/report.html" ] || die "the replay left no report"
  if [ "$outer" = 0 ]; then
    [ "$(stat -c %u "$root/tmp/replay/report.html")" = 65532 ] || die "tailwater did not run as user 65532"
  fi
  trusts "$work"

  echo "-- image: what is missing is not taken from elsewhere"
  mount --bind /dev/null "$root/usr/lib/tailwater/libc10.so"
  ! run /usr/bin/tailwater --version >/dev/null 2>&1 || die "tailwater runs without libc10.so: it came from outside the image"
}

# Whether librdkafka finds the image's certificates: it has to go through with a server whose authority is among them, and with no other.
trusts() {
  local work=$1 bundle="$root/etc/ssl/certs/ca-certificates.crt" said
  echo "-- image: TLS with the certificates of the image"
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=broker -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
  said=$(handshake "$work")
  [ "$said" = refused ] || die "a server that nobody vouches for was $said"
  mount --bind "$work/cert.pem" "$bundle"
  said=$(handshake "$work")
  [ "$said" = trusted ] || die "a server whose authority is among the image's certificates was $said"
}

# Prints whether tailwater goes through with a TLS handshake: "trusted" or "refused".
handshake() {
  local work=$1 server port
  rm -f "$work/port"
  python3 - "$work" >"$work/handshake" <<'PY' &
import socket, ssl, sys

work = sys.argv[1]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{work}/cert.pem", f"{work}/key.pem")
with socket.create_server(("127.0.0.1", 0)) as listener:
    listener.settimeout(60)
    with open(f"{work}/port.new", "w") as file:
        file.write(str(listener.getsockname()[1]))
    import os
    os.rename(f"{work}/port.new", f"{work}/port")
    connection, _ = listener.accept()
    connection.settimeout(10)
    try:
        context.wrap_socket(connection, server_side=True).recv(1)
        print("trusted")
    except (ssl.SSLError, ConnectionError):
        print("refused")
PY
  server=$!
  for _ in $(seq 100); do
    [ ! -s "$work/port" ] || break
    sleep 0.1
  done
  port=$(cat "$work/port")
  run /usr/bin/tailwater check --config /etc/tailwater/flights.toml --set "kafka.brokers=127.0.0.1:$port" \
    --set 'kafka.properties={"security.protocol" = "SSL"}' >/dev/null 2>&1 &
  local client=$!
  wait "$server" || true
  kill "$client" 2>/dev/null || true
  wait "$client" 2>/dev/null || true
  cat "$work/handshake"
}

case "${1:-} $#" in
  "root 3") make_root "$2" "$3" ;;
  "test 2") test_image "$2" ;;
  "inside 4") inside "$2" "$3" "$4" ;;
  *)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
