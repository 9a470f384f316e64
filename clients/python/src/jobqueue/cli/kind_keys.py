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

from jobqueue import Encoded, Job, NewJob, ScheduleNotFound, Status, SyncClient
from jobqueue.encoded import plain

from . import json_text, show
from .exits import Refused
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

    A key that is counted nowhere, also with --ended and --all, is needed by checkpoints alone, which are not looked at.
    Needs no key, and decodes nothing; its credentials must be shown payloads.
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
            for use in _uses(uses, job, job.output):
                use.jobs += 1
                use.oldest = job.created_at  # the newest come first
        for listed in client.schedules.list():
            if kind not in ("", listed.job.kind):
                continue
            try:
                # A list leaves payloads out.
                made = client.schedules.get(listed.name).job
            except ScheduleNotFound:
                continue
            for use in _uses(uses, made):
                use.schedules += 1
    return sorted(uses.values(), key=lambda each: (each.key_id, each.encodings, each.kind)), more


def _uses(
    known: dict[tuple[str, Encoded | None], KeyUse], job: Job | NewJob, output: object = None
) -> Iterator[KeyUse]:
    """As what a job counts: each way of encoding once; as plain text where nothing of it is encoded."""
    if job.payload_json is None:
        raise Refused("these credentials are shown no payloads, so no key can be counted")
    ways: set[Encoded | None] = {each for each in (job.payload, output) if isinstance(each, Encoded)}
    for how in ways or {None}:
        if (job.kind, how) not in known:
            known[job.kind, how] = KeyUse(job.kind, how.encodings if how else (), how.key_id if how else "")
        yield known[job.kind, how]


def _show(uses: list[KeyUse]) -> None:
    table = Table("key", "kind", "encodings", box=None, pad_edge=False, header_style="bold")
    table.add_column("jobs", justify="right")
    table.add_column("schedules", justify="right")
    table.add_column("oldest", justify="right")
    for each in uses:
        how = " + ".join(map(plain, each.encodings)) or "plain text"
        counts = (f"{each.jobs:,}", f"{each.schedules:,}", show.age(each.oldest))
        table.add_row(
            Text(plain(each.key_id) if each.key_id else "none"), Text(each.kind), Text(how), *counts
        )
    show.out.print(table)


def _told(use: KeyUse) -> dict[str, object]:
    told = {name: value for name, value in asdict(use).items() if name != "oldest"}
    return told if use.oldest is None else {**told, "oldest": json_text.moment(use.oldest)}
