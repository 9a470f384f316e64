"""The connections of a client: one for each event loop that uses it, since a channel of gRPC belongs to one loop."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import grpc

from .channel import Access
from .window import Window


class _Connection:
    """A channel of one loop, the stubs on it, each made at its first use, and its window."""

    def __init__(self, loop: asyncio.AbstractEventLoop, channel: grpc.aio.Channel) -> None:
        self.loop = loop
        self.process = os.getpid()
        self.channel = channel
        self.stubs: dict[type[Any], Any] = {}
        self.window = Window()


class Connections:
    """Connects at the first use in each loop, so that a client outlives `asyncio.run`.

    Args:
        target: The server's address.
        access: Credentials and token.
    """

    def __init__(self, target: str, access: Access) -> None:
        self._target = target
        self._access = access
        self._newest: _Connection | None = None
        # Those of other loops that are not closed. Threads may each have a loop.
        self._others: dict[asyncio.AbstractEventLoop, _Connection] = {}

    def stub(self, kind: type[Any]) -> Any:
        """The stub of this class, on the connection of the running loop.

        Raises:
            RuntimeError: The process was forked from one that had connected.
        """
        connection = self._connection()
        stub = connection.stubs.get(kind)
        if stub is None:
            stub = connection.stubs[kind] = kind(connection.channel)
        return stub

    def window(self) -> Window:
        """How many enqueues of the running loop may be in flight at once. As `stub`."""
        return self._connection().window

    def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        newest = self._newest
        if newest is not None and newest.loop is loop and newest.process == os.getpid():
            return newest
        return self._of(loop)

    def _of(self, loop: asyncio.AbstractEventLoop) -> _Connection:
        connections = dict(self._others)
        if (before := self._newest) is not None:
            connections[before.loop] = before
        # Without a reference a channel closes. Its loop could not do it any more.
        connections = {each: held for each, held in connections.items() if not each.is_closed()}
        found = connections.pop(loop, None)
        if found is None or found.process != os.getpid():
            found = _Connection(loop, self._access.async_channel(self._target))
        self._others, self._newest = connections, found
        return found

    async def close(self) -> None:
        """Closes all of them. A later call connects again."""
        running = asyncio.get_running_loop()
        held = [*self._others.values(), *([] if self._newest is None else [self._newest])]
        self._others, self._newest = {}, None
        for each in held:
            if each.loop is running:
                await each.channel.close()
            elif each.loop.is_running():
                asyncio.run_coroutine_threadsafe(_close(each.channel), each.loop)


async def _close(channel: grpc.aio.Channel) -> None:
    await channel.close()
