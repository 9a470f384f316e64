"""The commands about workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from jobqueue import WorkerSession, WorkerState

from . import json_text, show
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group


class _ListsByDefault(TyperGroup):
    """Without the name of a command it lists."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, as those of `list` where no command is named."""
        if not {"-h", "--help", *self.commands} & set(args):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_ListsByDefault)

_COLOURS = {WorkerState.CONNECTED: "green", WorkerState.DRAINING: "yellow", WorkerState.SILENT: "red"}
_SessionId = Annotated[str, typer.Argument(metavar="ID", help="The number of the worker's session.")]


@app.callback()
@group
def _workers() -> None:
    """The workers of all servers: which there are, what they hold, and draining one. Without a command: list."""


@app.command("list")
@command
def list_workers(
    queue: Annotated[str, typer.Option(help="Only those that take jobs of this queue.")] = "",
    kind: Annotated[str, typer.Option(help="Only those that take jobs of this kind.")] = "",
    name: Annotated[str, typer.Option(help="Only those whose name begins so.")] = "",
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="Only in this state: connected, draining, silent; may be repeated."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List the workers of all servers, those first that came last."""
    with connected(server, deadline, as_json) as client:
        states = [each.upper() for each in state or ()]
        found = client.list_workers(queue=queue, kind=kind, name=name, state=states)
        if as_json:
            for each in found:
                typer.echo(json_text.write(json_text.worker(each)))
        else:
            _table(found)


@app.command("show")
@command
def show_worker(
    id: _SessionId, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Show one worker, with the jobs that it holds."""
    with connected(server, deadline, as_json) as client:
        _print(client.get_worker(id), as_json)


@app.command()
@command
def drain(
    id: _SessionId,
    reason: Annotated[str, typer.Option(help="Why, for people.")] = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Give a worker no more jobs, for good. It finishes those that it holds; then stop its process."""
    with connected(server, deadline, as_json) as client:
        _print(client.drain_worker(id, reason=reason), as_json)


def _table(found: Sequence[WorkerSession]) -> None:
    if not found:
        show.line("There is no worker.")
        return
    table = Table(
        "id", "name", "state", "takes", "held", "free", "server", "client", "since",
        box=None, pad_edge=False, header_style="bold",
    )  # fmt: skip
    for each in found:
        table.add_row(
            Text(each.session_id, no_wrap=True),
            Text(each.name),
            _state(each),
            Text(_takes(each)),
            Text(f"{each.held:,}", justify="right"),
            Text(f"{each.free_slots:,} of {each.slots:,}" if each.slots else "-", justify="right"),
            Text(each.server or "-"),
            Text(each.client or "-"),
            Text(show.age(each.opened_at)),
        )
    show.out.print(table)


def _state(each: WorkerSession) -> Text:
    text = each.state.lower()
    if each.silent_since is not None:
        text += f" {show.age(each.silent_since)}, ends {_in(each.ends_at)}"
    return Text(text, style=_COLOURS.get(each.state, ""))


def _in(moment: datetime | None) -> str:
    return "" if moment is None else f"in {show.span(max(moment - datetime.now(UTC), timedelta()))}"


def _takes(each: WorkerSession) -> str:
    return "; ".join(f"{queue}: {', '.join(kinds)}" for queue, kinds in each.takes.items())


def _print(each: WorkerSession, as_json: bool) -> None:
    if as_json:
        typer.echo(json_text.write(json_text.worker(each)))
        return
    _table([each])
    if each.ends_at is not None:
        show.line(f"Its session ends {_in(each.ends_at)}, if it is not heard before.")
    if each.drain is not None:
        by = f" by {each.drain.by}" if each.drain.by else ", as it is shutting down"
        why = f": {each.drain.reason}" if each.drain.reason else ""
        show.line(f"It gets no more jobs since {show.age(each.drain.since)}{by}{why}")
    if not each.jobs:
        return
    show.line("")
    table = Table(
        "job", "queue", "kind", "attempt", "for", "stopped", "", box=None, pad_edge=False, header_style="bold"
    )
    for job in each.jobs:
        table.add_row(
            Text(job.job_id, no_wrap=True),
            Text(job.queue),
            Text(job.kind),
            Text(str(job.attempt), justify="right"),
            Text(show.age(job.since)),
            Text(_in(job.deadline_at)),
            Text("asked to cancel" if job.cancel_requested else ""),
        )
    show.out.print(table)
