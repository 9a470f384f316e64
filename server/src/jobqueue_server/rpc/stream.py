"""The server's side of one Lease stream. Frames gather in lists, and one writer takes them out.

So the core never waits for a slow worker, and a burst of leases is one message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from jobqueue.v1 import lease_pb2

from ..core.attempt.outcome import Answer
from ..core.lease.lease import Lease
from ..core.lease.session import Session
from ..model import MAX_DELIVERY_BYTES, MAX_KEY_CHARS
from .convert import VALUE_GROWTH, set_span
from .leased import delivery_bytes, leased_job, length_of_terms
from .outcomes import result_message
from .transport import FrameStream

# The bytes of a job in a message in addition to its payload, its checkpoint and the long values of its terms.
JOB_OVERHEAD = 160
MAX_DELIVERY_JOBS = 1000
# A correct worker stays below these limits: it has at most 10,000 slots, and may send an outcome again. The server does
# not read from a worker that sends without reading or without waiting for answers, until that changes.
MAX_UNSENT_FRAMES = 1000
MAX_UNANSWERED_OUTCOMES = 20_000
# One frame may name thousands of leases, so a limit of frames alone is not enough.
MAX_UNSENT_RESULTS = 20_000


class LeaseStream:
    """Implements `core.session.Link` over a gRPC stream."""

    def __init__(self, context: FrameStream, session: Session, *, as_value: bool) -> None:
        self._context = context
        self._session = session
        self._as_value = as_value
        self._leases: list[Lease] = []
        self._frames: list[lease_pb2.LeaseResponse] = []
        # How many leases each of the frames names.
        self._results: list[int] = []
        self._scheduled = False
        self._last_seq = 0
        self._closing = False
        self._unanswered = 0
        self._unanswered_outcomes = 0
        self._unsent_results = 0
        self._loop = asyncio.get_running_loop()
        #: Done when the stream must end. Its error is the stream's error.
        self.over: asyncio.Future[None] = self._loop.create_future()
        self._answered = asyncio.Event()
        self._answered.set()

    # ---- Link

    def deliver(self, leases: Sequence[Lease]) -> None:
        """Delivers leases."""
        self._leases.extend(leases)
        self._wake()

    def cancel(self, lease_ids: Sequence[int], reason: str, grace: timedelta) -> None:
        """Asks the worker to cancel these leases."""
        control = lease_pb2.Control(cancel=lease_pb2.CancelLeases(lease_ids=lease_ids, reason=reason))
        set_span(control.cancel.grace, grace)
        self.send(lease_pb2.LeaseResponse(control=control))

    def revoke(self, lease_ids: Sequence[int], reason: str) -> None:
        """Takes these leases away from the worker."""
        revoke = lease_pb2.RevokeLeases(lease_ids=lease_ids, reason=reason)
        self.send(lease_pb2.LeaseResponse(control=lease_pb2.Control(revoke=revoke)), len(lease_ids))

    def settling(self, outcomes: int) -> None:
        """Counts a Settle frame that came."""
        self._unanswered += 1
        self._unanswered_outcomes += outcomes
        self._answered.clear()

    def settled(self, seq: int, outcomes: int, exceptions: Sequence[Answer]) -> None:
        """Answers a Settle frame."""
        self._unanswered -= 1
        full = self._unanswered_outcomes >= MAX_UNANSWERED_OUTCOMES
        self._unanswered_outcomes -= outcomes
        if full:
            self._context.resume()
        if self._unanswered == 0:
            self._answered.set()
        results = [result_message(answer) for answer in exceptions]
        self.send(
            lease_pb2.LeaseResponse(settled=lease_pb2.Settled(seq=seq, exceptions=results)), len(results)
        )

    def go_away(self, reason: str, drain: timedelta | None, reconnect_after: timedelta = timedelta()) -> None:
        """Asks the worker to connect elsewhere."""
        frame = lease_pb2.GoAway(reason=reason)
        if drain is not None:
            set_span(frame.drain, drain)
        if reconnect_after:
            set_span(frame.reconnect_after, reconnect_after)
        self.send(lease_pb2.LeaseResponse(go_away=frame))

    def goodbye(self, released: Sequence[Lease]) -> None:
        """Ends the stream after a drain, when all earlier frames are written."""
        named = [
            lease_pb2.HeldLease(lease_id=lease.lease_id, job_id=str(lease.job_id), attempt=lease.attempt)
            for lease in released
        ]
        self._closing = True
        self.send(lease_pb2.LeaseResponse(goodbye=lease_pb2.Goodbye(released=named)))

    def leave(self) -> None:
        """Ends the stream because the server drains. The session goes on."""
        self._closing = True
        self._wake()

    def awaits_receipt(self, seen: int) -> bool:
        """Whether there is a delivery after the one with number `seen`, written or waiting."""
        return seen < self._last_seq or bool(self._leases)

    def go_on(self) -> None:
        """Writes the deliveries that waited for the receipt of an isolated job."""
        if self._leases:
            self._wake()

    async def all_answered(self) -> None:
        """Waits until every Settle frame that came is answered."""
        await self._answered.wait()

    def fail(self, error: BaseException) -> None:
        """Ends the stream with an error."""
        if not self.over.done():
            self.over.set_exception(error)

    def gone(self) -> None:
        """Releases the stream after its end: no task waits for it any more."""
        if not self.over.cancel() and not self.over.cancelled():
            self.over.exception()
            # The traceback of an error refers to this stream: see `grpc_http2.Call.receive`.
            self.over = self._loop.create_future()
            self.over.cancel()

    def has_room(self) -> bool:
        """Whether the server reads from the worker: not while too many answers are unread or due."""
        return (
            len(self._frames) < MAX_UNSENT_FRAMES
            and self._unsent_results < MAX_UNSENT_RESULTS
            and self._unanswered_outcomes < MAX_UNANSWERED_OUTCOMES
        )

    # ---- frames

    def pong(self, seq: int) -> None:
        """Answers a heartbeat."""
        self.send(lease_pb2.LeaseResponse(pong=lease_pb2.Pong(seq=seq)))

    def send(self, frame: lease_pb2.LeaseResponse, results: int = 0) -> None:
        """Queues a frame that names `results` leases."""
        self._frames.append(frame)
        self._results.append(results)
        self._unsent_results += results
        self._wake()

    def _wake(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._write)

    def _write(self) -> None:
        """Writes the gathered frames, as far as the connection accepts them."""
        self._scheduled = False
        try:
            self._write_all()
        except Exception as error:
            self.fail(error)

    def _write_all(self) -> None:
        context = self._context
        if self._leases:
            held = self._session.leases
            leases = [lease for lease in self._leases if lease.lease_id in held]
            self._leases = []
            for chunk in _chunks(leases, VALUE_GROWTH if self._as_value else 1):
                if context.writable() and not self._isolates():
                    context.send(self._delivery(chunk))
                else:
                    self._leases += chunk
        had_room = self.has_room()
        sent = 0
        for frame in self._frames:
            if not context.writable():
                break
            context.send(frame)
            sent += 1
        self._unsent_results -= sum(self._results[:sent])
        del self._frames[:sent], self._results[:sent]
        if self._frames or (self._leases and not self._isolates()):
            self._scheduled = True
            context.when_writable(self._write)
        elif self._closing and not self.over.done():
            self.over.set_result(None)
        if not had_room:
            context.resume()

    def _isolates(self) -> bool:
        """Whether an isolated job was delivered without a receipt yet, so that no delivery may follow."""
        lease = self._session.receipts.isolated
        return lease is not None and lease.seq > 0

    def _delivery(self, leases: list[Lease]) -> lease_pb2.LeaseResponse | bytes:
        self._last_seq = seq = self._last_seq + 1
        message: lease_pb2.LeaseResponse | bytes
        if self._as_value:
            jobs = [leased_job(lease, as_value=True) for lease in leases]
            message = lease_pb2.LeaseResponse(delivery=lease_pb2.Delivery(seq=seq, jobs=jobs))
        else:
            message = delivery_bytes(seq, leases)
        for lease in leases:
            lease.seq = seq
            # The message has it. Kept here, it would stay in memory while the job runs.
            lease.payload = b""
            if lease.checkpoint:
                lease.checkpoint = b""
        return message


def _chunks(leases: list[Lease], growth: int) -> list[list[Lease]]:
    """Splits leases into messages within the size limit. An isolated job, or one larger than the limit, is alone.

    `growth`: how many times as large as its text a payload can be in the message.
    """
    chunks: list[list[Lease]] = []
    chunk: list[Lease] = []
    size = beside = 0
    template = None
    isolated = False
    for lease in leases:
        cut = isolated
        if lease.template is not template:
            template = lease.template
            isolated = template.isolated
            cut = cut or isolated
            beside = JOB_OVERHEAD + length_of_terms(template.terms) + (MAX_KEY_CHARS if template.keyed else 0)
        own = lease.size * growth + beside + len(lease.checkpoint)
        if chunk and (cut or size + own > MAX_DELIVERY_BYTES or len(chunk) >= MAX_DELIVERY_JOBS):
            chunks.append(chunk)
            chunk, size = [], 0
        chunk.append(lease)
        size += own
    if chunk:
        chunks.append(chunk)
    return chunks
