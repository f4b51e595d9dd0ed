{{- /* Everything that occm may do, as objects. Also what an administrator applies with rbac.create=false. */ -}}
{{- define "occm.rbac" -}}
{{- $root := . -}}
{{- range $namespace := include "occm.namespaces" . | fromJsonArray }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ include "occm.fullname" $root }}
  namespace: {{ $namespace }}
  labels:
    {{- include "occm.labels" $root | nindent 4 }}
rules:
- apiGroups: [occm.dev]
  resources: [issuers]
  verbs: [list, watch]
- apiGroups: [occm.dev]
  resources: [certificates]
  verbs: [get, list, watch, patch]
- apiGroups: [occm.dev]
  resources: [issuers/status, certificates/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{ include "occm.binding" (dict "root" $root "namespace" $namespace "name" (include "occm.fullname" $root)) }}
{{- if and $root.Values.api.enabled $root.Values.api.oidc.issuer }}
{{- /* A provider's users have no rights of their own at the API server: occm asks what each may do, and does it. */}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ include "occm.fullname" $root }}-oidc
  namespace: {{ $namespace }}
  labels:
    {{- include "occm.labels" $root | nindent 4 }}
rules:
- apiGroups: [authorization.k8s.io]
  resources: [localsubjectaccessreviews]
  verbs: [create]
- apiGroups: [occm.dev]
  resources: [issuers]
  verbs: [get, create, update, patch, delete]
- apiGroups: [occm.dev]
  resources: [certificates]
  verbs: [create, update, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list, watch]
{{ include "occm.binding" (dict "root" $root "namespace" $namespace "name" (printf "%s-oidc" (include "occm.fullname" $root))) }}
{{- end }}
{{- end }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ include "occm.fullname" . }}-lease
  namespace: {{ .Release.Namespace }}
  labels:
    {{- include "occm.labels" . | nindent 4 }}
rules:
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "occm.lease" . }}]
  verbs: [get, update]
{{ include "occm.binding" (dict "root" $root "namespace" .Release.Namespace "name" (printf "%s-lease" (include "occm.fullname" .))) }}
{{- end -}}

{{- define "occm.binding" -}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ .name }}
  namespace: {{ .namespace }}
  labels:
    {{- include "occm.labels" .root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ .name }}
subjects:
- kind: ServiceAccount
  name: {{ include "occm.serviceAccount" .root }}
  namespace: {{ .root.Release.Namespace }}
{{- end -}}
