{{/* Copyright The packages-operator Authors. SPDX-License-Identifier: Apache-2.0 */}}

{{- define "packages-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 42 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 24 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* What selects the manager's pods; it never changes for a release. */}}
{{- define "packages-operator.selector" -}}
app.kubernetes.io/name: packages-operator
app.kubernetes.io/component: manager
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "packages-operator.labels" -}}
app.kubernetes.io/name: packages-operator
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ include "packages-operator.version" . | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "packages-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{/* A label's value: an image's tag may be longer, and end in what no label may. */}}
{{- define "packages-operator.version" -}}
{{- .Values.image.tag | default .Chart.AppVersion | trunc 63 | trimAll "-_." | default "unknown" -}}
{{- end -}}

{{/* Nine tenths of the limit of memory in MiB, or nothing. */}}
{{- define "packages-operator.gomemlimit" -}}
{{- with .Values.resources.limits }}{{ with .memory }}
{{- $mebibytes := trimSuffix "Mi" . -}}
{{- if hasSuffix "Gi" . -}}
{{- $mebibytes = mul 1024 (trimSuffix "Gi" . | int64) -}}
{{- end -}}
{{- div (mul ($mebibytes | int64) 9) 10 -}}MiB
{{- end }}{{ end -}}
{{- end -}}

{{/* Authorized, Anyone, or nothing for no metrics. */}}
{{- define "packages-operator.metricsAccess" -}}
{{- if .Values.metrics.enabled -}}
{{- .Values.metrics.access | default (.Values.watchNamespaces | empty | ternary "Authorized" "") -}}
{{- end -}}
{{- end -}}

{{/* Whether the release has the ClusterRoles of its metrics. */}}
{{- define "packages-operator.metricsRoles" -}}
{{- and (eq (include "packages-operator.metricsAccess" .) "Authorized") (empty .Values.watchNamespaces) | ternary "true" "" -}}
{{- end -}}

{{- define "packages-operator.testNamespace" -}}
{{- .Values.test.namespace | default (first .Values.watchNamespaces) | default .Release.Namespace -}}
{{- end -}}

{{/* Helm knows no kinds that it is only about to install: an instance in the same
     release is made by a hook then, once. Nothing of its name can be there yet. */}}
{{- define "packages-operator.kindsServed" -}}
{{- .Capabilities.APIVersions.Has "packages-operator.io/v1alpha1/PackagesInstance" | ternary "true" "" -}}
{{- end -}}
