"""What would run once jobs are handed out, what had ended, and what becomes of ticks: for who has restored a backup."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from ..core.schedule.decisions import decide, due_ticks
from ..core.schedule.zones import ZoneUnknown
from ..lifecycle import Status
from ..model import DEFAULT_NAMESPACE_NAME
from ..store.database import Record
from ..store.schedule.schedules import schedule_of
from ..store.upkeep.examination import examined
from ..store.upkeep.restored import RestoredStore
from ..store.upkeep.standstill import StandstillStore

#: Schedules that are due are looked at up to so many.
MOST_SCHEDULES = 10_000


@dataclass(frozen=True, slots=True)
class Ticks:
    """What becomes of the ticks of a schedule that are due.

    Attributes:
        namespace: Whose it is.
        schedule: Its name.
        queue: Where its jobs go.
        kind: What they are.
        since: The first tick that is due.
        fires: How many jobs would be enqueued at once.
        waits: How many ticks would wait for the end of a job.
        skipped: How many would be left out.
    """

    namespace: str
    schedule: str
    queue: str
    kind: str
    since: datetime
    fires: int
    waits: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Report:
    """The whole. Rows are as their statements say.

    Attributes:
        since: The time that was asked for.
        standing_since: Since when nothing is handed out; None: it is, so that the report may be outdated already.
        waiting: What has not ended.
        ended: What ended since.
        ticks: What becomes of schedules.
        more_schedules: Whether there are more that are due than were looked at.
    """

    since: datetime
    standing_since: datetime | None
    waiting: Sequence[Mapping[str, Any]]
    ended: Sequence[Mapping[str, Any]]
    ticks: Sequence[Ticks]
    more_schedules: bool


async def report(dsn: str, since: datetime) -> Report:
    """Reads it, and writes nothing.

    Raises:
        MigrationError: The database refuses the login, or has no schema.
        DatabaseAway: The database does not answer.
    """
    async with examined(dsn, "jobqueue-server report", "10min") as (session, _):
        store = RestoredStore(session)
        standing = await StandstillStore(session).read_standstill()
        schedules = await store.report_schedules(MOST_SCHEDULES + 1)
        return Report(
            since,
            standing["since"],
            [dict(row) for row in await store.report_waiting(since)],
            [dict(row) for row in await store.report_ended(since)],
            [await _ticks(store, row) for row in schedules[:MOST_SCHEDULES]],
            len(schedules) > MOST_SCHEDULES,
        )


async def _ticks(store: RestoredStore, row: Record) -> Ticks:
    schedule, now = schedule_of(row), row["at"]
    fires = waits = skipped = 0
    try:
        due = due_ticks(
            schedule.spec, schedule.next_at, schedule.last_tick, now, schedule.policy.catch_up_window
        )
    except ZoneUnknown:
        # Servers leave such a schedule alone, too.
        pass
    else:
        jobs = {each["id"]: each["status"] for each in await store.open_jobs(list(schedule.open))}
        statuses = {job_id: None if status is None else Status(status) for job_id, status in jobs.items()}
        decision = decide(schedule, due, statuses, now)
        fires = len(decision.fires)
        waits = 1 if decision.schedule.buffered is not None else 0
        skipped = sum(run.ticks for run in decision.runs if run.outcome.skipped)
    return Ticks(
        row["namespace"],
        schedule.name,
        schedule.job.queue,
        schedule.job.kind,
        row["next_at"],
        fires,
        waits,
        skipped,
    )


def as_json(found: Report) -> str:
    """One object. Times are in UTC."""
    return json.dumps(asdict(found), indent=2, default=lambda value: value.isoformat())


def print_report(console: Console, found: Report) -> None:
    """For people: three tables, and a sentence before and after."""
    at = found.since.isoformat(timespec="seconds")
    if found.standing_since is None:
        console.print("Jobs are handed out: this changes while you read it.", style="yellow")
    else:
        console.print("Nothing is handed out until: jobqueue-server resume")
    _print(
        console,
        f"What would run. What was due before {at} may have run already, and would run again:",
        ("queue", "kind", "running", "due", f"due since {at}", "later", "held"),
        (
            (
                _place(row),
                row["kind"],
                row["running"],
                row["due"],
                row["due_since"],
                row["later"],
                row["held"],
            )
            for row in found.waiting
        ),
        "no job waits",
    )
    _print(
        console,
        f"What ended since {at}, and would not run again:",
        ("queue", "kind", "succeeded", "failed", "cancelled", "last"),
        (
            (
                _place(row), row["kind"], row["succeeded"], row["failed"], row["cancelled"],
                row["last"].isoformat(timespec="seconds"),
            )
            for row in found.ended
        ),
        "no job",
    )  # fmt: skip
    _print(
        console,
        "Schedules that are due:",
        ("schedule", "queue", "kind", "since", "jobs at once", "wait", "left out"),
        (
            (
                each.schedule, _place({"namespace": each.namespace, "queue": each.queue}), each.kind,
                each.since.isoformat(timespec="seconds"), each.fires, each.waits, each.skipped,
            )
            for each in found.ticks
        ),
        "none",
    )  # fmt: skip
    if found.more_schedules:
        console.print(f"and more: {MOST_SCHEDULES} were looked at")


def _place(row: Mapping[str, Any]) -> str:
    namespace = row["namespace"]
    return row["queue"] if namespace == DEFAULT_NAMESPACE_NAME else f"{namespace}/{row['queue']}"


def _print(
    console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], none: str
) -> None:
    console.print()
    console.print(title, highlight=False)
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*map(str, row))
    if table.row_count:
        console.print(table, markup=False)
    else:
        console.print(none)
