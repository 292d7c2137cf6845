#!/usr/bin/env bash
# Puts a built binary together with what it needs beside it.
#
#   scripts/package.sh install BINARY PREFIX   bin/tailwater, stripped, lib/tailwater with libtorch's libraries, where the binary
#                                              looks for them, and their licences
#   scripts/package.sh tarball BINARY DIR      tailwater-VERSION-linux-ARCH.tar.gz and its .sha256 in DIR: that, completions, manual pages, texts, examples
#   scripts/package.sh test BINARY             makes a tarball, unpacks it elsewhere and runs it from there
#
# libc, libstdc++, OpenSSL and zlib are the system's: a tarball runs on systems that are as new as the one it was built on.
set -euo pipefail
shopt -s inherit_errexit # a failure within $(…) is one, too
cd "$(dirname "$0")/.."

die() {
  echo "package.sh: $*" >&2
  exit 1
}

install_to() {
  local binary=$1 prefix=$2 linked library path licences found=0
  mkdir -p "$prefix/bin" "$prefix/lib/tailwater"
  strip -o "$prefix/bin/tailwater" "$binary"
  chmod 755 "$prefix/bin/tailwater"
  linked=$(ldd "$binary") || die "ldd can't read $binary"
  while read -r library _ path _; do
    case "$path" in
      /lib/* | /usr/lib/* | "") ;;                                 # the system's, or the loader, which has no arrow
      found) die "$library is not found: scripts/libtorch.sh" ;; # "not found"
      /*)
        install -m 644 "$path" "$prefix/lib/tailwater/$library"
        licences="$(dirname "$path")/../licenses"
        found=$((found + 1))
        ;;
    esac
  done < <(sed 's/not found/found/' <<<"$linked")
  [ "$found" -gt 0 ] || die "$binary needs no library of libtorch: it is not tailwater as scripts/binary.sh builds it"
  mkdir -p "$prefix/share/doc/tailwater"
  install -m 644 LICENSE "$prefix/share/doc/tailwater/"
  if [ -d "$licences" ]; then
    cp -r "$licences" "$prefix/share/doc/tailwater/"
  else
    echo "package.sh: libtorch's folder has no licenses: before you hand this on, remove that folder and run scripts/libtorch.sh" >&2
  fi
}

tarball() {
  local binary=$1 out=$2 version name work
  version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
  [ "$("$binary" --version)" = "tailwater $version" ] || die "$binary is not tailwater $version"
  case "$(uname -m)" in
    x86_64) name="tailwater-$version-linux-amd64" ;;
    aarch64) name="tailwater-$version-linux-arm64" ;;
    *) die "there are no releases for $(uname -m)" ;;
  esac
  work=$(mktemp -d)
  local root="$work/$name" share="$work/$name/share"
  install_to "$binary" "$root"
  mkdir -p "$share/bash-completion/completions" "$share/zsh/site-functions" "$share/fish/vendor_completions.d" "$share/man/man1"
  "$binary" completions bash >"$share/bash-completion/completions/tailwater"
  "$binary" completions zsh >"$share/zsh/site-functions/_tailwater"
  "$binary" completions fish >"$share/fish/vendor_completions.d/tailwater.fish"
  "$binary" man "$share/man/man1"
  cp LICENSE README.md CHANGELOG.md "$root/"
  mkdir "$root/examples"
  cp examples/*.toml "$root/examples/"
  mkdir -p "$out"
  # Owners and order that don't depend on who builds it.
  tar --create --sort=name --owner=0 --group=0 --numeric-owner --directory "$work" "$name" | gzip -n >"$out/$name.tar.gz"
  (cd "$out" && sha256sum "$name.tar.gz" >"$name.tar.gz.sha256")
  rm -rf "$work"
  echo "$out/$name.tar.gz"
}

test_tarball() {
  local binary=$1 work archive libraries
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT
  echo "-- tarball"
  archive=$(tarball "$binary" "$work/out")
  (cd "$work/out" && sha256sum --quiet --check ./*.sha256)
  mkdir "$work/elsewhere"
  tar --extract --gzip --file "$archive" --directory "$work/elsewhere" --strip-components 1
  cd "$work/elsewhere"
  for file in LICENSE README.md CHANGELOG.md examples/flights.toml share/bash-completion/completions/tailwater share/zsh/site-functions/_tailwater \
    share/fish/vendor_completions.d/tailwater.fish share/man/man1/{tailwater,tailwater-run}.1; do
    [ -s "$file" ] || die "the tarball lacks $file"
  done
  env -u LD_LIBRARY_PATH bin/tailwater --version
  env -u LD_LIBRARY_PATH bin/tailwater check --offline -c examples/flights.toml >/dev/null
  # Nothing of libtorch may come from where it was built with: users have none there.
  libraries=$(env -u LD_LIBRARY_PATH ldd bin/tailwater)
  ! grep -E '=> ' <<<"$libraries" | grep -vE "=> (/lib/|/usr/lib/|$work/elsewhere/)" || die "these libraries come from elsewhere (see above)"
  echo "-- tarball: ok, $(du --apparent-size -m "$archive" | cut -f 1) MB"
}

case "${1:-} $#" in
  "install 3") install_to "$2" "$3" ;;
  "tarball 3") tarball "$2" "$3" ;;
  "test 2") test_tarball "$2" ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
