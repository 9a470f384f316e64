"""Callers of the service, whose every call and answer is noted."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import grpc.aio

from jobqueue.v1 import job_pb2, jobqueue_pb2
from tests.lease.hand_worker import PATIENCE, span
from tests.lease.place import Caller

from .journal import Journal

_MAX_BATCH = 500


class Producer(Caller):
    """The stubs of one server. Each job carries a token of its own, so that it can be told which call it came of."""

    def __init__(self, address: str, journal: Journal) -> None:
        super().__init__(address)
        self._journal = journal
        self._name = uuid4().hex[:8]
        self._numbers = itertools.count()

    async def put(
        self,
        kind: str = "work",
        *,
        key: str = "",
        token: str = "",
        unique: str = "",
        on_conflict: str = "KEEP",
        delay: float | None = None,
        timeout: float = PATIENCE,
        queue_key: str = "",
        backoff: float | None = None,
        **payload: Any,
    ) -> str:
        """Enqueues one job by one call, never tried again; its id. `unique` is the name that it is to hold.

        `on_conflict` is what becomes of it where another job holds that. `delay` is how long it waits, in seconds.
        `queue_key` is what the job is about. `backoff` is how long it waits after a failure, in seconds.

        Raises:
            grpc.aio.AioRpcError: It was not acknowledged; the job may be there all the same.
        """
        job = self._job(kind, payload, token)
        job.idempotency_key, job.key = key, queue_key
        if unique:
            job.unique.key = unique
            job.unique.on_conflict = job_pb2.Unique.OnConflict.Value(on_conflict)
            if on_conflict == "DEBOUNCE":
                job.unique.replace.append(job_pb2.Unique.PAYLOAD)
        if delay is not None:
            job.delay.CopyFrom(span(delay))
        if backoff is not None:
            job.retry_policy.min_backoff.CopyFrom(span(backoff))
            job.retry_policy.max_backoff.CopyFrom(span(backoff))
        token = json.loads(job.payload_json)["token"]
        self._journal.note("enqueuing", token=token, key=key)
        try:
            answer = await self.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job), timeout=timeout)
        except grpc.aio.AioRpcError as error:
            self._journal.note("enqueued", token=token, code=error.code().name)
            raise
        self._journal.note("enqueued", token=token, code="OK", id=answer.job.id, replayed=answer.replayed)
        id: str = answer.job.id
        return id

    async def put_once(self, unique: str, **payload: Any) -> bool:
        """Enqueues a job with a name that it holds until it starts; whether another one was kept instead."""
        job = self._job("work", payload)
        job.unique.key = unique
        token = json.loads(job.payload_json)["token"]
        self._journal.note("enqueuing", token=token)
        answer = await self.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job), timeout=PATIENCE)
        kept: bool = answer.unique_action == job_pb2.Unique.KEPT
        # One that is kept is the answer to the call that stored it.
        self._journal.note("enqueued", token=token, code="KEPT" if kept else "OK", id=answer.job.id)
        return kept

    async def put_many(
        self, count: int, kind: str = "work", *, hold: bool = False, queue_key: str = "", **payload: Any
    ) -> list[str]:
        """Enqueues many jobs in batches, never tried again; their ids. `queue_key` is what the jobs are about."""
        return await self.put_keyed([queue_key] * count, kind, hold=hold, **payload)

    async def put_keyed(
        self, keys: Sequence[str], kind: str = "work", *, hold: bool = False, **payload: Any
    ) -> list[str]:
        """Enqueues a job about each of these in batches, never tried again; their ids, in that order."""
        ids: list[str] = []
        while len(ids) < len(keys):
            about = keys[len(ids) : len(ids) + _MAX_BATCH]
            jobs = [self._job(kind, payload) for _ in about]
            for job, key in zip(jobs, about, strict=True):
                job.hold, job.key = hold, key
            tokens = [json.loads(job.payload_json)["token"] for job in jobs]
            self._journal.note_all(("enqueuing", {"token": token}) for token in tokens)
            request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs)
            try:
                results = (await self.stub.BatchEnqueueJobs(request, timeout=PATIENCE)).results
            except grpc.aio.AioRpcError as error:
                code = error.code().name
                self._journal.note_all(("enqueued", {"token": token, "code": code}) for token in tokens)
                raise
            self._journal.note_all(
                ("enqueued", {"token": token, "code": "OK", "id": result.id})
                for token, result in zip(tokens, results, strict=True)
            )
            ids += [result.id for result in results]
        return ids

    def follow_up(self, kind: str = "work", **payload: Any) -> job_pb2.NewJob:
        """A job that a worker's success is to enqueue."""
        job = self._job(kind, payload)
        self._journal.note("enqueuing", token=json.loads(job.payload_json)["token"])
        return job

    def _job(self, kind: str, payload: dict[str, Any], token: str = "") -> job_pb2.NewJob:
        token = token or f"{self._name}-{next(self._numbers)}"
        return job_pb2.NewJob(kind=kind, payload_json=json.dumps({"token": token, **payload}).encode())

    @asynccontextmanager
    async def load(self, rate: float, *, callers: int = 4, **payload: Any) -> AsyncIterator[list[str]]:
        """Enqueues so many jobs a second while the body runs, whatever is refused; the ids that were acknowledged."""
        acknowledged: list[str] = []

        async def call() -> None:
            while True:
                try:
                    acknowledged.append(await self.put(**payload))
                except grpc.aio.AioRpcError:
                    await asyncio.sleep(0.05)
                await asyncio.sleep(callers / rate)

        tasks = [asyncio.create_task(call()) for _ in range(callers)]
        try:
            yield acknowledged
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
