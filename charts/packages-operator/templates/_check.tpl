{{/* Copyright The packages-operator Authors. SPDX-License-Identifier: Apache-2.0 */}}

{{/* The spec of a pod that runs the command check once. account and secret may be
     left out. */}}
{{- define "packages-operator.checkPod" -}}
restartPolicy: Never
{{- with .account }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.podSecurityContext }}
securityContext:
  {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  - name: check
    image: {{ include "packages-operator.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      {{- toYaml .args | nindent 6 }}
    resources:
      requests: {cpu: 10m, memory: 32Mi}
      limits: {memory: 128Mi}
    {{- with .root.Values.securityContext }}
    securityContext:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    {{- if .secret }}
    volumeMounts:
      - name: token
        mountPath: /token
        readOnly: true
    {{- end }}
{{- with .secret }}
volumes:
  - name: token
    secret:
      secretName: {{ . }}
{{- end }}
{{- end -}}
