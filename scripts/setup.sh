#!/usr/bin/env bash
# Gets what the build needs and writes .cargo/config.toml (not tracked), so that `make` and a bare `cargo`
# use the same libtorch and the same build cache.
set -euo pipefail
cd "$(dirname "$0")/.."

# What the build takes from the system: all that is missing in one line, so that one command fixes it.
header() { c++ -E -x c++ - <<<"#include <$1>" >/dev/null 2>&1; }
missing=()
command -v make >/dev/null && command -v gcc >/dev/null && command -v c++ >/dev/null || missing+=(build-essential)
command -v pkg-config >/dev/null || missing+=(pkg-config)
header openssl/ssl.h || missing+=(libssl-dev)
header zlib.h || missing+=(zlib1g-dev)
python3 -m pip --version >/dev/null 2>&1 || missing+=(python3-pip)
if [ ${#missing[@]} -gt 0 ]; then
  echo "setup: the system lacks something; on Debian or Ubuntu: sudo apt-get install -y ${missing[*]}" >&2
  exit 1
fi
command -v cargo >/dev/null || {
  echo "setup: there is no cargo; install Rust from https://rustup.rs (rust-toolchain.toml names the version)" >&2
  exit 1
}

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater"
libtorch=$(scripts/libtorch.sh)
# librdkafka's configure looks for libcurl by linking against it, but rdkafka-sys 4.10 doesn't tell it where curl-sys
# has built one, so it would leave OIDC out. It is shown an empty library; what the binary links is curl-sys's.
mkdir -p "$cache/curl-for-configure"
echo 'curl_global_init = 0;' >"$cache/curl-for-configure/libcurl.so"
config="# Written by scripts/setup.sh.
[env]
LIBTORCH = \"$libtorch\"
LDFLAGS = \"-L$cache/curl-for-configure${LDFLAGS:+ $LDFLAGS}\"

[build]
target-dir = \"${CARGO_TARGET_DIR:-$cache/target}\""
mkdir -p .cargo
[ "$(cat .cargo/config.toml 2>/dev/null)" = "$config" ] || printf '%s\n' "$config" >.cargo/config.toml
