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

{{- define "occm.api.tlsSecret" -}}
{{- default (printf "%s-api-tls" (include "occm.fullname" .)) .Values.api.tls.secretName -}}
{{- end -}}

{{- define "occm.api.cookieSecret" -}}
{{- default (printf "%s-cookie-keys" (include "occm.fullname" .)) .Values.api.cookieKeys.secretName -}}
{{- end -}}

{{- /* Names in the certificate that occm makes for itself. */ -}}
{{- define "occm.api.names" -}}
{{- $service := printf "%s-api" (include "occm.fullname" .) -}}
{{- $names := list (printf "%s.%s.svc" $service .Release.Namespace) (printf "%s.%s" $service .Release.Namespace) "localhost" -}}
{{- with .Values.api.externalUrl -}}
{{- $names = append $names (regexReplaceAll ":[0-9]+$" (urlParse .).host "") -}}
{{- end -}}
{{- default $names .Values.api.tls.names | uniq | join "," -}}
{{- end -}}

{{- define "occm.api.environment" -}}
{{- $api := .Values.api -}}
- name: OCCM_LISTEN
  value: {{ printf "%s:%d" $api.address (int $api.port) | quote }}
{{- if $api.tls.enabled }}
- name: OCCM_TLS_CERT
  value: /etc/occm/tls/tls.crt
- name: OCCM_TLS_KEY
  value: /etc/occm/tls/tls.key
- name: OCCM_TLS_NAMES
  value: {{ include "occm.api.names" . | quote }}
{{- else }}
- name: OCCM_PLAIN_HTTP
  value: "true"
{{- end }}
- name: OCCM_COOKIE_SECRET
  value: {{ include "occm.api.cookieSecret" . | quote }}
- name: OCCM_IDLE_TIMEOUT
  value: {{ $api.idleTimeout | quote }}
- name: OCCM_REQUESTS_PER_SECOND
  value: {{ $api.requestsPerSecond | quote }}
- name: OCCM_LOGINS_PER_MINUTE
  value: {{ $api.loginsPerMinute | quote }}
{{- with $api.externalUrl }}
- name: OCCM_EXTERNAL_URL
  value: {{ . | quote }}
{{- end }}
{{- if $api.banner }}
- name: OCCM_LOGIN_BANNER
  value: /etc/occm/banner/banner
{{- end }}
{{- if $api.oidc.issuer }}
- name: OCCM_OIDC_ISSUER
  value: {{ $api.oidc.issuer | quote }}
- name: OCCM_OIDC_CLIENT_ID
  value: {{ $api.oidc.clientId | quote }}
{{- if $api.oidc.clientSecretName }}
- name: OCCM_OIDC_CLIENT_SECRET_FILE
  value: /etc/occm/oidc/client-secret
{{- end }}
{{- if $api.oidc.caConfigMapName }}
- name: OCCM_OIDC_CA
  value: /etc/occm/oidc-ca/ca.crt
{{- end }}
- name: OCCM_OIDC_NAME
  value: {{ $api.oidc.name | quote }}
- name: OCCM_OIDC_SCOPES
  value: {{ join "," $api.oidc.scopes | quote }}
- name: OCCM_OIDC_USER_CLAIM
  value: {{ $api.oidc.userClaim | quote }}
- name: OCCM_OIDC_USER_PREFIX
  value: {{ $api.oidc.userPrefix | quote }}
- name: OCCM_OIDC_GROUPS_CLAIM
  value: {{ $api.oidc.groupsClaim | quote }}
- name: OCCM_OIDC_GROUPS_PREFIX
  value: {{ $api.oidc.groupsPrefix | quote }}
{{- end }}
{{- end -}}

{{- /* Volumes as (name, folder, source); a Secret that comes later appears in its folder. */ -}}
{{- define "occm.volumes" -}}
{{- $api := .Values.api -}}
{{- $all := list -}}
{{- if .Values.openssl.enabled -}}
{{- $all = append $all (dict "name" "scratch" "mountPath" "/dev/shm" "source" (dict "emptyDir" (dict "medium" "Memory" "sizeLimit" .Values.openssl.memory))) -}}
{{- end -}}
{{- if $api.enabled -}}
{{- if $api.tls.enabled -}}
{{- $all = append $all (dict "name" "api-tls" "mountPath" "/etc/occm/tls" "source" (dict "secret" (dict "secretName" (include "occm.api.tlsSecret" .) "optional" true))) -}}
{{- end -}}
{{- if $api.banner -}}
{{- $all = append $all (dict "name" "banner" "mountPath" "/etc/occm/banner" "source" (dict "configMap" (dict "name" (printf "%s-banner" (include "occm.fullname" .))))) -}}
{{- end -}}
{{- if and $api.oidc.issuer $api.oidc.clientSecretName -}}
{{- $all = append $all (dict "name" "oidc" "mountPath" "/etc/occm/oidc" "source" (dict "secret" (dict "secretName" $api.oidc.clientSecretName))) -}}
{{- end -}}
{{- if and $api.oidc.issuer $api.oidc.caConfigMapName -}}
{{- $all = append $all (dict "name" "oidc-ca" "mountPath" "/etc/occm/oidc-ca" "source" (dict "configMap" (dict "name" $api.oidc.caConfigMapName))) -}}
{{- end -}}
{{- end -}}
{{- $all | toJson -}}
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
