"""A connection of the HTTP server whose bytes come in the very pieces that a test says: no socket promises that."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from jobqueue_server.http.server import HttpServer

from .conftest import PATIENCE

Answer = tuple[bytes, bytes]


class Pipe(asyncio.Transport):
    """Stands for the socket below a connection.

    Attributes:
        closed: The server has closed it.
        sent: What the server has sent.
    """

    def __init__(self, server: HttpServer) -> None:
        super().__init__()
        config = server._server.config
        protocol: Any = config.http_protocol_class
        self._protocol = protocol(
            config=config,
            server_state=server._server.server_state,
            app_state={},
            _loop=asyncio.get_running_loop(),
        )
        self.sent = b""
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._changed = asyncio.Event()
        self.closed = False
        self._protocol.connection_made(self)

    @property
    def reads(self) -> bool:
        """Whether the server takes what is sent."""
        return self._may_read.is_set()

    @property
    def waiting(self) -> Sequence[object]:
        """The requests that wait for answers to those before them."""
        waiting: Sequence[object] = self._protocol.pipeline
        return waiting

    @property
    def unread(self) -> int:
        """Bytes that have come and wait."""
        return len(self._protocol._rest)

    async def say(self, pieces: Iterable[bytes]) -> None:
        """Sends the pieces, each as one, as fast as the server reads them."""
        async with asyncio.timeout(PATIENCE):
            for piece in pieces:
                await self._may_read.wait()
                if self.closed:
                    return
                self._protocol.data_received(piece)

    def data_received(self, piece: bytes) -> None:
        """Sends a piece, whether or not the server reads."""
        self._protocol.data_received(piece)

    async def answers(self, count: int) -> list[Answer]:
        """The first so many answers; fewer where the server closes before."""
        async with asyncio.timeout(PATIENCE):
            while len(found := split(self.sent)) < count and not self.closed:
                self._changed.clear()
                await self._changed.wait()
        return found

    async def ended(self) -> list[Answer]:
        """All answers, once the server has closed."""
        found = await self.answers(1_000_000)
        assert self.closed
        return found

    def hang_up(self) -> None:
        """Ends it from the caller's side."""
        if not self.closed:
            self.close()

    def write(self, data: Any) -> None:
        if not self.closed:
            self.sent += data
            self._changed.set()

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._changed.set()
            self._may_read.set()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()


def split(sent: bytes) -> list[Answer]:
    """The answers that are whole, each as its head and its body."""
    found = []
    while (end := sent.find(b"\r\n\r\n") + 4) > 3:
        head = sent[:end]
        length = re.search(rb"\r\ncontent-length: ([0-9]+)", head)
        size = int(length[1]) if length else 0
        if len(sent) < end + size:
            break
        found.append((head, sent[end : end + size]))
        sent = sent[end + size :]
    return found


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """The bytes, cut in these places."""
    edges = [0, *sorted(places), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges) if begin < end]
