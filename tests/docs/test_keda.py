"""docs/keda.md: what it has Kubernetes and KEDA do is what the server takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.api import annotations_pb2
from ruamel.yaml import YAML

from jobqueue.v1 import insight_pb2
from jobqueue_server.rpc.checks import Problems
from jobqueue_server.rpc.keda import metadata
from jobqueue_server.rpc.keda.metadata import trigger
from jobqueue_worker.settings import WorkerSettings

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "keda.md").read_text()
OBJECTS: list[Any] = [
    each
    for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    for each in YAML(typ="safe").load_all(text)
]
TRIGGERS = {
    each["type"]: each
    for thing in OBJECTS
    if thing.get("kind") == "ScaledObject"
    for each in thing["spec"]["triggers"]
}


def test_the_trigger_over_grpc_is_one_that_the_server_takes() -> None:
    problems = Problems()
    asked = trigger(TRIGGERS["external-push"]["metadata"], "", problems)
    assert not problems
    assert (asked.target.queues, asked.slots_per_replica) == (("mail",), 8)


def test_the_table_has_the_names_that_the_server_knows_and_their_defaults() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, or `\w+`)?) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {name for names, _ in rows for name in re.findall(r"\w+", names)} - {"or"} == {*metadata._OURS}
    texts = dict(rows)
    assert f"Default {metadata.DEFAULT_SLOTS_PER_REPLICA}." in texts["`slotsPerReplica`"]
    assert "Default 0." in texts["`activationSlots`"]


def test_the_trigger_over_rest_reads_what_the_contract_has() -> None:
    about = TRIGGERS["metrics-api"]["metadata"]
    method = insight_pb2.DESCRIPTOR.services_by_name["Insight"].methods_by_name["GetQueueDemand"]
    path = method.GetOptions().Extensions[annotations_pb2.http].get
    assert urlsplit(about["url"]).path == path.replace("{queue}", "reports")
    assert about["valueLocation"] in {field.json_name for field in method.output_type.fields}


def test_kubernetes_waits_for_longer_than_a_worker_drains() -> None:
    (deployment,) = (thing for thing in OBJECTS if thing.get("kind") == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (variable,) = pod["containers"][0]["env"]
    worker = WorkerSettings(shutdown_grace=variable["value"])
    assert variable["name"] == "JOBQUEUE_SHUTDOWN_GRACE"
    assert pod["terminationGracePeriodSeconds"] > worker.shutdown_grace.total_seconds()
