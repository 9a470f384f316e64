"""The metrics of server and worker, as the code declares them: docs/metrics.md, and docs/metrics.lock.

python -m tools.metrics            compare them with docs/metrics.lock
python -m tools.metrics --renew    write that; where a metric is gone or has changed, CHANGELOG.md must name it
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric, PlatformCollector, ProcessCollector

from jobqueue_server.labels import MOST_LANES, OTHER
from jobqueue_server.metrics import Metrics
from jobqueue_server.processes.metrics import OF_THE_DATABASE
from jobqueue_worker.metrics import WorkerMetrics

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "docs/metrics.lock"

INTRODUCTION = f"""\
Prometheus reads them at three places ([runbook](runbook.md#metrics)): the server's own port (`JOBQUEUE_METRICS_ADDR`),
`/metrics` on the server's HTTP port, and each worker's port (`WORKER_METRICS_BIND_ADDR`).

Names, types and labels are part of what users build on. `docs/metrics.lock` holds them, and who changes one says so in
the [changelog](../CHANGELOG.md).

- **Over servers**: what says *sum* is counted by each server for itself, or is its own state. What says *max* is the
  same on all servers, or means something of each alone: take the greatest, and do not add them up. With
  `JOBQUEUE_PROCESSES` each process is a server, with the label `process`.
- **Labels are bounded.** {MOST_LANES:,} queues and kinds have labels of their own; the rest is told together, as
  `{OTHER}`. No label names a job, a worker, or who calls. The label `namespace` is added to queues once there is a
  second namespace.
- **Where used**: a server shows these from the first time on that there is something to tell.
- **While read**: a server reads these from the database every few seconds for as long as Prometheus reads metrics, from
  the second scrape on. Who does not read them pays nothing.
- Histograms add `_bucket`, `_sum` and `_count` to their name.
- Beside these there are `process_*` and `python_info` of the process itself.
"""
#: Which are shown otherwise than always, by how their names begin.
WHILE_READ = (
    "jobqueue_oldest_snapshot_",
    "jobqueue_replication_slot_",
    "jobqueue_dead_rows",
    "jobqueue_partition",
    "jobqueue_retention_",
    "jobqueue_migration",
    "jobqueue_queue_runnable",
    "jobqueue_queue_wanted_slots",
)
#: What is not read from the database for all processes at once, and yet makes no sum, by how its names begin.
OF_ONE = (
    "jobqueue_schedules",
    "jobqueue_queue_keys",
    "jobqueue_queue_key_tokens",
    "jobqueue_schedule_skipped",
    "jobqueue_operations",
    "jobqueue_kind_at_limit_",
    "jobqueue_host_clock_",
    "jobqueue_enqueue_pressure",
    "jobqueue_tls_",
)
#: The page of several processes has it (`processes/metrics.py`).
PROCESS_UP = ("jobqueue_process_up", "gauge", ("process",), "Whether a server process answers.")


@dataclass(frozen=True, slots=True)
class Family:
    """A metric.

    Attributes:
        name: As queries name it, but for what a histogram adds.
        type: `counter`, `gauge` or `histogram`.
        labels: Its labels.
        text: What it says.
        shown: When: `always`, `where used`, or `while read`.
        over: How its values of several servers make one: `sum` or `max`.
    """

    name: str
    type: str
    labels: tuple[str, ...]
    text: str
    shown: str = "always"
    over: str = "sum"

    @property
    def locked(self) -> str:
        """Its line in the lock."""
        return " ".join([self.name, self.type, *self.labels])


def _nothing() -> tuple[()]:
    return ()


def server() -> list[Family]:
    """Those of a server."""
    metrics = Metrics()
    always = {family.name for family in _families(metrics.registry)}
    # Each method that has something watched registers it; none of the functions is called before a scrape.
    for name, method in inspect.getmembers(metrics, inspect.ismethod):
        if name.startswith("watch_"):
            needed = [
                each
                for each in inspect.signature(method).parameters.values()
                if each.default is inspect.Parameter.empty
            ]
            method(*[_nothing] * len(needed))
            always |= {family.name for family in _families(metrics.registry)}
    used: set[str] = set()
    for name, value in inspect.getmembers(type(metrics), lambda member: isinstance(member, cached_property)):
        assert isinstance(value, cached_property)
        getattr(metrics, name)
    used = {family.name for family in _families(metrics.registry)} - always
    return sorted(
        (
            Family(
                family.name, family.type, family.labels, family.text, _shown(family.name, used), _over(family)
            )
            for family in [*_families(metrics.registry), Family(*PROCESS_UP)]
        ),
        key=lambda family: family.name,
    )


def worker() -> list[Family]:
    """Those of a worker in Python."""
    return sorted(_families(WorkerMetrics().registry), key=lambda family: family.name)


def _shown(name: str, used: Iterable[str]) -> str:
    if name.startswith(WHILE_READ):
        return "while read"
    return "where used" if name in used or name == "jobqueue_tls_not_after_timestamp_seconds" else "always"


def _over(family: Family) -> str:
    return "max" if family.name.startswith((*OF_THE_DATABASE, *OF_ONE)) else "sum"


def _families(registry: CollectorRegistry) -> Iterator[Family]:
    """What is registered, without what every process has."""
    for collector in list(registry._collector_to_names):
        if isinstance(collector, ProcessCollector | PlatformCollector):
            continue
        describe: Callable[[], Iterable[Metric]] = getattr(collector, "describe")  # noqa: B009 - it is not in the base
        for family in describe():
            # A metric keeps its labels itself, a collector of ours tells them with each family.
            labels = getattr(collector, "_labelnames", None)
            told = tuple(getattr(family, "_labelnames", ()) if labels is None else labels)
            name = f"{family.name}_total" if family.type == "counter" else family.name
            yield Family(name, family.type, told, family.documentation)


def metrics() -> str:
    """The text of docs/metrics.md."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Metrics\n"
    yield "<!-- Made by `make generate` from the metrics of server and worker. Change those instead. -->\n"
    yield INTRODUCTION
    yield "## Of a server\n"
    yield "| metric | type | labels | over servers | shown | meaning |"
    yield "|---|---|---|---|---|---|"
    for each in server():
        yield f"| `{each.name}` | {each.type} | {_labels(each)} | {each.over} | {each.shown} | {each.text} |"
    yield "\n## Of a worker\n"
    yield "The worker in Python. Those in other languages tell an observer of yours the same ([clients](clients.md));"
    yield "in Java `MicrometerObserver` of the artifact `jobqueue-micrometer` is one, with these names.\n"
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    for each in worker():
        yield f"| `{each.name}` | {each.type} | {_labels(each)} | {each.text} |"


def _labels(family: Family) -> str:
    return ", ".join(f"`{label}`" for label in family.labels)


def lock() -> str:
    """The text of docs/metrics.lock."""
    return "".join(f"{each.locked}\n" for each in [*server(), *worker()])


def unannounced(old: str, new: str, changelog: str) -> list[str]:
    """The metrics of the old lock that the new one does not have as they were, and that the changelog does not name.

    The changelog names them within backticks, in the section of what is not released.
    """
    section = changelog.partition("\n## ")[2].partition("\n## ")[0]
    gone = set(old.splitlines()) - set(new.splitlines())
    named = set(re.findall(r"`([a-z_]+)`", section))
    return sorted(line for line in gone if line.split()[0] not in named)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--renew", action="store_true", help="write docs/metrics.lock")
    renew = parser.parse_args().renew
    old, new = LOCK.read_text() if LOCK.exists() else "", lock()
    if silent := unannounced(old, new, (ROOT / "CHANGELOG.md").read_text()):
        sys.exit(
            "These metrics are gone or have changed. Say so in CHANGELOG.md, under Unreleased, and name them:\n  "
            + "\n  ".join(silent)
        )
    if renew:
        LOCK.write_text(new)
    elif old != new:
        sys.exit("docs/metrics.lock is not up to date; `python -m tools.metrics --renew` renews it.")


if __name__ == "__main__":
    main()
