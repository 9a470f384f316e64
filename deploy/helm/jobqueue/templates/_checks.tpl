{{- /* What a schema can't say: values that don't go together. Each sentence names the value and what would be right. */ -}}
{{- define "jobqueue.checks" -}}
{{- $values := .Values -}}
{{- with .Values.database -}}
{{- if and .url .secret.name -}}
{{- fail "database: has both url and secret.name: name the database by one of them" -}}
{{- else if not (or .url .secret.name) -}}
{{- fail "database: names no PostgreSQL: set database.secret.name to a Secret that holds its URL, or, for a first try, database.url to postgresql://USER:PASSWORD@HOST:5432/DATABASE" -}}
{{- end -}}
{{- end -}}
{{- if and (eq .Values.migrations.run "hook") .Values.database.url -}}
{{- fail "migrations.run: is hook, which runs before the chart's own Secret is there: name the database by database.secret.name, or leave migrations.run at init" -}}
{{- end -}}
{{- if and .Values.migrations.secret.name (eq .Values.migrations.run "never") -}}
{{- fail "migrations.secret.name: has no effect while migrations.run is never: leave it out, or set migrations.run to init or hook" -}}
{{- end -}}
{{- if and (not .Values.auth.methods) (not (has "no-auth" .Values.insecure)) -}}
{{- fail "auth.methods: is empty, so each caller in the cluster may do everything: name keys, jwt or mtls, or accept it by no-auth in insecure" -}}
{{- end -}}
{{- if and (not .Values.tls.secretName) (not (has "plaintext" .Values.insecure)) -}}
{{- fail "tls.secretName: is empty, so everything is sent in the clear: name a Secret of type kubernetes.io/tls, or accept it by plaintext in insecure" -}}
{{- end -}}
{{- if and (has "mtls" .Values.auth.methods) (not .Values.tls.clientCaSecret.name) -}}
{{- fail "tls.clientCaSecret.name: is empty while auth.methods has mtls: name the Secret with who signs the certificates of callers" -}}
{{- end -}}
{{- if and (or .Values.tls.clientCaSecret.name .Values.tls.clientCrlSecret.name) (not .Values.tls.secretName) -}}
{{- fail "tls.secretName: is empty while tls has an authority of callers: certificates are shown over TLS alone, so name the server's own" -}}
{{- end -}}
{{- if and (has "jwt" .Values.auth.methods) (not .Values.auth.issuersSecret.name) -}}
{{- range list "JOBQUEUE_JWT_ISSUER" "JOBQUEUE_JWT_AUDIENCE" "JOBQUEUE_JWT_JWKS_URL" -}}
{{- if not (get $values.settings .) -}}
{{- fail (printf "settings.%s: is missing while auth.methods has jwt: set it, or name several issuers by auth.issuersSecret.name" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (ne (include "jobqueue.metricsHost" .) "0.0.0.0") -}}
{{- fail "metrics.serviceMonitor.enabled: metrics are served within the pod alone: set metrics.tokenSecret.name, or accept by public-metrics in insecure that each pod may read them" -}}
{{- end -}}
{{- if gt (include "jobqueue.seconds" .Values.shutdownGrace | int) 3600 -}}
{{- fail "shutdownGrace: should be 1h at most" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.host: is empty while ingress.enabled is true: set the name under which it answers" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas: is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- range $name, $worker := .Values.workers -}}
{{- include "jobqueue.checkWorker" (dict "root" $ "name" $name "worker" (include "jobqueue.worker" (dict "root" $ "worker" $worker) | fromYaml)) -}}
{{- end -}}
{{- end -}}

{{- define "jobqueue.checkWorker" -}}
{{- $values := .root.Values -}}
{{- $mtls := and .worker.certificateSecret (has "mtls" $values.auth.methods) -}}
{{- if and $values.auth.methods (not .worker.tokenSecret.name) (not $mtls) (not (has "work" $values.auth.anonymous)) -}}
{{- fail (printf "workers.%s.tokenSecret.name: is empty while auth.methods asks for credentials: name the Secret with its key, which `jobqueue keys create %s --work QUEUE` makes" .name .name) -}}
{{- end -}}
{{- if and (include "jobqueue.demandsCertificates" .root) (not .worker.certificateSecret) -}}
{{- fail (printf "workers.%s.certificateSecret: is empty while the server lets in callers with a certificate alone: name a Secret of type kubernetes.io/tls" .name) -}}
{{- end -}}
{{- with .worker.keda -}}
{{- if .enabled -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- fail (printf "workers.%s.keda.minReplicas: is above maxReplicas" $.name) -}}
{{- end -}}
{{- if and (eq .over "rest") (gt (len $.worker.queues) 1) -}}
{{- fail (printf "workers.%s.keda.over: rest asks for one queue, and this worker has several: set it to grpc, or make a worker for each queue" $.name) -}}
{{- end -}}
{{- if and (eq .over "rest") $values.auth.methods (not .tokenSecret.name) (not (has "read" $values.auth.anonymous)) -}}
{{- fail (printf "workers.%s.keda.tokenSecret.name: is empty while auth.methods asks for credentials: name the Secret with a key that has READ on the queue" $.name) -}}
{{- end -}}
{{- if and (eq .over "grpc") $values.auth.methods (not (and .certificateSecret (has "mtls" $values.auth.methods))) (not (has "read" $values.auth.anonymous)) -}}
{{- fail (printf "workers.%s.keda.over: over grpc KEDA shows a certificate and no key: set keda.certificateSecret and have mtls in auth.methods, or set over to rest" $.name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- /* A worker with the defaults, as YAML. Of: root, worker. */ -}}
{{- define "jobqueue.worker" -}}
{{- mustMergeOverwrite (deepCopy .root.Values.workerDefaults) (deepCopy .worker) | toYaml -}}
{{- end -}}
