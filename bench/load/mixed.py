"""A producer of jobs of many sorts: queues, priorities, failures, delays and idempotency keys."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc.aio
import uvloop

from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc

from ..processes import DONE, MESSAGES, REFUSED, Mailbox
from . import KIND, padded


@dataclass(frozen=True, slots=True)
class Mix:
    """What it makes.

    Attributes:
        queues: Over which jobs are spread evenly.
        priorities: Likewise.
        failing: The share that fails at its first attempt.
        scheduled: The share that starts one to three seconds later.
        keyed: The share of batches whose jobs have idempotency keys.
        batch: Jobs of a call.
        in_flight: Calls under way at once.
    """

    queues: tuple[str, ...]
    priorities: tuple[int, ...] = (10, 3, 0, -5)
    failing: float = 0.1
    scheduled: float = 0.1
    keyed: float = 0.05
    batch: int = 100
    in_flight: int = 8


def produce(mailbox: Mailbox, target: str, mix: Mix, jobs: int, seed: int) -> None:
    """Enqueues so many, or until it is told to stop."""
    uvloop.run(_produce(mailbox, target, mix, jobs, random.Random(seed)))


async def _produce(mailbox: Mailbox, target: str, mix: Mix, jobs: int, draw: random.Random) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        await asyncio.to_thread(mailbox.ready)
        calls = iter(range(jobs // mix.batch))

        async def lane() -> None:
            for _ in calls:
                if mailbox.stopping:
                    break
                keyed = draw.random() < mix.keyed
                batch = [_job(mix, draw, keyed=keyed) for _ in range(mix.batch)]
                try:
                    await stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=batch))
                    mailbox.counts[DONE] += mix.batch
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                    mailbox.counts[REFUSED] += mix.batch
                    await asyncio.sleep(0.2)
                mailbox.counts[MESSAGES] += 2

        await asyncio.gather(*(lane() for _ in range(mix.in_flight)))
        mailbox.report()


def _job(mix: Mix, draw: random.Random, *, keyed: bool) -> Any:
    fields = {"fails": True} if draw.random() < mix.failing else {}
    job = job_pb2.NewJob(
        kind=KIND,
        queue=draw.choice(mix.queues),
        priority=draw.choice(mix.priorities),
        payload_json=padded(128, **fields),
    )
    if draw.random() < mix.scheduled:
        job.delay.FromMilliseconds(draw.randrange(1000, 3000))
    if keyed:
        job.idempotency_key = uuid4().hex
    return job
