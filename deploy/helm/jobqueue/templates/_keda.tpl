{{- /* What has KEDA decide how many of a worker run. Of: root, name, part, worker. */ -}}
{{- define "jobqueue.keda" -}}
{{- $values := .root.Values }}
{{- $keda := .worker.keda }}
{{- $tls := ne $values.tls.secretName "" }}
{{- $host := printf "%s.%s.svc" (include "jobqueue.fullname" .root) .root.Release.Namespace }}
{{- $rest := eq $keda.over "rest" }}
{{- $shows := ternary (ne $keda.tokenSecret.name "") (or (ne $keda.certificateSecret "") (and $tls (ne $values.tls.rootsSecret.name ""))) $rest }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels:
    {{- include "jobqueue.labels" .part | nindent 4 }}
spec:
  scaleTargetRef:
    name: {{ .name }}
  minReplicaCount: {{ $keda.minReplicas }}
  maxReplicaCount: {{ $keda.maxReplicas }}
  pollingInterval: {{ $keda.pollingInterval }}
  cooldownPeriod: {{ $keda.cooldownPeriod }}
  triggers:
    {{- if $rest }}
    - type: metrics-api
      metadata:
        url: {{ ternary "https" "http" $tls }}://{{ $host }}:{{ $values.service.httpPort }}/v1/queues/{{ first .worker.queues }}:demand
        valueLocation: wantedSlots
        targetValue: {{ .worker.concurrency | toString | quote }}
        {{- if $shows }}
        authMode: bearer
        {{- end }}
    {{- else }}
    - type: external-push
      metadata:
        scalerAddress: {{ $host }}:{{ $values.service.grpcPort }}
        queues: {{ join "," .worker.queues | quote }}
        slotsPerReplica: {{ .worker.concurrency | toString | quote }}
        activationSlots: {{ $keda.activationSlots | toString | quote }}
    {{- end }}
      {{- if $shows }}
      authenticationRef:
        name: {{ .name }}
      {{- end }}
{{- if $shows }}
---
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  name: {{ .name }}
  labels:
    {{- include "jobqueue.labels" .part | nindent 4 }}
spec:
  secretTargetRef:
    {{- if $rest }}
    - parameter: token
      name: {{ $keda.tokenSecret.name }}
      key: {{ $keda.tokenSecret.key }}
    {{- else }}
    {{- with $values.tls.rootsSecret }}
    {{- if .name }}
    - parameter: caCert
      name: {{ .name }}
      key: {{ .key }}
    {{- end }}
    {{- end }}
    {{- with $keda.certificateSecret }}
    - parameter: tlsClientCert
      name: {{ . }}
      key: tls.crt
    - parameter: tlsClientKey
      name: {{ . }}
      key: tls.key
    {{- end }}
    {{- end }}
{{- end }}
{{- end -}}
