{{- /* What people may do, through the API as with kubectl. Also what an administrator applies with rbac.create=false. */ -}}
{{- define "occm.roles" -}}
{{- $root := . -}}
{{- $view := include "occm.roles.view" . | fromYamlArray -}}
{{- $edit := concat $view (include "occm.roles.edit" . | fromYamlArray) -}}
{{- $admin := concat $edit (include "occm.roles.admin" . | fromYamlArray) -}}
{{- range $namespace := include "occm.namespaces" . | fromJsonArray }}
{{- range $role := list (dict "name" "view" "rules" $view) (dict "name" "edit" "rules" $edit) (dict "name" "admin" "rules" $admin) }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata:
  name: {{ include "occm.fullname" $root }}-{{ $role.name }}
  namespace: {{ $namespace }}
  labels:
    {{- include "occm.labels" $root | nindent 4 }}
rules:
{{ toYaml $role.rules }}
{{- with index $root.Values.roles $role.name }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ include "occm.fullname" $root }}-{{ $role.name }}
  namespace: {{ $namespace }}
  labels:
    {{- include "occm.labels" $root | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ include "occm.fullname" $root }}-{{ $role.name }}
subjects:
{{- range . }}
- kind: {{ .kind }}
  name: {{ .name | quote }}
  {{- if eq .kind "ServiceAccount" }}
  namespace: {{ .namespace | quote }}
  {{- else }}
  apiGroup: rbac.authorization.k8s.io
  {{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "occm.roles.view" -}}
- apiGroups: [occm.dev]
  resources: [issuers, certificates]
  verbs: [get, list, watch]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [get, list, watch]
{{- end -}}

{{- define "occm.roles.edit" -}}
- apiGroups: [occm.dev]
  resources: [certificates]
  verbs: [create, update, patch, delete]
{{- end -}}

{{- define "occm.roles.admin" -}}
- apiGroups: [occm.dev]
  resources: [issuers]
  verbs: [create, update, patch, delete]
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, create, patch]
- apiGroups: [occm.dev]
  resources: [loglevels]
  verbs: [get, update]
{{- end -}}
