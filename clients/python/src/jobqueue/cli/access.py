"""Who one is, and what the commands about keys and namespaces have in common.

The service AccessAdmin is for people: programs enqueue and work by keys, and make none. So the client has no methods
for it, and these commands ask its stub.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import typer
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from rich.table import Table
from rich.text import Text

from jobqueue.calls import call
from jobqueue.channel import Access
from jobqueue.v1 import access_admin_pb2 as pb
from jobqueue.v1 import access_pb2
from jobqueue.v1.access_admin_pb2_grpc import AccessAdminStub

from . import show, values
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, credentials, told

Answer = TypeVar("Answer", bound=Message)

# A second call would make a second key.
_NOT_REPEATED = frozenset({"CreateKey", "RotateKey"})


def ask(server: str, deadline: str, request: Message, answer: type[Answer]) -> Answer:
    """Calls the method of AccessAdmin whose request this is.

    Raises:
        JobQueueError: It failed; the class says how.
    """
    method = request.DESCRIPTOR.name.removesuffix("Request")
    given = credentials.get()
    access = Access(given.tls(), given.token)
    tries = values.duration(deadline, "--deadline")

    async def asked() -> Answer:
        async with access.async_channel(server) as channel:
            stub: Any = AccessAdminStub(channel)
            return await call(
                getattr(stub, method),
                request,
                access,
                deadline=tries,
                retry=method not in _NOT_REPEATED,
                answer=answer,
            )

    return asyncio.run(asked())


def whoami(server: Server = DEFAULT_SERVER, deadline: Deadline = "5s", as_json: AsJson = False) -> None:
    """Show who you are to the server, and what you may do."""
    with told(server, as_json):
        found = ask(server, deadline, pb.GetAccessRequest(), pb.GetAccessResponse)
        if as_json:
            print_json(found)
            return
        table = details()
        table.add_row("principal", Text(found.principal))
        if found.credential:
            table.add_row("credential", Text(found.credential))
        table.add_row("namespace", Text(found.namespace))
        table.add_row("grants", Text(granted(found.grants, between="\n")))
        if found.HasField("expires_at"):
            table.add_row("expires", moment(found, "expires_at"))
        show.out.print(table)


def print_json(message: Message) -> None:
    """A message on one line, in the form that REST gives it."""
    typer.echo(json.dumps(MessageToDict(message, preserving_proto_field_name=True), ensure_ascii=False))


def details() -> Table:
    """A table of the parts of one thing."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def granted(grants: Iterable[pb.Grant], *, between: str) -> str:
    """What is granted, such as `enqueue mail*; read * with payloads`."""
    return between.join(_grant(each) for each in grants)


def _grant(grant: pb.Grant) -> str:
    names = [access_pb2.Access.Permission.Name(number).lower() for number in grant.permissions]
    told = ",".join(names)
    if names != ["admin"]:
        told += f" {','.join(grant.queues)}"
        if list(grant.kinds) != ["*"]:
            told += f" kinds {','.join(grant.kinds)}"
    return told + (" with payloads" if grant.payloads else "")


def moment(message: Any, field: str) -> str:
    """A time of a message for people; "" where it is not set."""
    value = time_of(message, field)
    return "" if value is None else f"{value.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def time_of(message: Any, field: str) -> datetime | None:
    """A time of a message, or None."""
    if not message.HasField(field):
        return None
    value: datetime = getattr(message, field).ToDatetime(UTC)
    return value
