{{/*
The parts of a container that runs tailwater. Each takes a dict of `root`, the chart's context, and `own`, the name of the ConfigMap
and the Secret that the chart has made for it: the preflight has others, since it runs before those of the release are there.
Volumes of `secretFiles` are named by their place in the list: a Secret's name may have dots and 253 characters, a volume's may not.
*/}}

{{- define "tailwater.securityContext" -}}
allowPrivilegeEscalation: false
capabilities:
  drop: [ALL]
readOnlyRootFilesystem: true
runAsNonRoot: true
{{- with .root.Values.user }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "tailwater.env" -}}
- name: TAILWATER__ADMIN__LISTEN # over what the config says, so that the probes find it
  value: {{ printf "%s:%d" .root.Values.admin.address (int .root.Values.admin.port) | quote }}
- name: TAILWATER_LOG
  value: {{ .root.Values.log.level | quote }}
{{- if .root.Values.persistence.enabled }}
- name: TAILWATER__STATE__DIR
  value: {{ .root.Values.persistence.mountPath | quote }}
{{- end }}
{{- with .root.Values.env }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tailwater.envFrom" -}}
{{- if .root.Values.secret }}
- secretRef:
    name: {{ .own }}
{{- end }}
{{- range .root.Values.secretEnv }}
- secretRef:
    name: {{ . }}
{{- end }}
{{- end }}

{{- define "tailwater.volumeMounts" -}}
- name: tailwater-config
  mountPath: /etc/tailwater
  readOnly: true
- name: tailwater-tmp
  mountPath: /tmp
{{- if .root.Values.persistence.enabled }}
- name: tailwater-state
  mountPath: {{ .root.Values.persistence.mountPath }}
{{- end }}
{{- range $i, $secret := .root.Values.secretFiles }}
- name: tailwater-secret-{{ $i }}
  mountPath: /run/secrets/{{ $secret }}
  readOnly: true
{{- end }}
{{- with .root.Values.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "tailwater.volumes" -}}
- name: tailwater-config
  configMap:
    name: {{ default .own .root.Values.existingConfigMap }}
- name: tailwater-tmp
  emptyDir: {}
{{- if .root.Values.persistence.enabled }}
- name: tailwater-state
  persistentVolumeClaim:
    claimName: {{ include "tailwater.claim" .root }}
{{- end }}
{{- range $i, $secret := .root.Values.secretFiles }}
- name: tailwater-secret-{{ $i }}
  secret:
    secretName: {{ $secret }}
{{- end }}
{{- with .root.Values.volumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Takes besides `args`, those before the config's, and `resources`. */}}
{{- define "tailwater.container" -}}
name: tailwater
image: {{ include "tailwater.image" .root }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
args:
{{- range concat .args (list "--config" "/etc/tailwater/tailwater.toml" "--log" .root.Values.log.format) }}
  - {{ . }}
{{- end }}
env:
  {{- include "tailwater.env" . | nindent 2 }}
{{- with include "tailwater.envFrom" . | trim }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "tailwater.securityContext" . | nindent 2 }}
{{- with .resources }}
resources:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  {{- include "tailwater.volumeMounts" . | nindent 2 }}
{{- end }}

{{/* The operator's container: what it runs, and its ports and probes. */}}
{{- define "tailwater.operator" -}}
{{ include "tailwater.container" (dict "root" . "own" (include "tailwater.fullname" .) "args" (list "run") "resources" .Values.resources) }}
ports:
  - name: admin
    containerPort: {{ .Values.admin.port }}
startupProbe: # past the start once it leads, restores or stands by
  httpGet: {path: /startupz, port: admin}
  periodSeconds: 2
  failureThreshold: {{ div (add (int .Values.startupSeconds) 1) 2 }}
livenessProbe: # the compute thread's heartbeat, never the brokers
  httpGet: {path: /livez, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe: # a standby is ready, a leader once it has restored
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/*
For other charts' pods: `include "tailwater.sidecar" .Subcharts.tailwater` is an item of `initContainers`, and
`include "tailwater.sidecarVolumes" .Subcharts.tailwater` are items of `volumes`.
*/}}
{{- define "tailwater.sidecar" -}}
{{- include "tailwater.validate" . -}}
- restartPolicy: Always # which makes it a sidecar: it starts before the containers and ends after them
  {{- include "tailwater.operator" . | nindent 2 }}
{{- end }}

{{- define "tailwater.sidecarVolumes" -}}
{{ include "tailwater.volumes" (dict "root" . "own" (include "tailwater.fullname" .)) }}
{{- end }}
