"""The command that says which keys jobs and schedules are encrypted with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobqueue import Encoded, ScheduleNotFound, Status, SyncClient
from jobqueue.encoded import encoded, envelope_in

from . import json_text, show
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, command, connected

_PAGE = 200
_LIVE = (Status.QUEUED, Status.RUNNING, Status.RETRYING)


@dataclass(slots=True)
class KeyUse:
    """What of one kind is encoded in one way.

    Attributes:
        kind: The kind.
        encodings: By what. Empty: it is plain text.
        key_id: The name of the key. Empty: it is not encrypted.
        jobs: How many jobs.
        schedules: How many schedules.
        oldest: When the oldest of the jobs was enqueued.
    """

    kind: str
    encodings: tuple[str, ...]
    key_id: str
    jobs: int = 0
    schedules: int = 0
    oldest: datetime | None = None


@command
def keys(
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    ended: Annotated[
        bool, typer.Option("--ended", help="Ended jobs as well, with their outputs: they can be retried.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, help="Look at so many jobs at most, the newest.")] = 100_000,
    all: Annotated[bool, typer.Option("--all", help="Look at all of them, however many.")] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "30s",
    as_json: AsJson = False,
) -> None:
    """Count by the names of their keys the jobs and schedules whose payloads are encrypted.

    A key that is counted nowhere, also with --ended, is needed no longer. Needs no key, and decodes nothing.
    """
    # With encodings a payload would no longer tell how it was encoded.
    with connected(server, deadline, as_json, decodes=False) as client:
        uses, more = _counted(client, kind, ended, None if all else limit)
        if as_json:
            for each in uses:
                typer.echo(json_text.write(_told(each)))
        else:
            _show(uses)
        if more:
            typer.echo(f"There are more than {limit:,} jobs: --limit N, or --all.", err=True)


def _counted(client: SyncClient, kind: str, ended: bool, limit: int | None) -> tuple[list[KeyUse], bool]:
    """The uses, and whether there are more jobs than so many."""
    uses: dict[tuple[str, Encoded | None], KeyUse] = {}
    looked, more = 0, False
    with Console(stderr=True).status("") as shown:
        for job in client.list(kind=kind, status=() if ended else _LIVE, full=True, page_size=_PAGE):
            if more := looked == limit:
                break
            looked += 1
            if looked % _PAGE == 0:
                shown.update(f"{looked:,} jobs")
            for use in _uses(uses, job.kind, job.payload, job.output):
                use.jobs += 1
                use.oldest = job.created_at  # the newest come first
        for listed in client.schedules.list():
            if kind not in ("", listed.job.kind):
                continue
            try:
                # A list leaves payloads out.
                text = client.schedules.get(listed.name).job.payload_json
            except ScheduleNotFound:
                continue
            envelope = envelope_in(text or b"")
            for use in _uses(uses, listed.job.kind, envelope and encoded(envelope)):
                use.schedules += 1
    return sorted(uses.values(), key=lambda each: (each.key_id, each.encodings, each.kind)), more


def _uses(known: dict[tuple[str, Encoded | None], KeyUse], kind: str, *values: object) -> Iterator[KeyUse]:
    """As what these values count: each way of encoding once; as plain text where none is encoded."""
    ways: set[Encoded | None] = {each for each in values if isinstance(each, Encoded)}
    for how in ways or {None}:
        if (kind, how) not in known:
            known[kind, how] = KeyUse(kind, how.encodings if how else (), how.key_id if how else "")
        yield known[kind, how]


def _show(uses: list[KeyUse]) -> None:
    table = Table("key", "kind", "encodings", box=None, pad_edge=False, header_style="bold")
    table.add_column("jobs", justify="right")
    table.add_column("schedules", justify="right")
    table.add_column("oldest", justify="right")
    for each in uses:
        how = " + ".join(each.encodings) or "plain text"
        counts = (f"{each.jobs:,}", f"{each.schedules:,}", show.age(each.oldest))
        table.add_row(Text(each.key_id or "none"), Text(each.kind), Text(how), *counts)
    show.out.print(table)


def _told(use: KeyUse) -> dict[str, object]:
    told = {name: value for name, value in asdict(use).items() if name != "oldest"}
    return told if use.oldest is None else {**told, "oldest": json_text.moment(use.oldest)}
