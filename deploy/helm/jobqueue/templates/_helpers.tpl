{{- /* What all objects are called. 40 characters leave room for what follows the name. */ -}}
{{- define "jobqueue.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "jobqueue" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-jobqueue" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* By which selectors find the pods of one part. Of: root, part. */ -}}
{{- define "jobqueue.selector" -}}
app.kubernetes.io/name: jobqueue
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "jobqueue.labels" -}}
{{ include "jobqueue.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") }}
{{- end -}}

{{- /* Of: root, image. */ -}}
{{- define "jobqueue.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "jobqueue.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "jobqueue.fullname" .) -}}
{{- end -}}

{{- /* The Secret of the first key. */ -}}
{{- define "jobqueue.firstKey" -}}
{{- .Values.auth.bootstrap.secretName | default (printf "%s-first-key" (include "jobqueue.fullname" .)) -}}
{{- end -}}

{{- define "jobqueue.bootstraps" -}}
{{- if and .Values.auth.bootstrap.enabled (has "keys" .Values.auth.methods) }}true{{ end -}}
{{- end -}}

{{- /* Where one of the database's URLs is, as `valueFrom`. Of: root, secret. */ -}}
{{- define "jobqueue.url" -}}
secretKeyRef:
{{- if .secret.name }}
  name: {{ .secret.name }}
  key: {{ .secret.key }}
{{- else }}
  name: {{ include "jobqueue.fullname" .root }}-database
  key: url
{{- end }}
{{- end -}}

{{- /* What reaches the database: the server, migrations, the first key. */ -}}
{{- define "jobqueue.databaseEnv" -}}
- name: DATABASE_URL
  valueFrom:
    {{- include "jobqueue.url" (dict "root" . "secret" .Values.database.secret) | nindent 4 }}
{{- if .Values.database.caSecret.name }}
- name: PGSSLROOTCERT
  value: /etc/jobqueue/database/{{ .Values.database.caSecret.key }}
{{- end }}
{{- end -}}

{{- define "jobqueue.ownerEnv" -}}
{{ include "jobqueue.databaseEnv" . }}
{{- if .Values.migrations.secret.name }}
- name: JOBQUEUE_MIGRATE_DATABASE_URL
  valueFrom:
    {{- include "jobqueue.url" (dict "root" . "secret" .Values.migrations.secret) | nindent 4 }}
{{- end }}
{{- end -}}

