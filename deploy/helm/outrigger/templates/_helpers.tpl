{{- define "outrigger.labels" -}}
app.kubernetes.io/name: outrigger-controller
{{ include "outrigger.common" . }}
{{- end }}

{{- define "outrigger.common" -}}
app.kubernetes.io/part-of: outrigger
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "outrigger.image" -}}
{{ .root.Values.image.registry }}/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
{{- end }}
