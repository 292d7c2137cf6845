#!/usr/bin/env bash
# Runs a command with TAILWATER_CHROMIUM set to where Chromium is: for tests of pages.
#
#   scripts/browser.sh with COMMAND …
#
# Where none is installed the command is not run, and that is said; with CI=true it is installed first, where that is possible,
# and to have none is a failure.
set -euo pipefail

find_chromium() {
  local name
  for name in "${TAILWATER_CHROMIUM:-}" chromium chromium-browser google-chrome; do
    if [ -n "$name" ] && command -v "$name"; then
      return
    fi
  done
  return 1
}

if [ "${1:-}" != with ] || [ $# -lt 2 ]; then
  sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
shift
if ! chromium=$(find_chromium) && [ "${CI:-}" = true ]; then
  echo "installing Chromium (once) …" >&2
  export DEBIAN_FRONTEND=noninteractive
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  { $sudo apt-get update && $sudo apt-get install -y --no-install-recommends chromium; } >/dev/null 2>&1 || true
  chromium=$(find_chromium) || {
    echo "browser.sh: there is no Chromium, and it could not be installed" >&2
    exit 1
  }
fi
if [ -z "$chromium" ]; then
  echo "NOT RUN, since no Chromium is installed (on Debian or Ubuntu: sudo apt-get install -y chromium): $*" >&2
  exit 0
fi
TAILWATER_CHROMIUM=$chromium exec "$@"
