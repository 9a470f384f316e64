"""The commands of `jobqueue`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import jobqueue

from . import (
    access,
    audit,
    batch,
    bulk,
    identities,
    insight,
    jobs,
    keys,
    kinds,
    namespaces,
    operations,
    overview,
    queues,
    schedules,
    watch,
    workers,
)
from .exits import EXIT_CODES
from .options import command, group

_HELP = f"""Enqueue, watch and cancel jobs.

The server is the one of --server, else of JOBQUEUE_SERVER, else 127.0.0.1:50051.
The options below may stand before the command or after it. The last one counts, and goes before the environment.

{EXIT_CODES}
"""

app = typer.Typer(
    name="jobqueue",
    help=_HELP,
    rich_markup_mode="markdown",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jobqueue {jobqueue.__version__}")
        raise typer.Exit


@app.callback()
@group
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and end."),
    ] = False,
) -> None:
    pass


app.command()(command(jobs.enqueue))
app.command("enqueue-batch")(command(batch.enqueue_batch))
app.command()(command(jobs.get))
app.command("list")(command(jobs.list_jobs))
app.command()(command(jobs.wait))
app.command()(command(watch.watch))
app.command()(command(jobs.cancel))
app.command()(command(jobs.retry))
app.command()(command(jobs.release))
app.command()(command(jobs.delete))
app.command()(command(insight.explain))
app.command()(command(insight.demand))
app.command()(command(overview.top))
app.command()(command(overview.stats))
app.command()(command(overview.servers))
bulk.app.command("count")(command(overview.count))
app.command()(command(access.whoami))
app.add_typer(bulk.app, name="jobs")
app.add_typer(operations.app, name="operations")
app.add_typer(workers.app, name="workers")
app.add_typer(kinds.app, name="kinds")
app.add_typer(queues.app, name="queues")
app.add_typer(schedules.app, name="schedules")
app.add_typer(keys.app, name="keys")
app.add_typer(identities.app, name="identities")
app.add_typer(namespaces.app, name="namespaces")
app.add_typer(audit.app, name="audit")
