"""The commands that change many jobs: the dry run first, then a question, then a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any
from uuid import uuid4

import typer

from jobqueue import JobFilter, Operation, SyncClient

from . import json_text, show, values
from .exits import Refused
from .operations import end, follow, tell
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group

app = typer.Typer(no_args_is_help=True)
_SHOWN = 5


@app.callback()
@group
def _jobs() -> None:
    """Many jobs at once: retry, cancel, delete, change or count all that match."""


_Queue = Annotated[str, typer.Option(help="Only of this queue.")]
_Kind = Annotated[str, typer.Option(help="Only of this kind.")]
_Statuses = Annotated[
    list[str] | None, typer.Option("--status", help="Only with this status; may be repeated.")
]
_Labels = Annotated[
    list[str] | None, typer.Option("--label", metavar="K=V", help="Only with this label; may be repeated.")
]
_ErrorType = Annotated[
    str, typer.Option(help="Only those whose last error is of this type, such as TimeoutError.")
]
_Reasons = Annotated[
    list[str] | None, typer.Option("--reason", help="Only ended for this reason; may be repeated.")
]
_CreatedAfter = Annotated[
    str | None, typer.Option(metavar="TIME", help="Only enqueued at this time or later.")
]
_CreatedBefore = Annotated[str | None, typer.Option(metavar="TIME", help="Only enqueued before this time.")]
_EndedAfter = Annotated[str | None, typer.Option(metavar="TIME", help="Only ended at this time or later.")]
_EndedBefore = Annotated[str | None, typer.Option(metavar="TIME", help="Only ended before this time.")]
_Everything = Annotated[bool, typer.Option("--everything", help="All jobs, without another condition.")]
_PerSecond = Annotated[int, typer.Option(help="How many a second. Default: as fast as it does no harm.")]
_MaxJobs = Annotated[int, typer.Option(help="After how many it is done. Default: all.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@app.command()
@command
def retry(
    queue: _Queue = "",
    kind: _Kind = "",
    status: _Statuses = None,
    label: _Labels = None,
    error_type: _ErrorType = "",
    reason: _Reasons = None,
    created_after: _CreatedAfter = None,
    created_before: _CreatedBefore = None,
    ended_after: _EndedAfter = None,
    ended_before: _EndedBefore = None,
    everything: _Everything = False,
    per_second: _PerSecond = 0,
    max_jobs: _MaxJobs = 0,
    to_queue: Annotated[
        str, typer.Option(metavar="QUEUE", help="Let them wait in this queue. Default: each in its own.")
    ] = "",
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start at this time, such as 2030-01-31T18:00:00Z.")
    ] = None,
    delay: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Start so long after the retry, such as 5m.")
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Draw each start from so long after that, such as 10m."),
    ] = None,
    reset_checkpoint: Annotated[
        bool, typer.Option("--reset-checkpoint", help="Start from the beginning, without a checkpoint.")
    ] = False,
    respect_unique: Annotated[
        bool, typer.Option("--respect-unique", help="Leave out jobs whose name another job holds.")
    ] = False,
    yes: _Yes = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Queue jobs again that have ended: those that failed for good or were cancelled, if no status is given."""
    with connected(server, deadline, as_json) as client:
        chosen = _chosen(
            queue, kind, status, label, error_type, reason, created_after, created_before,
            ended_after, ended_before, everything,
        )  # fmt: skip
        if delay is not None and run_at is not None:
            raise Refused("--delay and --run-at are both given; one of them says when the jobs start")
        more = {
            "to_queue": to_queue,
            "run_at": values.moment(run_at, "--run-at"),
            "delay": values.optional_duration(delay, "--delay"),
            "spread": values.optional_duration(spread, "--spread"),
            "reset_checkpoint": reset_checkpoint,
            "respect_unique": respect_unique,
        }
        _change(client, client.retry_jobs, "Retry", chosen, per_second, max_jobs, yes, as_json, more)


