#!/usr/bin/env bash
# tailwater on the flights against what else one might use: `make compare`.
#
#   scripts/compare.sh [KEY=VALUE …]      keys of a second run beside that of examples/flights.toml
#
# Python's packages come in the versions of benches/compare/requirements.txt.
set -euo pipefail

python=$(scripts/python.sh benches/compare/requirements.txt)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

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
"$python" benches/compare/flights.py --data data/flights-2013.csv.zst "${scores[@]}"
