"""What a caller can make the server hold and do, and what all callers together can."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from .messages import MessageRefused

if TYPE_CHECKING:
    from .connection import Connection

_MIB = 1 << 20
# Bytes of requests after which a connection tells the server again how much it holds.
_HELD_STEP = 16 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a server. Times are in seconds, and are looked at once a second.

    Attributes:
        connections: At once; a further one is closed.
        greeting: What a caller has to agree on how to encrypt, and again for its preface and its first SETTINGS.
        receiving: Non-streaming requests of one connection that are still not whole after a second. A burst of calls
            may send all its fields first, as Node does.
        request: What a non-streaming request has to be whole, and a frame of any. For a request its caller's own
            deadline counts instead, up to ten times as long.
        connection_unread: Bytes of answers that one connection's caller has not read. From an eighth of it on its
            further calls wait before they are handled.
        waiting: Calls of one connection that wait for that; a further one is refused.
        unread: The same of all connections together.
        stall: A caller that takes nothing of a stream for so long loses it; one that takes no byte at all loses its
            connection.
        connection_held: Bytes of requests of one connection that wait to be whole or to be read, or whose calls go on.
        held: The same of all connections together.
        reset_burst: Resets beyond the calls that ended well.
        resets_per_second: What the burst gets back.
        idle_burst: Frames that bring little, beyond what answers allow for: see `Budget.idle`.
        idle_per_second: What that burst gets back.
        leaving: What a caller has to say that it knows of its connection's end. Then it is given no more calls anyway.
    """

    connections: int = 4000
    greeting: float = 10.0
    receiving: int = 200
    request: float = 30.0
    connection_unread: int = 16 * _MIB
    waiting: int = 500
    unread: int = 256 * _MIB
    stall: float = 30.0
    connection_held: int = 256 * _MIB
    held: int = 512 * _MIB
    reset_burst: int = 1000
    resets_per_second: int = 33
    idle_burst: int = 10_000
    idle_per_second: int = 1000
    leaving: float = 5.0


class Usage:
    """What the connections of one server hold together.

    Args:
        limits: The server's.
        connections: Those that live.

    Attributes:
        unread: Bytes that callers have not read.
        held: Bytes of requests, as connections have told it: each of them in steps.
    """

    __slots__ = ("_connections", "_limits", "held", "unread")

    def __init__(self, limits: Limits, connections: set[Connection]) -> None:
        self._limits = limits
        self._connections = connections
        self.unread = 0
        self.held = 0

    def relieve_unread(self) -> None:
        """Ends the connections that read least, until what is left is within the bound."""
        while self.unread > self._limits.unread:
            worst = max(self._connections, key=lambda connection: connection.out.unread)
            worst.drop(
                f"callers have not read {self.unread} bytes in all, and this one {worst.out.unread} of them"
            )

    def relieve_held(self, asking: Held | None = None) -> bool:
        """Ends the connections that hold most. Whether the one that asks is the next, and has to hold less."""
        for connection in self._connections:
            connection.held.report()
        while self.held > self._limits.held:
            worst = max(self._connections, key=lambda connection: connection.held.bytes)
            if worst.held is asking:
                return True
            worst.drop(
                f"requests of {self.held} bytes are held in all, and {worst.held.bytes} of them are of this one"
            )
        return False


class Held:
    """Bytes of one connection's requests: of single messages until their calls end, of others until they are handed on.

    Args:
        limits: The server's.
        usage: What all connections hold; it is told in steps: each message would be counted twice over otherwise.

    Attributes:
        bytes: How many there are. The reader that hands some on takes them off.
    """

    __slots__ = ("_limits", "_mark", "_told", "_unfinished", "_usage", "bytes")

    def __init__(self, limits: Limits, usage: Usage) -> None:
        self.bytes = 0
        self._limits = limits
        self._usage = usage
        self._told = 0
        self._unfinished = 0
        self._mark = _HELD_STEP

    def add(self, size: int) -> None:
        """So many more came.

        Raises:
            MessageRefused: There are too many of them.
        """
        self.bytes += size
        if self.bytes <= self._mark:
            return
        self.report()
        if self.bytes > self._limits.connection_held:
            raise MessageRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"over {self._limits.connection_held} bytes of this connection's requests are held",
            )
        if self._usage.held > self._limits.held and self._usage.relieve_held(self):
            raise MessageRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"over {self._limits.held} bytes of all connections' requests are held",
            )

    def report(self) -> None:
        """Tells the server how much is held."""
        self._usage.held += self.bytes - self._told
        self._told = self.bytes
        self._mark = min(self.bytes + _HELD_STEP, self._limits.connection_held)

    def unfinished(self, size: int) -> None:
        """So many bytes of frames are not whole. They are looked at once a second."""
        self.bytes += size - self._unfinished
        self._unfinished = size
        self.report()

    def clear(self) -> None:
        """The connection is no more."""
        self.bytes = self._unfinished = 0
        self.report()
