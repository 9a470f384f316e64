"""The commands about jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice
from typing import Annotated

import typer

from jobqueue import (
    AUTO,
    Job,
    OnConflict,
    RetryPolicy,
    Status,
    SyncClient,
    UniqueAction,
    UniqueField,
    UniqueScope,
    Until,
    WaitTimeout,
)

from . import json_text, show, values
from .exits import Exit, Refused, fail
from .options import DEFAULT_SERVER, AsJson, Deadline, JobId, JobIds, Server, connected

_PAGE = 1000

#: What `enqueue` says where no job was stored for its name.
_DONE_INSTEAD = {
    UniqueAction.KEPT: "This job has the name already, and was kept; none was enqueued.",
    UniqueAction.REPLACED: "This job has the name already, and has what you gave now; none was enqueued.",
    UniqueAction.DEBOUNCED: "This job has the name already, and starts after the delay; none was enqueued.",
}


def enqueue(
    kind: Annotated[str, typer.Argument(help="What sort of work it is, such as send_email.")],
    payload: Annotated[
        str | None,
        typer.Argument(
            metavar="[JSON|-|@FILE]", help="The payload: JSON, - for stdin, or a file. Left out: null."
        ),
    ] = None,
    queue: Annotated[
        str, typer.Option(help="The queue in which the job waits.", show_default="default")
    ] = "",
    priority: Annotated[int, typer.Option(help="-10..10; higher is taken first.")] = 0,
    delay: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Start so much later, such as 5m or 1h30m.")
    ] = None,
    run_at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start at this time, such as 2030-01-31T18:00:00Z.")
    ] = None,
    max_attempts: Annotated[
        int | None, typer.Option(help="How many failures end it. Default: the kind's, else 3.")
    ] = None,
    timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="How long one attempt may run. Default: the kind's."),
    ] = None,
    min_backoff: Annotated[
        str | None, typer.Option(metavar="DURATION", help="The shortest wait after a failure.")
    ] = None,
    max_backoff: Annotated[
        str | None, typer.Option(metavar="DURATION", help="The longest wait after a failure.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key and job again is the same job.")
    ] = None,
    auto_key: Annotated[
        bool,
        typer.Option(
            "--auto-key", help="A key of its own, so that it is tried again when the server is away."
        ),
    ] = False,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="A mark to find the job by; may be repeated.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Given to the handler; may be repeated.")
    ] = None,
    job_key: Annotated[
        str, typer.Option(metavar="KEY", help="What it is about; its queue may limit jobs by it.")
    ] = "",
    unique: Annotated[
        bool, typer.Option("--unique", help="Once: not beside a job that has the same payload and waits.")
    ] = False,
    unique_key: Annotated[
        str, typer.Option(metavar="NAME", help="Once: not beside a job of the same name that waits.")
    ] = "",
    unique_field: Annotated[
        list[str] | None,
        typer.Option(
            metavar="POINTER", help="Once by this part of the payload, as /user/id; may be repeated."
        ),
    ] = None,
    scope: Annotated[
        UniqueScope | None,
        typer.Option(case_sensitive=False, help="Among which jobs it is to be unique. Default: its kind."),
    ] = None,
    until: Annotated[
        Until | None,
        typer.Option(
            case_sensitive=False, help="What lets go of its name: it starts (default), ends, or a period."
        ),
    ] = None,
    period: Annotated[
        str | None, typer.Option(metavar="DURATION", help="It keeps its name at least so long, as 10m.")
    ] = None,
    on_conflict: Annotated[
        OnConflict | None,
        typer.Option(
            case_sensitive=False, help="Keep the job that is there (default), change it, or reject this one."
        ),
    ] = None,
    replace: Annotated[
        list[UniqueField] | None,
        typer.Option(
            case_sensitive=False,
            help="What of the job that is there to change; may be repeated. Default: payload, labels, headers.",
        ),
    ] = None,
    max_delay: Annotated[
        str | None,
        typer.Option(
            metavar="DURATION",
            help="With debounce: the job that is there starts at most so long after its enqueue.",
        ),
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="No worker gets it until `jobqueue release`.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until it is over; then end as `jobqueue wait` does.")
    ] = False,
    wait_timeout: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="With --wait: how long at most. Default: for ever."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Enqueue a job. Its id is printed once it is committed."""
    with connected(server, deadline, as_json) as client:
        if key is not None and auto_key:
            raise Refused("--key and --auto-key are both given; one of them makes the key")
        if delay is not None and run_at is not None:
            raise Refused("--delay and --run-at are both given; one of them says when the job starts")
        if wait_timeout is not None and not wait:
            raise Refused("--wait-timeout is given without --wait")
        once = None
        if unique or unique_key or unique_field:
            once = values.unique(
                lambda name: f"--{name.replace('_', '-')}",
                unique_field or (),
                replace or (),
                key=unique_key,
                scope=scope,
                until=until,
                period=period,
                on_conflict=on_conflict,
                max_delay=max_delay,
            )
        elif any(each is not None for each in (scope, until, period, on_conflict, replace, max_delay)):
            raise Refused(
                "--scope, --until, --period, --on-conflict, --replace and --max-delay want --unique, --unique-key or "
                "--unique-field"
            )
        longest = values.optional_duration(wait_timeout, "--wait-timeout")
        policy = None
        if min_backoff is not None or max_backoff is not None:
            policy = RetryPolicy(
                min_backoff=values.optional_duration(min_backoff, "--min-backoff"),
                max_backoff=values.optional_duration(max_backoff, "--max-backoff"),
            )
        job = client.enqueue(
            kind,
            payload_json=values.payload(payload),
            queue=queue,
            priority=priority,
            delay=values.optional_duration(delay, "--delay"),
            run_at=values.moment(run_at, "--run-at"),
            max_attempts=max_attempts,
            timeout=values.optional_duration(timeout, "--timeout"),
            retry_policy=policy,
            idempotency_key=AUTO if auto_key else key,
            labels=values.pairs(label or (), "--label"),
            headers=values.pairs(header or (), "--header"),
            hold=hold,
            key=job_key,
            unique=once,
        )
        if wait:
            try:
                _wait_for(client, [job.id], longest, as_json, option="--wait-timeout")
            except KeyboardInterrupt:
                typer.echo(f"\nThe job goes on; wait for it with jobqueue wait {job.id}", err=True)
                raise
        elif as_json:
            action = {} if job.unique_action is None else {"unique_action": job.unique_action}
            typer.echo(json_text.write({**json_text.job(job), "replayed": job.replayed, **action}))
        else:
            typer.echo(job.id)
            if job.unique_action is not None:
                typer.echo(_DONE_INSTEAD[job.unique_action], err=True)
            elif job.replayed:
                typer.echo(f"The key stands for this job already; it is {job.status}.", err=True)


