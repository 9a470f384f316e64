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

# What may wait to be written before a stream is to send no more.
_MOST_QUEUED = 256 << 10
# A call that broke ends the reading as a half-close does. That it was cancelled is told by another event of gRPC's. It
# comes a moment later, and on a busy loop many turns later: gRPC hands over one event a turn where it has fallen
# behind. But it hands them over in order. So a half-close is one when a read that is begun after this time is back ...
_NEWS_SECONDS = 0.02
# ... and the loop has turned so often: the news reaches the handler within three turns, and the reading in one more.
_NEWS_TURNS = 8


class GrpcioStream(GrpcioCall):
    """A call whose handler reads and writes messages in any order.

    What is sent waits in a line, which one task writes in order: gRPC takes one message at a time.
    """

    def __init__(self, context: Any, handler: Any, most_bytes: int) -> None:
        super().__init__(context, handler, most_bytes)
        self._resumed = asyncio.Event()
        # Each with whether it is sent as it is, where others are compressed.
        self._queue: deque[tuple[bytes, bool]] = deque()
        self._plain_next = False
        self._queued = 0
        self._writing: asyncio.Task[None] | None = None
        self._writable: Callable[[], None] | None = None

    async def stream_both(self) -> None:
        """Runs the handler, which reads and answers streams; or reads one and answers once."""
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
        """Nothing is sent any more, beyond the message that gRPC has already."""
        self._ended = True
        self._queue.clear()
        self._queued = 0
        self._tell()

    def _tell(self) -> None:
        """Tells the task that waits for room that there is some."""
        if self._writable is not None and self.writable():
            writable, self._writable = self._writable, None
            asyncio.get_running_loop().call_soon(writable)

    # ---- what handlers use

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> None:
        """Ends the call with a status, ahead of what still waits to be written."""
        self._end()
        await super().abort(code, details, trailing_metadata)

    async def read(self) -> Any:
        """The next message; `grpc.aio.EOF` when the caller has said all. One read at a time."""
        if self._over:
            return grpc.aio.EOF
        try:
            raw = await self._context.read()
        except grpc.aio.BaseError:
            return grpc.aio.EOF
        return raw if raw is grpc.aio.EOF else self._message(raw)

    async def receive(self, handle: Callable[[Any], None], ready: Callable[[], bool]) -> None:
        """Has each message handled as it comes, until the caller has said all.

        Args:
            handle: Gets each message.
            ready: Whether `handle` takes the next one now. Where it does not, `resume` goes on.

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
        """Handles what has come, as long as it may be handled."""
        self._resumed.set()

    def disable_next_message_compression(self) -> None:
        """Sends the next message as it is, once its turn comes."""
        self._plain_next = True

    def writable(self) -> bool:
        """Whether there is room to send."""
        return self._queued < _MOST_QUEUED

    def send(self, message: Any) -> None:
        """Sends a message, in order, without waiting; look at `writable` before. Once the caller has gone: nothing."""
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
            # The caller has gone, and gRPC is about to cancel the handler.
            self._end()
        finally:
            self._writing = None

    def when_writable(self, call: Callable[[], None]) -> None:
        """Calls it once, as soon as there is room again or the caller has gone."""
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
