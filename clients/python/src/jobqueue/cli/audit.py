"""The commands about the audit log."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from rich.table import Table
from rich.text import Text

from jobqueue.v1 import access_admin_pb2 as pb

from . import show, values
from .access import ask, print_json, time_of
from .exits import Refused
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, group, told

app = typer.Typer(no_args_is_help=True)

_PAGE = 1000


@app.callback()
@group
def _audit() -> None:
    """The audit log: who did what, and who was refused, for administrators."""


def _time(text: str) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(
        metavar="TIME|DURATION", help=f"{text} An ISO 8601 time, or how long ago, such as 24h."
    )
    return option


@app.command("list")
@command
def list_audit(
    action: Annotated[
        str, typer.Option(metavar="METHOD", help="Of this action alone, such as RevokeKey.")
    ] = "",
    principal: Annotated[
        str, typer.Option(metavar="NAME", help="Of this principal alone, such as key:0123456789.")
    ] = "",
    object: Annotated[
        str, typer.Option(metavar="NAME", help="Of this object alone, such as queue:mail.")
    ] = "",
    outcome: Annotated[
        str, typer.Option(metavar="OUTCOME", help="With this outcome alone: OK, or a reason.")
    ] = "",
    since: Annotated[str | None, _time("Of this time or later.")] = None,
    until: Annotated[str | None, _time("Of before this time.")] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", metavar="NAME", help="Default: all that you may see.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="NUMBER", help="The newest so many.")] = 100,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "5s",
    as_json: AsJson = False,
) -> None:
    """List what was done, newest first."""
    with told(server, as_json):
        request = pb.ListAuditRequest(
            namespace=namespace,
            action=action,
            principal=principal,
            object=object,
            outcome=outcome,
            since=_moment(since, "--since"),
            until=_moment(until, "--until"),
        )
        found: list[pb.AuditRecord] = []
        while len(found) < limit:
            request.page_size = min(_PAGE, limit - len(found))
            page = ask(server, deadline, request, pb.ListAuditResponse)
            found += page.records
            request.page_token = page.next_page_token
            if not page.next_page_token:
                break
        if as_json:
            for record in found:
                print_json(record)
        else:
            _table(found)


def _moment(text: str | None, where: str) -> Timestamp | None:
    """A time; a duration is how long ago it was, by this machine's clock."""
    if text is None:
        return None
    try:
        at: datetime | None = datetime.now(UTC) - values.duration(text, where)
    except (Refused, OverflowError):
        try:
            at = values.moment(text, where)
        except Refused:
            raise Refused(
                f"{text!r} should be a time such as 2026-01-31T18:00:00Z, or how long ago, such as 24h",
                where=where,
            ) from None
    message = Timestamp()
    if at is not None:
        message.FromDatetime(at.astimezone(UTC))
    return message


def _table(found: Iterable[pb.AuditRecord]) -> None:
    """What fits on a line; `--json` has all of it."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("when", "principal", "action"):
        table.add_column(column, no_wrap=True)
    table.add_column("object", min_width=14, overflow="fold")
    table.add_column("outcome", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for record in found:
        times = f" x{record.count}" if record.count > 1 else ""
        table.add_row(
            f"{show.age(time_of(record, 'occurred_at'))} ago",
            *map(Text, (record.principal, record.action, record.object)),
            Text(record.outcome + times),
            Text(record.reason),
        )
    show.out.print(table)
