"""A worker by hand: it says on `Lease` what a test tells it to say, and keeps every frame that it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from jobqueue.v1 import job_pb2, lease_pb2

#: What a test waits for comes in milliseconds; on a machine that is busy otherwise, later.
PATIENCE = 20.0
_END = object()


def span(value: timedelta | float) -> Duration:
    """A Duration of seconds or of a timedelta."""
    duration = Duration()
    duration.FromTimedelta(value if isinstance(value, timedelta) else timedelta(seconds=value))
    return duration


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """`ErrorInfo.reason` of a call's error."""
    return _detail(error, error_details_pb2.ErrorInfo()).reason


def violations_of(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """The fields at fault, with what would be right."""
    found = _detail(error, error_details_pb2.BadRequest()).field_violations
    return {violation.field: violation.description for violation in found}


def _detail(error: grpc.aio.AioRpcError, detail: Any) -> Any:
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin":
            for packed in status_pb2.Status.FromString(value).details:
                if packed.Unpack(detail):
                    return detail
    return detail


def named(job: lease_pb2.LeasedJob) -> lease_pb2.HeldLease:
    """A lease by all three of its numbers."""
    return lease_pb2.HeldLease(lease_id=job.lease_id, job_id=job.id, attempt=job.attempt)


class StreamEnded(Exception):
    """The stream ended while a test waited for a frame. `error` is None where it ended well."""

    def __init__(self, error: grpc.aio.AioRpcError | None) -> None:
        super().__init__("the stream ended" if error is None else f"{error.code()}: {error.details()}")
        self.error = error

    @property
    def reason(self) -> str:
        """`ErrorInfo.reason`; empty where the stream ended well."""
        return "" if self.error is None else reason_of(self.error)


class HandWorker:
    """One stream. A session that is resumed is another HandWorker with `resume=`.

    Attributes:
        welcome: The server's answer to Hello.
        held: What was delivered and is not settled, by lease id: what the heartbeats name.
        deliveries: Every Delivery, in order.
        receipts: Whether it says which deliveries it has seen.
        heartbeats: Whether it sends them on time.
    """

    def __init__(
        self,
        stub: Any,
        *,
        name: str = "hand",
        kinds: Sequence[str] = ("work",),
        queues: Mapping[str, Sequence[str]] | None = None,
        slots: int = 1,
        slots_by_kind: Mapping[str, int] | None = None,
        bytes: int = 0,
        ttl: float | None = None,
        as_value: bool = False,
        resume: lease_pb2.Resume | None = None,
        receipts: bool = True,
        heartbeats: bool = True,
    ) -> None:
        self.hello = lease_pb2.Hello(
            worker=name,
            subscriptions=[
                lease_pb2.Subscription(queue=queue, kinds=names)
                for queue, names in (queues or {"": kinds}).items()
            ],
            capacity=lease_pb2.Capacity(slots=slots, slots_by_kind=slots_by_kind or {}, bytes=bytes),
            payload_format=job_pb2.PAYLOAD_FORMAT_VALUE if as_value else job_pb2.PAYLOAD_FORMAT_UNSPECIFIED,
            resume=resume,
        )
        if ttl is not None:
            self.hello.session_ttl.CopyFrom(span(ttl))
        self.receipts = receipts
        self.heartbeats = heartbeats
        self.welcome = lease_pb2.Welcome()
        self.held: dict[int, lease_pb2.LeasedJob] = {}
        self.deliveries: list[lease_pb2.Delivery] = []
        self.seen = 0
        self._call = stub.Lease()
        self._jobs: asyncio.Queue[Any] = asyncio.Queue()
        self._inbox: dict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        self._ended = asyncio.Event()
        self._error: grpc.aio.AioRpcError | None = None
        self._writing = asyncio.Lock()
        self._settles = 0
        self._beats = 0
        self._tasks: list[asyncio.Task[None]] = []

    # ---- the stream

    async def connect(self) -> HandWorker:
        """Says Hello, and waits for Welcome."""
        # A server that takes no more streams may have said so before.
        with contextlib.suppress(asyncio.InvalidStateError):
            await self.send(hello=self.hello)
        self._tasks.append(asyncio.create_task(self._read()))
        self.welcome = await self.next("welcome")
        self._tasks.append(asyncio.create_task(self._beat()))
        return self

    async def send(self, **frame: Any) -> None:
        """Writes a frame; without one a bare receipt. Every frame says which delivery was seen last."""
        await self.write(lease_pb2.LeaseRequest(last_delivery=self.seen if self.receipts else 0, **frame))

    async def write(self, request: lease_pb2.LeaseRequest) -> None:
        """Writes a frame as it is."""
        async with self._writing:
            await self._call.write(request)

    async def half_close(self) -> None:
        """Closes the worker's side of the stream."""
        await self._call.done_writing()

    def cut(self) -> None:
        """The stream is gone, without a word."""
        self._call.cancel()

    async def close(self) -> None:
        """Ends all that the test left running."""
        for task in self._tasks:
            task.cancel()
        self._call.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self) -> None:
        try:
            while (frame := await self._call.read()) is not grpc.aio.EOF:
                which = frame.WhichOneof("frame")
                if which == "delivery":
                    await self._take(frame.delivery)
                else:
                    self._inbox[which].put_nowait(getattr(frame, which))
        except grpc.aio.AioRpcError as error:
            self._error = error
        finally:
            self._ended.set()
            for queue in (self._jobs, *self._inbox.values()):
                queue.put_nowait(_END)

    async def _take(self, delivery: lease_pb2.Delivery) -> None:
        self.deliveries.append(delivery)
        self.seen = max(self.seen, delivery.seq)
        for job in delivery.jobs:
            self.held[job.lease_id] = job
            self._jobs.put_nowait(job)
        if self.receipts:
            # The server may have ended the stream meanwhile.
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await self.send()

    async def _beat(self) -> None:
        while not self._ended.is_set():
            await asyncio.sleep(self.welcome.heartbeat_interval.ToTimedelta().total_seconds())
            if self.heartbeats:
                with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                    await self._heartbeat()

    async def _heartbeat(self) -> int:
        self._beats += 1
        seq = self._beats
        await self.send(heartbeat=lease_pb2.Heartbeat(seq=seq, held=list(self.held)))
        return seq

    # ---- what it is told

    def has(self, which: str) -> bool:
        """Whether a frame of this kind came that nobody asked for yet."""
        return not self._inbox[which].empty()

    async def next(self, which: str, timeout: float = PATIENCE) -> Any:
        """The next frame of a kind, `welcome`, `settled`, `pong`, `control`, `go_away` or `goodbye`.

        Raises:
            StreamEnded: There will be none.
            TimeoutError: There was none in time.
        """
        return await self._get(self._inbox[which], timeout)

    async def job(self, timeout: float = PATIENCE) -> lease_pb2.LeasedJob:
        """The next job that is delivered."""
        job: lease_pb2.LeasedJob = await self._get(self._jobs, timeout)
        return job

    @property
    def has_job(self) -> bool:
        """Whether a job is delivered that nobody asked for yet."""
        return not self._jobs.empty()

    async def jobs(self, count: int, timeout: float = PATIENCE) -> list[lease_pb2.LeasedJob]:
        """The next so many jobs."""
        async with asyncio.timeout(timeout):
            return [await self.job() for _ in range(count)]

    async def no_job(self, seconds: float = 0.3) -> None:
        """Fails if a job is delivered within this time."""
        with contextlib.suppress(TimeoutError):
            job = await self.job(seconds)
            raise AssertionError(f"a job was delivered: {job}")

    async def _get(self, queue: asyncio.Queue[Any], timeout: float) -> Any:
        if self._ended.is_set() and queue.empty():
            raise StreamEnded(self._error)
        async with asyncio.timeout(timeout):
            item = await queue.get()
        if item is _END:
            raise StreamEnded(self._error)
        return item

    async def end(self, timeout: float = PATIENCE) -> StreamEnded:
        """How the stream ended, once it has."""
        async with asyncio.timeout(timeout):
            await self._ended.wait()
        return StreamEnded(self._error)

    @property
    def ended(self) -> bool:
        """Whether the stream has ended."""
        return self._ended.is_set()

    # ---- what it says

    async def heartbeat(self) -> None:
        """Sends a heartbeat that names what is held, and waits for its Pong."""
        seq = await self._heartbeat()
        while (await self.next("pong")).seq < seq:
            pass

    async def capacity(
        self, slots: int, slots_by_kind: Mapping[str, int] | None = None, bytes: int = 0
    ) -> None:
        """Says anew how much it takes."""
        capacity = lease_pb2.Capacity(slots=slots, slots_by_kind=slots_by_kind or {}, bytes=bytes)
        await self.send(capacity=capacity)

    async def drain(self, reason: str = "the test says so") -> None:
        """Says that it leaves."""
        await self.send(drain=lease_pb2.Drain(reason=reason))

    async def settle(
        self, succeeded: Iterable[int] = (), outcomes: Sequence[lease_pb2.Outcome] = ()
    ) -> list[lease_pb2.SettleResult]:
        """Reports outcomes and waits for the answer: its exceptions. Settled leases are held no more."""
        seq = await self.report(succeeded, outcomes)
        while (settled := await self.next("settled")).seq < seq:
            # An earlier report, whose answer nobody waited for.
            pass
        return list(settled.exceptions)

    async def report(self, succeeded: Iterable[int] = (), outcomes: Sequence[lease_pb2.Outcome] = ()) -> int:
        """Reports outcomes, and does not wait for the answer; its number."""
        packed = list(succeeded)
        self._settles += 1
        seq = self._settles
        await self.send(settle=lease_pb2.Settle(seq=seq, succeeded=packed, outcomes=outcomes))
        for lease_id in (*packed, *(outcome.lease_id for outcome in outcomes)):
            self.held.pop(lease_id, None)
        return seq

    async def succeed(
        self, *jobs: lease_pb2.LeasedJob, output_json: bytes | None = None
    ) -> list[lease_pb2.SettleResult]:
        """Settles jobs as succeeded, without an output in the packed list."""
        if output_json is None:
            return await self.settle([job.lease_id for job in jobs])
        success = lease_pb2.Success(output_json=output_json)
        return await self.settle(
            outcomes=[lease_pb2.Outcome(lease_id=job.lease_id, success=success) for job in jobs]
        )

    async def outcome(self, job: lease_pb2.LeasedJob, **outcome: Any) -> lease_pb2.SettleResult | None:
        """Settles one job by an outcome: its result, or None where there is nothing to say."""
        results = await self.settle(outcomes=[lease_pb2.Outcome(lease_id=job.lease_id, **outcome)])
        assert len(results) <= 1
        return results[0] if results else None

    async def fail(self, job: lease_pb2.LeasedJob, error: str = "boom", **failure: Any) -> Any:
        """Settles one job as failed: its result, which every failure has."""
        result = await self.outcome(job, failure=lease_pb2.Failure(error=error, **failure))
        assert result is not None
        return result

    async def snooze(self, job: lease_pb2.LeasedJob, delay: float) -> Any:
        """Asks for a job to be run again later."""
        return await self.outcome(job, snooze=lease_pb2.Snooze(delay=span(delay)))

    async def release(self, job: lease_pb2.LeasedJob) -> Any:
        """Gives a job back."""
        return await self.outcome(job, release=lease_pb2.Release())

    async def cancelled(self, job: lease_pb2.LeasedJob) -> Any:
        """Says that a job was stopped because it is to be cancelled."""
        return await self.outcome(job, cancellation=lease_pb2.Cancellation())

    # ---- resuming

    def resume(
        self,
        *,
        held: Iterable[lease_pb2.LeasedJob] = (),
        unanswered: Iterable[lease_pb2.LeasedJob] = (),
        token: str | None = None,
    ) -> lease_pb2.Resume:
        """How to go on with this session on another stream, naming these leases."""
        return lease_pb2.Resume(
            session_token=self.welcome.session_token if token is None else token,
            last_delivery=self.seen,
            held=[named(job) for job in held],
            unanswered=[named(job) for job in unanswered],
        )
