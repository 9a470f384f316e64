"""Every value of the Helm chart: its default, what it is for, and what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Settings that the chart gives the server itself, each with the value that decides it.
OWN = {
    "config": "settings",
    "database_url": "database",
    "migrate_database_url": "migrations",
    "data_dir": "database",
    "grpc_addr": "nothing: a pod has an address of its own",
    "http_addr": "nothing: a pod has an address of its own",
    "metrics_addr": "metrics",
    "tls_cert": "tls",
    "tls_key": "tls",
    "tls_client_ca": "tls",
    "tls_client_crl": "tls",
    "processes": "replicas: one process a pod",
    "auth": "auth.methods",
    "auth_anonymous": "auth.anonymous",
    "jwt_issuers": "auth.issuersSecret",
    "metrics_token_file": "metrics.tokenSecret",
    "insecure": "insecure",
    "shutdown_grace": "shutdownGrace",
}
#: The same of workers.
OWN_OF_WORKERS = {
    "server": "nothing: it is the chart's server",
    "token": "tokenSecret",
    "tls_roots": "tls.rootsSecret",
    "tls_client_cert": "certificateSecret",
    "tls_client_key": "certificateSecret",
    "queues": "queues",
    "concurrency": "concurrency",
    "metrics_bind_addr": "healthPort",
    "shutdown_grace": "shutdownGrace",
    # A password does not belong into values: `env` refers to a Secret.
    "smtp_password": "env",
    "webhook_secret": "env",
    "webhook_secrets": "env",
}
DURATION = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"}
# The worker takes one number and one unit.
DURATION_OF_WORKERS = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"}
#: Kubernetes' own shapes, which Kubernetes checks.
THEIRS = {"type": "object"}
THEIR_LIST = {"type": "array", "items": {"type": "object"}}
NAME = {"type": "string", "maxLength": 253, "pattern": r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$"}
PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
COUNT = {"type": "integer", "minimum": 0}


@dataclass(frozen=True)
class Value:
    """One value: what it is when nothing is said, what it is for, and what it may be."""

    default: Any
    text: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Values under a name."""

    text: str
    values: Mapping[str, Value | Group]


Values = Mapping[str, Value | Group]


def a(default: Any, text: str, /, **schema: Any) -> Value:
    return Value(default, text, schema)


def secret(text: str, key: str) -> Group:
    """A key of a Secret that is there already."""
    return Group(
        text,
        {
            "name": a("", "The Secret's name; empty: none.", **NAME),
            "key": a(key, "Which of its keys.", type="string", minLength=1, pattern=r"^[-._a-zA-Z0-9]+$"),
        },
    )


def text_map(text: str) -> Value:
    return a({}, text, type="object", additionalProperties={"type": "string"})


def image(repository: str, of_what: str) -> Group:
    return Group(
        of_what,
        {
            "repository": a(
                repository,
                "Where it is, without a tag. Push it to a registry of your own.",
                type="string",
                minLength=1,
            ),
            "tag": a("", "Empty: the version of the chart.", type="string"),
            "digest": a(
                "",
                "`sha256:...`, which wins over the tag.",
                type="string",
                pattern="^(sha256:[0-9a-f]{64})?$",
            ),
            "pullPolicy": a(
                "IfNotPresent", "As Kubernetes has it.", enum=["Always", "IfNotPresent", "Never"]
            ),
        },
    )


PLACE: Values = {
    "resources": a(
        {"requests": {"cpu": "500m", "memory": "256Mi"}},
        "Without a limit of CPU: it would only make it slower.",
        **THEIRS,
    ),
    "nodeSelector": text_map("Labels of nodes that it may run on."),
    "tolerations": a([], "Taints of nodes that it may run on all the same.", **THEIR_LIST),
    "affinity": a({}, "As Kubernetes has it.", **THEIRS),
    "priorityClassName": a("", "Empty: the cluster's default.", **NAME),
    "podLabels": text_map("More labels of its pods."),
    "podAnnotations": text_map("More annotations of its pods."),
}

KEDA = Group(
    "A ScaledObject, where KEDA is installed ([docs/keda.md](../keda.md)).",
    {
        "enabled": a(False, "Whether KEDA decides how many run.", type="boolean"),
        "over": a(
            "rest",
            "`rest`: KEDA asks with a key. `grpc`: it is told within a second of the first job, and shows a certificate.",
            enum=["rest", "grpc"],
        ),
        "minReplicas": a(0, "How few.", **COUNT),
        "maxReplicas": a(10, "How many.", type="integer", minimum=1),
        "pollingInterval": a(5, "How often KEDA asks, in seconds.", type="integer", minimum=1),
        "cooldownPeriod": a(300, "How long after the last job it goes down to zero, in seconds.", **COUNT),
        "activationSlots": a(
            0, "`grpc` alone: stay at zero while no more than so many jobs run or could run.", **COUNT
        ),
        "tokenSecret": secret("`rest` alone: the key that KEDA shows; it takes READ on the queue.", "token"),
        "certificateSecret": a(
            "", "`grpc` alone: a Secret with the certificate that KEDA shows (`tls.crt`, `tls.key`).", **NAME
        ),
    },
)

