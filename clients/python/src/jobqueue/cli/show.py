"""Jobs, kinds and queues for people: tables, colours, ages."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from jobqueue import (
    Encoded,
    Hold,
    Job,
    KeyOrder,
    KeyPolicy,
    Kind,
    Limits,
    OnKeyFailure,
    Queue,
    QueueKey,
    Rate,
    Retention,
    Status,
)

# Output into a file or a program is not broken into lines.
_PIPED = not sys.stdout.isatty() and "COLUMNS" not in os.environ
# `:x:` in a text is text, and not an emoji.
out = Console(width=200 if _PIPED else None, emoji=False)

# The smallest useful width of the last column of the table of jobs.
_ABOUT = 20

#: The colour of each status, here and in the demo.
COLOURS = {
    Status.QUEUED: "cyan",
    Status.RUNNING: "blue",
    Status.SUCCEEDED: "green",
    Status.RETRYING: "yellow",
    Status.FAILED_PERMANENT: "red",
    Status.CANCELLED: "magenta",
}


def status(value: Status) -> Text:
    """A status in its colour."""
    return Text(str(value), style=COLOURS.get(value, ""))


def span(value: timedelta | None) -> str:
    """A rough duration: `850ms`, `12s`, `5m`, `3h`, `2d`."""
    if value is None:
        return ""
    seconds = value.total_seconds()
    if seconds < 0:
        return f"in {span(-value)}"
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def age(value: datetime | None) -> str:
    """A rough age, by this machine's clock."""
    return "" if value is None else span(datetime.now(UTC) - value)


def line(text: str) -> None:
    """A plain line, without colours and never broken."""
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def jobs(found: Iterable[Job]) -> None:
    """A table of jobs."""
    rows = [
        {
            "id": Text(job.id),
            "kind": Text(job.kind),
            "status": status(job.status),
            "queue": Text(job.queue),
            "tries": Text(str(job.attempts)),
            "age": Text(age(job.created_at)),
            "about": _about(job),
        }
        for job in found
    ]
    widths = {
        name: max([least, *(row[name].cell_len for row in rows)])
        for name, least in (("id", 36), ("kind", 10), ("status", 9), ("queue", 7), ("tries", 5), ("age", 5))
    }
    # Ids and names are never cut. A narrow terminal gets fewer columns, and then a second line.
    for left_out in ("queue", "tries"):
        if not _PIPED and out.width - sum(widths.values()) - 2 * len(widths) < _ABOUT:
            del widths[left_out]
    room = None if _PIPED else out.width - sum(widths.values()) - 2 * len(widths)
    below = room is not None and room < _ABOUT
    head = {name: Text(name, style="bold") for name in (*widths, "about")}
    for row in (head, *rows):
        cells = []
        for name, width in widths.items():
            cell = row[name].copy()
            cell.align("right" if name in ("tries", "age") else "left", width)
            cells.append(cell)
        about = row["about"].copy()
        if below:
            about = Text("") if row is head else about
            about.truncate(max(_ABOUT, out.width - 2), overflow="ellipsis")
        elif room is not None:
            about.truncate(room, overflow="ellipsis")
        _write(Text("  ").join([*cells, Text("") if below else about]))
        if below and about.plain:
            _write(Text("  ") + about)


def change(job: Job) -> None:
    """A line for a job that changed: when, which, and what it is now."""
    told = f"{job.updated_at.astimezone():%H:%M:%S}" if job.updated_at is not None else ""
    cells = (Text(told, style="dim"), Text(job.id), status(job.status), Text(job.kind), Text(job.queue))
    for cell, width in zip(cells, (8, 36, 16, 12, 8), strict=True):
        cell.align("left", max(width, cell.cell_len))
    _write(Text("  ").join([*cells, _about(job)]))


def _write(text: Text) -> None:
    """One line, without space at its end, and never broken."""
    text.rstrip()
    out.print(text, soft_wrap=True)


def _about(job: Job) -> Text:
    """The most useful fact about the job: its error, progress or output."""
    if job.status is Status.RUNNING:
        asked = ", cancelling" if job.cancel_requested else ""
        return Text(f"on {job.locked_by} for {age(job.locked_at)}{asked}")
    if job.hold is not None:
        return Text(_HELD[job.hold])
    if (
        job.status in (Status.QUEUED, Status.RETRYING)
        and job.run_at is not None
        and job.run_at > datetime.now(UTC)
    ):
        return Text(f"starts {age(job.run_at)}{f': {_short(job.last_error)}' if job.last_error else ''}")
    if job.status is Status.SUCCEEDED:
        return Text("")
    return Text(": ".join(part for part in (job.reason, _short(job.last_error)) if part))


