#!/usr/bin/env bash
# Prints a Python that has the packages of a requirements file.
#
#   scripts/python.sh REQUIREMENTS      for instance benches/compare/requirements.txt
#
# They go into a virtual environment in the cache, once for each content of the file. pip's own settings hold.
set -euo pipefail

[ $# = 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
packages=$1
environment="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater/$(basename "$(dirname "$packages")")-$(sha256sum "$packages" | cut -c 1-12)"

if [ ! -e "$environment/ready" ]; then
  echo "fetching the Python packages of $packages (once) …" >&2
  python3 -m venv --clear "$environment" || {
    echo "python.sh: Python has no venv; on Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2
    exit 1
  }
  "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$packages" >&2
  touch "$environment/ready"
fi
echo "$environment/bin/python"
