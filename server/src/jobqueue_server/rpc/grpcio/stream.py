"""A call over `grpc.aio` whose handler reads and writes messages in any order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from ..transport import Metadata, PeerGone
from .call import GrpcioCall

# How many bytes may wait to be written before `writable` is False.
_MOST_QUEUED = 256 << 10
# A broken call ends the reading in the same way as a half-close. Another event of gRPC says that the call was
# cancelled. It comes a moment later, on a busy loop many turns later: gRPC delivers one event a turn when it is behind,
# but in order. So the end is a half-close if a read that is begun after this time, in seconds, has returned ...
_NEWS_SECONDS = 0.02
# ... and the loop has turned this often: the event reaches the handler within three turns, the reading in one more.
_NEWS_TURNS = 8


class GrpcioStream(GrpcioCall):
    """A call whose handler reads and writes messages in any order.

    Messages to send wait in a queue, which one task writes in order: gRPC accepts one message at a time.
    """

    def __init__(self, context: Any, handler: Any, most_bytes: int, asks: bool = False) -> None:
        super().__init__(context, handler, most_bytes, asks)
        self._resumed = asyncio.Event()
        # Each with whether it is sent uncompressed.
        self._queue: deque[tuple[bytes, bool]] = deque()
        self._plain_next = False
        self._queued = 0
        self._writing: asyncio.Task[None] | None = None
        self._writable: Callable[[], None] | None = None

    async def stream_both(self) -> None:
        """Runs a handler that reads a stream, and answers a stream or one response."""
        handler = self._handler
        try:
            await self._run(handler.stream_stream or handler.stream_unary, self)
            await self._all_written()
        except BaseException as error:
            self._end()
            await self._failed(error)
        finally:
            self._end()
            self._over = True

    def _end(self) -> None:
        """Drops the messages that wait. gRPC still sends the message that it has."""
        self._ended = True
        self._queue.clear()
        self._queued = 0
        self._tell()

    def _tell(self) -> None:
        """Wakes the task that waits for room."""
        if self._writable is not None and self.writable():
            writable, self._writable = self._writable, None
            asyncio.get_running_loop().call_soon(writable)

    # ---- the interface for handlers

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status, before messages that still wait to be written."""
        self._end()
        await super().abort(code, details, trailing_metadata)

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` after the caller closed its side. One read at a time."""
        if self._over:
            return grpc.aio.EOF
        try:
            raw = await self._context.read()
        except grpc.aio.BaseError:
            return grpc.aio.EOF
        return raw if raw is grpc.aio.EOF else self._message(raw)

    async def receive(self, handle: Callable[[Any], None], ready: Callable[[], bool]) -> None:
        """Passes each message to `handle`, until the caller closes its side.

        Args:
            handle: Gets each message.
            ready: Whether `handle` can get the next message now. After False, `resume` must be called.

        Raises:
            Exception: What `handle` raised; no message is handled after that.
        """
        while (message := await self.read()) is not grpc.aio.EOF:
            while not ready():
                self._resumed.clear()
                await self._resumed.wait()
            handle(message)
        await asyncio.sleep(_NEWS_SECONDS)
        await self.read()
        for _ in range(_NEWS_TURNS):
            await asyncio.sleep(0)

    def resume(self) -> None:
        """Continues to pass messages to `handle`, while `ready` allows it."""
        self._resumed.set()

    def disable_next_message_compression(self) -> None:
        """Sends the next message uncompressed, when its turn comes."""
        self._plain_next = True

    def writable(self) -> bool:
        """Whether there is room to send a message."""
        return self._queued < _MOST_QUEUED

    def send(self, message: Any) -> None:
        """Sends a message, in order, without waiting: check `writable` before. Does nothing if the caller has gone."""
        if self._ended:
            return
        raw = self._raw(message)
        self._queue.append((raw, self._plain_next))
        self._plain_next = False
        self._queued += len(raw)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._queue:
                raw, plain = self._queue.popleft()
                if plain:
                    super().disable_next_message_compression()
                await self._context.write(raw)
                if not self._ended:
                    self._queued -= len(raw)
                    self._tell()
        except grpc.aio.BaseError:
            # The caller has gone, and gRPC will cancel the handler.
            self._end()
        finally:
            self._writing = None

    def when_writable(self, call: Callable[[], None]) -> None:
        """Calls the function once, when there is room again or the caller has gone."""
        self._writable = call
        self._tell()

    async def write(self, message: Any) -> None:
        """Sends a message, and waits while there is no room for more.

        Raises:
            PeerGone: The caller has gone.
        """
        self.send(message)
        if self._ended or not self.writable():
            await self._all_written()

    async def _all_written(self) -> None:
        while self._writing is not None and not self._ended:
            await asyncio.wait({self._writing})
        if self._ended:
            raise PeerGone

    def __aiter__(self) -> GrpcioStream:
        return self

    async def __anext__(self) -> Any:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message