_HELD = {
    Hold.KEY: "waits for its key",
    Hold.TIME: "waits for its time, then for its key",
    Hold.HAND: "held until it is released",
    Hold.UNSPECIFIED: "held back",
}


def _short(text: str) -> str:
    first = text.splitlines()[0] if text else ""
    return "".join(each if each.isprintable() else " " for each in first)


def job(each: Job) -> None:
    """A job with all its fields."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("id", each.id)
    table.add_row("kind", Text(each.kind))
    why = _HELD[each.hold] if each.hold is not None else each.reason
    table.add_row("status", status(each.status) + Text(f"  {why}" if why else ""))
    table.add_row("queue", Text(f"{each.queue}, priority {each.priority}"))
    tries = f"{each.attempts}, {each.failures} of {each.max_attempts} failures"
    table.add_row("attempts", tries + (f", {_lost(each.losses)}" if each.losses else ""))
    for name, moment in (
        ("enqueued", each.created_at),
        ("runs from", each.run_at if not each.is_terminal else None),
        ("claimed", each.locked_at),
        ("finished", each.finished_at),
    ):
        if moment is not None:
            table.add_row(name, f"{moment.astimezone():%Y-%m-%d %H:%M:%S.%f %Z}  ({_ago(moment)})")
    if each.locked_by:
        table.add_row("worker", Text(each.locked_by + (", asked to cancel" if each.cancel_requested else "")))
    if each.progress is not None:
        share = f"{each.progress.fraction:.0%} " if each.progress.fraction is not None else ""
        table.add_row("progress", Text(f"{share}{each.progress.message}"))
    if each.timeout is not None:
        table.add_row("timeout", span(each.timeout))
    if each.key:
        table.add_row("key", Text(each.key))
    if each.unique_key:
        table.add_row("unique key", Text(each.unique_key))
    if each.idempotency_key:
        table.add_row("idempotency key", Text(each.idempotency_key))
    for name, values in (("labels", each.labels), ("headers", each.headers)):
        if values:
            table.add_row(name, Text("\n".join(f"{key}={value}" for key, value in values.items())))
    for name, value, text in (
        ("payload", each.payload, each.payload_json),
        ("output", each.output, each.output_json),
    ):
        if text is not None:
            table.add_row(name, Text(payload(value, text)))
    for attempt in each.failed_attempts:
        what = f"{attempt.error_type}: {attempt.error}" if attempt.error_type else attempt.error
        table.add_row(
            f"attempt {attempt.attempt}",
            Text(f"{attempt.reason} on {attempt.worker}\n{what}", style="yellow"),
        )
    out.print(table)


def _lost(losses: int) -> str:
    return "1 lost worker" if losses == 1 else f"{losses} lost workers"


def _ago(moment: datetime) -> str:
    text = age(moment)
    return text if text.startswith("in ") else f"{text} ago"


def payload(value: object, raw: bytes) -> str:
    """A payload or an output. One that was not decoded: by what it was encoded, and its size."""
    return f"{value} ({decimal(len(raw))})" if isinstance(value, Encoded) else pretty(raw)


def pretty(raw: bytes) -> str:
    """JSON on several lines where it is long; one whose numbers Python would change stays as it is."""
    text = raw.decode("utf-8", "replace")
    if len(text) <= 80:
        return text
    try:
        pretty = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text
    return pretty if _bare(pretty) == _bare(text) else text


def _bare(text: str) -> str:
    return "".join(text.split())


def kinds(found: Sequence[Kind]) -> None:
    """A table of kinds. Without a kind that has limits, or takes several slots, it has no column of them."""
    table = Table(
        "kind", "schema", "failures", "timeout", "backoff", box=None, pad_edge=False, header_style="bold"
    )
    limited = any(each.limits is not None for each in found)
    heavy = any(each.slot_weight > 1 for each in found)
    if limited:
        table.add_column("limits")
    if heavy:
        table.add_column("slots")
    for each in found:
        policy = each.retry_policy
        backoff = (
            ""
            if policy is None
            else f"{span(policy.min_backoff) or '1s'} to {span(policy.max_backoff) or '60s'}"
        )
        limits = ["; ".join(_limits(each.limits))] if limited else []
        timeout = span(each.timeout) or "none"
        slots = [str(each.slot_weight)] if heavy else []
        failures = str(each.max_attempts or 3)
        table.add_row(Text(each.name), _schema(each), failures, timeout, backoff, *limits, *slots)
    out.print(table)


def kind(each: Kind) -> None:
    """One kind: its row, and what a table has no room for."""
    kinds([each])
    for name, value in (
        ("version", str(each.version) if each.version else ""),
        *sorted(each.annotations.items()),
        ("schema", _document(each.schema)),
        ("output schema", _document(each.output_schema)),
    ):
        if value:
            line(f"{name}: {value}")


def _document(schema: object) -> str:
    return "" if schema is None else json.dumps(schema, indent=2, ensure_ascii=False)


def _schema(each: Kind) -> Text:
    if not isinstance(each.schema, dict):
        return Text("any JSON" if each.schema is None else str(each.schema))
    fields = each.schema.get("properties")
    required = each.schema.get("required", [])
    if not isinstance(fields, dict):
        return Text("a schema")
    return Text(", ".join(f"{name}" if name in required else f"{name}?" for name in fields))


def _limits(limits: Limits | None) -> Iterable[str]:
    if limits is not None and limits.max_running:
        yield f"{limits.max_running:,} may run"
    if limits is not None and limits.rate is not None:
        yield f"{_of_rate(limits.rate)} may start"


def _notes(each: Queue) -> Iterable[str]:
    if each.paused:
        yield "paused"
    held = sum(depth.jobs for depth in each.held.values())
    yield from _limits(each.limits)
    if each.max_waiting:
        yield f"{each.max_waiting:,} may wait"
    if each.key_policy is not None:
        yield _of_keys(each.key_policy)
    if each.retention is not None:
        yield f"kept after the end: {', '.join(_of_retention(each.retention))}"
    if held:
        yield f"{held:,}{'+' if any(depth.capped for depth in each.held.values()) else ''} held"


def _of_retention(retention: Retention) -> Iterable[str]:
    for name in ("succeeded", "failed_permanent", "cancelled"):
        if (kept := getattr(retention, name)) is not None:
            yield f"{name} {span(kept)}"


_AFTER_FAILURE = {
    OnKeyFailure.HOLD: "held after a failure",
    OnKeyFailure.CANCEL_REST: "the rest is cancelled after a failure",
}


def _of_rate(rate: Rate) -> str:
    burst = f", {rate.burst:,} at once" if rate.burst else ""
    return f"{rate.count:,} in {span(rate.period)}{burst}"


def _of_keys(policy: KeyPolicy) -> str:
    """What is allowed of a key, in a few words."""
    words = []
    if policy.max_running:
        words.append(f"{policy.max_running:,} running")
    if policy.rate is not None:
        words.append(_of_rate(policy.rate))
    if policy.max_waiting:
        words.append(f"{policy.max_waiting:,} waiting")
    if policy.order is KeyOrder.STRICT:
        words.append("in strict order")
    if policy.fair:
        words.append("in turn")
    if (then := _AFTER_FAILURE.get(policy.on_failure)) is not None:
        words.append(then)
    text = f"of a key: {', '.join(words)}" if words else ""
    return "; ".join(filter(None, [text, "each job has a key" if policy.require_key else ""]))


def queue_keys(found: Iterable[QueueKey]) -> None:
    """A table of the keys of a queue."""
    table = Table("key", box=None, pad_edge=False, header_style="bold")
    for name in ("let in", "limit", "waiting"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in found:
        notes = []
        if each.paused:
            by = f" by {each.paused_by}" if each.paused_by else ""
            notes.append(f"paused{by} {age(each.paused_at)} ago")
        if each.paused_until is not None:
            notes.append(f"paused by a worker until {each.paused_until:%H:%M:%SZ}")
        if each.blocked_by is not None:
            notes.append(f"blocked by job {each.blocked_by}")
        if each.max_running:
            notes.append("limit of its own")
        if each.next_start_at is not None:
            notes.append(f"next start {each.next_start_at:%H:%M:%SZ}")
        table.add_row(
            Text(each.key),
            f"{each.taken:,}",
            f"{each.limit:,}" if each.limit else "-",
            f"{each.waiting:,}",
            Text(", ".join(notes), style="yellow"),
        )
    out.print(table)


def holders(of: QueueKey) -> None:
    """The jobs that hold a key."""
    for each in of.holders:
        where = f"on {each.worker}" if each.worker else "in line"
        out.print(Text(f"  {each.job_id}  {where}  {age(each.since)}"))


def queues(found: Iterable[Queue]) -> None:
    """A table of queues."""
    table = Table("queue", box=None, pad_edge=False, header_style="bold")
    for name in ("queued", "retrying", "running", "oldest"):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in found:
        counts = []
        for state in (Status.QUEUED, Status.RETRYING, Status.RUNNING):
            depth = each.depths.get(state)
            counts.append("0" if depth is None else f"{depth.jobs:,}{'+' if depth.capped else ''}")
        waiting = [
            depth.oldest_age
            for state, depth in each.depths.items()
            if state is not Status.RUNNING and depth.oldest_age is not None
        ]
        table.add_row(
            Text(each.name),
            *counts,
            span(max(waiting, default=None)),
            Text(", ".join(_notes(each)), style="yellow"),
        )
    out.print(table)
