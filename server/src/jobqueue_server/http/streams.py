"""The answer of a server stream over HTTP. Each message is sent at once; heartbeats are sent during long silences."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta

from grpc_http2 import PeerGone

from .answer import Headers, Send, answer_lines
from .transcoding.framing import Framing

#: How long the headers wait for the first message, in seconds. Until then an error gets its own HTTP status.
HEADERS_AFTER_SECONDS = 1.0
#: After how many seconds of silence a heartbeat is sent. Proxies close connections that are silent for a minute.
HEARTBEAT_SECONDS = 15.0
# How long the last bytes wait for a caller that does not read, in seconds.
_LAST_SECONDS = 1.0

_HEADERS: Headers = (
    # Without this header nginx buffers the whole answer.
    ("X-Accel-Buffering", "no"),
    ("Vary", "Accept"),
)


class StreamAnswer:
    """Sends a stream. The order is `begin`, then `message` for each message, then `end`; `stop` in any case.

    Args:
        send: ASGI's send.
        headers: Headers in addition to those of every stream.

    Attributes:
        started: Whether the status was sent, so that an error can only be the last message.
    """

    def __init__(self, send: Send, headers: Headers) -> None:
        self._send = send
        self._headers = headers
        # Another task sends the heartbeats, and ASGI's `send` must not run twice at a time.
        self._turn = asyncio.Lock()
        self._first = True
        self._sent_at = 0.0
        self._beating: asyncio.Task[None] | None = None
        self.started = False

    def begin(self, framing: Framing) -> None:
        """Accepts the request. The headers are sent with the first message, or soon without one."""
        self._framing = framing
        self._beating = asyncio.create_task(self._beat())

    async def message(self, message: bytes, event_id: str) -> None:
        """Sends one message, and waits while the caller does not read.

        Raises:
            PeerGone: The caller has hung up.
        """
        async with self._turn:
            await self._write(self._framing.message(message, event_id, self._first))
            self._first = False

    async def end(self) -> None:
        """Ends the stream without an error."""
        await self._last(self._framing.end(self._first))

    async def fail(self, status: bytes, retry_after: timedelta | None) -> None:
        """Ends the stream with an error, after `started`."""
        await self._last(self._framing.error(status, retry_after, self._first))

    async def head(self, framing: Framing) -> None:
        """Sends the headers alone, for HEAD."""
        await self._start(framing.content_type)
        await self._send({"type": "http.response.body", "body": b""})

    async def stop(self) -> None:
        """Ends the heartbeats. Afterwards `started` does not change by itself."""
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait([self._beating])
            self._beating = None

    async def _last(self, data: bytes) -> None:
        await self.stop()
        # A caller that does not read must not hold resources after the stream's end.
        with contextlib.suppress(TimeoutError, PeerGone):
            async with asyncio.timeout(_LAST_SECONDS), self._turn:
                await self._write(data, more=False)

    async def _beat(self) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(PeerGone):
            await asyncio.sleep(HEADERS_AFTER_SECONDS)
            if not self.started:
                async with self._turn:
                    await self._write(b"")
            while True:
                await asyncio.sleep(max(self._sent_at + HEARTBEAT_SECONDS - now(), 0))
                if now() - self._sent_at >= HEARTBEAT_SECONDS:
                    async with self._turn:
                        await self._write(self._framing.heartbeat)

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        try:
            if not self.started:
                await self._start(self._framing.content_type)
            await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except OSError as error:
            raise PeerGone from error
        self._sent_at = asyncio.get_running_loop().time()

    async def _start(self, content_type: str) -> None:
        lines = answer_lines((("Content-Type", content_type), *_HEADERS, *self._headers))
        await self._send({"type": "http.response.start", "status": 200, "headers": lines})
        self.started = True
