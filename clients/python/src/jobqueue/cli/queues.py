"""The commands about queues."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated

import typer

from jobqueue import (
    KeyFilter,
    KeyOrder,
    KeyPolicy,
    Limits,
    OnKeyFailure,
    Queue,
    QueueKey,
    QueueNotFound,
    Retention,
)
from jobqueue.jobs import SAME

from . import json_text, show, values
from .exits import Refused, fail
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group

app = typer.Typer(no_args_is_help=True)


@app.callback()
@group
def _queues() -> None:
    """The queues: how long they are, pausing them, and limiting their jobs."""


class _Order(enum.StrEnum):
    ANY = "any"
    STRICT = "strict"


class _OnFailure(enum.StrEnum):
    CONTINUE = "continue"
    HOLD = "hold"
    CANCEL_REST = "cancel-rest"


_ORDERS = {_Order.ANY: KeyOrder.UNSPECIFIED, _Order.STRICT: KeyOrder.STRICT}
_FAILURES = {
    _OnFailure.CONTINUE: OnKeyFailure.CONTINUE,
    _OnFailure.HOLD: OnKeyFailure.HOLD,
    _OnFailure.CANCEL_REST: OnKeyFailure.CANCEL_REST,
}

_Name = Annotated[str, typer.Argument(help="The queue's name.")]


@app.command("list")
@command
def list_queues(server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False) -> None:
    """List the queues, with their jobs that are not over and the age of the oldest that is due."""
    with connected(server, deadline, as_json) as client:
        _print(client.list_queues(), as_json)


@app.command("show")
@command
def show_queue(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Show one queue."""
    with connected(server, deadline, as_json) as client:
        _print([client.get_queue(name)], as_json)


