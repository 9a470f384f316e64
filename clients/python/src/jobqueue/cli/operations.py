"""The commands about operations, which change many jobs or fire many ticks."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from jobqueue import BulkState, Operation, SyncClient

from . import json_text, show, values
from .exits import Exit
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group

app = typer.Typer(no_args_is_help=True)
_LOOK_EVERY = values.duration("500ms", "")


@app.callback()
@group
def _operations() -> None:
    """Changes of many jobs, and backfills: how far they are, and stopping them."""


_Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id, with `operations/` or without.")]


@app.command("list")
@command
def list_operations(
    server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """List your operations, newest first; with ADMIN those of the namespace."""
    with connected(server, deadline, as_json) as client:
        found = client.list_operations()
        if as_json:
            for each in found:
                typer.echo(json_text.write(json_text.operation(each)))
            return
        table = Table("id", "verb", "state", "changed", "skipped", "age", box=None, pad_edge=False)
        for each in found:
            table.add_row(
                Text(id_of(each)),
                Text(f"{each.verb} {each.schedule or ''}".rstrip()),
                f"rests: {each.rests_for}" if each.rests_for else str(each.state),
                f"{each.changed:,}",
                f"{each.skipped:,}",
                show.age(each.created_at),
            )
        show.out.print(table)


@app.command()
@command
def get(id: _Id, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False) -> None:
    """Show how far an operation is."""
    with connected(server, deadline, as_json) as client:
        tell(client.get_operation(_name(id)), as_json)


@app.command()
@command
def cancel(
    id: _Id, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Stop an operation. What it has done stays done."""
    with connected(server, deadline, as_json) as client:
        client.cancel_operation(_name(id))
        tell(client.get_operation(_name(id)), as_json)


@app.command()
@command
def resume(
    id: _Id, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Let an operation go on that rests, since who made it is there no more. It is yours from then on."""
    with connected(server, deadline, as_json) as client:
        tell(client.resume_operation(_name(id)), as_json)


@app.command()
@command
def wait(
    id: _Id,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long at most. Default: for ever.")
    ] = None,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Wait until an operation is done. The command ends with 0 if it has succeeded."""
    with connected(server, deadline, as_json) as client:
        limit = values.optional_duration(timeout, "--timeout")
        found = client.wait_operation(_name(id), timeout=limit)
        tell(found, as_json)
        end(found)


def end(found: Operation) -> None:
    """Ends the command as the operation has ended."""
    if not found.done:
        raise typer.Exit(Exit.TIMEOUT)
    if found.state is not BulkState.SUCCEEDED:
        raise typer.Exit(Exit.JOB_FAILED)


def follow(client: SyncClient, begun: Operation) -> Operation:
    """Shows how far an operation is until it is done. An interrupt leaves it as it is, and says its id."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found = begun
    try:
        with Progress(*columns, console=show.out, transient=True) as progress:
            task = progress.add_task(begun.verb, total=None)
            while not found.done:
                found = client.wait_operation(begun.name, timeout=_LOOK_EVERY)
                total = found.estimate if found.estimate and not found.estimate_capped else None
                progress.update(task, completed=found.changed + found.skipped, total=total)
    except KeyboardInterrupt:
        id = id_of(begun)
        show.line(
            f"The operation goes on: `jobqueue operations wait {id}`, `jobqueue operations cancel {id}`."
        )
        raise
    return found


def tell(found: Operation, as_json: bool) -> None:
    """Writes an operation."""
    if as_json:
        typer.echo(json_text.write(json_text.operation(found)))
        return
    show.line(f"{id_of(found)}: {found.verb}, {found.state}")
    if found.rests_for:
        show.line(f"It rests: {found.rests_for}; `jobqueue operations resume {id_of(found)}` takes it over.")
    more = "+" if found.estimate_capped else ""
    if found.schedule is not None:
        skipped = f", {found.skipped:,} skipped" if found.skipped else ""
        show.line(f"{found.changed:,} of {found.estimate:,}{more} ticks of {found.schedule} fired{skipped}")
        if found.skipped:
            show.line(f"`jobqueue schedules runs {found.schedule}` says why they were skipped")
    else:
        _tell_jobs(found, more)
    if found.error:
        show.line(found.error)


def _tell_jobs(found: Operation, more: str) -> None:
    skipped = f", {found.skipped:,} were changed by others first" if found.skipped else ""
    show.line(f"{found.changed:,} of {found.estimate:,}{more} changed{skipped}")


def id_of(operation: Operation) -> str:
    """The part of its name that people give."""
    return operation.name.removeprefix("operations/")


def _name(id: str) -> str:
    return f"operations/{id.removeprefix('operations/')}"
