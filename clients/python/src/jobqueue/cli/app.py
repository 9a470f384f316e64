"""The commands of `jobqueue`, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import jobqueue

from . import batch, jobs, kinds, queues, watch
from .exits import EXIT_CODES
from .options import BearerToken, Credentials, TlsClientCert, TlsClientKey, TlsRoots, credentials

_HELP = f"""Enqueue, watch and cancel jobs.

The server is the one of --server, which stands after the command, else of JOBQUEUE_SERVER, else 127.0.0.1:50051.
What lets it in, --tls-roots and --token, stands before the command or in the environment.

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


@app.callback(invoke_without_command=True)
def _root(
    tls_roots: TlsRoots = None,
    tls_client_cert: TlsClientCert = None,
    tls_client_key: TlsClientKey = None,
    token: BearerToken = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    credentials.set(Credentials(tls_roots, tls_client_cert, tls_client_key, token))
    if version:
        typer.echo(f"jobqueue {jobqueue.__version__}")
        raise typer.Exit


app.command()(jobs.enqueue)
app.command("enqueue-batch")(batch.enqueue_batch)
app.command()(jobs.get)
app.command("list")(jobs.list_jobs)
app.command()(jobs.wait)
app.command()(watch.watch)
app.command()(jobs.cancel)
app.command()(jobs.retry)
app.command()(jobs.delete)
app.add_typer(kinds.app, name="kinds")
app.add_typer(queues.app, name="queues")
