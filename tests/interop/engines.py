"""The server's engines, with the test service in place of its own. Nothing else here knows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from jobqueue_server.rpc.engines import ENGINES, Engine
from jobqueue_server.tls import Tls

from .service import MOST_BYTES, TestService

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes calls.

    Attributes:
        port: Where, on 127.0.0.1.
        stop: Ends it, with so many seconds for calls that are under way.
    """

    port: int
    stop: Callable[[float], Awaitable[object]]


async def start(engine: Engine, port: int = 0, tls: tuple[Path, Path] | None = None) -> Running:
    """Serves the test service.

    Args:
        engine: A key of `ENGINES`.
        port: Where; 0: any that is free.
        tls: The PEM files of a certificate and its key; without them, in plain text.
    """
    server = ENGINES[engine](
        most_bytes=MOST_BYTES,
        most_streams=1000,
        max_connection_age=None,
        keepalive=60,
        keepalive_timeout=20,
        reuse_port=False,
        limits=None,
    )
    server.add_generic_rpc_handlers((TestService().handlers(),))
    taken = await server.listen(HOST, port, None if tls is None else Tls.load(*tls, None))
    return Running(taken, server.stop)
