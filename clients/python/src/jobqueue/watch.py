"""A watch: jobs as they change, over as many streams as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

import grpc

from .backoff import Backoff
from .calls import of_stream, pause_after
from .channel import Access
from .errors import JobQueueError, Unavailable, WatchTokenExpired, from_rpc
from .jobs import Job
from .v1 import jobqueue_pb2 as pb

# The server answers every 10 s, also where nothing changes.
_SILENCE = timedelta(seconds=60)


class Watch:
    """Jobs as they change, for `async for`. Made by `Client.watch`.

    If a stream breaks, because a server shuts down or a connection is cut, the watch opens another one at the same
    point: no change is missed, and none comes again.

    `async with` waits for its beginning: every change inside of the block is answered. A watch is for one task.

    Attributes:
        resume_token: Continues after the last answer, in another process or next week's: give it to `Client.watch`.
        deleted: Of the ids that were asked for, those of jobs that were deleted meanwhile.
    """

    def __init__(
        self,
        method: Callable[[], Callable[..., Any]],
        request: pb.WatchJobsRequest,
        access: Access,
        deadline: timedelta,
        job: Callable[[Any], Awaitable[Job]],
    ) -> None:
        self.resume_token = request.resume_token
        self.deleted: frozenset[str] = frozenset()
        self._method = method
        self._request = request
        self._access = access
        self._deadline = deadline
        self._job = job
        self._call: Any = None
        self._first: pb.WatchJobsResponse | None = None
        self._over = False
        self._away_since: float | None = None
        self._backoff = Backoff(base=0.05, cap=2.0)

    async def __aenter__(self) -> Self:
        if self._first is None and not self._over:
            self._first = await self._answer()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the stream. A later `async for` continues at the same point."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Job:
        """The next change.

        Raises:
            StopAsyncIteration: All jobs with the given ids have ended.
            JobNotFound: No job has one of the ids.
            WatchTokenExpired: The token is too old: list the jobs, then watch without it.
            Unavailable: No server answered within `deadline`.
        """
        while True:
            answer, self._first = self._first or await self._answer(), None
            if answer is None:
                raise StopAsyncIteration
            self.resume_token = answer.resume_token
            if not answer.HasField("job"):
                continue
            if answer.job.kind:
                return await self._job(answer.job)
            self.deleted |= {answer.job.id}

    async def _answer(self) -> pb.WatchJobsResponse | None:
        """The next answer, of a new stream where one broke; None at the end."""
        while not self._over:
            try:
                return await self._read()
            except grpc.aio.AioRpcError as raised:
                error = from_rpc(raised)
            except TimeoutError:
                silence = f"nothing was heard of it for {_SILENCE.total_seconds():g} s"
                error = Unavailable(silence, code="UNAVAILABLE")
            except BaseException:
                # What ends a read, such as the end of its task, ends the stream.
                await self.aclose()
                raise
            await self.aclose()
            await self._pause(error)
        return None

    async def _read(self) -> pb.WatchJobsResponse | None:
        if self._call is None:
            # The first answer after a break comes after what was told last, whatever was read since.
            self._request.resume_token = self.resume_token
            self._call = self._method()(self._request, metadata=self._access.metadata())
        async with asyncio.timeout(_SILENCE.total_seconds()):
            answer = await self._call.read()
        self._away_since = None
        self._backoff.reset()
        if answer is grpc.aio.EOF:
            self._over = True
            return None
        found: pb.WatchJobsResponse = answer
        return found

    async def _pause(self, error: JobQueueError) -> None:
        """Waits before another stream.

        Raises:
            JobQueueError: Another one is of no use, or it took too long.
        """
        if isinstance(error, WatchTokenExpired) and self._request.ids:
            # Each is told as it is now, so nothing that still holds is missed.
            self.resume_token = ""
            return
        error = of_stream(error)
        wait = pause_after(error, self._backoff)
        if wait is None:
            raise error
        loop = asyncio.get_running_loop()
        if self._away_since is None:
            self._away_since = loop.time()
        if loop.time() + wait >= self._away_since + self._deadline.total_seconds():
            error.add_note(f"tried again until the deadline of {self._deadline.total_seconds():g} s")
            raise error
        await asyncio.sleep(wait)
