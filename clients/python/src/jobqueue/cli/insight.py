"""The commands about why jobs wait, and what queues want."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from jobqueue import (
    AttemptDetail,
    DueDetail,
    EndDetail,
    Estimate,
    Explanation,
    KeyDetail,
    KeyHolder,
    PauseDetail,
    QueueDemand,
    Reason,
    WorkersDetail,
)

from . import json_text, show
from .options import DEFAULT_SERVER, AsJson, Deadline, JobId, Server, connected

#: How many jobs that hold a key stand in the table. `--json` has 20.
_HOLDERS = 5


def explain(
    id: JobId, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Say why a job waits, and what would start it."""
    with connected(server, deadline, as_json) as client:
        found = client.explain(id)
        if as_json:
            typer.echo(json_text.write(json_text.explanation(found)))
        else:
            _show(found)


def demand(
    queue: Annotated[str, typer.Argument(help="The queue's name.")],
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Say how many slots of workers a queue wants."""
    with connected(server, deadline, as_json) as client:
        found = client.get_queue_demand(queue)
        if as_json:
            typer.echo(json_text.write(json_text.demand(found)))
        else:
            _show_demand(found)


def _show(found: Explanation) -> None:
    show.line(found.summary)
    show.line("")
    table = Table("reason", "what is known", "ended by", box=None, pad_edge=False, header_style="bold")
    for reason in found.reasons:
        table.add_row(
            Text(str(reason.code)), Text("\n".join(_known(reason))), Text("\n".join(reason.unblocked_by))
        )
    show.out.print(table)
    if found.estimate is not None:
        show.line("")
        show.line(_estimated(found.estimate))
    if found.name is not None:
        show.line("")
        show.line(f"{found.name.message[:1].upper()}{found.name.message[1:]}.")
    _unknown(found.unknown)


def _estimated(found: Estimate) -> str:
    ahead = (
        f"{found.ahead:,}{'+' if found.capped else ''} {'job goes' if found.ahead == 1 else 'jobs go'} first"
    )
    latest = "" if found.latest_at is None else f" and {show.age(found.latest_at)} at the latest"
    return (
        f"It may start {show.age(found.earliest_at)} at the earliest{latest}: {ahead}, and "
        f"{found.ends_per_second:.3g} a second ended in the last minute."
    )


def _known(reason: Reason) -> Iterable[str]:
    match reason.detail:
        case EndDetail(why, finished_at):
            yield f"{why or 'ended'}, {show.age(finished_at)} ago"
        case AttemptDetail() as attempt:
            yield f"attempt {attempt.attempt} on {attempt.worker} for {show.age(attempt.since)}"
            if attempt.deadline_at is not None:
                yield f"stopped {show.age(attempt.deadline_at)} at the latest"
            if attempt.cancel_requested:
                yield "asked to cancel"
        case DueDetail() as due:
            yield f"due {show.age(due.run_at)}"
            if due.last_reason:
                yield f"failure {due.failures} of {due.max_attempts}: {due.last_reason}"
            if due.last_error:
                yield due.last_error
        case PauseDetail() as pause:
            yield f"for {show.age(pause.since)}{f', by {pause.by}' if pause.by else ''}"
            if pause.reason:
                yield pause.reason
        case WorkersDetail() as workers:
            yield from _workers(workers)
        case KeyDetail() as key:
            yield reason.message
            named = key.holders[:_HOLDERS]
            yield from map(_holder, named)
            if named and key.taken > len(named):
                yield f"and {key.taken - len(named):,} more"
        case _:
            yield reason.message


def _workers(workers: WorkersDetail) -> Iterable[str]:
    yield f"{_count(workers.sessions)}, {workers.free_slots} of {workers.slots} slots free"
    for count, what in (
        (workers.full_by_kind, "have no slot left for this kind"),
        (workers.full_by_bytes, "hold as many bytes as they take"),
        (workers.draining, "are connected and take no more jobs"),
        (workers.isolating, "have a job that runs alone"),
    ):
        if count:
            yield f"{count} {what}"
    if workers.slot_weight:
        most = f"{workers.most_free_slots} of {workers.most_slots} free at one worker at most"
        yield f"the job takes {workers.slot_weight} slots: {most}"
    for near in workers.nearest:
        yield f"near: kind {near.kind} in queue {near.queue} ({_count(near.sessions)})"


def _holder(holder: KeyHolder) -> str:
    where = f"on {holder.worker}" if holder.worker else "in line"
    return f"{holder.job_id} {where} for {show.age(holder.since)}"


def _count(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers:,} workers"


def _show_demand(found: QueueDemand) -> None:
    wanted = "1 slot is" if found.wanted_slots == 1 else f"{found.wanted_slots:,} slots are"
    show.line(f"{wanted} wanted: {found.why}.")
    show.line("")
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("runnable", f"{found.runnable:,}{'+' if found.capped else ''}")
    table.add_row("running", f"{found.running:,}")
    for name, count in (("held", found.held), ("due later", found.later), ("paused", found.paused)):
        if count:
            table.add_row(name, f"{count:,}")
    table.add_row("workers", f"{found.workers:,}, with {found.free_slots:,} of {found.slots:,} slots free")
    if found.oldest_runnable_age is not None:
        table.add_row("oldest", show.span(found.oldest_runnable_age))
    table.add_row(
        "in the last minute",
        f"{found.arrivals_per_second:.3g} a second came, {found.ends_per_second:.3g} a second ended",
    )
    table.add_row("more workers would help", "yes" if found.more_workers_would_help else "no")
    show.out.print(table)
    _unknown(found.unknown)


def _unknown(servers: Iterable[str]) -> None:
    names = ", ".join(servers)
    if names:
        typer.echo(f"These servers were not heard, so their workers are left out: {names}", err=True)
