#!/usr/bin/env bash
# tailwater on the flights against what else one might use: `make compare`.
#
#   scripts/compare.sh [KEY=VALUE …]      keys of a second run beside that of examples/flights.toml
#
# Python's packages go into a virtual environment in the cache, in the versions of benches/compare/requirements.txt.
set -euo pipefail

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater"
packages="benches/compare/requirements.txt"
environment="$cache/compare-$(sha256sum "$packages" | cut -c 1-12)"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -e "$environment/ready" ]; then
  echo "fetching the peers' Python packages (once) …" >&2
  python3 -m venv --clear "$environment" || {
    echo "compare.sh: Python has no venv; on Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2
    exit 1
  }
  "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$packages"
  touch "$environment/ready"
fi
replay() {
  local out=$1
  shift
  cargo run --release -- replay -c examples/flights.toml --input data/flights-2013.csv.zst --out "$out" "$@"
}
replay "$work/example"
scores=(--scores "tailwater=$work/example/scores.parquet")
if [ $# -gt 0 ]; then
  sets=()
  for key in "$@"; do sets+=(--set "$key"); done
  replay "$work/keys" "${sets[@]}"
  scores+=(--scores "with keys=$work/keys/scores.parquet")
  echo "with keys: $*"
fi
"$environment/bin/python" benches/compare/flights.py --data data/flights-2013.csv.zst "${scores[@]}"
