#!/usr/bin/env bash
# Checks and tests the Prometheus rules: `make rules`, or `scripts/tool.sh with promtool -- scripts/rules.sh`.
set -euo pipefail

cd "$(dirname "$0")/.."
promtool=${TAILWATER_PROMTOOL:?names no promtool: scripts/tool.sh with promtool -- scripts/rules.sh}
"$promtool" check rules deploy/helm/tailwater/files/rules.yaml
"$promtool" test rules deploy/prometheus/*_test.yaml
