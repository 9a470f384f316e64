"""A TCP proxy on loopback that a case bends: between workers and a server, or between a server and PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Self

_CHUNK = 64 * 1024


class Way:
    """One direction of all connections: what passes it now.

    Attributes:
        open: Whether bytes pass. Those that come meanwhile are kept, and pass later: the silence of a cable that is
            pulled and put back.
        latency: Seconds that each piece takes.
    """

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.latency = 0.0


class Proxy:
    """Listens on a port of its own, and connects each caller to the target.

    Attributes:
        up: From callers to the target.
        down: From the target to callers.

    `async with Proxy(host, port) as proxy`, then `proxy.address`.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._pairs: dict[asyncio.StreamWriter, asyncio.StreamWriter] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._refuses = False
        self.up = Way()
        self.down = Way()
        self.port = 0

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pairs)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._refuses = True
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.reset()

    # ---- what a case does with it

    def passing(self) -> None:
        """Everything passes again, that which was held back included; new callers are taken."""
        self._refuses = False
        for way in (self.up, self.down):
            way.latency = 0.0
            way.open.set()

    def black_hole(self) -> None:
        """Nothing passes in either direction, and nobody is told. New callers are taken, and hear nothing."""
        self.up.open.clear()
        self.down.open.clear()

    def one_way(self, dead: Way) -> None:
        """Nothing passes in this direction; the other one goes on."""
        dead.open.clear()

    def slow(self, latency: float) -> None:
        """Each piece takes so many seconds, in both directions."""
        self.up.latency = self.down.latency = latency

    def refuse(self) -> None:
        """Resets what there is, and every new caller."""
        self._refuses = True
        self.reset()

    def reset(self) -> None:
        """Ends every connection with an RST to both sides."""
        for pair in list(self._pairs.items()):
            for writer in pair:
                _reset(writer)
        self._pairs.clear()

    def half_close(self) -> None:
        """Tells the target that the callers have said all (FIN); what it says still passes."""
        for writer in self._pairs.values():
            with contextlib.suppress(OSError):
                writer.write_eof()

    # ---- bytes

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            _reset(writer)
            return
        self._pairs[writer] = far_writer
        ways = ((reader, far_writer, self.up), (far_reader, writer, self.down))
        pumps = [asyncio.create_task(_pump(source, sink, way)) for source, sink, way in ways]
        self._tasks.update(pumps)
        await asyncio.gather(*pumps, return_exceptions=True)
        self._tasks.difference_update(pumps)
        self._pairs.pop(writer, None)
        for each in (writer, far_writer):
            each.close()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
    """Carries one direction of one connection until its end, which it passes on as well."""
    loop = asyncio.get_running_loop()
    # Pieces overlap on their way: a latency is no bound of the throughput.
    on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(maxsize=64)

    async def take() -> None:
        try:
            while piece := await source.read(_CHUNK):
                await on_the_way.put((loop.time() + way.latency, piece))
        finally:
            # The end, by a FIN or by an error, takes its turn like every other piece.
            await on_the_way.put((loop.time() + way.latency, b""))

    taking = asyncio.create_task(take())
    try:
        while True:
            due, piece = await on_the_way.get()
            await asyncio.sleep(due - loop.time())
            await way.open.wait()
            if not piece:
                break
            sink.write(piece)
            await sink.drain()
        await taking
        sink.write_eof()
    except (OSError, RuntimeError):  # the latter where it was told that the callers have said all
        _reset(sink)
    finally:
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes a socket so that the peer sees a reset."""
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
