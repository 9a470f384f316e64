"""Stands between a worker of any language and its servers, and notes each frame of Lease as it passes, in both ways."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc.aio

from jobqueue.v1 import lease_pb2

from .frames import FrameJournal

_METHOD = "/jobqueue.v1.JobQueue/Lease"
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.use_local_subchannel_pool", 1),
    # Workers ping as often as the server allows them to.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Relay(grpc.GenericRpcHandler):
    """One server's Lease, on a port of its own. Frames are passed on as the bytes that came, whatever is in them.

    Args:
        target: The server's address.
        frames: Makes what notes a new stream.
    """

    def __init__(self, target: str, frames: Callable[[], FrameJournal]) -> None:
        self._target = target
        self._frames = frames
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))

    async def start(self) -> str:
        """Where it answers."""
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return f"127.0.0.1:{port}"

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Of all methods only Lease."""
        return grpc.stream_stream_rpc_method_handler(self._lease) if details.method == _METHOD else None

    async def _lease(self, _: Any, context: Any) -> None:
        noted = self._frames()
        await carry(
            self._target,
            _METHOD,
            context,
            sent=lambda raw: noted.sent(lease_pb2.LeaseRequest.FromString(raw)),
            received=lambda raw: noted.received(lease_pb2.LeaseResponse.FromString(raw)),
            left=noted.left,
        )


async def carry(
    target: str,
    method: str,
    context: Any,
    *,
    sent: Callable[[bytes], object] = bool,
    received: Callable[[bytes], object] = bool,
    left: Callable[[], object] = bool,
) -> None:
    """Calls a server's method for a caller, and passes on all that both say.

    Args:
        target: The server's address.
        method: Its whole name.
        context: The caller's.
        sent: Is shown what the caller says.
        received: Is shown what the server says.
        left: The caller has said all.
    """
    # A channel for each stream: one that is kept would wait longer and longer for a server that is away.
    async with grpc.aio.insecure_channel(target, options=_OPTIONS) as channel:
        call: Any = channel.stream_stream(method)(metadata=_passed(context.invocation_metadata()))
        upwards = asyncio.create_task(_up(context, call, sent, left))
        try:
            while (raw := await call.read()) is not grpc.aio.EOF:
                received(raw)
                await context.write(raw)
            code, words, trailing = (
                await call.code(), await call.details(), await call.trailing_metadata()
            )  # fmt: skip
        except grpc.aio.AioRpcError as error:
            code, words, trailing = error.code(), error.details() or "", error.trailing_metadata()
        finally:
            upwards.cancel()
            call.cancel()
    context.set_trailing_metadata(_passed(trailing))
    if code is not grpc.StatusCode.OK:
        await context.abort(code, words, _passed(trailing))


async def _up(context: Any, call: Any, sent: Callable[[bytes], object], left: Callable[[], object]) -> None:
    try:
        while (raw := await context.read()) is not grpc.aio.EOF:
            sent(raw)
            await call.write(raw)
        left()
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError, grpc.aio.UsageError):
        pass  # the other direction says how the stream ended


def _passed(metadata: Any) -> tuple[tuple[str, Any], ...]:
    """What is the caller's or the server's own, and not the transport's."""
    return tuple(
        (name, value)
        for name, value in metadata or ()
        if name == "grpc-status-details-bin" or not name.startswith(("grpc-", ":", "user-agent"))
    )
