#!/usr/bin/env bash
# Gets what the build needs and writes .cargo/config.toml (not tracked), so that `make` and a bare `cargo`
# use the same libtorch and the same build cache.
set -euo pipefail
cd "$(dirname "$0")/.."

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater"
libtorch=$(scripts/libtorch.sh)
config="# Written by scripts/setup.sh.
[env]
LIBTORCH = \"$libtorch\"

[build]
target-dir = \"${CARGO_TARGET_DIR:-$cache/target}\""
mkdir -p .cargo
[ "$(cat .cargo/config.toml 2>/dev/null)" = "$config" ] || printf '%s\n' "$config" >.cargo/config.toml
