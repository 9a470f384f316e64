"""The commands about queues."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer

from jobqueue import Queue

from . import json_text, show
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected, group

app = typer.Typer(no_args_is_help=True)


@app.callback()
@group
def _queues() -> None:
    """The queues: how long they are, and pausing them."""


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
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Take no more jobs from a queue. Running ones run on, and new ones can be enqueued."""
    with connected(server, deadline, as_json) as client:
        _print([client.pause_queue(name)], as_json)


@app.command()
@command
def resume(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Take jobs from a paused queue again."""
    with connected(server, deadline, as_json) as client:
        _print([client.resume_queue(name)], as_json)


def _print(found: Iterable[Queue], as_json: bool) -> None:
    if as_json:
        for each in found:
            typer.echo(json_text.write(json_text.queue(each)))
    else:
        show.queues(found)