WORKER: Values = {
    "image": image("jobqueue-worker", "The worker's image: that of this project, or your own."),
    "command": a([], "Instead of the image's own command.", type="array", items={"type": "string"}),
    "args": a([], "Arguments of the command.", type="array", items={"type": "string"}),
    "replicas": a(1, "How many run, where KEDA does not decide.", **COUNT),
    "queues": a(["default"], "From which queues it takes jobs, in turns.", type="array", minItems=1, uniqueItems=True, items={"type": "string", "minLength": 1, "pattern": "^[^,]+$"}),
    "concurrency": a(4, "How many jobs one worker runs at the same time.", type="integer", minimum=1),
    "shutdownGrace": a("30s", "How long running jobs may take after SIGTERM before they are given back.", **DURATION_OF_WORKERS),
    "tokenSecret": secret("The worker's key. It takes WORK on its queues.", "token"),
    "certificateSecret": a("", "A Secret with the certificate that it shows (`tls.crt`, `tls.key`).", **NAME),
    "settings": Value({}, "Settings of `jobqueue-worker` by their [names](../settings.md#jobqueue-worker).", {}),
    "env": a([], "More variables, as Kubernetes has them, such as secrets by `valueFrom`.", **THEIR_LIST),
    "healthPort": a(9091, "Where its `/health` is asked for; 0: it has none.", type="integer", minimum=0, maximum=65535),
    "volumes": a([], "More volumes of its pods.", **THEIR_LIST),
    "volumeMounts": a([], "Where they are.", **THEIR_LIST),
    **PLACE,
    "keda": KEDA,
}  # fmt: skip

