"""A Lease stream that settles what it is given, and does no more than that."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc.aio

from jobqueue.v1 import jobqueue_pb2_grpc, lease_pb2

from ..crew import BEATS, DONE, LATE, MESSAGES, PONGS, Post
from . import Hands
from .starts import Starts

# A settlement or a heartbeat that is answered later than that came too late.
IN_TIME = 5.0
#: In a payload: the first attempt is to fail.
FAILS = b'"fails":true'
# A process opens so many streams at once: thousands of Hellos together would wait for the database for longer than
# the server lets them, and real workers do not all start in the same moment.
_OPENING = 25
# Of one Settle.
_MOST_OUTCOMES = 1000


async def serve(post: Post, targets: list[str], hands: Hands) -> None:
    """A stream to each of the targets, until it is told to stop."""
    starts = Starts(hands)
    channels: dict[Any, Any] = {}
    streams = []
    opening = asyncio.Semaphore(_OPENING)
    for number, target in enumerate(targets):
        key = number if hands.own_connections else target
        if key not in channels:
            options = [("grpc.use_local_subchannel_pool", 1)] if hands.own_connections else []
            channels[key] = grpc.aio.insecure_channel(target, options=options)
        streams.append(BareStream(post, channels[key], f"bench-{number}", hands, starts, opening))
    await asyncio.gather(*(channel.channel_ready() for channel in channels.values()))
    await asyncio.to_thread(post.ready)
    running = [asyncio.create_task(stream.run()) for stream in streams]
    await asyncio.wait([*running, post.stopped()], return_when=asyncio.FIRST_COMPLETED)
    ended = next((task for task in running if task.done()), None)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    if ended is not None:
        ended.result()
        raise RuntimeError("the server ended a stream")
    unanswered = sum(stream.unanswered for stream in streams)
    post.report(unanswered=unanswered, **starts.told() if hands.stamped else {})


class BareStream:
    """One of them."""

    def __init__(
        self,
        post: Post,
        channel: Any,
        name: str,
        hands: Hands,
        starts: Starts,
        opening: asyncio.Semaphore,
    ) -> None:
        self._stub = jobqueue_pb2_grpc.JobQueueStub(channel)
        self._post = post
        self._name = name
        self._hands = hands
        self._starts = starts
        self._opening = opening
        self._seen = self._seq = 0
        # Of each Settle that is not answered yet: how many jobs it ends, and when it was written.
        self._settling: dict[int, tuple[int, float]] = {}
        self._beating: dict[int, float] = {}
        self._ended: list[int] = []
        self._failed: list[int] = []
        self._held: set[int] = set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Serves until cancelled."""
        hands, counts = self._hands, self._post.counts
        hello = lease_pb2.Hello(
            worker=self._name,
            subscriptions=[lease_pb2.Subscription(queue=queue, kinds=hands.kinds) for queue in hands.queues],
            capacity=lease_pb2.Capacity(slots=hands.slots),
        )
        async with self._opening:
            self._call = self._stub.Lease()
            await self._call.write(lease_pb2.LeaseRequest(hello=hello))
            welcome = await self._call.read()
        if not isinstance(welcome, lease_pb2.LeaseResponse) or not welcome.HasField("welcome"):
            raise RuntimeError("the server did not say Welcome")
        self._beat = hands.beat or welcome.welcome.heartbeat_interval.ToTimedelta().total_seconds()
        writing = asyncio.create_task(self._write())
        loop = asyncio.get_running_loop()
        try:
            while isinstance(frame := await self._call.read(), lease_pb2.LeaseResponse):
                counts[MESSAGES] += 1
                if frame.HasField("delivery"):
                    self._seen = frame.delivery.seq
                    if hands.stamped:
                        for job in frame.delivery.jobs[:: hands.sample]:
                            self._starts.record(job.payload_json)
                    leases = [job.lease_id for job in frame.delivery.jobs]
                    self._held.update(leases)
                    if hands.failing:
                        leases = self._fail(frame.delivery.jobs)
                    if hands.handler_seconds:
                        loop.call_later(hands.handler_seconds, self._end, leases)
                        self._wake.set()
                    else:
                        self._end(leases)
                elif frame.HasField("settled"):
                    count, written = self._settling.pop(frame.settled.seq)
                    if loop.time() - written > IN_TIME:
                        counts[LATE] += count
                    wrong = [each for each in frame.settled.exceptions if each.verdict != 1]
                    if wrong:
                        raise RuntimeError(f"the server did not take a settlement: {wrong[0]}")
                    counts[DONE] += count
                elif frame.HasField("pong"):
                    counts[PONGS] += loop.time() - self._beating.pop(frame.pong.seq) <= IN_TIME
        finally:
            writing.cancel()

    @property
    def unanswered(self) -> int:
        """Jobs whose settlement has no answer yet."""
        return sum(count for count, _ in self._settling.values())

    def _fail(self, jobs: Any) -> list[int]:
        """Ends those that are to fail; the others."""
        failed = {job.lease_id for job in jobs if job.attempt == 1 and FAILS in job.payload_json}
        if failed:
            self._failed += failed
            self._wake.set()
        return [job.lease_id for job in jobs if job.lease_id not in failed]

    def _end(self, leases: list[int]) -> None:
        self._ended += leases
        self._wake.set()

    async def _write(self) -> None:
        """Heartbeats when they are due, and settlements and receipts as they come."""
        loop = asyncio.get_running_loop()
        beats = 0
        next_beat = loop.time() + self._beat
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(next_beat):
                    await self._wake.wait()
            now = loop.time()
            frame = lease_pb2.LeaseRequest(last_delivery=self._seen)
            if now >= next_beat:
                next_beat = now + self._beat
                beats += 1
                self._beating[beats] = now
                self._post.counts[BEATS] += 1
                frame.heartbeat.seq = beats
                frame.heartbeat.held.extend(self._held)
            else:
                self._wake.clear()
                if self._ended or self._failed:
                    self._settle(frame.settle, now)
            await self._call.write(frame)
            self._post.counts[MESSAGES] += 1

    def _settle(self, settle: Any, now: float) -> None:
        """Fills a frame with what has ended; the rest goes with the next."""
        failed, self._failed = self._failed[:_MOST_OUTCOMES], self._failed[_MOST_OUTCOMES:]
        room = _MOST_OUTCOMES - len(failed)
        ended, self._ended = self._ended[:room], self._ended[room:]
        self._held.difference_update(ended, failed)
        if self._ended or self._failed:
            self._wake.set()
        self._seq += 1
        self._settling[self._seq] = len(ended), now
        settle.seq = self._seq
        settle.succeeded.extend(ended)
        for lease in failed:
            settle.outcomes.add(lease_id=lease).failure.error = "as it was asked to"
