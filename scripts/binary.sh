#!/usr/bin/env bash
# Builds tailwater as it is shipped, and prints where it is.
set -euo pipefail
shopt -s inherit_errexit # a failure within $(…) is one, too
cd "$(dirname "$0")/.."

cargo build --release --locked --bin tailwater >&2
cargo metadata --no-deps --format-version 1 --offline |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"] + "/release/tailwater")'
