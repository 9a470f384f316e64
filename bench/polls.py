"""Callers that ask for the demand of queues, each queue in its turn, on a fixed schedule."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle

import grpc.aio
import uvloop

from jobqueue.v1 import insight_pb2, insight_pb2_grpc, job_pb2, jobqueue_pb2, jobqueue_pb2_grpc

from .latency import Latencies
from .load import KIND, padded
from .load.grpc_calls import on_schedule
from .processes import DONE, Mailbox

# More than a measurement asks for.
_ENOUGH = 100_000_000
_BATCH = 1000


def poll(mailbox: Mailbox, target: str, queues: Sequence[str], every: float) -> None:
    """Asks for each of the queues once in so many seconds, until it is told to stop."""
    uvloop.run(_poll(mailbox, target, queues, every))


async def _poll(mailbox: Mailbox, target: str, queues: Sequence[str], every: float) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        stub = insight_pb2_grpc.InsightStub(channel)
        mailbox.ready()
        acks = Latencies()
        next_of = cycle(queues)

        async def once(due: int) -> None:
            await stub.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue=next(next_of)))
            mailbox.counts[DONE] += 1
            acks.add(time.monotonic_ns() - due)

        await on_schedule(mailbox, once, _ENOUGH, len(queues) / every)
        mailbox.report(acks=acks.encoded())


async def enqueue(target: str, queues: Sequence[str], jobs: int) -> None:
    """So many jobs in each queue."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        asked = [
            job_pb2.NewJob(kind=KIND, queue=queue, payload_json=padded(128))
            for queue in queues
            for _ in range(jobs)
        ]
        for start in range(0, len(asked), _BATCH):
            request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=asked[start : start + _BATCH])
            await stub.BatchEnqueueJobs(request)
