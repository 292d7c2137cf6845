#!/usr/bin/env bash
# Apache Kafka for the tests: fetched once through Maven, started for one command and thrown away.
#
#   scripts/kafka.sh fetch              print the folder of Kafka's jars, fetching them if need be
#   scripts/kafka.sh with COMMAND…      run COMMAND with KAFKA_BROKERS pointing at a fresh broker
#
# `with` starts nothing when KAFKA_BROKERS is set already. COMMAND also gets TAILWATER_KAFKA_LIBS, the jars'
# folder, for brokers of its own, and TAILWATER_KAFKA_PID, the process of the broker that was started. Its exit code is passed
# on; the broker and its data go in every case.
set -euo pipefail

version=4.2.0
java_min=17
cache="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater"
libs="$cache/kafka-$version"
[ -z "${JAVA_HOME:-}" ] || PATH="$JAVA_HOME/bin:$PATH" # for COMMAND too, which may run Kafka's tools

die() {
  echo "kafka.sh: $*" >&2
  exit 1
}

require_java() {
  local remedy="Apache Kafka $version needs Java $java_min or newer: apt-get install default-jre-headless, or set JAVA_HOME"
  command -v java >/dev/null || die "there is no java; $remedy"
  local text major
  text=$(java -version 2>&1) || die "$(command -v java) does not run; $remedy"
  # `openjdk version "17.0.15"`; before Java 9 it read "1.8.0_392", and an early build reads "25-ea".
  major=$(sed -nE 's/.* version "(1\.)?([0-9]+).*/\2/p' <<<"$text" | head -n 1)
  [ "${major:-0}" -ge "$java_min" ] || die "$(command -v java) is Java ${major:-of an unknown version}; $remedy"
}

fetch() {
  [ -d "$libs" ] && return
  require_java
  command -v mvn >/dev/null || die "there is no mvn to fetch Kafka with: apt-get install maven, or set KAFKA_BROKERS"
  mkdir -p "$cache"
  exec 9>"$cache/kafka.lock"
  flock 9 # of two started together the second waits, then finds the folder
  if [ ! -d "$libs" ]; then
    local work
    work=$(mktemp -d "$cache/kafka.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    echo "fetching Apache Kafka $version (43 MB, once) …" >&2
    cat >"$work/pom.xml" <<XML
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>tailwater</groupId>
  <artifactId>kafka-for-tests</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$version</version>
    </dependency>
    <dependency> <!-- without a logger a broker that fails would say nothing -->
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
XML
    mvn --quiet --batch-mode -Dstyle.color=never --file "$work/pom.xml" dependency:copy-dependencies \
      -DincludeScope=runtime -DoutputDirectory="$work/libs" >&2 </dev/null ||
      die "Maven could not fetch Kafka $version (its message stands above): check the network and ~/.m2/settings.xml"
    mv "$work/libs" "$libs"
    rm -rf "$work"
    trap - EXIT
  fi
  exec 9>&- # the broker must not inherit the lock
}

# Two ports that nobody listens on, for the broker and its controller.
free_ports() {
  python3 -c '
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
print(*(s.getsockname()[1] for s in sockets))'
}

# Whether the broker on port $1 answers a request (ApiVersions), which it does only once it serves all of them.
answers() {
  python3 - "$1" 2>/dev/null <<'PY'
import socket, struct, sys

request = struct.pack(">hhih", 18, 0, 1, -1)  # key, version, correlation id, no client id
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2) as s:
    s.sendall(struct.pack(">i", len(request)) + request)
    sys.exit(len(s.recv(4)) != 4)
PY
}

# Starts a broker in the folder $1 and waits for it; sets `broker` (its pid) and `port`. Fails if it ends first.
start() {
  local home=$1 controller deadline
  read -r port controller < <(free_ports)
  rm -rf "$home/data"
  cat >"$home/server.properties" <<CONF
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:$controller
log.dirs=$home/data
# One broker: nothing is replicated, and few partitions make a quick start.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=2
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=2
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
# A missing topic is an error to report, never one made in passing.
auto.create.topics.enable=false
num.partitions=1
log.retention.hours=-1
# So that a test can deny a right on its own topic, while everything else is allowed to everybody.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
CONF
  java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -XX:TieredStopAtLevel=1 -cp "$libs/*" kafka.tools.StorageTool format \
    -t AAAAAAAAQACAAAAAAAAAAQ -c "$home/server.properties" >"$home/format.log" 2>&1 9>&- ||
    { cat "$home/format.log" >&2; die "the storage could not be formatted (see above)"; }
  # Should this script itself be killed, the broker goes with it.
  setpriv --pdeathsig KILL java -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$libs/*" \
    kafka.Kafka "$home/server.properties" >"$home/broker.log" 2>&1 </dev/null &
  broker=$!
  deadline=$((SECONDS + 90))
  while ! answers "$port"; do
    kill -0 "$broker" 2>/dev/null || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

# What it held is thrown away, so there is nothing to wait for.
stop() {
  [ -z "$broker" ] || kill -KILL "$broker" 2>/dev/null || true
  [ -z "$broker" ] || wait "$broker" 2>/dev/null || true
  broker=
}

with() {
  if [ -n "${KAFKA_BROKERS:-}" ]; then
    [ ! -d "$libs" ] || export TAILWATER_KAFKA_LIBS="${TAILWATER_KAFKA_LIBS:-$libs}"
    exec "$@"
  fi
  fetch
  require_java
  home=$(mktemp -d "${TMPDIR:-/tmp}/tailwater-kafka.XXXXXX")
  broker=
  trap 'stop; rm -rf "$home"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  # A second and third try: between its choice and its use a port may be taken.
  start "$home" || { stop; start "$home"; } || { stop; start "$home"; } || {
    tail -n 40 "$home/broker.log" >&2
    die "the broker did not start (its last lines stand above)"
  }
  local code=0
  KAFKA_BROKERS="127.0.0.1:$port" TAILWATER_KAFKA_LIBS="$libs" TAILWATER_KAFKA_PID="$broker" "$@" || code=$?
  exit "$code"
}

case "${1:-}" in
  fetch)
    fetch
    echo "$libs"
    ;;
  with)
    shift
    [ $# -gt 0 ] || die "usage: kafka.sh with COMMAND…"
    with "$@"
    ;;
  *) die "usage: kafka.sh fetch | with COMMAND…" ;;
esac