def get(
    id: JobId, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Show a job with its payload, output and failed attempts."""
    with connected(server, deadline, as_json) as client:
        _print(client.get(id), as_json)


def list_jobs(
    queue: Annotated[str, typer.Option(help="Only of this queue.")] = "",
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    status: Annotated[
        list[str] | None,
        typer.Option(
            help="Only with this status, such as retrying; may be repeated, or several with commas."
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Only with this label; may be repeated.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="TIME", help="Only enqueued then or later.")] = None,
    before: Annotated[str | None, typer.Option(metavar="TIME", help="Only enqueued before.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    all: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    full: Annotated[
        bool,
        typer.Option("--full", help="With --json: payloads, outputs, headers and failed attempts as well."),
    ] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    with connected(server, deadline, as_json) as client:
        found = client.list(
            queue=queue,
            kind=kind,
            status=[status_of(part) for text in status or () for part in text.split(",")],
            labels=values.pairs(label or (), "--label"),
            created_after=values.moment(after, "--after"),
            created_before=values.moment(before, "--before"),
            full=full,
            page_size=_PAGE if all else min(limit + 1, _PAGE),
        )
        if as_json:
            for job in found if all else islice(found, limit):
                typer.echo(json_text.write(json_text.job(job, full=full)))
        elif all:
            show.jobs(found)
        else:
            _first(found, limit)


def _first(found: Iterator[Job], limit: int) -> None:
    show.jobs(islice(found, limit))
    if next(found, None) is not None:
        typer.echo(f"There are more than {limit}: --limit N, or --all.", err=True)


def status_of(text: str) -> Status:
    """A status by its name."""
    name = text.strip().upper()
    known = [each for each in Status if each is not Status.UNSPECIFIED]
    if name not in known:
        raise Refused(f"{text!r} is no status; there are {', '.join(known).lower()}", where="--status")
    return Status(name)


def cancel(
    ids: JobIds,
    reason: Annotated[str, typer.Option(help="Why, for people; told to the worker.")] = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Cancel jobs: waiting ones at once, running ones by telling their worker."""
    with connected(server, deadline, as_json) as client:
        for id in ids:
            answer = client.cancel(id, reason=reason)
            if as_json:
                typer.echo(json_text.write({**json_text.job(answer.job), "pending": answer.pending}))
            else:
                show.line(f"{id}  {'its worker is told' if answer.pending else answer.job.status}")


def retry(
    ids: JobIds,
    respect_unique: Annotated[
        bool, typer.Option("--respect-unique", help="Do not retry a job whose name another job holds.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Run finished jobs again. They keep their history."""
    with connected(server, deadline, as_json) as client:
        for id in ids:
            job = client.retry(id, respect_unique=respect_unique)
            if as_json:
                typer.echo(json_text.write(json_text.job(job)))
            else:
                show.line(f"{id}  {job.status}")


def release(
    ids: JobIds, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Let jobs go that were enqueued with --hold."""
    with connected(server, deadline, as_json) as client:
        for id in ids:
            job = client.release(id)
            if as_json:
                typer.echo(json_text.write(json_text.job(job)))
            else:
                show.line(f"{id}  {job.status}")


def delete(
    ids: JobIds, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Delete finished jobs with all that is known of them."""
    with connected(server, deadline, as_json) as client:
        for id in ids:
            client.delete(id)
            if as_json:
                typer.echo(json_text.write({"id": id, "deleted": True}))
            else:
                show.line(f"{id}  deleted")


def wait(
    ids: JobIds,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long at most for all. Default: for ever.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Wait until jobs are over. Ends with 0 if all of them succeeded, 1 if one did not, 5 if it took too long."""
    with connected(server, deadline, as_json) as client:
        longest = values.optional_duration(timeout, "--timeout")
        _wait_for(client, ids, longest, as_json, option="--timeout")


def _wait_for(
    client: SyncClient, ids: Iterable[str], limit: timedelta | None, as_json: bool, *, option: str
) -> None:
    ends = None if limit is None else time.monotonic() + limit.total_seconds()
    failed = False
    for id in ids:
        left = None if ends is None else timedelta(seconds=max(0.0, ends - time.monotonic()))
        try:
            job = client.wait(id, timeout=left)
        except WaitTimeout as error:
            fail(
                error,
                as_json=as_json,
                hint=f"the job goes on; give it a longer {option}, or look at it with `jobqueue get {id}`",
            )
        failed = failed or job.status is not Status.SUCCEEDED
        _print(job, as_json)
    if failed:
        raise typer.Exit(Exit.JOB_FAILED)


def _print(job: Job, as_json: bool) -> None:
    if as_json:
        typer.echo(json_text.write(json_text.job(job)))
    else:
        show.job(job)
