"""Producers over gRPC: batches, single calls and a pipelined stream of jobs; closed loop and open loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from typing import Any

import grpc.aio
import uvloop

from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc

from ..credentials import bearer
from ..errors import BenchError
from ..latency import Latencies
from ..processes import DONE, LATE, MESSAGES, REFUSED, Mailbox
from ..ticks import Ticks
from . import (
    MOST_UNDER_WAY,
    Load,
    by_due,
    keyed_batches,
    metadata,
    new_job,
    padded,
    says_when_to_come_back,
    unique_jobs,
)

#: Makes a call whose jobs were due at a moment of `time.monotonic_ns`.
Call = Callable[[int], Awaitable[None]]


def produce(mailbox: Mailbox, target: str, load: Load) -> None:
    """Enqueues one producer's share."""
    uvloop.run(_produce(mailbox, target, load))


async def enqueue_one(target: str, kind: str, key: str = "") -> None:
    """One job, alone."""
    async with grpc.aio.insecure_channel(target) as channel:
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        job = job_pb2.NewJob(kind=kind, payload_json=padded(0))
        await stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=job), metadata=bearer(key))


async def enqueue_keyed(target: str, kind: str, keys: Sequence[str]) -> None:
    """A job of each of these job keys, 1,000 a call, eight calls at once."""
    parts = iter([keys[start : start + 1_000] for start in range(0, len(keys), 1_000)])
    async with grpc.aio.insecure_channel(target) as channel:
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)

        async def caller() -> None:
            for part in parts:
                jobs = [job_pb2.NewJob(kind=kind, key=key, payload_json=padded(128)) for key in part]
                await stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))

        await asyncio.gather(*(caller() for _ in range(8)))


async def _produce(mailbox: Mailbox, target: str, load: Load) -> None:
    async with grpc.aio.insecure_channel(target) as channel:
        await channel.channel_ready()
        stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        call = _unary(stub, load) if load.protocol == "unary" else _batch(stub, load)
        size = 1 if load.protocol == "unary" else load.batch
        await asyncio.to_thread(mailbox.ready)
        acks = Latencies()

        async def once(due: int) -> None:
            try:
                await call(due)
                mailbox.counts[DONE] += size
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                    raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
                    says_when_to_come_back(raw, error.details() or "")
                    mailbox.counts[REFUSED] += size
                elif error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and load.deadline is not None:
                    mailbox.counts[LATE] += size
                else:
                    raise
            mailbox.counts[MESSAGES] += 2
            acks.add(time.monotonic_ns() - due)

        missed = 0
        if load.protocol == "pipelined":
            await _pipelined(mailbox, stub, load, acks)
        elif load.rate is None:
            calls = iter(range(load.calls))

            async def lane() -> None:
                for _ in calls:
                    while mailbox.waits:
                        await asyncio.sleep(0.002)
                    if mailbox.stopping:
                        break
                    await once(time.monotonic_ns())

            await asyncio.gather(*(lane() for _ in range(load.in_flight)))
        else:
            missed = await on_schedule(mailbox, once, load.calls, load.rate / load.producers)
        mailbox.report(acks=acks.encoded(), missed=missed * size)


async def on_schedule(mailbox: Mailbox, once: Call, calls: int, rate: float) -> int:
    """Makes each call when it is due, whether or not those before are answered; how many could not be made at all."""
    under_way: set[asyncio.Task[None]] = set()
    done = asyncio.Event()
    failures: list[BaseException] = []
    made = missed = 0
    ticks = Ticks(rate)

    def ended(task: asyncio.Task[None]) -> None:
        under_way.discard(task)
        if task.cancelled():
            failures.append(BenchError("a call was cancelled"))
        elif (error := task.exception()) is not None:
            failures.append(error)
        if failures or (made == calls and not under_way):
            done.set()

    def tick() -> None:
        nonlocal calls, made, missed
        if mailbox.stopping:
            calls = made
        for due in ticks.due():
            if made == calls:
                break
            made += 1
            if len(under_way) >= MOST_UNDER_WAY:
                missed += 1
                continue
            task = asyncio.ensure_future(once(due))
            under_way.add(task)
            task.add_done_callback(ended)
        if made == calls and not under_way:
            done.set()

    loop = asyncio.get_running_loop()
    loop.add_reader(ticks.file, tick)
    try:
        await done.wait()
    finally:
        loop.remove_reader(ticks.file)
        ticks.close()
    if failures:
        raise failures[0]
    return missed


def _unary(stub: Any, load: Load) -> Call:
    if load.names is not None:
        request = _one_by_one(load)
    else:
        request = by_due(
            load,
            lambda due: jobqueue_pb2.EnqueueJobRequest(
                job=new_job(load, due), payload_format=job_pb2.PAYLOAD_FORMAT_JSON
            ),
        )
    more = metadata(load)

    async def call(due: int) -> None:
        await stub.EnqueueJob(request(due), timeout=load.deadline, metadata=more())

    return call


def _batch(stub: Any, load: Load) -> Call:
    if load.keys:
        request = _in_turns(load)
    else:
        request = by_due(
            load, lambda due: jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[new_job(load, due)] * load.batch)
        )
    more = metadata(load)

    async def call(due: int) -> None:
        await stub.BatchEnqueueJobs(request(due), timeout=load.deadline, metadata=more())

    return call


def _one_by_one(load: Load) -> Callable[[int], jobqueue_pb2.EnqueueJobRequest]:
    jobs = unique_jobs(load)
    return lambda due: jobqueue_pb2.EnqueueJobRequest(
        job=next(jobs), payload_format=job_pb2.PAYLOAD_FORMAT_JSON
    )


def _in_turns(load: Load) -> Callable[[int], jobqueue_pb2.BatchEnqueueJobsRequest]:
    turns = cycle([jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs) for jobs in keyed_batches(load)])
    return lambda due: next(turns)


async def _pipelined(mailbox: Mailbox, stub: Any, load: Load, acks: Latencies) -> None:
    """One source of jobs, as fast as they are taken: as many calls as may be under way at once, each a batch."""
    room = asyncio.Semaphore(load.in_flight)
    job = new_job(load, 0)
    more = metadata(load)

    async def send(count: int, due: int) -> None:
        try:
            request = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[job] * count)
            await stub.BatchEnqueueJobs(request, metadata=more())
        finally:
            room.release()
        mailbox.counts[DONE] += count
        mailbox.counts[MESSAGES] += 2
        acks.add(time.monotonic_ns() - due)

    left = load.jobs // load.producers
    async with asyncio.TaskGroup() as group:
        while left:
            await room.acquire()
            count = min(load.batch, left)
            left -= count
            group.create_task(send(count, time.monotonic_ns()))