VALUES: Values = {
    "fullnameOverride": a("", "What all objects are called; empty: after the release.", **{**NAME, "maxLength": 40}),
    "image": image("jobqueue-server", "The server's image."),
    "imagePullSecrets": a([], "Names of Secrets by which images are pulled.", type="array", items={**NAME, "minLength": 1}),
    "replicas": a(2, "How many servers run, where `autoscaling` is off. Each is one process, and uses one core.", type="integer", minimum=1),
    "database": Group(
        "PostgreSQL, 15 or later. It is not part of the chart. Name it by `url` or by `secret`, not by both.",
        {
            "url": a("", "`postgresql://USER:PASSWORD@HOST:5432/DATABASE`, for a first try: it is then in the release too.", type="string", pattern="^(postgres(ql)?://.+)?$"),
            "secret": secret("A Secret that holds the URL.", "url"),
            "caSecret": secret("A Secret with the authority that signed PostgreSQL's certificate, for `sslmode=verify-full` in the URL.", "ca.crt"),
        },
    ),
    "migrations": Group(
        "What brings the schema up to date.",
        {
            "run": a("init", "`init`: each server's pod, before its server; where there is nothing to do it takes a second. `hook`: a Job before an installation and before an upgrade; `database.secret` must be there already. `never`: you.", enum=["init", "hook", "never"]),
            "secret": secret("A Secret that holds the URL of the tables' owner, where the role of `database` owns nothing.", "url"),
        },
    ),
    "auth": Group(
        "Who is let in.",
        {
            "methods": a(["keys"], "`keys`, `jwt` and `mtls`: how callers show who they are.", type="array", uniqueItems=True, items={"enum": ["keys", "jwt", "mtls"]}),
            "anonymous": a([], "What a caller that shows nothing may do.", type="array", uniqueItems=True, items={"enum": ["enqueue", "read", "work", "operate"]}),
            "issuersSecret": secret("A Secret with the file of several issuers of tokens (`JOBQUEUE_JWT_ISSUERS`).", "issuers.toml"),
            "bootstrap": Group(
                "A Job that makes the first key, which permits everything, and keeps it in a Secret. It does nothing where the database has a key of an administrator.",
                {
                    "enabled": a(True, "Whether it is made, where `methods` has `keys`.", type="boolean"),
                    "keyName": a("ops", "What the key is for.", type="string", minLength=1, maxLength=100),
                    "secretName": a("", "The Secret, which outlives the release; empty: its name ends in `-first-key`.", **NAME),
                },
            ),
        },
    ),
    "tls": Group(
        "Without a certificate everything is sent in the clear within the cluster, keys too.",
        {
            "secretName": a("", "A Secret with the server's certificate (`tls.crt`, `tls.key`). A new one is taken without a restart.", **NAME),
            "clientCaSecret": secret("A Secret with who signs the certificates of callers.", "ca.crt"),
            "clientCrlSecret": secret("A Secret with which of those were revoked.", "ca.crl"),
            "rootsSecret": secret("A Secret with who signed the server's certificate, for workers of this chart. Without it they trust the public authorities.", "ca.crt"),
        },
    ),
    "insecure": a(["plaintext"], "What the server would refuse to start with and is to accept ([hardening](../hardening.md)). `plaintext` has no effect once `tls` has a certificate.", type="array", uniqueItems=True, items={"enum": ["plaintext", "no-auth", "public-metrics", "public-docs"]}),
    "settings": Value({}, "Settings of the server by their [names](../settings.md), such as `JOBQUEUE_RETENTION: 30d`.", {}),
    "env": a([], "More variables of the server, as Kubernetes has them.", **THEIR_LIST),
    "shutdownGrace": a("30s", "How long a server takes settlements after SIGTERM. Kubernetes waits for 20 s more.", **DURATION),
    "metrics": Group(
        "They are served on port 9090 to readers with the token; where `insecure` has `public-metrics` to all; else within the pod alone, for `kubectl port-forward`.",
        {
            "tokenSecret": secret("The token that readers show, of 20 characters or more.", "token"),
            "serviceMonitor": Group(
                "An object for the Prometheus operator.",
                {
                    "enabled": a(False, "Whether there is one.", type="boolean"),
                    "labels": text_map("By which your Prometheus finds it."),
                    "interval": a("30s", "How often it reads.", type="string", pattern="^[0-9]+(ms|s|m)$"),
                },
            ),
        },
    ),
    "service": Group(
        "What callers reach. Its twin `-headless` has an address for each server, for clients that balance themselves.",
        {
            "type": a("ClusterIP", "As Kubernetes has it.", enum=["ClusterIP", "NodePort", "LoadBalancer"]),
            "annotations": text_map("Its annotations."),
            "grpcPort": a(50051, "Its port for gRPC.", **PORT),
            "httpPort": a(8080, "Its port for HTTP/JSON and the dashboard.", **PORT),
        },
    ),
    "ingress": Group(
        "For HTTP/JSON and the dashboard. gRPC does not go through it.",
        {
            "enabled": a(False, "Whether there is one.", type="boolean"),
            "className": a("", "Empty: the cluster's default.", **NAME),
            "host": a("", "The name under which it answers.", **NAME),
            "tlsSecretName": a("", "A Secret with the certificate of that name.", **NAME),
            "annotations": text_map("Its annotations."),
        },
    ),
    "networkPolicy": Group(
        "Who reaches the servers.",
        {
            "enabled": a(False, "Whether there is one.", type="boolean"),
            "callers": a([{"podSelector": {}}], "Who may call, as peers of Kubernetes; by default all pods of the namespace.", **THEIR_LIST),
            "readers": a([], "Who may read the metrics.", **THEIR_LIST),
            "egress": a([], "What the servers may reach beside DNS, as rules of Kubernetes; empty: all.", **THEIR_LIST),
        },
    ),
    "autoscaling": Group(
        "More servers while they are busy.",
        {
            "enabled": a(False, "Whether a HorizontalPodAutoscaler decides how many servers run.", type="boolean"),
            "minReplicas": a(2, "How few.", type="integer", minimum=1),
            "maxReplicas": a(6, "How many.", type="integer", minimum=1),
            "targetCPU": a(70, "Percent of the requested CPU.", type="integer", minimum=10, maximum=100),
        },
    ),
    "podDisruptionBudget": Group(
        "For when nodes are emptied.",
        {
            "enabled": a(True, "Whether there is one.", type="boolean"),
            "maxUnavailable": a(1, "How many servers may be away at a time.", type="integer", minimum=1),
        },
    ),
    "serviceAccount": Group(
        "Of servers and workers. They get no token of it: neither talks to Kubernetes.",
        {
            "name": a("", "One that is there already; empty: the chart makes one.", **NAME),
            "annotations": text_map("Of the one that is made."),
        },
    ),
    **PLACE,
    "workers": Value({}, "Workers by name, each with what differs from `workerDefaults`.", {}),
    "workerDefaults": Group("What holds for each of `workers` that says nothing else.", WORKER),
}  # fmt: skip
