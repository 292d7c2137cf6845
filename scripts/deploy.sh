#!/usr/bin/env bash
# The deploy files: the Helm chart, and what is rendered from it.
#
#   scripts/deploy.sh render        write deploy/manifests and deploy/examples anew
#   scripts/deploy.sh test BINARY   lint and test all of it; with the binary the configs in it are checked
#
# The tools come from scripts/tool.sh. Where Go is missing, nothing is tested and that is said; with CI=true it is a failure.
set -euo pipefail
shopt -s inherit_errexit # a failure within $(…) is one, too
cd "$(dirname "$0")/.."

chart=deploy/helm/tailwater
# The versions of Kubernetes whose schemas the objects have to fit: one that kubectl-validate brings, then those of kubernetes-schemas.
oldest=1.30
newer=(1.33 1.36)

die() {
  echo "deploy.sh: $*" >&2
  exit 1
}

step() {
  echo "-- $*"
}

template() {
  "$TAILWATER_HELM" template --kube-version "$oldest" --namespace default "$@"
}

# What Helm's labels and checksums say is of no use where Helm isn't.
plain() {
  sed -E -e '/^ *(helm\.sh\/chart|app\.kubernetes\.io\/managed-by|checksum\/[a-z]+):/d' -e '/^(---|# Source: .*)$/d' -e 's/ +$//'
}

# Writes the manifests and the example below the folder $1.
render_to() {
  local out=$1 work template parent
  mkdir -p "$out/manifests" "$out/examples"
  local by="# Rendered from deploy/helm/tailwater by scripts/deploy.sh render: edit that."
  for template in configmap poddisruptionbudget service serviceaccount workload; do
    {
      echo "$by"
      template tailwater "$chart" --show-only "templates/$template.yaml" | plain
    } >"$out/manifests/$template.yaml"
  done
  mv "$out/manifests/workload.yaml" "$out/manifests/deployment.yaml"

  work=$(mktemp -d)
  parent="$work/risk-desk"
  cp -r deploy/test/sidecar "$parent"
  mkdir "$parent/charts"
  cp -r "$chart" "$parent/charts/tailwater"
  {
    echo "$by"
    cat <<'TEXT'
# A pod with tailwater as a native sidecar (Kubernetes 1.29 or newer), for pasting into your own: the item of initContainers, the two
# volumes and the ConfigMap. Init containers start in their order, and one with restartPolicy: Always counts as started once its
# startup probe succeeds; so `app` starts when tailwater leads, restores or stands by. At the end `app` gets its SIGTERM first and
# tailwater after it has ended, both within terminationGracePeriodSeconds; a Job's pod completes although tailwater still runs.
# Of several such pods one leads, and the others stand by.
TEXT
    template risk-desk "$parent" --show-only charts/tailwater/templates/configmap.yaml | plain
    echo ---
    template risk-desk "$parent" --show-only templates/pod.yaml | plain
  } >"$out/examples/sidecar-pod.yaml"
  rm -rf "$work"
}

render() {
  rm -rf deploy/manifests deploy/examples
  render_to deploy
}

are_fresh() {
  render_to "$1"
  for folder in manifests examples; do
    diff -r "deploy/$folder" "$1/$folder" || die "deploy/$folder is not what the chart renders (see above): scripts/deploy.sh render"
  done
}

# One version for the crate, the chart and the app that it installs; one Rust for builds and the image.
versions_agree() {
  local crate rust
  crate=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
  rust=$(sed -n 's/^channel = "\(.*\)"$/\1/p' rust-toolchain.toml)
  grep -Eq "^version: $crate( |\$)" "$chart/Chart.yaml" || die "the chart's version is not the crate's, $crate: $chart/Chart.yaml"
  grep -Eq "^appVersion: $crate( |\$)" "$chart/Chart.yaml" || die "the chart's appVersion is not the crate's, $crate: $chart/Chart.yaml"
  grep -Eq "^ +version: $crate( |\$)" deploy/test/sidecar/Chart.yaml || die "the dependency's version is not the crate's, $crate: deploy/test/sidecar/Chart.yaml"
  grep -Eq "^FROM .*rust:$rust-" Dockerfile || die "the image is not built with the Rust of rust-toolchain.toml, $rust: Dockerfile"
}

