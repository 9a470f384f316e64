"""Grafana's dashboards in deploy/grafana, made from the panels below.

python -m tools.grafana            write them
python -m tools.grafana --check    write nothing; fail if one is not up to date
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "deploy/grafana"
#: Of Grafana 10 and later.
SCHEMA_VERSION = 39
WIDTH, HEIGHT = 24, 8
#: The variables of each dashboard: what they are named as, and where their values come from.
JOB = ("job", "label_values(jobqueue_build_info, job)")
INSTANCE = ("instance", 'label_values(jobqueue_build_info{job=~"$job"}, instance)')
QUEUE = ("queue", 'label_values(jobqueue_queue_depth{job=~"$job"}, queue)')
KIND = ("kind", 'label_values(jobqueue_queue_depth{job=~"$job", queue=~"$queue"}, kind)')

_J = 'job=~"$job"'
_I = f'{_J}, instance=~"$instance"'
_Q = f'{_J}, queue=~"$queue", kind=~"$kind"'
_K = f'{_J}, kind=~"$kind"'
_N = f'{_J}, queue=~"$queue"'
_ENQUEUE = 'grpc_method=~"EnqueueJob|BatchEnqueueJobs"'


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel.

    Attributes:
        title: What it shows.
        text: What it means, and where to go on.
        unit: One of Grafana's units.
        queries: Each with the legend of its series.
        width: Of 24 columns.
        alert: The alert whose section of the runbook says what to do.
    """

    title: str
    text: str
    unit: str
    queries: Sequence[tuple[str, str]]
    width: int = 8
    alert: str = ""


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard, in rows of panels from the top."""

    name: str
    title: str
    text: str
    variables: Sequence[tuple[str, str]]
    panels: Sequence[Panel]


def _rate(metric: str, by: str, labels: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def _quantile(share: float, metric: str, labels: str, by: str = "") -> str:
    return (
        f"histogram_quantile({share}, sum by (le{', ' if by else ''}{by}) "
        f"(rate({metric}_bucket{{{labels}}}[$__rate_interval])))"
    )


OVERVIEW = Dashboard(
    "overview",
    "JobQueue / Overview",
    "Whether all is well, and if not, where.",
    (JOB,),
    (
        Panel("Servers that take work", "None: nothing can be enqueued.", "none",
              [(f"sum(jobqueue_ready{{{_J}}})", "servers")], 6, "JobQueueDown"),
        Panel("Servers that reach the database", "Fewer than servers: some can't.", "none",
              [(f"sum(jobqueue_database_up{{{_J}}})", "servers")], 6, "JobQueueDatabaseAway"),
        Panel("Workers", "Sessions that servers know.", "none", [(f"sum(jobqueue_sessions{{{_J}}})", "workers")], 6,
              "JobQueueWorkersLost"),
        Panel("Free slots", "None, while jobs wait: more workers are needed.", "none",
              [(f"sum(jobqueue_credit{{{_J}}})", "free"), (f"sum(jobqueue_leases{{{_J}}})", "in use")], 6,
              "JobQueueBehind"),
        Panel("Jobs enqueued and ended", "They should follow each other.", "ops",
              [(_rate("jobqueue_jobs_enqueued_total", "job", _J), "enqueued"),
               (_rate("jobqueue_jobs_finished_total", "outcome", _J), "{{outcome}}")], 12, "JobQueueFailing"),
        Panel("Jobs that wait", "By queue, the ten with most. A long queue that moves is fine.", "short",
              [((f'topk(10, max by (queue) (sum by (instance, process, queue) '
                f'(jobqueue_queue_depth{{{_J}, status=~"queued|retrying"}})))'), "{{queue}}")], 12, "JobQueueBehind"),
        Panel("Age of the oldest job that is due", "A queue that does not move grows older by a second a second.", "s",
              [(f'topk(10, max by (queue) (jobqueue_queue_oldest_age_seconds{{{_J}, status=~"queued|retrying"}}))',
                "{{queue}}")], 12, "JobQueueStuck"),
        Panel("Wait for a worker", "From the time a job is due to its claim.", "s",
              [(_quantile(share, "jobqueue_job_wait_seconds", _J), f"p{share * 100:g}") for share in (0.5, 0.99)],
              12, "JobQueueBehind"),
        Panel("Calls that enqueue, by how they end", "INTERNAL, UNAVAILABLE and DEADLINE_EXCEEDED are ours.", "reqps",
              [(_rate("grpc_server_handled_total", "grpc_code", f"{_J}, {_ENQUEUE}"), "{{grpc_code}}")], 12,
              "JobQueueErrorBudgetFast"),
        Panel("How long calls that enqueue take", "The objective is 100 ms at p99.", "s",
              [(_quantile(share, "grpc_server_handling_seconds", f"{_J}, {_ENQUEUE}"), f"p{share * 100:g}")
               for share in (0.5, 0.99)], 12, "JobQueueErrorBudgetFast"),
    ),
)  # fmt: skip

ONE_QUEUE = Dashboard(
    "queue",
    "JobQueue / Queue",
    "One queue: what waits, for how long, and what becomes of it.",
    (JOB, QUEUE, KIND),
    (
        Panel("Jobs by status", "Running ones are leased by a worker.", "short",
              [(f"max by (kind, status) (jobqueue_queue_depth{{{_Q}}})", "{{kind}} {{status}}")], 12, "JobQueueBehind"),
        Panel("Age of the oldest job that is due", "Or, of running ones, since it started.", "s",
              [(f"max by (kind, status) (jobqueue_queue_oldest_age_seconds{{{_Q}}})", "{{kind}} {{status}}")], 12,
              "JobQueueStuck"),
        Panel("Free slots of workers that take them", "No series: no worker takes them.", "none",
              [(f"sum by (kind) (jobqueue_lane_credit{{{_Q}}})", "{{kind}}")], 12, "JobQueueNoWorkers"),
        Panel("Slots wanted", "For what runs, and for what could run now.", "none",
              [(f'max by (queue) (jobqueue_queue_wanted_slots{{{_J}, queue=~"$queue"}})', "{{queue}} wanted"),
               (f'max by (queue) (jobqueue_queue_runnable{{{_J}, queue=~"$queue"}})', "{{queue}} could start")], 12,
              "JobQueueBehind"),
        Panel("Attempts by outcome", "Of the kinds, in all queues.", "ops",
              [(_rate("jobqueue_jobs_finished_total", "kind, outcome", _K), "{{kind}} {{outcome}}")], 12,
              "JobQueueFailing"),
        Panel("How long attempts run", "Of the kinds, in all queues.", "s",
              [(_quantile(share, "jobqueue_job_run_seconds", _K, "kind"), f"{{{{kind}}}} p{share * 100:g}")
               for share in (0.5, 0.99)], 12, "JobQueueBehind"),
        Panel("Wait for a worker", "Of the kinds, in all queues.", "s",
              [(_quantile(share, "jobqueue_job_wait_seconds", _K, "kind"), f"{{{{kind}}}} p{share * 100:g}")
               for share in (0.5, 0.99)], 12, "JobQueueBehind"),
        Panel("Jobs enqueued", "Of the kinds, in all queues.", "ops",
              [(_rate("jobqueue_jobs_enqueued_total", "kind", _K), "{{kind}}")], 12, "JobQueueBehind"),
    ),
)  # fmt: skip

LIMITS = Dashboard(
    "limits",
    "JobQueue / Limits",
    "What limits of queues, kinds and keys hold back, and for how long.",
    (JOB, QUEUE),
    (
        Panel("Keys with jobs, by what these wait for", "As the last walk through them saw. Open: for nothing.", "none",
              [(f"sum by (queue, state) (max by (queue, state) (jobqueue_queue_keys{{{_N}}}))", "{{queue}} {{state}}")],
              12, "JobQueueBehind"),
        Panel("Jobs of keys that run or stand in line", "Each has a token of its key.", "short",
              [(f"max by (queue) (jobqueue_queue_key_tokens{{{_N}}})", "{{queue}}")], 12, "JobQueueBehind"),
        Panel("Jobs that are held back", "By what they wait for: their key, their time, or a release.", "short",
              [(f"sum by (queue, hold) (max by (queue, kind, hold) (jobqueue_queue_held{{{_N}}}))",
                "{{queue}} {{hold}}")], 12, "JobQueueBehind"),
        Panel("Jobs that were let in", "Into their line, or straight into a lease.", "ops",
              [(_rate("jobqueue_promoted_total", "queue, into", _N), "{{queue}} into {{into}}")], 12, "JobQueueBehind"),
        Panel("Part of the time at a limit of the queue", "1: its limit is what all waits for.", "percentunit",
              [(f"max by (queue, limit) (rate(jobqueue_queue_at_limit_seconds_total{{{_N}}}[$__rate_interval]))",
                "{{queue}} {{limit}}")], 12, "JobQueueBehind"),
        Panel("Part of the time at a limit of the kind", "Over all queues.", "percentunit",
              [(f"max by (kind, limit) (rate(jobqueue_kind_at_limit_seconds_total{{{_J}}}[$__rate_interval]))",
                "{{kind}} {{limit}}")], 12, "JobQueueBehind"),
        Panel("Keys that a failed job blocks", "Only a decision starts their jobs.", "none",
              [(f"max by (queue) (jobqueue_queue_blocked_keys{{{_N}}})", "{{queue}}")], 12, "JobQueueKeyBlocked"),
        Panel("Pauses of keys by workers", "As after a 429 of the service that they call.", "ops",
              [(_rate("jobqueue_key_pauses_total", "queue", _N), "{{queue}}")], 12, "JobQueueBehind"),
        Panel("Keys whose count was wrong", "It was mended, and should stay 0.", "ops",
              [(_rate("jobqueue_gate_drift_total", "queue", _N), "{{queue}}")], 12, "JobQueueLimitsDrift"),
    ),
)  # fmt: skip

SERVER = Dashboard(
    "server",
    "JobQueue / Server",
    "One server: how full it is, and what it does.",
    (JOB, INSTANCE),
    (
        Panel("Lateness of the event loop", "Above 250 ms the process is full.", "s",
              [(_quantile(share, "jobqueue_event_loop_lag_seconds", _I, "instance"),
                f"{{{{instance}}}} p{share * 100:g}") for share in (0.5, 0.99)], 12, "JobQueueLoopFull"),
        Panel("Processor", "Seconds a second: 1 is a whole core, the most that a process uses.", "percentunit",
              [(_rate("process_cpu_seconds_total", "instance", _I), "{{instance}}")], 12, "JobQueueLoopFull"),
        Panel("Memory", "Resident.", "bytes",
              [(f"sum by (instance) (process_resident_memory_bytes{{{_I}}})", "{{instance}}")], 12,
              "JobQueueLoopFull"),
        Panel("Sessions and streams", "A session without a stream is silent, or of a worker that makes calls.", "none",
              [(f"sum by (instance) (jobqueue_sessions{{{_I}}})", "{{instance}} sessions"),
               (f"sum by (instance) (jobqueue_streams{{{_I}}})", "{{instance}} streams"),
               (f"sum by (instance) (jobqueue_watches{{{_I}}})", "{{instance}} watches")], 12, "JobQueueWorkersLost"),
        Panel("Calls by method", "Over both transports.", "reqps",
              [(_rate("grpc_server_handled_total", "grpc_method", _I), "{{grpc_method}}")], 12, "JobQueueLoopFull"),
        Panel("How near to refusing jobs", "1: calls that enqueue are answered QUEUE_FULL.", "percentunit",
              [(f"max by (instance) (jobqueue_enqueue_pressure{{{_I}}})", "{{instance}}")], 12, "JobQueueRefusing"),
        Panel("Jobs that wait to be stored", "They are in memory, and not acknowledged.", "short",
              [(f"sum by (instance) (jobqueue_enqueue_waiting{{{_I}}})", "{{instance}}")], 12, "JobQueueRefusing"),
        Panel("Jobs in a batch", "On average.", "short",
              [("{} / {}".format(_rate("jobqueue_op_batch_jobs_sum", "op", _I),
                                 _rate("jobqueue_op_batch_jobs_count", "op", _I)), "{{op}}")], 12, "JobQueueRefusing"),
        Panel("What should stay rare", "Lost sessions, leases that nobody began, work that was done twice.", "ops",
              [(_rate("jobqueue_sessions_ended_total", "how", _I), "sessions: {{how}}"),
               (_rate("jobqueue_undelivered_total", "job", _I), "undelivered"),
               (_rate("jobqueue_stale_settlements_total", "job", _I), "stale settlements"),
               (_rate("jobqueue_audit_strays_total", "job", _I), "strays")], 12, "JobQueueStaleSettlements"),
        Panel("Versions", "One, but during an upgrade.", "none",
              [(f"count by (version) (jobqueue_build_info{{{_I}}})", "{{version}}")], 12, "JobQueueVersionsMixed"),
    ),
)  # fmt: skip

DATABASE = Dashboard(
    "database",
    "JobQueue / Database",
    "PostgreSQL, as the servers see it.",
    (JOB, INSTANCE),
    (
        Panel("Connections", "Hot ones move jobs, cold ones read, the vital one is the heartbeat's.", "none",
              [(f"sum by (pool, state) (jobqueue_database_connections{{{_I}}})", "{{pool}} {{state}}")], 12,
              "JobQueueDatabaseAway"),
        Panel("How long a commit takes", "Of a batch, at p99.", "s",
              [(_quantile(0.99, "jobqueue_op_seconds", _I, "op"), "{{op}}")], 12, "JobQueueRefusing"),
        Panel("Age of the oldest snapshot", "It keeps dead rows from being removed.", "s",
              [(f"max(jobqueue_oldest_snapshot_seconds{{{_J}}})", "oldest")], 12, "JobQueueSnapshotHeld"),
        Panel("Dead rows", "They go by autovacuum, unless something keeps them.", "short",
              [(f"max by (table) (jobqueue_dead_rows{{{_J}}})", "{{table}}")], 12, "JobQueueSnapshotHeld"),
        Panel("WAL kept by replication slots", "Of the slot that is furthest behind.", "bytes",
              [(f"max(jobqueue_replication_slot_retained_bytes{{{_J}}})", "kept")], 12, "JobQueueSnapshotHeld"),
        Panel("Partitions", "Two are ahead at least.", "none",
              [(f"max by (state) (jobqueue_partitions{{{_J}}})", "{{state}}")], 12, "JobQueuePartitionsLate"),
        Panel("How far retention lags", "Up to a width is as it should be.", "s",
              [(f"max(jobqueue_retention_lag_seconds{{{_J}}})", "lag"),
               (f"max(jobqueue_partition_width_seconds{{{_J}}})", "width of a partition")], 12,
              "JobQueueRetentionStands"),
        Panel("Promotions and refused connections", "A refused one leads to a former primary, or to another cluster.",
              "none", [(f"sum(jobqueue_database_failovers_total{{{_J}}})", "promotions"),
                       (f"sum by (cause) (jobqueue_connections_refused_total{{{_J}}})", "refused: {{cause}}")], 12,
              "JobQueueFormerPrimary"),
        Panel("Clock of the server ahead of the database's", "Above a second somebody set a clock.", "s",
              [(f"max by (instance) (jobqueue_host_clock_ahead_seconds{{{_I}}})", "{{instance}}")], 12,
              "JobQueueRetentionStands"),
        Panel("Migration", "The newest of the database, and of the servers.", "none",
              [(f"max by (version, known) (jobqueue_migration{{{_J}}})", "{{version}} of {{known}}")], 12,
              "JobQueueVersionsMixed"),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, ONE_QUEUE, LIMITS, SERVER, DATABASE)
SOURCE = {"type": "prometheus", "uid": "${source}"}


def dashboard(made: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    panels, x, y = [], 0, 0
    for number, panel in enumerate(made.panels, start=1):
        if x + panel.width > WIDTH:
            x, y = 0, y + HEIGHT
        panels.append(_panel(number, panel, {"x": x, "y": y, "w": panel.width, "h": HEIGHT}))
        x += panel.width
    return {
        "uid": f"jobqueue-{made.name}",
        "title": made.title,
        "description": made.text,
        "tags": ["jobqueue"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "links": [
            {"title": "Others", "type": "dashboards", "tags": ["jobqueue"], "asDropdown": True, "includeVars": True}
        ],
        "templating": {"list": [_source(), _runbook(), *(_variable(*each) for each in made.variables)]},
        "panels": panels,
    }  # fmt: skip


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0}


def _runbook() -> dict[str, Any]:
    # Where the copy of docs/ is that links lead to.
    address = "https://jobqueue.example/docs/runbook.md"
    return {"name": "runbook", "label": "Runbook", "type": "constant", "query": address, "hide": 2}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _panel(number: int, panel: Panel, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.text,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "custom": {"fillOpacity": 10}}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "links": [
            {
                "title": f"Runbook: {panel.alert}",
                "url": f"${{runbook}}#{panel.alert.lower()}",
                "targetBlank": True,
            }
        ],
        "targets": [
            {
                "refId": chr(ord("A") + place_of),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "range": True,
            }
            for place_of, (expression, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def documents() -> dict[str, str]:
    """What is made: the text of each file, by its place in the repository."""
    return {
        f"deploy/grafana/{made.name}.json": json.dumps(dashboard(made), indent=2) + "\n"
        for made in DASHBOARDS
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if one is not up to date")
    check = parser.parse_args().check
    stale = [name for name, text in documents().items() if not _is(ROOT / name, text)]
    if check and stale:
        sys.exit(f"{', '.join(stale)}: not up to date; `make generate` renews them.")
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(documents()[name])


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


if __name__ == "__main__":
    main()
