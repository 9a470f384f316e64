"""The calls in flight over HTTP. A call ends when its caller hangs up, or at the end of the server's drain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any, TypeVar

from grpc_http2 import PeerGone

from ..errors import Draining
from .request import Request

T = TypeVar("T")


class InFlightRequests:
    """The requests that the server is answering."""

    def __init__(self) -> None:
        self._calls: set[asyncio.Task[Any]] = set()
        self._streams: set[asyncio.Task[Any]] = set()
        self._futures: set[asyncio.Future[Any]] = set()
        self._leaving = False

    async def hold(self, call: Awaitable[T], request: Request, *, streams: bool) -> T:
        """Awaits a call, and answers its result.

        Args:
            call: The call. From its `request.watch` on, it is cancelled when its caller hangs up.
            request: The request of the call.
            streams: Whether the call is a stream. It may have no end, so a draining server does not wait for it.

        Raises:
            PeerGone: The caller has hung up.
            Draining: The server's drain ended before the call.
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
        """Adds a call without a task. It is cancelled like a call with one."""
        self._futures.add(call)

    def discard(self, call: asyncio.Future[Any]) -> None:
        """Removes a call that was answered."""
        self._futures.discard(call)

    @staticmethod
    def draining() -> Draining:
        """The error for a call that the drain cuts off."""
        return Draining(
            "this server shut down before the call was done; call again", retry_after=timedelta(seconds=1)
        )

    async def leave(self, grace: timedelta) -> None:
        """Ends the streams, waits for the other calls, and cancels those that are not done after the grace."""
        self._leaving = True
        for task in self._streams:
            task.cancel()
        under_way = self._calls | self._futures
        if under_way:
            await asyncio.wait(under_way, timeout=grace.total_seconds())
        for call in self._calls | self._futures:
            call.cancel()
