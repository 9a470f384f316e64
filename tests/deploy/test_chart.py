"""The Helm chart: what it makes of value sets is what Kubernetes takes, and what the server starts with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from jobqueue_server import security
from jobqueue_server.rpc.checks import Problems
from jobqueue_server.rpc.keda.metadata import trigger
from jobqueue_server.settings import Settings, environment_name
from jobqueue_worker.settings import WorkerSettings
from jobqueue_worker.settings import environment_name as of_worker

from . import dockerfile
from .chart import (
    CHART,
    SETS,
    Object,
    containers,
    environment,
    of_kind,
    one,
    pods,
    rendered,
    seconds,
    values_of,
)
from .conftest import DEPLOY, ROOT
from .helm import helm_python, kubernetes_validate

pytestmark = [pytest.mark.chart, pytest.mark.parametrize("name", SETS)]

KUBERNETES = ("1.31", "1.34", "1.37")
CRDS = {
    path.stem: jsonschema_rs.validator_for(YAML(typ="safe").load(path))
    for path in (Path(__file__).parent / "crds").glob("*.yaml")
}
# The program of the image; it is the same in all sets.
STAGES = dockerfile.read(DEPLOY / "Dockerfile")


@pytest.fixture
def objects(name: str) -> list[Object]:
    return rendered(values_of(name))


def servers(objects: list[Object]) -> Object:
    (found,) = (
        each
        for each in of_kind(objects, "Deployment")
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    )
    return found


class AnySecret(dict[str, str]):
    """Secrets that are there already."""

    def __missing__(self, key: str) -> str:
        return "postgresql://jobqueue@postgres/jobqueue" if key.endswith(("/url", "/uri", "/dsn")) else "x"


def test_helm_finds_nothing_wrong(name: str):
    found = helm_python.lint(CHART, values_of(name), strict=True)
    assert [each for each in found["messages"] if each["severity"] > 1] == []
    assert found["errors"] == []


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_what_is_made(name: str, objects: list[Object], version: str):
    assert objects
    for each in objects:
        if each["kind"] in CRDS:
            assert [error.message for error in CRDS[each["kind"]].iter_errors(each["spec"])] == []
        else:
            kubernetes_validate.validate(each, version, strict=True)


def test_names_are_short_enough_however_long_the_release_is_called(name: str):
    for each in rendered(values_of(name), name="r" * 53):
        assert len(each["metadata"]["name"]) <= 63
        for label in each["metadata"]["labels"].values():
            assert len(label) <= 63


def test_no_name_is_given_twice(name: str, objects: list[Object]):
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(names) == len(set(names))


def test_a_pod_can_write_nothing_and_become_nobody_else(name: str, objects: list[Object]):
    for of_what, pod in pods(objects):
        whole = pod["spec"]["securityContext"]
        assert whole["runAsNonRoot"], of_what
        assert whole["runAsUser"] == whole["fsGroup"] == 10001, of_what
        assert whole["seccompProfile"] == {"type": "RuntimeDefault"}
        # Variables that are called like settings would come from it.
        assert pod["spec"]["enableServiceLinks"] is False
        # Only what writes the first key talks to Kubernetes.
        assert pod["spec"]["automountServiceAccountToken"] is of_what.endswith("-first-key")
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
    user = int(STAGES["server"].one("USER").rest.partition(":")[0])
    assert user == int(STAGES["worker"].one("USER").rest.partition(":")[0]) == 10001


def test_what_a_pod_mounts_it_has_and_what_it_has_is_mounted(name: str, objects: list[Object]):
    for of_what, pod in pods(objects):
        mounted = {each["name"] for container in containers(pod) for each in container["volumeMounts"]}
        assert mounted == {each["name"] for each in pod["spec"]["volumes"]}, of_what


def test_no_selector_finds_another_parts_pods(name: str, objects: list[Object]):
    selectors = {
        f"{each['kind']} {each['metadata']['name']}": selector.get("matchLabels", selector)
        for each in objects
        if each["kind"] not in {"ServiceMonitor"} and (selector := each.get("spec", {}).get("selector"))
    }
    assert selectors
    for whose, wanted in selectors.items():
        parts = {
            pod["metadata"]["labels"]["app.kubernetes.io/component"]
            for _, pod in pods(objects)
            if wanted.items() <= pod["metadata"]["labels"].items()
        }
        assert parts == {wanted["app.kubernetes.io/component"]}, whose


def test_the_server_starts_with_what_it_is_given(
    name: str, objects: list[Object], monkeypatch: pytest.MonkeyPatch
):
    (container,) = servers(objects)["spec"]["template"]["spec"]["containers"]
    given = environment(objects, container, AnySecret())
    known = {environment_name(each) for each in Settings.model_fields} | {"PGSSLROOTCERT", "TZ"}
    assert given.keys() <= known
    for variable, value in {**STAGES["server"].environment, **given}.items():
        monkeypatch.setenv(variable, value)

    # What would end it with exit code 2.
    settings = Settings.load()
    assert [rule.text for rule in security.found(settings) if not rule.warns] == []

    # And it listens where the pod says so.
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert settings.grpc_addr == f"0.0.0.0:{ports['grpc']}"
    assert settings.http_addr == f"0.0.0.0:{ports['http']}"
    assert str(settings.metrics_addr).endswith(f":{ports['metrics']}")


def test_what_it_accepts_as_insecure_is_what_it_would_be_refused_for(
    name: str, objects: list[Object], monkeypatch: pytest.MonkeyPatch
):
    (container,) = servers(objects)["spec"]["template"]["spec"]["containers"]
    for variable, value in environment(objects, container, AnySecret()).items():
        monkeypatch.setenv(variable, value)
    accepted = Settings.load().insecure
    monkeypatch.setenv("JOBQUEUE_INSECURE", "")
    needed = {rule.accepted_by for rule in security.found(Settings.load())}
    assert set(accepted) - {""} >= needed - {""}
    if name in {"tls", "mtls", "identities", "keda"}:
        assert needed == set()


def test_a_probe_asks_a_port_that_is_there_in_the_words_that_it_takes(name: str, objects: list[Object]):
    spec = servers(objects)["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    values = values_of(name)
    tls = "tls" in values
    asked = [container[each] for each in ("startupProbe", "livenessProbe", "readinessProbe")]
    if name == "mtls":
        # The handshake would not let Kubernetes in.
        for probe in asked:
            assert probe["exec"]["command"] == STAGES["server"].one("HEALTHCHECK").command
        return
    paths = [probe["httpGet"]["path"] for probe in asked]
    # A database that is away makes a pod unready, and restarts none.
    assert paths == ["/health", "/health", "/readyz"]
    assert {probe["httpGet"]["scheme"] for probe in asked} == {"HTTPS" if tls else "HTTP"}


def test_nobody_is_killed_in_the_middle_of_a_drain(name: str, objects: list[Object]):
    for each in of_kind(objects, "Deployment"):
        spec = each["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        grace = seconds(environment(objects, container, AnySecret())["JOBQUEUE_SHUTDOWN_GRACE"])
        before = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["", "0"])
        assert spec["terminationGracePeriodSeconds"] >= grace + float(before[1]) + 12


def test_a_new_server_comes_before_an_old_one_goes(name: str, objects: list[Object]):
    spec = servers(objects)["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    for budget in of_kind(objects, "PodDisruptionBudget"):
        assert budget["spec"]["maxUnavailable"] >= 1
    assert bool(of_kind(objects, "HorizontalPodAutoscaler")) is ("replicas" not in spec)


def test_the_schema_is_brought_up_to_date_before_a_server_starts_or_not_at_all(
    name: str, objects: list[Object]
):
    run = values_of(name).get("migrations", {}).get("run", "init")
    spec = servers(objects)["spec"]["template"]["spec"]
    jobs = [each for each in of_kind(objects, "Job") if each["metadata"]["name"].endswith("-migrate")]
    assert len(jobs) == (run == "hook")
    assert ("initContainers" in spec) is (run == "init")
    for job in jobs:
        notes = job["metadata"]["annotations"]
        assert notes["helm.sh/hook"] == "pre-install,pre-upgrade"
        # Before an installation nothing of the chart is there.
        account = job["spec"]["template"]["spec"]["serviceAccountName"]
        assert account not in {each["metadata"]["name"] for each in of_kind(objects, "ServiceAccount")}
    owners = [
        container
        for _, pod in pods(objects)
        for container in containers(pod)
        if any(each["name"] == "JOBQUEUE_MIGRATE_DATABASE_URL" for each in container.get("env", []))
    ]
    # What serves never sees the owner's password.
    assert {container["name"] for container in owners} <= {"migrate"}
    assert all(container["args"] == ["migrate", "up"] for container in owners)


def test_no_secret_is_where_anybody_may_read_it(name: str, objects: list[Object]):
    url = values_of(name)["database"].get("url")
    for each in objects:
        if each["kind"] != "Secret":
            assert "secret-of-the-url" not in repr(each)
    if url:
        assert one(objects, "Secret", "-database")["stringData"] == {"url": url}


def test_the_first_key_is_made_where_keys_are_asked_for(name: str, objects: list[Object]):
    auth = values_of(name).get("auth", {})
    wanted = "keys" in auth.get("methods", ["keys"]) and auth.get("bootstrap", {}).get("enabled", True)
    jobs = [each for each in of_kind(objects, "Job") if each["metadata"]["name"].endswith("-first-key")]
    assert len(jobs) == wanted
    if not wanted:
        assert not of_kind(objects, "Role")
        return
    secret = one(objects, "Secret", "-first-key")
    # It outlives the release, as the key does.
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not {"data", "stringData"} & secret.keys()
    (role,) = of_kind(objects, "Role")
    assert role["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [secret["metadata"]["name"]],
            "verbs": ["get", "patch"],
        }
    ]
    (container,) = jobs[0]["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == secret["metadata"]["name"]
    program = one(objects, "ConfigMap", "-first-key")["data"]["first_key.py"]
    assert program == (CHART / "files/first_key.py").read_text()


def test_a_worker_starts_with_what_it_is_given_and_finds_the_server(name: str, objects: list[Object]):
    workers = [each for each in of_kind(objects, "Deployment") if each is not servers(objects)]
    assert len(workers) == len(values_of(name).get("workers", {}))
    ports = {
        (each["metadata"]["name"], port["port"])
        for each in of_kind(objects, "Service")
        for port in each["spec"]["ports"]
        if port["name"] == "grpc"
    }
    names = {of_worker(each): each for each in WorkerSettings.model_fields}
    for worker in workers:
        (container,) = worker["spec"]["template"]["spec"]["containers"]
        given = environment(objects, container, AnySecret())
        assert given.keys() <= names.keys()
        settings = WorkerSettings(**{names[variable]: value for variable, value in given.items()})  # type: ignore[arg-type]
        host, _, port = settings.server.partition(":")
        assert (host, int(port)) in ports
        assert ("JOBQUEUE_TLS_ROOTS" in given) is ("tls" in values_of(name))
        if "livenessProbe" in container:
            assert given["WORKER_METRICS_BIND_ADDR"] == f"0.0.0.0:{container['ports'][0]['containerPort']}"


def test_keda_asks_what_the_server_answers(name: str, objects: list[Object]):
    for each in of_kind(objects, "ScaledObject"):
        deployment = one(objects, "Deployment", each["spec"]["scaleTargetRef"]["name"])
        # KEDA alone says how many run.
        assert "replicas" not in deployment["spec"]
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        given = environment(objects, container, AnySecret())
        (asked,) = each["spec"]["triggers"]
        if asked["type"] == "external-push":
            problems = Problems()
            found = trigger(asked["metadata"], "", problems)
            assert not problems
            assert ",".join(found.target.queues) == given["JOBQUEUE_QUEUES"]
            assert str(found.slots_per_replica) == given["WORKER_CONCURRENCY"]
        else:
            assert asked["metadata"]["url"].endswith(f"/v1/queues/{given['JOBQUEUE_QUEUES']}:demand")
            assert asked["metadata"]["targetValue"] == given["WORKER_CONCURRENCY"]
        if "authenticationRef" in asked:
            assert one(objects, "TriggerAuthentication", asked["authenticationRef"]["name"])


def test_its_version_is_that_of_the_packages(name: str):
    chart: dict[str, Any] = YAML(typ="safe").load(CHART / "Chart.yaml")
    version = tomllib.loads((ROOT / "server/pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version


def test_metrics_are_served_to_readers_that_may_have_them(name: str, objects: list[Object]):
    (container,) = servers(objects)["spec"]["template"]["spec"]["containers"]
    address = environment(objects, container, AnySecret())["JOBQUEUE_METRICS_ADDR"]
    shared = name in {"watched", "open"}
    assert address == ("0.0.0.0:9090" if shared else "127.0.0.1:9090")
    for monitor in of_kind(objects, "ServiceMonitor"):
        found = [
            each
            for each in of_kind(objects, "Service")
            if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
            and any(port["name"] == monitor["spec"]["endpoints"][0]["port"] for port in each["spec"]["ports"])
        ]
        # Each server is read once.
        (service,) = found
        assert service["metadata"]["name"].endswith("-headless")
