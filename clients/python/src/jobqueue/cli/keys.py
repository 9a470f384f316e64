"""The commands about keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1.access_pb2 import Access

from . import show, values
from .access import ask, details, granted, moment, print_json, time_of
from .exits import Refused
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, group, told

app = typer.Typer(no_args_is_help=True)

_err = Console(stderr=True, emoji=False)


@app.callback()
@group
def _keys() -> None:
    """The keys by which callers are let in, for administrators."""


_Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id: the 10 characters after `jq_`.")]
_Namespace = Annotated[str, typer.Option("--namespace", metavar="NAME", help="Default: your own.")]
_Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="DURATION", help="How long it is good. Default: until revoked."),
]


def queues_option(text: str) -> typer.models.OptionInfo:
    """An option for queues on which something is permitted."""
    option: typer.models.OptionInfo = typer.Option(metavar="QUEUE|BEGINNING*", help=text)
    return option


@app.command()
@command
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
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
    expires: _Expires = None,
    network: Annotated[
        list[str] | None,
        typer.Option(metavar="CIDR", help="Good from these networks only, such as 10.0.0.0/8."),
    ] = None,
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is the one line on stdout, and is shown this once.

    An option for queues or kinds may be given several times. Quote a `*`, so that the shell leaves it alone.
    """
    with told(server, as_json):
        granted_queues = {
            Access.ENQUEUE: enqueue or [],
            Access.WORK: work or [],
            Access.READ: read or [],
            Access.OPERATE: operate or [],
        }
        request = pb.CreateKeyRequest(
            name=name,
            grants=grants_of(granted_queues, kinds or [], admin=admin, payloads=payloads),
            expires_in=_duration(expires, "--expires"),
            networks=network or [],
            namespace=namespace,
        )
        answer = ask(server, deadline, request, pb.CreateKeyResponse)
        _print_new(answer, as_json)


@app.command("list")
@command
def list_keys(
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List the keys of a namespace, those that ended too."""
    with told(server, as_json):
        found: list[pb.Key] = []
        request = pb.ListKeysRequest(page_size=1000, namespace=namespace)
        while True:
            page = ask(server, deadline, request, pb.ListKeysResponse)
            found += page.keys
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        if as_json:
            for key in found:
                print_json(key)
        else:
            _table(found)


@app.command("show")
@command
def show_key(
    id: _Id,
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Show one key, without its secret."""
    with told(server, as_json):
        answer = ask(server, deadline, pb.GetKeyRequest(id=id, namespace=namespace), pb.GetKeyResponse)
        _print(answer.key, as_json)


@app.command()
@command
def rotate(
    id: _Id,
    grace: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the old key is still good, at most 30d.")
    ] = "24h",
    expires: _Expires = None,
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Make a successor with the same grants. It is the one line on stdout, and is shown this once."""
    with told(server, as_json):
        request = pb.RotateKeyRequest(
            id=id,
            grace=_duration(grace, "--grace"),
            expires_in=_duration(expires, "--expires"),
            namespace=namespace,
        )
        answer = ask(server, deadline, request, pb.RotateKeyResponse)
        _print_new(answer, as_json)
        if not as_json:
            _say(f"the old key {id} is good for {grace} more")


@app.command()
@command
def revoke(
    id: _Id,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; shown with the key.")] = "",
    namespace: _Namespace = "",
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """Revoke a key, at once and for good. What it has open ends, and its jobs go elsewhere."""
    with told(server, as_json):
        request = pb.RevokeKeyRequest(id=id, reason=reason, namespace=namespace)
        _print(ask(server, deadline, request, pb.RevokeKeyResponse).key, as_json)


def grants_of(
    queues_of: dict[Access.Permission.ValueType, list[str]], kinds: list[str], *, admin: bool, payloads: bool
) -> list[pb.Grant]:
    """Grants by the options: one for all permissions on the same queues.

    Raises:
        Refused: They permit nothing.
    """
    if payloads and not queues_of[Access.READ]:
        raise Refused("--payloads needs --read: it says what readers are shown")
    by_queues: dict[tuple[str, ...], list[Access.Permission.ValueType]] = {}
    for permission, queues in queues_of.items():
        if queues:
            by_queues.setdefault(tuple(queues), []).append(permission)
    found = [
        pb.Grant(
            permissions=permissions,
            queues=queues,
            kinds=kinds,
            payloads=payloads and Access.READ in permissions,
        )
        for queues, permissions in by_queues.items()
    ]
    if admin:
        found.append(pb.Grant(permissions=[Access.ADMIN]))
    if not found:
        raise Refused("say what is permitted, by --enqueue, --work, --read, --operate or --admin")
    return found


def _duration(text: str | None, where: str) -> Duration | None:
    if text is None:
        return None
    message = Duration()
    message.FromTimedelta(values.duration(text, where))
    return message


def _print_new(answer: pb.CreateKeyResponse | pb.RotateKeyResponse, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    key = answer.key
    until = f", until {moment(key, 'expires_at')}" if key.HasField("expires_at") else ""
    _say(f"key {key.id} for {key.name} in {key.namespace}: {granted(key.grants, between='; ')}{until}")
    _say("it is shown this once, so keep it in a safe place")
    typer.echo(answer.secret)


def _say(text: str) -> None:
    _err.print(text, highlight=False, markup=False, soft_wrap=True)


def _print(key: pb.Key, as_json: bool) -> None:
    if as_json:
        print_json(key)
        return
    table = details()
    for name, text in (
        ("id", key.id),
        ("name", key.name),
        ("namespace", key.namespace),
        ("principal", key.principal),
        ("state", _state(key)),
        ("grants", granted(key.grants, between="\n")),
        ("networks", "\n".join(key.networks)),
        ("made", _when_and_by(key, "created")),
        ("succeeds", key.succeeds),
        ("expires", moment(key, "expires_at")),
        ("last used", moment(key, "last_used_at")),
        ("revoked", _when_and_by(key, "revoked")),
        ("reason", key.revoke_reason),
    ):
        if text:
            table.add_row(name, Text(text))
    show.out.print(table)


def _when_and_by(key: pb.Key, what: str) -> str:
    when = moment(key, f"{what}_at")
    return f"{when} by {getattr(key, f'{what}_by')}" if when else ""


def _table(found: Iterable[pb.Key]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("id", "name", "state", "last used", "grants"):
        table.add_column(column, no_wrap=column != "grants", overflow="fold")
    for key in found:
        used = show.age(time_of(key, "last_used_at"))
        cells: Sequence[str] = (key.id, key.name, _state(key), f"{used} ago" if used else "never")
        table.add_row(*map(Text, cells), Text(granted(key.grants, between="; ")))
    show.out.print(table)


def _state(key: pb.Key) -> str:
    if key.HasField("revoked_at"):
        return "revoked"
    ends = time_of(key, "expires_at")
    if ends is None:
        return "good"
    left = ends - datetime.now(UTC)
    return f"good for {show.span(left)}" if left.total_seconds() > 0 else "expired"
