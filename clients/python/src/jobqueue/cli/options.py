"""The options that every command has, and the connection that they describe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from jobqueue import JobQueueError, SyncClient

from . import values
from .exits import Refused, fail

DEFAULT_SERVER = "127.0.0.1:50051"

Server = Annotated[
    str,
    typer.Option("--server", envvar="JOBQUEUE_SERVER", metavar="HOST:PORT", help="The server to talk to."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON for scripts: one object a line.")]
Deadline = Annotated[
    str,
    typer.Option(
        "--deadline",
        envvar="JOBQUEUE_DEADLINE",
        metavar="DURATION",
        help="How long to try to reach the server.",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
JobIds = Annotated[list[str], typer.Argument(metavar="ID...", help="The ids of the jobs.")]


@contextmanager
def connected(server: str, deadline: str, as_json: bool) -> Iterator[SyncClient]:
    """A client for a command. What a person can mend is said without a traceback, and ends the command."""
    try:
        with SyncClient(server, deadline=values.duration(deadline, "--deadline")) as client:
            yield client
    except (JobQueueError, Refused) as error:
        fail(error, as_json=as_json, server=server)
    except (TypeError, ValueError) as error:
        # What the client refuses before it asks the server: it names the argument.
        fail(Refused(str(error)), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
