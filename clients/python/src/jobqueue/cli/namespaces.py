"""The commands about namespaces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from jobqueue.v1 import access_admin_pb2 as pb

from . import show
from .access import ask, moment, print_json
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, group, told

app = typer.Typer(no_args_is_help=True)


@app.callback()
@group
def _namespaces() -> None:
    """The namespaces, whose jobs and keys do not see each other, for administrators of `default`."""


_Name = Annotated[str, typer.Argument(help="The namespace's name.")]


@app.command()
@command
def create(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Make a namespace. One that is there stays as it is."""
    with told(server, as_json):
        answer = ask(server, deadline, pb.CreateNamespaceRequest(name=name), pb.CreateNamespaceResponse)
        _print([answer.namespace], as_json)


@app.command("list")
@command
def list_namespaces(
    server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """List the namespaces."""
    with told(server, as_json):
        found: list[pb.Namespace] = []
        request = pb.ListNamespacesRequest(page_size=1000)
        while True:
            page = ask(server, deadline, request, pb.ListNamespacesResponse)
            found += page.namespaces
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        _print(found, as_json)


@app.command()
@command
def disable(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Refuse every call in a namespace, and end what its callers have open. Its jobs stay."""
    with told(server, as_json):
        answer = ask(server, deadline, pb.DisableNamespaceRequest(name=name), pb.DisableNamespaceResponse)
        _print([answer.namespace], as_json)


@app.command()
@command
def enable(
    name: _Name, server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False
) -> None:
    """Take calls in a disabled namespace again."""
    with told(server, as_json):
        answer = ask(server, deadline, pb.EnableNamespaceRequest(name=name), pb.EnableNamespaceResponse)
        _print([answer.namespace], as_json)


def _print(found: Iterable[pb.Namespace], as_json: bool) -> None:
    if as_json:
        for each in found:
            print_json(each)
        return
    table = Table("namespace", "made", "", box=None, pad_edge=False, header_style="bold")
    for each in found:
        since = moment(each, "disabled_at")
        table.add_row(
            Text(each.name), moment(each, "created_at"), Text(f"disabled since {since}" if since else "")
        )
    show.out.print(table)
