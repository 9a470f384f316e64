"""Workers: bare streams, so that the server is what is measured, and the Worker of the Python client."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import grpc.aio
import uvloop

from jobqueue.v1 import jobqueue_pb2_grpc, lease_pb2

from .crew import DONE, MESSAGES, Post
from .latency import Latencies
from .load import KIND

_BEAT = 5.0
# Of one Settle.
_MOST_OUTCOMES = 1000


@dataclass(frozen=True, slots=True)
class Hands:
    """Who runs the jobs.

    Attributes:
        sort: `bare`: streams that settle each delivery in one frame; `runtime`: the Worker of the Python client.
        streams: How many in all.
        slots: Of each.
        processes: Among which the streams are divided.
        handler_seconds: How long a handler takes; 0: nothing is done.
        own_connections: Whether each bare stream has a connection of its own. Workers of the runtime always have.
        stamped: Whether payloads say when their jobs were due, and how long it took until their handlers began is
            recorded.
        queues, kinds: What they subscribe to.
    """

    sort: Literal["bare", "runtime"] = "bare"
    streams: int = 4
    slots: int = 1000
    processes: int = 1
    handler_seconds: float = 0.0
    own_connections: bool = False
    stamped: bool = False
    queues: tuple[str, ...] = ("default",)
    kinds: tuple[str, ...] = (KIND,)


def work(post: Post, targets: list[str], hands: Hands) -> None:
    """One process of workers, a stream to each of the targets, until it is told to stop."""
    run = _runtime if hands.sort == "runtime" else _bare
    uvloop.run(run(post, targets, hands))


def _started(hands: Hands, starts: Latencies) -> Callable[[bytes], None]:
    """What is done when a handler begins."""

    def record(payload: bytes) -> None:
        starts.add(time.monotonic_ns() - json.loads(payload)["due"])

    return record if hands.stamped else lambda payload: None


async def _bare(post: Post, targets: list[str], hands: Hands) -> None:
    starts = Latencies()
    channels: dict[Any, Any] = {}
    streams = []
    for number, target in enumerate(targets):
        key = number if hands.own_connections else target
        if key not in channels:
            options = [("grpc.use_local_subchannel_pool", 1)] if hands.own_connections else []
            channels[key] = grpc.aio.insecure_channel(target, options=options)
        streams.append(BareStream(post, channels[key], f"bench-{number}", hands, _started(hands, starts)))
    await asyncio.gather(*(channel.channel_ready() for channel in channels.values()))
    await asyncio.to_thread(post.ready)
    running = [asyncio.create_task(stream.run()) for stream in streams]
    stopped = asyncio.create_task(asyncio.to_thread(post.until_stopped))
    await asyncio.wait([*running, stopped], return_when=asyncio.FIRST_COMPLETED)
    for task in running:
        if task.done():
            task.result()
            raise RuntimeError("the server ended a stream")
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    post.report(starts=starts.encoded() if hands.stamped else None)


class BareStream:
    """A Lease stream that settles what it is given, and no more than that."""

    def __init__(
        self, post: Post, channel: Any, name: str, hands: Hands, started: Callable[[bytes], None]
    ) -> None:
        self._stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        self._post = post
        self._name = name
        self._hands = hands
        self._started = started
        self._seen = self._seq = 0
        # How many jobs each Settle that is not answered yet carries.
        self._settling: dict[int, int] = {}
        self._ended: list[int] = []
        self._held: set[int] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Serves until cancelled."""
        hands, counts = self._hands, self._post.counts
        self._call = self._stub.Lease()
        hello = lease_pb2.Hello(
            worker=self._name,
            subscriptions=[lease_pb2.Subscription(queue=queue, kinds=hands.kinds) for queue in hands.queues],
            capacity=lease_pb2.Capacity(slots=hands.slots),
        )
        await self._call.write(lease_pb2.LeaseRequest(hello=hello))
        writing = asyncio.create_task(self._write())
        loop = asyncio.get_running_loop()
        try:
            async for frame in self._call:
                counts[MESSAGES] += 1
                if frame.HasField("delivery"):
                    self._seen = frame.delivery.seq
                    if hands.stamped:
                        for job in frame.delivery.jobs:
                            self._started(job.payload_json)
                    leases = [job.lease_id for job in frame.delivery.jobs]
                    self._held.update(leases)
                    if hands.handler_seconds:
                        loop.call_later(hands.handler_seconds, self._end, leases)
                        self._wake.set()
                    else:
                        self._end(leases)
                elif frame.HasField("settled"):
                    count = self._settling.pop(frame.settled.seq)
                    wrong = [each for each in frame.settled.exceptions if each.verdict != 1]
                    if wrong:
                        raise RuntimeError(f"the server did not take a settlement: {wrong[0]}")
                    counts[DONE] += count
        finally:
            writing.cancel()

    def _end(self, leases: list[int]) -> None:
        self._ended += leases
        self._wake.set()

    async def _write(self) -> None:
        """Settlements as they come, receipts, and heartbeats."""
        beats = 0
        while True:
            try:
                async with asyncio.timeout(_BEAT):
                    await self._wake.wait()
            except TimeoutError:
                beats += 1
                beat = lease_pb2.Heartbeat(seq=beats, held=self._held)
                frame = lease_pb2.LeaseRequest(last_delivery=self._seen, heartbeat=beat)
            else:
                self._wake.clear()
                frame = lease_pb2.LeaseRequest(last_delivery=self._seen)
                if self._ended:
                    ended, self._ended = self._ended[:_MOST_OUTCOMES], self._ended[_MOST_OUTCOMES:]
                    self._held.difference_update(ended)
                    if self._ended:
                        self._wake.set()
                    self._seq += 1
                    self._settling[self._seq] = len(ended)
                    frame.settle.seq = self._seq
                    frame.settle.succeeded.extend(ended)
            await self._call.write(frame)
            self._post.counts[MESSAGES] += 1


async def _runtime(post: Post, targets: list[str], hands: Hands) -> None:
    from jobqueue import Worker

    starts = Latencies()
    started = _started(hands, starts)
    counts = post.counts

    async def handle(ctx: Any) -> None:
        started(ctx.job.payload_json)
        if hands.handler_seconds:
            await asyncio.sleep(hands.handler_seconds)
        # Its settlement is under way; who waits for the end asks the database.
        counts[DONE] += 1

    await asyncio.to_thread(post.ready)
    workers = [
        Worker(
            target,
            concurrency=hands.slots,
            queues=hands.queues,
            handlers=dict.fromkeys(hands.kinds, handle),
        )
        for target in targets
    ]
    running = [asyncio.create_task(worker.serve()) for worker in workers]
    stopped = asyncio.create_task(asyncio.to_thread(post.until_stopped))
    await asyncio.wait([*running, stopped], return_when=asyncio.FIRST_COMPLETED)
    for worker in workers:
        worker.stop()
    await asyncio.gather(*running)
    post.report(starts=starts.encoded() if hands.stamped else None)
