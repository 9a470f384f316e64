"""Dashboards are well made and say what to do; each panel answers by a real Prometheus that reads a busy server."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from jobqueue import (
    Client,
    Discard,
    JobContext,
    KeyOrder,
    KeyPolicy,
    Kind,
    Limits,
    OnKeyFailure,
    Retry,
    Worker,
)
from tests import orphans
from tests.conftest import Cluster
from tests.docs.markdown import ROOT, anchors
from tests.e2e.processes import Process, ServerProcess
from tests.ports import free_port
from tools import grafana, metrics
from tools.prometheus import RULES, program, promtool

FAMILIES = {family.name for family in [*metrics.server(), *metrics.worker()]}
#: Of the process itself; every client of Prometheus has these.
OF_PROCESSES = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
DASHBOARDS = {made.name: grafana.dashboard(made) for made in grafana.DASHBOARDS}
PANELS = {f"{name}: {panel['title']}": panel for name, made in DASHBOARDS.items() for panel in made["panels"]}
#: Those that Grafana has of itself.
BUILT_IN = {"__rate_interval", "__all"}


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel["targets"]]


def filled(expression: str, **values: str) -> str:
    """The expression as Grafana would send it."""
    for name, value in {"__rate_interval": "5m", **values}.items():
        expression = expression.replace(f"${name}", value)
    return re.sub(r"\$[a-z]+", ".*", expression)


# ---- how they are made


@pytest.mark.unit
@pytest.mark.parametrize("name", grafana.documents())
def test_a_dashboard_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == grafana.documents()[name], "run `make generate`"


@pytest.mark.unit
@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_can_be_found_and_is_led_to_from_the_others(name: str) -> None:
    made = DASHBOARDS[name]
    assert made["uid"] == f"jobqueue-{name}"
    assert made["title"].startswith("JobQueue / ")
    assert made["description"].endswith(".")
    assert made["tags"] == ["jobqueue"]
    assert made["schemaVersion"] >= 39
    assert [link["tags"] for link in made["links"]] == [["jobqueue"]]


@pytest.mark.unit
@pytest.mark.parametrize("name", DASHBOARDS)
def test_each_variable_is_used_and_each_that_is_used_is_there(name: str) -> None:
    made = DASHBOARDS[name]
    there = {variable["name"] for variable in made["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z_]+)", json.dumps([made["panels"], made["templating"]]))) - BUILT_IN
    assert used == there
    assert {"source", "job"} <= there
    assert len({made["uid"] for made in DASHBOARDS.values()}) == len(DASHBOARDS)


@pytest.mark.unit
@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_numbers_and_places_of_their_own(name: str) -> None:
    panels = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


@pytest.mark.unit
@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_panel_says_what_it_means_in_which_unit_and_what_to_do(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["options"]["legend"]["showLegend"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
    (link,) = panel["links"]
    assert link["url"].partition("#")[2] in anchors((ROOT / "docs/runbook.md").read_text())
    assert [target["refId"] for target in panel["targets"]] == list("ABCDEF"[: len(panel["targets"])])
    assert all(target["legendFormat"] for target in panel["targets"])
    assert not [one for one in expressions(panel) if "group_left" in one or "group_right" in one]


@pytest.mark.unit
@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_a_query_reads_what_is_measured_and_only_what_was_chosen(panel: dict[str, Any]) -> None:
    for expression in expressions(panel):
        found = re.findall(r"\b((?:jobqueue|grpc_server|process)_[a-z_]+)(\{[^}]*\})?", expression)
        assert found
        for name, selected in found:
            whole = re.sub(r"_(bucket|sum|count)$", "", name)
            assert {name, whole} & (FAMILIES | OF_PROCESSES), name
            assert 'job=~"$job"' in selected, expression
        # A range that is shorter than two scrapes answers nothing.
        assert all(window == "$__rate_interval" for window in re.findall(r"\[([^\]]+)\]", expression))
        legend = next(t["legendFormat"] for t in panel["targets"] if t["expr"] == expression)
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= {
            name.strip() for names in re.findall(r"by \(([^)]*)\)", expression) for name in names.split(",")
        }


@pytest.mark.prometheus
def test_prometheus_takes_each_query(tmp_path: Path) -> None:
    lines = ["groups:", "  - name: panels", "    rules:"]
    for number, expression in enumerate(one for panel in PANELS.values() for one in expressions(panel)):
        lines += [f"      - record: panel:{number}", f"        expr: {json.dumps(filled(expression))}"]
    (tmp_path / "panels.yaml").write_text("\n".join(lines) + "\n")
    ran = promtool("check", "rules", tmp_path / "panels.yaml")
    assert ran.returncode == 0, ran.stdout + ran.stderr


# ---- against a real Prometheus


class Prometheus:
    """A Prometheus that reads some targets each second, with our rules."""

    def __init__(self, folder: Path, targets: list[str]) -> None:
        self._port = free_port()
        quoted = ", ".join(f"'{target}'" for target in targets)
        (folder / "prometheus.yaml").write_text(
            f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{RULES}']\n"
            f"scrape_configs: [{{job_name: jq, static_configs: [{{targets: [{quoted}]}}]}}]\n"
        )
        found = program("prometheus")
        assert found is not None
        with (folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    found,
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        orphans.started(self._process.pid)

    def get(self, path: str, **query: str) -> Any:
        """What its API answers."""
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """The numbers that a query answers."""
        series = self.get("query", query=expression)["result"]
        return [number for one in series if not math.isnan(number := float(one["value"][1]))]

    def stop(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        orphans.ended(self._process.pid)


async def _work(address: str, seconds: float) -> None:
    """Enqueues a few jobs a second, some of them to a queue in which limits hold them back, and runs these."""
    until = time.monotonic() + seconds
    worker = Worker(address, queues=["ordered", "capped"])

    @worker.handler("odd")
    async def odd(ctx: JobContext) -> None:
        await asyncio.sleep(0.1)
        if ctx.job.payload == "fails":
            raise Discard("it fails for good")
        if ctx.job.payload == "pauses" and ctx.job.attempt == 1:
            raise Retry("429", after=timedelta(seconds=0.2), pause_key=True)

    worker.handler("even")(odd)
    async with Client(address) as client:
        one = Limits(max_running=1)
        await client.put_kind(Kind(name="odd"))
        await client.put_kind(Kind(name="even", limits=one))
        strict = KeyPolicy(order=KeyOrder.STRICT, on_failure=OnKeyFailure.HOLD)
        await client.update_queue("ordered", strict, limits=one, allow_missing=True)
        serving = asyncio.create_task(worker.serve())
        while time.monotonic() < until:
            await client.enqueue("summarize_text", {"text": "One."})
            await client.enqueue("summarize_text", {"text": "One."}, queue="elsewhere")
            for what in ("pauses", "fails", "works"):
                await client.enqueue("odd", what, queue="ordered", key=what)
                await client.enqueue("even", what, queue="capped")
            await asyncio.sleep(0.2)
        worker.stop()
        await serving


@pytest.fixture(scope="module")
def busy(
    cluster: Cluster, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Prometheus, str]]:
    """A Prometheus that reads a server with a worker, and the server. What comes of it is waited for by the tests."""
    folder = tmp_path_factory.mktemp("dashboards")
    name = cluster.create(template)
    server = ServerProcess(cluster.dsn_of(name), folder / "server.log", metrics_addr="127.0.0.1:0")
    running: list[Process | Prometheus] = [server]
    try:
        asyncio.run(server.ready())
        port = json.loads(asyncio.run(server.line("metrics are served")))["port"]
        flags = ["--simulate", f"--server={server.address}", "--metrics-bind-addr=127.0.0.1:0"]
        worker = Path(sys.executable).parent / "jobqueue-worker"
        running.append(Process([str(worker), *flags], folder / "worker.log", {}))
        prometheus = Prometheus(folder, [f"127.0.0.1:{port}"])
        running.append(prometheus)
        asyncio.run(_work(server.address, 5))
        yield prometheus, server.address
    finally:
        for each in reversed(running):
            each.stop() if isinstance(each, Prometheus) else each.kill()
        cluster.drop(name)


@pytest.mark.slow
@pytest.mark.prometheus
def test_each_panel_answers(busy: tuple[Prometheus, str]) -> None:
    prometheus, address = busy
    waiting = {
        filled(one, job="jq", instance=".*", queue=".*", kind=".*", __rate_interval="15s")
        for panel in PANELS.values()
        for one in expressions(panel)
        # What never should be has no series.
        if "jobqueue_gate_drift_total" not in one
    }
    for _ in range(20):
        waiting = {one for one in waiting if not prometheus.values(one)}
        if not waiting:
            break
        asyncio.run(_work(address, 2))
    assert not waiting


@pytest.mark.slow
@pytest.mark.prometheus
def test_each_rule_is_evaluated_without_an_error_and_a_server_that_is_well_wakes_nobody(
    busy: tuple[Prometheus, str],
) -> None:
    prometheus, address = busy
    for _ in range(20):
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        # Those of a month are evaluated every five minutes.
        if all(rule["health"] != "unknown" for rule in rules if not re.search("30d|left", rule["name"])):
            break
        asyncio.run(_work(address, 2))
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] == "err"] == []
    firing = prometheus.get("query", query='ALERTS{alertstate="firing"}')["result"]
    assert [one["metric"]["alertname"] for one in firing] == []