@app.command()
@command
def pause(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why, for people; `jobqueue explain` tells it.")] = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Take no more jobs from a queue. Running ones run on, and new ones can be enqueued."""
    with connected(server, deadline, as_json) as client:
        _print([client.pause_queue(name, reason=reason)], as_json)


@app.command()
@command
def resume(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Take jobs from a paused queue again."""
    with connected(server, deadline, as_json) as client:
        _print([client.resume_queue(name)], as_json)


@app.command("set")
@command
def set_queue(
    name: _Name,
    most: Annotated[
        int | None,
        typer.Option("--max-waiting", metavar="N", help="Jobs of the queue that may wait; 0: no limit."),
    ] = None,
    total: Annotated[
        int | None,
        typer.Option("--max-running", metavar="N", help="Jobs of the queue at once; 0: no limit."),
    ] = None,
    total_rate: Annotated[
        str | None,
        typer.Option(
            "--rate", metavar="RATE", help="Jobs of the queue that start in a time: 100/s; none: no limit."
        ),
    ] = None,
    total_burst: Annotated[
        int | None,
        typer.Option("--rate-burst", metavar="N", help="With --rate: so many may start at once."),
    ] = None,
    max_running: Annotated[
        int | None,
        typer.Option("--key-max-running", metavar="N", help="Jobs of one key at once; 0: no limit."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--key-rate", metavar="RATE", help="Jobs of one key that start in a time: 10/min; none: no limit."
        ),
    ] = None,
    burst: Annotated[
        int | None,
        typer.Option("--key-rate-burst", metavar="N", help="With --key-rate: so many may start at once."),
    ] = None,
    max_waiting: Annotated[
        int | None,
        typer.Option("--key-max-waiting", metavar="N", help="Jobs of one key that may wait; 0: no limit."),
    ] = None,
    require_key: Annotated[
        bool | None, typer.Option("--require-key/--no-require-key", help="Refuse jobs without a key.")
    ] = None,
    order: Annotated[
        _Order | None,
        typer.Option(
            "--key-order", help="In what order jobs of one key start; strict: as they were enqueued."
        ),
    ] = None,
    on_failure: Annotated[
        _OnFailure | None,
        typer.Option(
            "--on-key-failure", help="In strict order: what becomes of a key whose job failed for good."
        ),
    ] = None,
    fair: Annotated[
        bool | None, typer.Option("--fair/--no-fair", help="Keys take turns, however many jobs each has.")
    ] = None,
    succeeded: Annotated[
        str | None,
        typer.Option(
            "--keep-succeeded",
            metavar="TIME",
            help="How long jobs can be read after they succeeded: 1h to 3650d; default: as those of every queue.",
        ),
    ] = None,
    failed: Annotated[
        str | None,
        typer.Option("--keep-failed", metavar="TIME", help="The same after they failed for good."),
    ] = None,
    cancelled: Annotated[
        str | None,
        typer.Option("--keep-cancelled", metavar="TIME", help="The same after they were cancelled."),
    ] = None,
    etag: Annotated[
        str, typer.Option(help="Only if the queue still has it, as `queues show --json` told it.")
    ] = "",
    make: Annotated[bool, typer.Option("--make", help="Make the queue if it was never used.")] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "10s",
    as_json: AsJson = False,
) -> None:
    """Say how many jobs of a queue may wait, run and start, what it allows of one key, and how long ended jobs stay.

    What is not said stays.
    The key of a job is given by `jobqueue enqueue --job-key`.
    """
    with connected(server, deadline, as_json) as client:
        if burst is not None and rate in (None, "none"):
            raise Refused("--key-rate-burst is given without a --key-rate")
        if total_burst is not None and total_rate in (None, "none"):
            raise Refused("--rate-burst is given without a --rate")
        given = {
            "max_running": max_running,
            "max_waiting": max_waiting,
            "rate": rate,
            "require_key": require_key,
            "order": order,
            "on_failure": on_failure,
            "fair": fair,
        }
        fields = [field for field, value in given.items() if value is not None]
        limit_fields = ["max_running"] if total is not None else []
        limit_fields += ["rate"] if total_rate is not None else []
        kept = {"succeeded": succeeded, "failed_permanent": failed, "cancelled": cancelled}
        retention_fields = [field for field, value in kept.items() if value is not None]
        if not fields and not limit_fields and not retention_fields and most is None:
            raise Refused("nothing is to be changed; see `jobqueue queues set --help`")
        policy = KeyPolicy(
            max_running=max_running or 0,
            rate=values.rate(rate, burst, "--key-rate") if rate not in (None, "none") else None,
            max_waiting=max_waiting or 0,
            require_key=bool(require_key),
            order=_ORDERS[order] if order else KeyOrder.UNSPECIFIED,
            on_failure=_FAILURES[on_failure] if on_failure else OnKeyFailure.UNSPECIFIED,
            fair=bool(fair),
        )
        limits = Limits(
            max_running=total or 0,
            rate=values.rate(total_rate, total_burst, "--rate") if total_rate not in (None, "none") else None,
        )
        retention = Retention(
            succeeded=_kept(succeeded, "--keep-succeeded"),
            failed_permanent=_kept(failed, "--keep-failed"),
            cancelled=_kept(cancelled, "--keep-cancelled"),
        )
        try:
            queue = client.update_queue(
                name,
                policy if fields else SAME,
                fields=fields,
                max_waiting=most,
                limits=limits if limit_fields else None,
                limit_fields=limit_fields,
                retention=retention if retention_fields else None,
                retention_fields=retention_fields,
                etag=etag,
                allow_missing=make,
            )
        except QueueNotFound as error:
            hint = "the same with --make makes it; `jobqueue queues list` shows those that there are"
            fail(error, as_json=as_json, hint=hint)
        _print([queue], as_json)


def _kept(text: str | None, where: str) -> timedelta | None:
    """`30d`; `default` takes back what was said."""
    return None if text is None or text == "default" else values.duration(text, where)


@app.command("keys")
@command
def list_queue_keys(
    name: _Name,
    only: Annotated[
        KeyFilter | None, typer.Option(case_sensitive=False, help="Only keys that are so.")
    ] = None,
    most_waiting: Annotated[
        bool, typer.Option("--most-waiting", help="Those that most jobs wait for first; else by name.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many keys at most.")] = 1000,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List the keys of a queue that have jobs, or of which something is said."""
    with connected(server, deadline, as_json) as client:
        _print_keys(
            client.list_queue_keys(name, only=only, most_waiting_first=most_waiting, most=limit), as_json
        )


@app.command("key")
@command
def queue_key(
    name: _Name,
    key: Annotated[str, typer.Argument(help="The key, as in `jobqueue enqueue --job-key`.")],
    max_running: Annotated[
        int | None, typer.Option("--max-running", metavar="N", min=1, help="A limit of its own.")
    ] = None,
    paused: Annotated[
        bool | None, typer.Option("--pause/--resume", help="Let none of its jobs in, or let them in again.")
    ] = None,
    default: Annotated[
        bool, typer.Option("--default", help="No limit of its own: as the queue says.")
    ] = False,
    etag: Annotated[
        str, typer.Option(help="Only if the key still has it, as `queues key --json` told it.")
    ] = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "10s",
    as_json: AsJson = False,
) -> None:
    """Show one key of a queue, or give it a limit of its own, or pause it. What is not said stays."""
    with connected(server, deadline, as_json) as client:
        if default and max_running is not None:
            raise Refused("--default and --max-running are given, which is a limit of its own and none")
        most = 0 if default else max_running
        if most is None and paused is None:
            if etag:
                raise Refused("--etag is given, and nothing is to be changed")
            found = client.get_queue_key(name, key)
        else:
            found = client.update_queue_key(name, key, max_running=most, paused=paused, etag=etag)
        _print_keys([found], as_json)
        if not as_json:
            show.holders(found)


def _print_keys(found: Sequence[QueueKey], as_json: bool) -> None:
    if as_json:
        for each in found:
            typer.echo(json_text.write(json_text.queue_key(each)))
    else:
        show.queue_keys(found)


@app.command()
@command
def unblock(
    name: _Name,
    key: Annotated[str, typer.Argument(help="The key, as in `jobqueue enqueue --job-key`.")],
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Let a key go on with its next job, though one that failed or was cancelled blocks it.

    `jobqueue retry` of that job lets the key go on with it instead.
    """
    with connected(server, deadline, as_json) as client:
        blocked_by = client.unblock_queue_key(name, key)
        if as_json:
            typer.echo(json_text.write({"queue": name, "key": key, "blocked_by": blocked_by}))
        else:
            typer.echo(f"the key {key} goes on; job {blocked_by} stays as it ended")


def _print(found: Iterable[Queue], as_json: bool) -> None:
    if as_json:
        for each in found:
            typer.echo(json_text.write(json_text.queue(each)))
    else:
        show.queues(found)
