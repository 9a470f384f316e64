"""A server of each engine with small handlers, which take and answer bytes, and a real gRPC client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import pytest

from jobqueue_server.rpc.engines import ENGINES, Engine
from jobqueue_server.rpc.transport import Context, FrameStream, Limits, PeerGone, Server

PATIENCE = 20.0
MOST_BYTES = 4 << 20


class Handlers:
    """What calls come to, and what became of them.

    Attributes:
        began: The context of each call whose handler has begun.
        ended: How each handler ended that waits: `answered`, `cancelled`, `gone`.
        go: What `Wait` and `Hold` wait for.
        cleanup: How long `Wait` takes once it is cancelled, in seconds.
        drive: What `Drive` does with its stream.
    """

    def __init__(self) -> None:
        self.began: asyncio.Queue[Any] = asyncio.Queue()
        self.ended: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()
        self.cleanup = 0.0
        self.written = 0
        self.drive: Callable[[FrameStream], Awaitable[None]] | None = None

    async def _watched(self, work: Awaitable[Any]) -> Any:
        try:
            done = await work
        except asyncio.CancelledError:
            try:
                await asyncio.sleep(self.cleanup)
            finally:
                # It may be cancelled twice: for want of time, and with its connection.
                self.ended.put_nowait("cancelled")
            raise
        except PeerGone:
            self.ended.put_nowait("gone")
            raise
        self.ended.put_nowait("answered")
        return done

    async def echo(self, request: bytes, context: Context) -> bytes:
        self.began.put_nowait(context)
        return request

    async def wait(self, request: bytes, context: Context) -> bytes:
        self.began.put_nowait(context)
        await self._watched(self.go.wait())
        return request

    async def repeat(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """`3 xyz` is answered by three messages `xyz`."""
        count, _, content = request.partition(b" ")
        for _ in range(int(count)):
            yield content

    async def pour(self, request: bytes, context: Context) -> None:
        """Answers messages for as long as they are taken."""

        async def work() -> None:
            while True:
                await context.write(request)
                self.written += 1

        self.began.put_nowait(context)
        await self._watched(work())

    async def chat(self, requests: AsyncIterator[bytes], context: Context) -> None:
        async for request in requests:
            await context.write(request)

    async def hold(self, requests: AsyncIterator[bytes], context: Context) -> None:
        self.began.put_nowait(context)
        await self._watched(self.go.wait())

    async def total(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])

    async def fail(self, request: bytes, context: Context) -> bytes:
        raise RuntimeError("the password is hunter2")

    async def fail_stream(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("the password is hunter2")

    async def cancel_itself(self, request: bytes, context: Context) -> bytes:
        raise asyncio.CancelledError

    async def refuse(self, request: bytes, context: Context) -> bytes:
        await context.abort(
            grpc.StatusCode.NOT_FOUND, request.decode(), (("why", "so"), ("more-bin", b"\0\xff"))
        )
        return b""

    async def dressed(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """With metadata before and behind its message."""
        await context.send_initial_metadata((("first", "1"), ("raw-bin", b"\1\2\3")))
        context.set_trailing_metadata((("last", "2"), ("raw-bin", bytes(range(256)))))
        yield request

    async def coded(self, request: bytes, context: Any) -> bytes:
        """Returns, with a status."""
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details(request.decode())
        return b""

    async def compressing(self, request: bytes, context: Any) -> bytes:
        context.set_compression(grpc.Compression.Gzip)
        return request

    async def driven(self, requests: object, context: FrameStream) -> None:
        """Does what a test has set."""
        self.began.put_nowait(context)
        assert self.drive is not None
        await self._watched(self.drive(context))

    def generic(self) -> grpc.GenericRpcHandler:
        make: Any = grpc
        unary = make.unary_unary_rpc_method_handler
        stream = make.unary_stream_rpc_method_handler
        both = make.stream_stream_rpc_method_handler
        methods = {
            "Echo": unary(self.echo),
            "Wait": unary(self.wait),
            "Fail": unary(self.fail),
            "CancelItself": unary(self.cancel_itself),
            "Refuse": unary(self.refuse),
            "Coded": unary(self.coded),
            "Compressing": unary(self.compressing),
            "Repeat": stream(self.repeat),
            "Pour": stream(self.pour),
            "FailStream": stream(self.fail_stream),
            "Dressed": stream(self.dressed),
            "Chat": both(self.chat),
            "Hold": both(self.hold),
            "Drive": both(self.driven, None, bytes),
            "Total": make.stream_unary_rpc_method_handler(self.total),
        }
        return grpc.method_handlers_generic_handler("t.T", methods)


@dataclass
class Served:
    """A server that listens, and a channel to it."""

    server: Server
    port: int
    channel: grpc.aio.Channel
    handlers: Handlers = field(default_factory=Handlers)

    def unary(self, method: str) -> Any:
        """A stub that takes and answers bytes, as the three below do."""
        return self.channel.unary_unary(f"/t.T/{method}")

    def answers(self, method: str) -> Any:
        return self.channel.unary_stream(f"/t.T/{method}")

    def both(self, method: str) -> Any:
        return self.channel.stream_stream(f"/t.T/{method}")

    def requests(self, method: str) -> Any:
        return self.channel.stream_unary(f"/t.T/{method}")

    async def how_it_ended(self) -> str:
        """How the next handler ended of those that wait."""
        return await asyncio.wait_for(self.handlers.ended.get(), PATIENCE)

    async def begun(self) -> Any:
        """The context of the next call that has begun."""
        return await asyncio.wait_for(self.handlers.began.get(), PATIENCE)


Serve = Callable[..., Awaitable[Served]]
# One connection each: a channel to the same address would share the one that is there.
ALONE = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]


def channel(address: str) -> grpc.aio.Channel:
    """A channel with a connection of its own."""
    return grpc.aio.insecure_channel(address, options=ALONE)


@pytest.fixture
async def serve(engine: Engine) -> AsyncIterator[Serve]:
    """Starts servers, which end with the test."""
    started: list[Served] = []

    async def one(host: str = "127.0.0.1", port: int = 0, **changed: Any) -> Served:
        usual: dict[str, Any] = {
            "most_bytes": MOST_BYTES,
            "most_streams": 4096,
            "max_connection_age": None,
            "keepalive": 60,
            "keepalive_timeout": 60,
            "reuse_port": False,
            "limits": Limits(),
        }
        server = ENGINES[engine](**{**usual, **changed})
        handlers = Handlers()
        server.add_generic_rpc_handlers((handlers.generic(),))
        port = await server.listen(host, port, None)
        started.append(Served(server, port, channel(f"127.0.0.1:{port}"), handlers))
        return started[-1]

    yield one
    for served in started:
        await served.channel.close()
        await served.server.stop(0)


@pytest.fixture
async def served(serve: Serve) -> Served:
    """A server with the usual settings."""
    return await serve()
