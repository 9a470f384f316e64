"""A WatchJobs stream of a test's own: remembers what it was told, and goes on by its token."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc.aio

from jobqueue.v1 import job_pb2, jobqueue_pb2
from tests.lease.hand_worker import PATIENCE, reason_of
from tests.lease.place import Caller, Status

OVER = {"SUCCEEDED", "FAILED_PERMANENT", "CANCELLED"}


class Watcher:
    """`async with Watcher(place, queue="mail") as watcher`, which then was told that the watch has begun.

    Attributes:
        told: Every job that it was told of, in order.
        token: The last.
        answers: How many answers came, those without a job too.
        over: The jobs of which a terminal status was told.
    """

    def __init__(self, place: Caller, *, token: str = "", **wanted: Any) -> None:
        self.token = token
        self.told: list[job_pb2.Job] = []
        self.answers = 0
        self.over: set[str] = set()
        self._tokens: list[str] = []
        self._place = place
        self._wanted = wanted
        self._came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Watcher:
        await self.go_on()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    def request(self) -> jobqueue_pb2.WatchJobsRequest:
        """What it asks for, from its last token on."""
        return jobqueue_pb2.WatchJobsRequest(resume_token=self.token, **self._wanted)

    async def go_on(self, place: Caller | None = None) -> None:
        """Opens the stream, on another server if one is named, by the last token; returns at its first answer."""
        self._place = place or self._place
        before = self.answers
        self._task = asyncio.create_task(self._read(self._place.stub.WatchJobs(self.request())))
        await self.until(lambda: self.answers > before or self.ended)

    async def hang_up(self) -> None:
        """Ends the stream."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
                await self._task

    async def _read(self, call: Any) -> None:
        try:
            async for answer in call:
                self.token = answer.resume_token
                self.answers += 1
                if answer.HasField("job"):
                    self.told.append(answer.job)
                    self._tokens.append(self.token)
                    if Status.Name(answer.job.status) in OVER:
                        self.over.add(answer.job.id)
                self._came.set()
        finally:
            self._came.set()
            call.cancel()

    @property
    def ended(self) -> bool:
        """Whether the stream is over."""
        return self._task is not None and self._task.done()

    async def end(self) -> str:
        """The reason for which the stream ended; empty where it ended well."""
        assert self._task is not None
        try:
            async with asyncio.timeout(PATIENCE):
                await self._task
        except grpc.aio.AioRpcError as error:
            return reason_of(error) or error.code().name
        return ""

    async def until(self, seen: Any, timeout: float = PATIENCE) -> None:
        """Waits until that is true, and looks at each answer."""
        async with asyncio.timeout(timeout):
            while not seen():
                self._came.clear()
                await self._came.wait()

    def of(self, job_id: str) -> list[str]:
        """The statuses of a job, as they were told."""
        return [Status.Name(job.status) for job in self.told if job.id == job_id]

    async def sees(self, job_id: str, status: str) -> job_pb2.Job:
        """The job, once this status of it was told."""
        await self.until(lambda: status in self.of(job_id) or self.ended)
        return next(job for job in self.told if (job.id, Status.Name(job.status)) == (job_id, status))

    def forget(self, count: int) -> None:
        """Loses the last jobs that it was told of, as one that is killed before it has read them."""
        del self.told[-count:], self._tokens[-count:]
        self.token = self._tokens[-1]
        self.over = {job.id for job in self.told if Status.Name(job.status) in OVER}

    def twice(self) -> list[str]:
        """What was told more than once: a job in the same status, of the same attempt and time."""
        seen: set[bytes] = set()
        found = []
        for job in self.told:
            what = job.SerializeToString(deterministic=True)
            if what in seen:
                found.append(str(job))
            seen.add(what)
        return found
