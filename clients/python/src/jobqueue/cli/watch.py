"""The command that tells jobs as they change."""

from __future__ import annotations

from typing import Annotated

import typer

from jobqueue import Status, SyncWatch

from . import json_text, show, values
from .exits import Exit
from .options import DEFAULT_SERVER, AsJson, Deadline, Server, connected


def watch(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Only these jobs, until all are over.")
    ] = None,
    queue: Annotated[str, typer.Option(help="Only of this queue.")] = "",
    kind: Annotated[str, typer.Option(help="Only of this kind.")] = "",
    label: Annotated[
        list[str] | None, typer.Option(metavar="K=V", help="Only with this label; may be repeated.")
    ] = None,
    resume: Annotated[
        str,
        typer.Option(metavar="TOKEN", help="Go on after the line of --json that has this resume_token."),
    ] = "",
    full: Annotated[
        bool,
        typer.Option("--full", help="With --json: payloads, outputs, headers and failed attempts as well."),
    ] = False,
    server: Server = DEFAULT_SERVER,
    deadline: Deadline = "30s",
    as_json: AsJson = False,
) -> None:
    """Tell jobs as they change, a line a change, until Ctrl-C; servers that come and go are no matter.

    With ids it ends when all are over: with 0 if all of them succeeded, 1 if one did not.
    """
    with (
        connected(server, deadline, as_json) as client,
        client.watch(
            ids=ids or (),
            queue=queue,
            kind=kind,
            labels=values.pairs(label or (), "--label"),
            full=full,
            resume_token=resume,
        ) as found,
    ):
        failed = _tell(found, as_json, full, named=bool(ids))
    if failed:
        raise typer.Exit(Exit.JOB_FAILED)


def _tell(found: SyncWatch, as_json: bool, full: bool, *, named: bool) -> set[str]:
    """Tells every change; which of the jobs did not succeed, where they were named: a watch of all has no end."""
    failed: set[str] = set()
    for job in found:
        if named and job.is_terminal and job.status is not Status.SUCCEEDED:
            failed.add(job.id)
        else:
            failed.discard(job.id)
        if as_json:
            typer.echo(json_text.write({**json_text.job(job, full=full), "resume_token": found.resume_token}))
        else:
            show.change(job)
    for id in sorted(found.deleted):
        if as_json:
            typer.echo(json_text.write({"id": id, "deleted": True}))
        else:
            show.line(f"{id}  deleted")
    return failed | found.deleted
