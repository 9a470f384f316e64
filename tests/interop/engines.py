"""The two transports that the test service is mounted on. Nothing else here knows them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from grpc_http2 import Server
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


async def _http2(port: int, pair: tuple[Path, Path] | None) -> Running:
    tls = Tls.load(*pair, None) if pair is not None else None
    server = Server(
        most_bytes=MOST_BYTES,
        most_streams=1000,
        max_connection_age=None,
        keepalive=60,
        keepalive_timeout=20,
        reuse_port=False,
    )
    server.add_generic_rpc_handlers((TestService(lambda context: bool(context.compressed)).handlers(),))
    taken = server.bind(HOST, port)
    await server.start(None if tls is None else tls.http2)
    return Running(taken, server.stop)


async def _grpcio(port: int, pair: tuple[Path, Path] | None) -> Running:
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", MOST_BYTES),
            ("grpc.max_send_message_length", -1),
        ]
    )
    # Its contexts don't say whether a message was compressed.
    server.add_generic_rpc_handlers((TestService(lambda context: None).handlers(),))
    if pair is None:
        taken = server.add_insecure_port(f"{HOST}:{port}")
    else:
        cert, key = (path.read_bytes() for path in pair)
        taken = server.add_secure_port(f"{HOST}:{port}", grpc.ssl_server_credentials([(key, cert)]))
    await server.start()
    return Running(taken, server.stop)


ENGINES: dict[str, Callable[[int, tuple[Path, Path] | None], Awaitable[Running]]] = {
    "http2": _http2,
    "grpcio": _grpcio,
}


async def start(engine: str, port: int = 0, tls: tuple[Path, Path] | None = None) -> Running:
    """Serves the test service.

    Args:
        engine: A key of `ENGINES`.
        port: Where; 0: any that is free.
        tls: The PEM files of a certificate and its key; without them, in plain text.
    """
    return await ENGINES[engine](port, tls)
