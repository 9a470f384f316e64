"""Values of the chart that can't be used are refused, with a sentence that names them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from jobqueue_server.settings import Settings, default_text, environment_name
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker
from tools.chart.values import OWN, OWN_OF_WORKERS

from .chart import Refused, containers, environment, of_kind, one, pods, rendered, schema, values_of

pytestmark = pytest.mark.chart

DATABASE = {"database": {"secret": {"name": "jobqueue-database"}}}
A_WORKER = {"tokenSecret": {"name": "key"}}
CERTIFICATES = {"secretName": "own", "clientCaSecret": {"name": "callers"}}

# What is wrong, and what the sentence has.
BY_THE_CHART: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["database: names no PostgreSQL", "set database.secret.name", "postgresql://USER:PASSWORD@HOST"]),
    ({"database": {"url": "postgresql://a/b", "secret": {"name": "x"}}}, ["database: has both url and secret.name"]),
    ({"database": {"url": "postgresql://a/b"}, "migrations": {"run": "hook"}}, ["migrations.run: is hook", "init"]),
    ({**DATABASE, "migrations": {"run": "never", "secret": {"name": "x"}}}, ["migrations.secret.name: has no effect"]),
    ({**DATABASE, "auth": {"methods": []}}, ["auth.methods: is empty", "no-auth"]),
    ({**DATABASE, "insecure": []}, ["tls.secretName: is empty", "plaintext in insecure"]),
    ({**DATABASE, "auth": {"methods": ["mtls"]}}, ["tls.clientCaSecret.name: is empty while auth.methods has mtls"]),
    ({**DATABASE, "tls": {"clientCaSecret": {"name": "x"}}}, ["tls.secretName: is empty while tls has an authority"]),
    ({**DATABASE, "auth": {"methods": ["jwt"]}}, ["settings.JOBQUEUE_JWT_ISSUER: is missing", "auth.issuersSecret"]),
    (
        {**DATABASE, "metrics": {"serviceMonitor": {"enabled": True}}},
        ["metrics.serviceMonitor.enabled", "metrics.tokenSecret.name"],
    ),
    ({**DATABASE, "shutdownGrace": "1h30m"}, ["shutdownGrace: should be 1h at most"]),
    ({**DATABASE, "ingress": {"enabled": True}}, ["ingress.host: is empty"]),
    ({**DATABASE, "autoscaling": {"enabled": True, "minReplicas": 7}}, ["autoscaling.minReplicas: is above"]),
    ({**DATABASE, "workers": {"mail": {}}}, ["workers.mail.tokenSecret.name: is empty", "jobqueue keys create mail"]),
    (
        {**DATABASE, "auth": {"methods": ["mtls"]}, "tls": CERTIFICATES, "workers": {"mail": A_WORKER}},
        ["workers.mail.certificateSecret: is empty"],
    ),
    (
        {**DATABASE, "workers": {"mail": {**A_WORKER, "keda": {"enabled": True}}}},
        ["workers.mail.keda.tokenSecret.name: is empty", "READ"],
    ),
    (
        {**DATABASE, "workers": {"mail": {**A_WORKER, "keda": {"enabled": True, "over": "grpc"}}}},
        ["workers.mail.keda.over: over grpc KEDA shows a certificate"],
    ),
    (
        {**DATABASE, "workers": {"mail": {**A_WORKER, "queues": ["a", "b"], "keda": {"enabled": True}}}},
        ["workers.mail.keda.over: rest asks for one queue"],
    ),
    (
        {**DATABASE, "workers": {"mail": {**A_WORKER, "keda": {"enabled": True, "minReplicas": 11}}}},
        ["workers.mail.keda.minReplicas: is above maxReplicas"],
    ),
]  # fmt: skip

BY_THE_SCHEMA: list[tuple[dict[str, Any], list[str]]] = [
    ({"replica": 2}, ["'replica'", "not allowed"]),
    ({"replicas": "two"}, ["/replicas", "integer"]),
    ({"replicas": 0}, ["/replicas", "minimum"]),
    ({"database": {"uri": "postgresql://a/b"}}, ["/database", "'uri'"]),
    ({"database": {"url": "mysql://a/b"}}, ["/database/url", "postgres"]),
    ({"database": {"existingSecret": "x"}}, ["/database", "'existingSecret'"]),
    ({"auth": {"methods": ["key"]}}, ["/auth/methods/0", "'keys'"]),
    ({"insecure": ["plain"]}, ["/insecure/0", "'plaintext'"]),
    ({"shutdownGrace": "30"}, ["/shutdownGrace"]),
    ({"settings": {"JOBQUEUE_RETENTON": "30d"}}, ["/settings", "'JOBQUEUE_RETENTON'"]),
    ({"settings": {"JOBQUEUE_RETENTION": "30 days"}}, ["/settings/JOBQUEUE_RETENTION"]),
    ({"settings": {"JOBQUEUE_KINDS": "closed"}}, ["/settings/JOBQUEUE_KINDS", "'declared'"]),
    ({"settings": {"JOBQUEUE_DB_POOL_SIZE": 3}}, ["/settings/JOBQUEUE_DB_POOL_SIZE", "minimum"]),
    ({"settings": {"JOBQUEUE_AUTH": "keys"}}, ["/settings", "'JOBQUEUE_AUTH'"]),
    ({"workers": {"Mail": A_WORKER}}, ["'Mail'", "pattern"]),
    ({"workers": {"mail": {"queue": "mail"}}}, ["/workers/mail", "'queue'"]),
    ({"workers": {"mail": {"queues": []}}}, ["/workers/mail/queues"]),
    ({"workers": {"mail": {"shutdownGrace": "1h30m"}}}, ["/workers/mail/shutdownGrace"]),
    ({"workers": {"mail": {"keda": {"over": "http"}}}}, ["/workers/mail/keda/over", "'rest'"]),
    ({"image": {"digest": "sha256:abc"}}, ["/image/digest"]),
    ({"tls": {"secretName": "Not A Name"}}, ["/tls/secretName"]),
]


@pytest.mark.parametrize(
    ("wrong", "words"), BY_THE_CHART, ids=lambda each: each[0] if isinstance(each, list) else ""
)
def test_values_that_do_not_go_together_are_refused_with_what_would_be_right(
    wrong: Mapping[str, Any], words: list[str]
):
    with pytest.raises(Refused) as refused:
        rendered(wrong)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(("wrong", "words"), BY_THE_SCHEMA, ids=lambda each: str(each)[:40])
def test_a_value_of_the_wrong_name_or_form_is_refused_by_its_path(wrong: Mapping[str, Any], words: list[str]):
    with pytest.raises(Refused) as refused:
        rendered({**DATABASE, **wrong})
    for word in words:
        assert word in str(refused.value)


def test_nothing_that_is_ours_may_be_called_otherwise():
    def look(node: Mapping[str, Any], path: str) -> None:
        if node.get("properties") is not None:
            assert node["additionalProperties"] is False, path
            for name, each in node["properties"].items():
                look(each, f"{path}.{name}")

    whole = schema()
    look(whole, "")
    look(whole["properties"]["workers"]["additionalProperties"], "workers.NAME")


def test_every_setting_of_the_server_can_be_set_or_is_decided_by_another_value():
    known = schema()["properties"]["settings"]["properties"]
    assert known.keys() == {environment_name(each) for each in Settings.model_fields if each not in OWN}

    settings = {
        environment_name(name): _as_written(name) for name in Settings.model_fields.keys() - OWN.keys()
    }
    objects = rendered({**DATABASE, "settings": settings})
    given = one(objects, "ConfigMap", "-settings")["data"]
    for name in Settings.model_fields.keys() - OWN.keys():
        text = default_text(name)
        if text:
            assert given[environment_name(name)] == text
    assert all(isinstance(each, str) for each in given.values())


def _as_written(name: str) -> object:
    """The default of a setting as a person writes it, where YAML makes a flag of `on`."""
    default = Settings.model_fields[name].default
    if default is None and "int" in str(Settings.model_fields[name].annotation):
        return 7
    if isinstance(default, int):
        return default
    text = default_text(name)
    return {"on": True, "off": False}.get(text, text)


def test_every_setting_of_a_worker_can_be_set_or_is_decided_by_another_value():
    known = schema()["properties"]["workerDefaults"]["properties"]["settings"]["properties"]
    wanted = {of_worker(each) for each in WorkerSettings.model_fields if each not in OWN_OF_WORKERS}
    assert known.keys() == wanted


@pytest.mark.parametrize(
    ("written", "expected"),
    [("30s", 50), ("1500ms", 22), ("2m", 140), ("1m30.5s", 111), ("0.5h", 1820), ("0s", 20)],
)
def test_kubernetes_waits_for_as_long_as_the_grace_however_it_is_written(written: str, expected: int):
    objects = rendered({**DATABASE, "shutdownGrace": written})
    spec = one(objects, "Deployment")["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == expected
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("JOBQUEUE_SHUTDOWN_GRACE", written)
        grace = Settings.load().shutdown_grace
    assert timedelta(seconds=expected - 20) - grace < timedelta(seconds=1)


def test_new_settings_are_new_pods_and_the_same_are_not():
    def mark(values: dict[str, Any]) -> str:
        pod = one(rendered(values), "Deployment")["spec"]["template"]
        return str(pod["metadata"]["annotations"]["jobqueue.dev/settings"])

    first = {**DATABASE, "settings": {"JOBQUEUE_RETENTION": "30d", "JOBQUEUE_KINDS": "open"}}
    again = {**DATABASE, "settings": {"JOBQUEUE_KINDS": "open", "JOBQUEUE_RETENTION": "30d"}}
    other = {**DATABASE, "settings": {"JOBQUEUE_RETENTION": "31d"}}
    assert mark(first) == mark(again) != mark(other)


def test_a_worker_has_the_defaults_and_what_differs():
    objects = rendered(values_of("workers"))
    builtin, go = (
        one(objects, "Deployment", name)["spec"]["template"]["spec"] for name in ("-builtin", "-go")
    )
    given = environment(objects, builtin["containers"][0], {"workers-key/token": "a", "smtp/password": "b"})
    assert given["JOBQUEUE_TOKEN"] == "a"
    assert given["JOBQUEUE_IMAGE_MAX_BYTES"] == "41943040"
    assert given["JOBQUEUE_IMAGE_ALLOW_HTTP"] == "true"
    (container,) = go["containers"]
    assert environment(objects, container, {"go-key/key": "c"})["JOBQUEUE_TOKEN"] == "c"
    assert container["image"] == "images.example.com/go-worker:1.2"
    assert "livenessProbe" not in container


def test_a_policy_lets_callers_in_and_readers_to_metrics_alone():
    policy = one(rendered(values_of("placed")), "NetworkPolicy")["spec"]
    callers, readers = policy["ingress"]
    assert {each["port"] for each in callers["ports"]} == {"grpc", "http"}
    assert {each["port"] for each in readers["ports"]} == {"metrics"}
    assert {each["port"] for rule in policy["egress"] for each in rule.get("ports", [])} == {53, 5432}


def test_two_releases_in_one_namespace_share_nothing():
    first, second = (rendered(values_of("workers"), name=name) for name in ("one", "two"))
    assert not {(each["kind"], each["metadata"]["name"]) for each in first} & {
        (each["kind"], each["metadata"]["name"]) for each in second
    }
    for service in of_kind(first, "Service"):
        for _, pod in pods(second):
            assert containers(pod)
            assert not service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