# Each script that a workflow runs has to be there.
workflows_name_scripts() {
  local script found=0
  while read -r script; do
    [ -e "$script" ] || die ".github/workflows name $script, which does not exist"
    found=$((found + 1))
  done < <(grep -hoE '(scripts|\.ci)/[a-z./]+' .github/workflows/*.yml | sort -u)
  [ "$found" -gt 0 ] || die ".github/workflows run no script"
}

# The chart has to refuse the values of the remaining arguments with a message that holds the text $1.
refuses() {
  local text=$1 said
  shift
  if said=$(template t "$chart" "$@" 2>&1); then
    die "these values should have been refused: $*"
  fi
  grep -qF -- "$text" <<<"$said" || die "these values were refused, but the message lacks '$text': $*"$'\n'"$said"
}

refusals() {
  local label
  refuses "additional properties 'replica' not allowed" --set replica=1
  refuses "additional properties 'pullpolicy' not allowed" --set image.pullpolicy=Always
  refuses "/mode" --set mode=daemon
  refuses "/replicas" --set-string replicas=two
  refuses "/admin/port" --set admin.port=80
  refuses "/user" --set user=0
  refuses "/config" --set config=
  refuses "/image/digest" --set image.digest=latest
  refuses "/antiAffinity" --set antiAffinity=hard
  refuses "invalid propertyName 'KAFKA-PASSWORD'" --set secret.KAFKA-PASSWORD=x
  refuses "/env/0/name" --set 'env[0].name=TAILWATER__ADMIN__LISTEN' --set 'env[0].value=0.0.0.0:1'
  refuses "/persistence/accessMode" --set persistence.accessMode=ReadOnlyMany
  refuses "all processes of a group need the same folder" --set persistence.enabled=true --set persistence.accessMode=ReadWriteOnce
  refuses "before the chart has made the volume" --set persistence.enabled=true --set preflight.enabled=true
  refuses "the volume that the running pod holds" --set persistence.enabled=true --set preflight.enabled=true --set replicas=1 \
    --set persistence.existingClaim=snapshots --set persistence.accessMode=ReadWriteOnce
  for label in name instance component; do
    refuses "app.kubernetes.io/$label" --set "podLabels.app\.kubernetes\.io/$label=other"
  done
  refuses "would cut tailwater off from its brokers" --set networkPolicy.enabled=true
  refuses "/networkPolicy/egress/0" --set networkPolicy.enabled=true --set 'networkPolicy.egress[0].ports[0]=9092'
  refuses "/networkPolicy/dnsPorts" --set-json 'networkPolicy.dnsPorts=[]'
  refuses "no pod could ever be replaced" --set rollout.maxSurge=0
  refuses "no pod could ever be replaced" --set rollout.maxSurge=0%
  refuses "podMonitor needs podMonitor.selector" --set mode=sidecar --set podMonitor.enabled=true
  refuses "the volume is the pod's" --set mode=sidecar --set persistence.enabled=true
  refuses "the network policy is that of the pod" --set mode=sidecar --set networkPolicy.enabled=true \
    --set 'networkPolicy.egress[0].to[0].ipBlock.cidr=10.0.0.0/8' --set 'networkPolicy.egress[0].ports[0]=9092'
}

# The template $2 has to render the line $1 with the values of the remaining arguments.
renders() {
  local line=$1 file=$2 rendered
  shift 2
  rendered=$(template t "$chart" --show-only "templates/$file.yaml" "$@")
  grep -qE -- "^ *$line\$" <<<"$rendered" || die "templates/$file.yaml renders no line '$line' with: $*"
}

renderings() {
  local policy=(--set networkPolicy.enabled=true --set 'networkPolicy.egress[0].to[0].ipBlock.cidr=10.0.0.0/8' --set 'networkPolicy.egress[0].ports[0]=9092')
  renders "- targetLabel: job( #.*)?" podmonitor --set podMonitor.enabled=true
  renders "replacement: t-tailwater" podmonitor --set podMonitor.enabled=true
  renders "replacement: flights" podmonitor --set podMonitor.enabled=true --set fullnameOverride=flights
  renders "cpu: 50m" preflight --set preflight.enabled=true
  renders "memory: 3Gi" preflight --set preflight.enabled=true --set resources.limits.memory=3Gi
  renders "activeDeadlineSeconds: 600" preflight --set preflight.enabled=true
  renders "- {protocol: UDP, port: 53}" networkpolicy "${policy[@]}"
  renders "- {protocol: UDP, port: 5353}" networkpolicy "${policy[@]}" --set 'networkPolicy.dnsPorts={5353}'
  renders "mountPath: /run/secrets/a.b" workload --set 'secretFiles={a.b}'
  renders "maxSurge: 0%" workload --set rollout.maxSurge=0% --set rollout.maxUnavailable=1
}

# Other values that a pod is made of have to make other pods: those are the ones that Kubernetes replaces.
changes_roll() {
  local annotation='checksum/(config|secret):'
  local before after
  before=$(template t "$chart" --set secret.A=one --show-only templates/workload.yaml | grep -E "$annotation")
  for change in config=x secret.A=two; do
    after=$(template t "$chart" --set secret.A=one --set "$change" --show-only templates/workload.yaml | grep -E "$annotation")
    [ "$before" != "$after" ] || die "a change of ${change%=*} does not roll the pods"
  done
}

validate() {
  "$TAILWATER_KUBECTL_VALIDATE" --version "$oldest" "$@"
}

fits_schemas() {
  local objects=$1 work=$2 version said
  # A field of Kubernetes 1.34, to see that the schemas given are the ones that are used.
  mkdir -p "$work/probe"
  printf '%s\n' 'apiVersion: v1' 'kind: Pod' 'metadata: {name: probe}' 'spec: {hostnameOverride: probe, containers: [{name: a, image: a}]}' >"$work/probe/pod.yaml"
  for version in "$oldest" "${newer[@]}"; do
    local options=()
    [ "$version" = "$oldest" ] || options=(--local-schemas "$TAILWATER_KUBERNETES_SCHEMAS/$version")
    said=$(validate "${options[@]}" "$objects" 2>&1) || { grep -v OK <<<"$said" >&2; die "not what Kubernetes $version takes (see above)"; }
    if validate "${options[@]}" "$work/probe" >"$work/said" 2>&1; then
      [ "${version#1.}" -ge 34 ] || die "kubectl-validate did not use the schemas of Kubernetes $version"
    else
      [ "${version#1.}" -lt 34 ] || { cat "$work/said" >&2; die "kubectl-validate did not use the schemas of Kubernetes $version"; }
    fi
    step "  Kubernetes $version: $(find "$objects" -type f | wc -l) objects fit"
  done
}

configs_pass() {
  local binary=$1 configs=$2 config count=0
  sed -n '/^```toml$/,/^```$/{/^```/d;p}' docs/deploy.md >"$configs/docs.toml"
  for config in "$configs"/*.toml examples/flights.toml; do
    KAFKA_BROKERS=kafka:9093 KAFKA_PASSWORD=x "$binary" check --offline -c "$config" >/dev/null || die "$config is no config that tailwater takes (see above)"
    count=$((count + 1))
  done
  [ "$count" -gt 3 ] || die "there were only $count configs"
  step "  $count configs pass"
}

test_all() {
  local binary=$1 work values name
  [ -x "$binary" ] || die "there is no binary $binary: scripts/binary.sh builds it"
  work=$(mktemp -d)
  trap "rm -rf '$work'" EXIT

  step "versions agree"
  versions_agree
  step "Dockerfile: hadolint"
  "$TAILWATER_HADOLINT" Dockerfile
  step "workflows: actionlint, and the scripts that they name"
  "$TAILWATER_ACTIONLINT" -shellcheck= -pyflakes= .github/workflows/*.yml
  workflows_name_scripts

  step "chart: lint, and render all values of ci/"
  "$TAILWATER_HELM" lint --strict --quiet --kube-version "$oldest" "$chart"
  mkdir "$work/rendered"
  template tailwater "$chart" >"$work/rendered/default.yaml"
  for values in "$chart"/ci/*-values.yaml; do
    name=$(basename "$values" -values.yaml)
    "$TAILWATER_HELM" lint --strict --quiet --kube-version "$oldest" --values "$values" "$chart"
    template tailwater "$chart" --values "$values" >"$work/rendered/$name.yaml"
  done
  step "chart: refuses wrong values"
  refusals
  step "chart: what single values make"
  renderings
  step "chart: a change of config or secret replaces the pods"
  changes_roll
  step "manifests and examples: as the chart renders them"
  are_fresh "$work/fresh"

  step "objects: strict decoding, and what matters for security"
  (cd deploy/test && GOTOOLCHAIN=auto go vet . && GOTOOLCHAIN=auto go run . "$work/out" "$work/rendered"/*.yaml ../manifests/*.yaml ../examples/*.yaml)
  step "objects: the schemas of Kubernetes"
  fits_schemas "$work/out/objects" "$work"
  step "configs: tailwater check --offline"
  configs_pass "$binary" "$work/out/configs"
  echo "-- deploy files: ok"
}

case "${1:-} $#" in
  "render 1") tools=(helm) ;;
  "test 2") tools=(helm kubectl-validate kubernetes-schemas hadolint actionlint) ;;
  *)
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
if [ -z "${TAILWATER_DEPLOY_TOOLS:-}" ]; then # once more, with the tools
  TAILWATER_DEPLOY_TOOLS=1 exec scripts/tool.sh with "${tools[@]}" -- scripts/deploy.sh "$@"
fi
case "$1" in
  render) render ;;
  test) test_all "$2" ;;
esac
