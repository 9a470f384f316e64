"""The commands about identities."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1.access_pb2 import Access

from . import show
from .access import ask, granted, print_json
from .keys import grants_of, queues_option
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, group, told

app = typer.Typer(no_args_is_help=True)


@app.callback()
@group
def _identities() -> None:
    """What callers may do that show a token or a certificate, for administrators of `default`."""


_Namespace = Annotated[str, typer.Option("--namespace", metavar="NAME", help="Default: your own.")]


@app.command()
@command
def put(
    kind: Annotated[str, typer.Argument(help="`jwt` for tokens, `mtls` for certificates.")],
    pattern: Annotated[
        str,
        typer.Argument(
            help="The name in the token or the certificate; or its beginning and `*`, such as "
            "`spiffe://example.org/ns/prod/*`."
        ),
    ],
    enqueue: Annotated[
        list[str] | None, queues_option("Let it enqueue to these queues, and cancel there.")
    ] = None,
    work: Annotated[
        list[str] | None, queues_option("Let it lease and settle the jobs of these queues.")
    ] = None,
    read: Annotated[list[str] | None, queues_option("Let it read the jobs of these queues.")] = None,
    operate: Annotated[
        list[str] | None,
        queues_option("Let it cancel, retry, release and delete jobs of these queues, and pause them."),
    ] = None,
    admin: Annotated[
        bool, typer.Option("--admin", help="Let it manage keys, none wider than itself.")
    ] = False,
    payloads: Annotated[
        bool, typer.Option("--payloads", help="With --read: payloads, outputs and texts of errors too.")
    ] = False,
    kinds: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND|BEGINNING*", help="All this for jobs of these kinds only. Default: `*`."),
    ] = None,
    claim: Annotated[
        str, typer.Option(metavar="NAME", help="For jwt: match this claim, such as `groups`.")
    ] = "",
    issuer: Annotated[
        str, typer.Option(metavar="URL", help="For jwt: the issuer. Default: the server's.")
    ] = "",
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Say what callers of this name may do. One that is there gets these grants in place of its own.

    An option for queues or kinds may be given several times. Quote a `*`, so that the shell leaves it alone.
    """
    with told(server, as_json):
        granted_queues = {
            Access.ENQUEUE: enqueue or [],
            Access.WORK: work or [],
            Access.READ: read or [],
            Access.OPERATE: operate or [],
        }
        request = pb.PutIdentityRequest(
            kind=kind,
            pattern=pattern,
            claim=claim,
            issuer=issuer,
            grants=grants_of(granted_queues, kinds or [], admin=admin, payloads=payloads),
            namespace=namespace,
        )
        _print([ask(server, deadline, request, pb.PutIdentityResponse).identity], as_json)


@app.command("list")
@command
def list_identities(
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List the identities of a namespace, oldest first."""
    with told(server, as_json):
        found: list[pb.Identity] = []
        request = pb.ListIdentitiesRequest(page_size=1000, namespace=namespace)
        while True:
            page = ask(server, deadline, request, pb.ListIdentitiesResponse)
            found += page.identities
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        _print(found, as_json)


@app.command()
@command
def delete(
    id: Annotated[str, typer.Argument(metavar="ID", help="The identity's number.")],
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Delete an identity. What its callers have open ends, and their jobs go elsewhere."""
    with told(server, as_json):
        request = pb.DeleteIdentityRequest(id=id, namespace=namespace)
        ask(server, deadline, request, pb.DeleteIdentityResponse)


def _print(found: Iterable[pb.Identity], as_json: bool) -> None:
    if as_json:
        for each in found:
            print_json(each)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "kind", "name", "namespace", "grants"):
        table.add_column(column, no_wrap=column in ("id", "kind"), overflow="fold")
    for each in found:
        name = f"{each.claim}={each.pattern}" if each.claim else each.pattern
        cells = (each.id, each.kind, name, each.namespace, granted(each.grants, between="; "))
        table.add_row(*map(Text, cells))
    show.out.print(table)
