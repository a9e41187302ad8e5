{{- define "routemoa.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "routemoa.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "routemoa.labels" -}}
{{ include "routemoa.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "routemoa.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "routemoa.restrictions" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Not empty where the ledger is a file on a volume. */}}
{{- define "routemoa.hasFile" -}}
{{- if and .Values.ledger.enabled (not .Values.ledger.database) }}yes{{ end -}}
{{- end }}

{{- define "routemoa.mounts" -}}
- {name: pool, mountPath: /etc/routemoa, readOnly: true}
- {name: data, mountPath: /data}
- {name: models, mountPath: /models}
- {name: tmp, mountPath: /tmp}
{{- end }}
