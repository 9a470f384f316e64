"""A real server of the transport with small handlers, which take and answer bytes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from grpc_http2 import Call, Server

MOST_BYTES = 4 << 20


class Handlers:
    """What calls come to, and what became of them.

    Attributes:
        contexts: Of each call whose handler has begun.
        cancelled: Paths of calls whose handlers were cancelled, as it happens.
        go: What `Wait` and `Hold` wait for.
    """

    def __init__(self) -> None:
        self.contexts: list[Call] = []
        self.began: asyncio.Queue[Call] = asyncio.Queue()
        self.cancelled: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()
        self.written = 0

    def _begin(self, context: Call) -> None:
        self.contexts.append(context)
        self.began.put_nowait(context)

    async def echo(self, request: bytes, context: Call) -> bytes:
        self._begin(context)
        return request

    async def wait(self, request: bytes, context: Call) -> bytes:
        self._begin(context)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.put_nowait("Wait")
            raise
        return request

    async def repeat(self, request: bytes, context: Call) -> AsyncIterator[bytes]:
        """`3 xyz` is answered by three messages `xyz`."""
        self._begin(context)
        count, _, content = request.partition(b" ")
        for _ in range(int(count)):
            yield content
            self.written += 1

    async def chat(self, requests: AsyncIterator[bytes], context: Call) -> None:
        self._begin(context)
        async for request in requests:
            await context.write(request)

    async def hold(self, requests: AsyncIterator[bytes], context: Call) -> None:
        """Reads nothing until it may, then answers how much there was."""
        self._begin(context)
        try:
            await self.go.wait()
            total = 0
            async for request in requests:
                total += len(request)
            await context.write(b"%d" % total)
        except asyncio.CancelledError:
            self.cancelled.put_nowait("Hold")
            raise

    async def fail(self, request: bytes, context: Call) -> bytes:
        raise RuntimeError("the password is hunter2")

    async def refuse(self, request: bytes, context: Call) -> bytes:
        await context.abort(
            grpc.StatusCode.NOT_FOUND, request.decode(), (("why", "so"), ("more-bin", b"\0\xff"))
        )
        return b""

    async def refuse_chat(self, requests: AsyncIterator[bytes], context: Call) -> None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

    async def size(self, request: bytes, context: Call) -> bytes:
        return b"%d" % len(request)

    async def total(self, requests: AsyncIterator[bytes], context: Call) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])

    async def dressed(self, request: bytes, context: Call) -> AsyncIterator[bytes]:
        """With metadata before and behind its message."""
        await context.send_initial_metadata((("first", "1"), ("raw-bin", b"\1\2\3")))
        context.set_trailing_metadata((("last", "2"), ("raw-bin", bytes(range(256)))))
        yield request

    def generic(self) -> grpc.GenericRpcHandler:
        make: Any = grpc
        unary = make.unary_unary_rpc_method_handler
        stream = make.unary_stream_rpc_method_handler
        both = make.stream_stream_rpc_method_handler
        methods = {
            "Echo": unary(self.echo),
            "Wait": unary(self.wait),
            "Fail": unary(self.fail),
            "Refuse": unary(self.refuse),
            "Size": unary(self.size),
            "Repeat": stream(self.repeat),
            "Dressed": stream(self.dressed),
            "Chat": both(self.chat),
            "Hold": both(self.hold),
            "RefuseChat": both(self.refuse_chat),
            "Total": make.stream_unary_rpc_method_handler(self.total),
        }
        return grpc.method_handlers_generic_handler("t.T", methods)


@dataclass
class Served:
    """A server that listens."""

    server: Server
    port: int
    handlers: Handlers = field(default_factory=Handlers)


Serve = Callable[..., Awaitable[Served]]


async def start(host: str = "127.0.0.1", port: int = 0, **changed: Any) -> Served:
    """A server with other settings than the usual ones of these tests."""
    usual: dict[str, Any] = {
        "most_bytes": MOST_BYTES,
        "most_streams": 4096,
        "max_connection_age": None,
        "keepalive": 60,
        "keepalive_timeout": 60,
        "reuse_port": False,
    }
    server = Server(**{**usual, **changed})
    handlers = Handlers()
    server.add_generic_rpc_handlers((handlers.generic(),))
    port = server.bind(host, port)
    await server.start()
    return Served(server, port, handlers)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers, which end with the test."""
    started: list[Served] = []

    async def one(*place: Any, **changed: Any) -> Served:
        started.append(await start(*place, **changed))
        return started[-1]

    yield one
    for served in started:
        await served.server.stop(0)


@pytest.fixture
async def served(serve: Serve) -> Served:
    """A server with the usual settings."""
    return await serve()
