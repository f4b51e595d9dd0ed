{{- define "occm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "occm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "occm.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "occm.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "occm.selector" -}}
app.kubernetes.io/name: {{ include "occm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "occm.labels" -}}
{{ include "occm.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "occm.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "occm.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "occm.lease" -}}
{{- default (include "occm.fullname" .) .Values.lease.name -}}
{{- end -}}

{{- /* The managed namespaces, the release's own first. */ -}}
{{- define "occm.namespaces" -}}
{{- $all := list .Release.Namespace -}}
{{- if eq .Values.model "shared" -}}
{{- $all = concat $all (without .Values.namespaces .Release.Namespace) -}}
{{- end -}}
{{- $all | toJson -}}
{{- end -}}

{{- define "occm.image" -}}
{{- $image := .Values.image -}}
{{- $repository := ternary .Values.openssl.repository $image.repository .Values.openssl.enabled -}}
{{- $name := ternary (printf "%s/%s" $image.registry $repository) $repository (ne $image.registry "") -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* What the restricted level of pod security asks for, and no more. */ -}}
{{- define "occm.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- define "occm.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}
