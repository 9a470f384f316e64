"""Where the server is, and what it is shown, as the environment says: the same variables as the command's."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from .channel import tls_credentials

DEFAULT_SERVER = "127.0.0.1:50051"


@dataclass(frozen=True, slots=True)
class ServerAccess:
    """What `from_env` found.

    Attributes:
        server: The address.
        credentials: TLS. None: plain text.
        token: The token. None: none.
    """

    server: str
    credentials: grpc.ChannelCredentials | None
    token: str | None


def from_environment(environ: Mapping[str, str] | None = None) -> ServerAccess:
    """Reads JOBQUEUE_SERVER, JOBQUEUE_TOKEN, JOBQUEUE_TLS_ROOTS, JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY.

    A variable that is empty counts as not set.

    Raises:
        ValueError: A file can't be read, or a certificate or key is given without what it needs.
    """
    given = os.environ if environ is None else environ
    roots = given.get("JOBQUEUE_TLS_ROOTS") or None
    cert = given.get("JOBQUEUE_TLS_CLIENT_CERT") or None
    key = given.get("JOBQUEUE_TLS_CLIENT_KEY") or None
    if roots is None and (cert is not None or key is not None):
        raise ValueError("JOBQUEUE_TLS_CLIENT_CERT and JOBQUEUE_TLS_CLIENT_KEY need JOBQUEUE_TLS_ROOTS")
    return ServerAccess(
        given.get("JOBQUEUE_SERVER") or DEFAULT_SERVER,
        None if roots is None else tls_credentials(roots, client_cert=cert, client_key=key),
        given.get("JOBQUEUE_TOKEN") or None,
    )


def worker_settings(given: Collection[str] = (), environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Reads JOBQUEUE_QUEUES, WORKER_CONCURRENCY and JOBQUEUE_WORKER_NAME: the settings of a worker that are set.

    Args:
        given: The names of settings that the program says itself, which are not read.
        environ: The environment. None: that of the process.

    Raises:
        ValueError: The concurrency is no number.
    """
    environ = os.environ if environ is None else environ
    found: dict[str, Any] = {}
    if queues := [queue for each in environ.get("JOBQUEUE_QUEUES", "").split(",") if (queue := each.strip())]:
        found["queues"] = queues
    if (concurrency := environ.get("WORKER_CONCURRENCY")) and "concurrency" not in given:
        try:
            found["concurrency"] = int(concurrency)
        except ValueError:
            raise ValueError(f"WORKER_CONCURRENCY is {concurrency!r}; it is a number") from None
    if name := environ.get("JOBQUEUE_WORKER_NAME"):
        found["name"] = name
    return {name: value for name, value in found.items() if name not in given}