@app.command()
@command
def cancel(
    queue: _Queue = "",
    kind: _Kind = "",
    status: _Statuses = None,
    label: _Labels = None,
    error_type: _ErrorType = "",
    created_after: _CreatedAfter = None,
    created_before: _CreatedBefore = None,
    everything: _Everything = False,
    per_second: _PerSecond = 0,
    max_jobs: _MaxJobs = 0,
    why: Annotated[str, typer.Option(help="Why, for workers and people.")] = "",
    yes: _Yes = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Cancel jobs that have not ended; the workers of running ones are asked to stop."""
    with connected(server, deadline, as_json) as client:
        chosen = _chosen(
            queue, kind, status, label, error_type, None, created_after, created_before,
            None, None, everything,
        )  # fmt: skip
        more = {"reason": why}
        _change(client, client.cancel_jobs, "Cancel", chosen, per_second, max_jobs, yes, as_json, more)


@app.command()
@command
def delete(
    queue: _Queue = "",
    kind: _Kind = "",
    status: _Statuses = None,
    label: _Labels = None,
    error_type: _ErrorType = "",
    reason: _Reasons = None,
    created_after: _CreatedAfter = None,
    created_before: _CreatedBefore = None,
    ended_after: _EndedAfter = None,
    ended_before: _EndedBefore = None,
    everything: _Everything = False,
    per_second: _PerSecond = 0,
    max_jobs: _MaxJobs = 0,
    yes: _Yes = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Delete jobs that have ended, with their history."""
    with connected(server, deadline, as_json) as client:
        chosen = _chosen(
            queue, kind, status, label, error_type, reason, created_after, created_before,
            ended_after, ended_before, everything,
        )  # fmt: skip
        _change(client, client.delete_jobs, "Delete", chosen, per_second, max_jobs, yes, as_json, {})


@app.command()
@command
def update(
    queue: _Queue = "",
    kind: _Kind = "",
    status: _Statuses = None,
    label: _Labels = None,
    error_type: _ErrorType = "",
    created_after: _CreatedAfter = None,
    created_before: _CreatedBefore = None,
    everything: _Everything = False,
    per_second: _PerSecond = 0,
    max_jobs: _MaxJobs = 0,
    set_priority: Annotated[
        int | None, typer.Option(metavar="N", help="Their priority from now on, -10 to 10.")
    ] = None,
    set_max_attempts: Annotated[
        int, typer.Option(metavar="N", help="After so many failures each ends. Default: each keeps its own.")
    ] = 0,
    to_queue: Annotated[
        str, typer.Option(metavar="QUEUE", help="Let them wait in this queue. Default: each in its own.")
    ] = "",
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start at this time, such as 2030-01-31T18:00:00Z.")
    ] = None,
    delay: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Start so long after the change: 5m; 0s: now.")
    ] = None,
    spread: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Draw each start from so long after that, such as 10m."),
    ] = None,
    yes: _Yes = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Change jobs that wait: their priority, start, queue or attempts. Running ones stay as they are."""
    with connected(server, deadline, as_json) as client:
        chosen = _chosen(
            queue, kind, status, label, error_type, None, created_after, created_before,
            None, None, everything,
        )  # fmt: skip
        if delay is not None and run_at is not None:
            raise Refused("--delay and --run-at are both given; one of them says when the jobs start")
        more = {
            "priority": set_priority,
            "max_attempts": set_max_attempts,
            "to_queue": to_queue,
            "run_at": values.moment(run_at, "--run-at"),
            "delay": values.optional_duration(delay, "--delay"),
            "spread": values.optional_duration(spread, "--spread"),
        }
        _change(client, client.update_jobs, "Change", chosen, per_second, max_jobs, yes, as_json, more)


def _chosen(
    queue: str,
    kind: str,
    status: list[str] | None,
    label: list[str] | None,
    error_type: str,
    reason: list[str] | None,
    created_after: str | None,
    created_before: str | None,
    ended_after: str | None,
    ended_before: str | None,
    everything: bool,
) -> JobFilter:
    return JobFilter(
        queue=queue,
        kind=kind,
        status=[each.upper() for each in status or ()],
        labels=values.pairs(label or (), "--label"),
        error_type=error_type,
        reason=[each.upper() for each in reason or ()],
        created_after=values.moment(created_after, "--created-after"),
        created_before=values.moment(created_before, "--created-before"),
        ended_after=values.moment(ended_after, "--ended-after"),
        ended_before=values.moment(ended_before, "--ended-before"),
        everything=everything,
    )


def _change(
    client: SyncClient,
    call: Callable[..., Operation],
    verb: str,
    chosen: JobFilter,
    per_second: int,
    max_jobs: int,
    yes: bool,
    as_json: bool,
    more: dict[str, Any],
) -> None:
    counted = call(chosen, per_second=per_second, max_jobs=max_jobs, **more)
    jobs = f"{counted.estimate:,}{' or more' if counted.estimate_capped else ''} jobs"
    if as_json and not yes:
        # A script that wants more than the count says so.
        typer.echo(json_text.write(json_text.operation(counted)))
        return
    if not as_json:
        show.line(f"{jobs} match" + (", such as:" if counted.sample_ids else "."))
        for id in counted.sample_ids[:_SHOWN]:
            show.line(f"  {id}")
    if not counted.estimate and not counted.estimate_capped:
        if as_json:
            typer.echo(json_text.write(json_text.operation(counted)))
        return
    if not yes:
        if not sys.stdin.isatty():
            raise Refused("there is no terminal to ask at: give --yes to change them")
        if not typer.confirm(f"{verb} {jobs}?"):
            raise typer.Exit(0)
    # With an id of its own it is safe to send again. What was shown is what is changed, or about as much.
    begun = call(
        chosen,
        force=True,
        per_second=per_second,
        max_jobs=max_jobs,
        request_id=str(uuid4()),
        expected=None if counted.estimate_capped else counted.estimate,
        **more,
    )
    found = client.wait_operation(begun.name) if as_json else follow(client, begun)
    tell(found, as_json)
    end(found)
