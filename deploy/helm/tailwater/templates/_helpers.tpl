{{- define "tailwater.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end }}

{{/* At most 53 characters, so that what is put behind it stays a name. */}}
{{- define "tailwater.fullname" -}}
{{- $name := include "tailwater.name" . -}}
{{- $composed := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) -}}
{{- default $composed .Values.fullnameOverride | trunc 53 | trimSuffix "-" -}}
{{- end }}

{{- define "tailwater.selector" -}}
app.kubernetes.io/name: {{ include "tailwater.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What tells the operator's pods from the preflight's. */}}
{{- define "tailwater.operatorSelector" -}}
{{ include "tailwater.selector" . }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "tailwater.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{ include "tailwater.selector" . }}
{{- end }}

{{- define "tailwater.serviceAccount" -}}
{{- $default := ternary (include "tailwater.fullname" .) "default" .Values.serviceAccount.create -}}
{{- default $default .Values.serviceAccount.name -}}
{{- end }}

{{- define "tailwater.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ default $.Chart.AppVersion .tag }}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "tailwater.claim" -}}
{{- default (printf "%s-state" (include "tailwater.fullname" .)) .Values.persistence.existingClaim -}}
{{- end }}

{{/* What values.schema.json can't say. */}}
{{- define "tailwater.validate" -}}
{{- with .Values.persistence -}}
{{- if and .enabled (gt (int $.Values.replicas) 1) (ne .accessMode "ReadWriteMany") -}}
{{- fail (printf "persistence.accessMode is %s and replicas %d, but all processes of a group need the same folder: set replicas=1, or accessMode=ReadWriteMany with a storage class that can do that" .accessMode (int $.Values.replicas)) -}}
{{- end -}}
{{- if and .enabled $.Values.preflight.enabled (ne .accessMode "ReadWriteMany") -}}
{{- fail (printf "persistence.accessMode is %s, and an upgrade's preflight would wait for the volume that the running pod holds: set preflight.enabled=false, or accessMode=ReadWriteMany where the claim is one that many can mount" .accessMode) -}}
{{- end -}}
{{- if and .enabled $.Values.preflight.enabled (not .existingClaim) -}}
{{- fail "preflight looks at the saved state, but runs before the chart has made the volume that holds it: set persistence.existingClaim, or preflight.enabled=false" -}}
{{- end -}}
{{- if and .enabled (eq $.Values.mode "sidecar") -}}
{{- fail "in the mode sidecar the volume is the pod's: mount it with volumeMounts, set state.dir in config, and persistence.enabled=false" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) -}}
{{- fail "networkPolicy.enabled without networkPolicy.egress would cut tailwater off from its brokers: name them, for instance egress: [{to: [{ipBlock: {cidr: 10.0.0.0/16}}], ports: [9092]}]" -}}
{{- end -}}
{{- if and (eq .Values.mode "sidecar") .Values.podMonitor.enabled (not .Values.podMonitor.selector) -}}
{{- fail "in the mode sidecar podMonitor needs podMonitor.selector, with the labels of the pods that tailwater is in" -}}
{{- end -}}
{{- if and (eq .Values.mode "sidecar") .Values.networkPolicy.enabled -}}
{{- fail "in the mode sidecar the network policy is that of the pod: set networkPolicy.enabled=false" -}}
{{- end -}}
{{- with .Values.rollout -}}
{{- $zero := "^0+%?$" -}}
{{- if and (regexMatch $zero (toString .maxSurge)) (regexMatch $zero (toString .maxUnavailable)) -}}
{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: no pod could ever be replaced" -}}
{{- end -}}
{{- end -}}
{{- end }}
