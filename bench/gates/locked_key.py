"""The gate `locked-key`: what others wait whose keys are free, while another transaction keeps the row of one key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
import grpc.aio

from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc

from ..load import KIND, padded
from ..ours import stage
from ..server import limit_keys
from .gate import Found, Part
from .round import Round

_LOCKED = "locked"
_JOBS = 10
_EVERY, _SECONDS = 0.05, 8.0
# A statement that can't get a lock ends before.
_PATIENCE = 20.0
_ROOM = 1_000_000


def _idempotent(key: str) -> job_pb2.NewJob:
    return job_pb2.NewJob(kind=KIND, payload_json=padded(128), idempotency_key=key)


def _limited(key: str) -> job_pb2.NewJob:
    return job_pb2.NewJob(kind=KIND, payload_json=padded(128), key=key)


# By the part: what makes a job of a key, what locks the row of the one key, and how many jobs a call has.
_CASES: dict[str, tuple[Callable[[str], job_pb2.NewJob], str, int]] = {
    "batch, idempotency keys": (_idempotent, "select from idempotency_key for update", _JOBS),
    "one job, idempotency key": (_idempotent, "select from idempotency_key for update", 1),
    "batch, limited keys": (_limited, "select from semaphore for update", _JOBS),
    "one job, limited key": (_limited, "select from semaphore for update", 1),
}


class LockedKey:
    """The neighbours of a locked key."""

    name = "locked-key"
    title = "neighbours of a locked key"
    method = (
        f"Another transaction holds the row of one key for {_SECONDS:g} s, and a call waits for it. Beside it calls "
        f"with keys of their own are made, each {1000 * _EVERY:g} ms after the answer to the one before: "
        "the longest of them."
    )
    leaves_out = "Several locked keys; a locked queue, which `totals` looks at."
    parts = tuple(Part(name, 400, 100, "ms", less=True) for name in _CASES)

    async def measure(self, bench: Round) -> Found:
        """Each case on a database of its own."""
        values: dict[str, float | None] = {}
        for name, (make, lock, jobs) in _CASES.items():
            bench.tell(f"locked-key, {name}")
            values[name] = round(1000 * await self._longest(bench, make, lock, jobs), 1)
        return Found(values)

    async def _longest(
        self, bench: Round, make: Callable[[str], job_pb2.NewJob], lock: str, jobs: int
    ) -> float:
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=(KIND,)) as servers:
            await limit_keys(servers[0], _ROOM)
            connection = await asyncpg.connect(dsn)
            async with grpc.aio.insecure_channel(servers[0].grpc) as channel:
                stub: Any = jobqueue_pb2_grpc.JobQueueStub(channel)

                async def call(keys: list[str]) -> None:
                    made = [make(key) for key in keys]
                    if jobs == 1:
                        await stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=made[0]), timeout=_PATIENCE)
                    else:
                        request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=made)
                        await stub.BatchEnqueueJobs(request, timeout=_PATIENCE)

                def keys(number: int) -> list[str]:
                    return [f"{number}-{each}" for each in range(jobs)]

                await call([_LOCKED, *keys(0)[1:]])
                longest = 0.0
                async with connection.transaction():
                    await connection.execute(lock)
                    # With the locked key, which is free for another job as soon as it is locked no more.
                    waits = asyncio.create_task(call([_LOCKED, *keys(1)[1:]]))
                    until = time.monotonic() + _SECONDS
                    number = 1
                    while time.monotonic() < until:
                        number += 1
                        await asyncio.sleep(_EVERY)
                        began = time.monotonic()
                        # One that is refused has waited too.
                        with suppress(grpc.aio.AioRpcError):
                            await call(keys(number))
                        longest = max(longest, time.monotonic() - began)
                with suppress(grpc.aio.AioRpcError):
                    await waits
            await connection.close()
        return longest
