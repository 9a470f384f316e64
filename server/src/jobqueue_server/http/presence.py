"""The calls under way over HTTP: each ends with its caller, and the last of them with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

from grpc_http2 import PeerGone

from ..errors import Draining
from .request import Request

T = TypeVar("T")


class Presence:
    """Who is being answered."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._futures: set[asyncio.Future[Any]] = set()
        self._leaving = False

    async def hold(self, call: Awaitable[T], request: Request, *, streams: bool) -> T:
        """What the call answers.

        Args:
            call: It says by `request.watch` from when on it ends with its caller.
            request: Whose call it is.
            streams: It may have no end of its own, so the server that leaves does not wait for it.

        Raises:
            PeerGone: Its caller has hung up.
            Draining: The server has left before it was done.
        """
        task = asyncio.current_task()
        assert task is not None
        under_way = self._streams if streams else self._calls
        under_way.add(task)
        try:
            return await call
        except asyncio.CancelledError:
            if request.gone:
                task.uncancel()
                raise PeerGone from None
            if self._leaving:
                task.uncancel()
                raise self.draining() from None
            raise
        finally:
            under_way.discard(task)
            request.unwatch()

    def add(self, call: asyncio.Future[Any]) -> None:
        """Counts a call that has no task, and is cancelled as those that have one."""
        self._futures.add(call)

    def discard(self, call: asyncio.Future[Any]) -> None:
        """It is answered."""
        self._futures.discard(call)

    @staticmethod
    def draining() -> Draining:
        """What is said to the caller of a call that is cut off."""
        return Draining(
            "this server has left before the call was done; call again", retry_after=timedelta(seconds=1)
        )

    async def leave(self, grace: timedelta) -> None:
        """Ends the streams, and waits until no call is left; those that are not done after the grace end too."""
        self._leaving = True
        for task in self._streams:
            task.cancel()
        under_way = self._calls | self._futures
        if under_way:
            await asyncio.wait(under_way, timeout=grace.total_seconds())
        for call in self._calls | self._futures:
            call.cancel()
