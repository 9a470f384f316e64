"""The options that every command has, and the connection that they describe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Annotated

import grpc
import typer

from jobqueue import JobQueueError, SyncClient, tls_credentials

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


TlsRoots = Annotated[
    str | None,
    typer.Option(
        "--tls-roots",
        envvar="JOBQUEUE_TLS_ROOTS",
        metavar="FILE|public",
        help="Speak TLS: who signs the server's certificate, a PEM file, or the public authorities.",
    ),
]
TlsClientCert = Annotated[
    str | None,
    typer.Option(
        "--tls-client-cert",
        envvar="JOBQUEUE_TLS_CLIENT_CERT",
        metavar="FILE",
        help="The certificate to show, where the server wants one.",
    ),
]
TlsClientKey = Annotated[
    str | None,
    typer.Option(
        "--tls-client-key",
        envvar="JOBQUEUE_TLS_CLIENT_KEY",
        metavar="FILE",
        help="Its key, without a password.",
    ),
]
BearerToken = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="JOBQUEUE_TOKEN",
        metavar="TEXT",
        help="Sent as `authorization: Bearer`. Better given in the environment.",
    ),
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to be let in, as it was given before the command."""

    tls_roots: str | None = None
    tls_client_cert: str | None = None
    tls_client_key: str | None = None
    token: str | None = field(default=None, repr=False)

    def tls(self) -> grpc.ChannelCredentials | None:
        """None: plain text.

        Raises:
            ValueError: A file can't be used.
        """
        if self.tls_roots is None:
            if self.tls_client_cert is not None or self.tls_client_key is not None:
                raise ValueError("--tls-client-cert and --tls-client-key need --tls-roots")
            return None
        cert, key = self.tls_client_cert, self.tls_client_key
        return tls_credentials(self.tls_roots, client_cert=cert, client_key=key)


#: Those of this run: they stand before the command, whose function is not given them.
credentials: ContextVar[Credentials] = ContextVar("credentials", default=Credentials())  # noqa: B039 - frozen


@contextmanager
def connected(server: str, deadline: str, as_json: bool) -> Iterator[SyncClient]:
    """A client for a command. What a person can mend is said without a traceback, and ends the command."""
    try:
        given = credentials.get()
        tries = values.duration(deadline, "--deadline")
        with SyncClient(server, credentials=given.tls(), token=given.token, deadline=tries) as client:
            yield client
    except (JobQueueError, Refused) as error:
        fail(error, as_json=as_json, server=server)
    except (TypeError, ValueError) as error:
        # What the client refuses before it asks the server: it names the argument.
        fail(Refused(str(error)), as_json=as_json)
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