{{- define "jobqueue.databaseMounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .Values.database.caSecret.name }}
- name: database-authority
  mountPath: /etc/jobqueue/database
  readOnly: true
{{- end }}
{{- end -}}

{{- define "jobqueue.databaseVolumes" -}}
- name: tmp
  emptyDir: {}
{{- include "jobqueue.secretVolume" (dict "name" "database-authority" "secret" .Values.database.caSecret) }}
{{- end -}}

{{- /* A volume with one key of a Secret; nothing where it has no name. Of: name, secret. */ -}}
{{- define "jobqueue.secretVolume" -}}
{{- if .secret.name }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret.name }}
    # Read by the group of the pod alone.
    defaultMode: 0440
    items:
      - key: {{ .secret.key }}
        path: {{ .secret.key }}
{{- end }}
{{- end -}}

{{- define "jobqueue.tlsVolume" -}}
{{- if .secretName }}
- name: {{ .name }}
  secret:
    secretName: {{ .secretName }}
    defaultMode: 0440
    items:
      - key: tls.crt
        path: tls.crt
      - key: tls.key
        path: tls.key
{{- end }}
{{- end -}}

{{- define "jobqueue.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "jobqueue.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* The container that brings the schema up to date: running it again does nothing, and two take turns. */ -}}
{{- define "jobqueue.migrate" -}}
- name: migrate
  image: {{ include "jobqueue.image" (dict "root" . "image" .Values.image) | quote }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  args: [migrate, up]
  env:
    {{- include "jobqueue.ownerEnv" . | nindent 4 }}
  securityContext:
    {{- include "jobqueue.containerSecurity" . | nindent 4 }}
  volumeMounts:
    {{- include "jobqueue.databaseMounts" . | nindent 4 }}
{{- end -}}

{{- /* What places a pod. Of: the values. */ -}}
{{- define "jobqueue.place" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{- define "jobqueue.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{- /* Settings as variables. YAML takes `on` and `off` for true and false, and a large number for a float. */ -}}
{{- define "jobqueue.setting" -}}
{{- if kindIs "bool" . -}}
{{- ternary "on" "off" . | quote -}}
{{- else if kindIs "float64" . -}}
{{- . | int64 | toString | quote -}}
{{- else -}}
{{- . | toString | quote -}}
{{- end -}}
{{- end -}}

{{- /* A duration such as 1h30m in whole seconds, rounded up. */ -}}
{{- define "jobqueue.seconds" -}}
{{- $units := dict "ms" 0.001 "s" 1.0 "m" 60.0 "h" 3600.0 "d" 86400.0 -}}
{{- $total := 0.0 -}}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(ms|s|m|h|d)" . -1 -}}
{{- $total = addf $total (mulf (regexFind "^[0-9.]+" . | float64) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- ceil $total | int -}}
{{- end -}}

{{- /* How the pod's own probes speak to HTTP. */ -}}
{{- define "jobqueue.scheme" -}}
{{- ternary "HTTPS" "HTTP" (ne .Values.tls.secretName "") -}}
{{- end -}}

{{- /* Whether a caller without a certificate is not let in, so that Kubernetes itself can't ask. */ -}}
{{- define "jobqueue.demandsCertificates" -}}
{{- $mixed := and (has "mtls" .Values.auth.methods) (gt (len .Values.auth.methods) 1) -}}
{{- if and .Values.tls.clientCaSecret.name (not $mixed) }}true{{ end -}}
{{- end -}}

{{- /* Where metrics are served: to the pod alone, but where readers show a token or may all read. */ -}}
{{- define "jobqueue.metricsHost" -}}
{{- $all := or (has "public-metrics" .Values.insecure) (not .Values.auth.methods) -}}
{{- ternary "0.0.0.0" "127.0.0.1" (or $all (ne .Values.metrics.tokenSecret.name "")) -}}
{{- end -}}

{{- /* The variables of a server. */ -}}
{{- define "jobqueue.serverEnv" -}}
{{ include "jobqueue.databaseEnv" . }}
- name: JOBQUEUE_GRPC_ADDR
  value: 0.0.0.0:50051
- name: API_BIND_ADDR
  value: 0.0.0.0:8080
- name: JOBQUEUE_METRICS_ADDR
  value: {{ include "jobqueue.metricsHost" . }}:9090
- name: JOBQUEUE_AUTH
  value: {{ join "," .Values.auth.methods | quote }}
- name: JOBQUEUE_AUTH_ANONYMOUS
  value: {{ join "," .Values.auth.anonymous | quote }}
- name: JOBQUEUE_INSECURE
  value: {{ join "," .Values.insecure | quote }}
- name: JOBQUEUE_SHUTDOWN_GRACE
  value: {{ .Values.shutdownGrace }}
{{- if .Values.tls.secretName }}
- name: JOBQUEUE_TLS_CERT
  value: /etc/jobqueue/tls/tls.crt
- name: JOBQUEUE_TLS_KEY
  value: /etc/jobqueue/tls/tls.key
{{- end }}
{{- with .Values.tls.clientCaSecret }}
{{- if .name }}
- name: JOBQUEUE_TLS_CLIENT_CA
  value: /etc/jobqueue/client-authority/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.tls.clientCrlSecret }}
{{- if .name }}
- name: JOBQUEUE_TLS_CLIENT_CRL
  value: /etc/jobqueue/client-revoked/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.auth.issuersSecret }}
{{- if .name }}
- name: JOBQUEUE_JWT_ISSUERS
  value: /etc/jobqueue/issuers/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.metrics.tokenSecret }}
{{- if .name }}
- name: JOBQUEUE_METRICS_TOKEN_FILE
  value: /etc/jobqueue/metrics/{{ .key }}
{{- end }}
{{- end }}
{{- with .Values.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}
