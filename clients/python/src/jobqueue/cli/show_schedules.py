"""Schedules, their ticks and their runs for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from rich.table import Table
from rich.text import Text

from jobqueue import (
    CatchUp,
    NewJob,
    Overlap,
    RunCause,
    RunOutcome,
    Schedule,
    ScheduleRun,
    ScheduleSpec,
    ScheduleTick,
    TickRule,
)

from . import show

_STYLES = {
    RunOutcome.FIRED: "green",
    RunOutcome.BUFFERED: "cyan",
    RunOutcome.REFUSED: "red",
}
_CAUSES = {
    RunCause.BY_TIME: "time",
    RunCause.BY_HAND: "hand",
    RunCause.BY_BACKFILL: "backfill",
}
_RULES = {
    TickRule.AFTER_GAP: "after the gap",
    TickRule.FIRST_OF_TWO: "the first of two",
    TickRule.SECOND_OF_TWO: "the second of two",
}
_OVERLAPS = {
    Overlap.ALLOW: "fires beside it",
    Overlap.SKIP: "is skipped",
    Overlap.BUFFER_ONE: "waits for its end, the newest one alone",
}
_CATCH_UPS = {
    CatchUp.LATEST: "the newest fires",
    CatchUp.ALL: "all fire",
    CatchUp.NONE: "none fires",
}


def exact(value: timedelta) -> str:
    """A duration to the last digit, as options take it: `1h30m`, `90m` as `1h30m`, `500ms`."""
    rest = value // timedelta(milliseconds=1)
    words = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count}{unit}")
    return "".join(words) or "0s"


def moment(value: datetime | None) -> str:
    """A time to the second, in UTC."""
    return "" if value is None else f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def due(spec: ScheduleSpec) -> str:
    """When a schedule is due, on one line."""
    if spec.every is not None:
        return f"every {exact(spec.every)}" + (f" + {exact(spec.phase)}" if spec.phase else "")
    lines = (spec.cron,) if isinstance(spec.cron, str) else spec.cron
    return f"{' | '.join(lines)}  {spec.time_zone}"


def schedules(found: Iterable[Schedule]) -> None:
    """A table of schedules."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    # What is needed for a call is broken in a narrow terminal, and never cut off.
    for name in ("schedule", "due", "kind", "queue"):
        table.add_column(name, overflow="fold")
    table.add_column("next")
    table.add_column("last")
    table.add_column("fired", justify="right")
    table.add_column("")
    for each in found:
        table.add_row(
            Text(each.name),
            Text(due(each.spec)),
            Text(each.job.kind),
            Text(each.job.queue),
            show.age(each.next_at),
            _last(each.last_run),
            f"{each.fired:,}",
            Text(", ".join(_notes(each)), style="yellow"),
        )
    show.out.print(table)


def _last(run: ScheduleRun | None) -> Text:
    if run is None:
        return Text("")
    return outcome(run.outcome) + Text(f" {show.age(run.decided_at)} ago")


def outcome(value: RunOutcome) -> Text:
    """What became of a tick, in its colour."""
    return Text(value.lower().replace("_", " "), style=_STYLES.get(value, "yellow"))


def _notes(each: Schedule) -> Iterable[str]:
    if each.paused:
        yield f"paused: {each.pause_note}" if each.pause_note else "paused"
    elif each.next_at is None:
        yield "has no more ticks"
    if each.skipped_in_a_row:
        yield f"{each.skipped_in_a_row:,} skipped in a row"
    if each.failures_in_a_row:
        yield f"{each.failures_in_a_row:,} failed in a row"
    if each.buffered_at is not None:
        yield "a tick waits for the end of a job"


def schedule(each: Schedule) -> None:
    """A schedule with all its fields."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("schedule", Text(each.name))
    if notes := ", ".join(_notes(each)):
        table.add_row("state", Text(notes, style="yellow"))
    table.add_row("due", Text(due(each.spec)))
    for name, value in (("starts at", each.spec.starts_at), ("ends at", each.spec.ends_at)):
        if value is not None:
            table.add_row(name, moment(value))
    if each.spec.jitter:
        table.add_row("jitter", exact(each.spec.jitter))
    for name, text in _of_job(each.job):
        table.add_row(name, Text(text))
    window = exact(each.policy.catch_up_window) if each.policy.catch_up_window is not None else "1h"
    meets = _OVERLAPS.get(each.policy.overlap, str(each.policy.overlap))
    table.add_row("overlap", f"a tick that meets a job {meets}")
    missed = _CATCH_UPS.get(each.policy.catch_up, str(each.policy.catch_up))
    table.add_row("catch up", f"of ticks that were missed, at most {window} old, {missed}")
    if each.policy.pause_after_failures:
        table.add_row("pauses", f"after {each.policy.pause_after_failures:,} failed jobs in a row")
    if each.labels:
        table.add_row("labels", Text("\n".join(f"{key}={value}" for key, value in each.labels.items())))
    if each.upcoming:
        table.add_row("ticks" if not each.paused else "would be", _ticks(each.upcoming))
    if each.last_run is not None:
        note = f": {each.last_run.note}" if each.last_run.note else ""
        table.add_row("last run", _last(each.last_run) + Text(note))
    table.add_row("fired", f"{each.fired:,}; {each.policy.keep_runs:,} runs are kept")
    if each.open_job_ids:
        table.add_row("open jobs", "\n".join(each.open_job_ids))
    table.add_row("etag", Text(each.etag))
    show.out.print(table)


def _of_job(job: NewJob) -> Iterable[tuple[str, str]]:
    yield "kind", job.kind
    yield "queue", f"{job.queue}, priority {job.priority}" + (", held by hand" if job.hold else "")
    if job.key:
        yield "key", job.key
    if job.unique is not None:
        yield "unique", job.unique.key or ", ".join(job.unique.payload_fields) or "by its payload"
    if job.max_attempts is not None:
        yield "failures", f"at most {job.max_attempts}"
    if job.timeout is not None:
        yield "timeout", exact(job.timeout)
    for name, values in (("job labels", job.labels), ("headers", job.headers)):
        if values:
            yield name, "\n".join(f"{key}={value}" for key, value in values.items())
    if job.payload_json is not None:
        yield "payload", show.payload(job.payload, job.payload_json)


def _ticks(found: Iterable[ScheduleTick]) -> Text:
    lines = []
    for each in found:
        rule = _RULES.get(each.rule)
        lines.append(f"{each.local_time}{f'  change of clocks: {rule}' if rule else ''}")
    return Text("\n".join(lines))


def ticks(found: Iterable[ScheduleTick]) -> None:
    """A table of ticks."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    # The end of each is its offset, which is not to be cut off.
    table.add_column("tick", no_wrap=True, overflow="fold")
    table.add_column("UTC", no_wrap=True, overflow="fold")
    table.add_column("from now")
    table.add_column("change of clocks")
    for each in found:
        table.add_row(
            each.local_time,
            moment(each.tick_at),
            show.age(each.tick_at),
            Text(_RULES.get(each.rule, ""), style="yellow"),
        )
    show.out.print(table)


def runs(found: Iterable[ScheduleRun]) -> None:
    """A table of runs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("tick", no_wrap=True, overflow="fold")
    for name in ("nth", "by", "outcome", "decided"):
        table.add_column(name)
    # An id in two lines can still be copied; one that is cut off can't.
    table.add_column("job", overflow="fold")
    table.add_column("")
    for each in found:
        several = f"{each.ticks:,} ticks" if each.ticks > 1 else ""
        table.add_row(
            moment(each.tick_at),
            str(each.nth) if each.nth else "",
            _CAUSES.get(each.cause, ""),
            outcome(each.outcome),
            f"{show.age(each.decided_at)} ago",
            each.job_id,
            Text("; ".join(filter(None, (several, each.note)))),
        )
    show.out.print(table)
