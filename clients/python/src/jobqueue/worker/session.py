"""A worker's session: its leases, and what each frame of the server does to them. Touches no socket but by `Stream`."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from jobqueue.errors import JobQueueError
from jobqueue.jobs import LeasedJob
from jobqueue.observer import Observing
from jobqueue.v1 import job_pb2
from jobqueue.v1 import lease_pb2 as pb

from .capacity import CapacityBook
from .clock import Clock
from .context import JobContext, Stop
from .ending import failed, of_exception, released
from .handlers import NO_HANDLER, Handlers, RunIn
from .lease import Lease, Place
from .logs import JobLog, log
from .options import WorkerOptions, client_name
from .progress import ProgressReports
from .runner import Runner
from .settlements import Settlements, size_of
from .status import DEFAULT_TTL, StatusBook
from .stream import Stream
from .verdicts import attempt_of, error_of, in_context_of, label_of, log_applied

# A receipt is due within 20 ms of a delivery. Some of that is for other threads that hold the interpreter (5 ms each);
# the rest is for a Settle, which carries it as well: a frame for it alone costs as much as a hundred jobs.
_RECEIPT_AFTER = 0.012
# An attempt after the first may be one that ends the process: its handler waits until its receipt is written, and no
# longer than so where the stream does not take it.
_RECEIPT_WITHIN = 0.02
# How long the handler of a revoked lease may go on before a style that can kill does so.
_REVOKED_GRACE = 5.0

Verdict = pb.SettleResult.Verdict
# Looked up for each job, and a member of an Enum is slow to look up.
_RUNNING = Place.RUNNING
_TAKEN = (Verdict.APPLIED, Verdict.ALREADY_APPLIED)


class Session:
    """The session over all its streams. Everything here runs on the session's thread.

    Args:
        options: The worker's settings.
        handlers: What runs each kind.
        runners: What runs each style of handlers.
        observing: Tells the observer of starts and ends. None: there is none.
        book: Where the worker's status is written.
    """

    def __init__(
        self,
        options: WorkerOptions,
        handlers: Handlers,
        runners: dict[RunIn, Runner],
        observing: Observing | None,
        book: StatusBook,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._options = options
        self._handlers = handlers
        self._runners = runners
        self._observing = observing
        self._book = book
        book.counts = self._counts
        self._leases: dict[int, Lease] = {}
        self._capacity = CapacityBook(options.concurrency, handlers.slots_by_kind())
        self._settlements = Settlements(
            loop, options.concurrency, lambda settle: self._send(pb.LeaseRequest(settle=settle))
        )
        self._progress = ProgressReports(loop, self._send)
        self._reports: deque[tuple[JobContext, float | None, str, bytes | None]] = deque()
        self._changed = asyncio.Event()
        self._drain_reason: str | None = None
        self._heartbeat_seq = self._pong_seq = 0
        self._last_delivery = 0
        self._token = ""
        self._reported = self._report_from_thread
        self._frames: dict[str, Callable[..., None]] = {
            "delivery": self._delivery,
            "settled": self._settled,
            "pong": self._pong,
            "control": self._control,
        }
        self.stream: Stream | None = None
        self.id = 0
        self.heartbeat_interval = 5.0
        # When the newest frame was sent that the server has answered, as of `Clock.monotonic`: it has heard of us
        # since.
        self._ttl = DEFAULT_TTL
        self._heard = self._hello_sent = 0.0
        self._beats_sent: dict[int, float] = {}
        self._losing: asyncio.TimerHandle | None = None
        #: While a new stream is opened nothing is settled on the old one, so that both sides know what was said.
        self.moving = False
        # What came on the old one meanwhile: Hello does not name it, so it goes back when the session goes on
        # elsewhere, and a handler that had begun would run beside the next one.
        self._crossed: list[pb.LeasedJob] = []

    # --- the stream ---

    def hello(self) -> pb.LeaseRequest:
        """The first frame of a stream: opens the session, or resumes it where there is one."""
        self._hello_sent = Clock.monotonic()
        options = self._options
        hello = pb.Hello(
            worker=options.name,
            subscriptions=[
                pb.Subscription(queue=name, kinds=self._handlers.kinds()) for name in options.queues
            ],
            capacity=self._capacity.message(),
            labels=options.labels,
            client=client_name(),
            payload_format=job_pb2.PAYLOAD_FORMAT_JSON,
        )
        if options.session_ttl is not None:
            hello.session_ttl.FromTimedelta(options.session_ttl)
        if self._token:
            unanswered = self._settlements.unanswered()
            hello.resume.session_token = self._token
            hello.resume.last_delivery = self._last_delivery
            hello.resume.held.extend(
                each.held() for each in self._leases.values() if each.place is Place.RUNNING
            )
            hello.resume.unanswered.extend(each.held() for each in unanswered)
        return pb.LeaseRequest(hello=hello)

    def welcome(self, welcome: pb.Welcome, stream: Stream) -> None:
        """Goes on, or begins, on this stream."""
        self.stream = stream
        self.moving = False
        self.id = welcome.session_id
        self._token = welcome.session_token
        self.heartbeat_interval = welcome.heartbeat_interval.ToTimedelta().total_seconds() or 5.0
        self._ttl = welcome.session_ttl.ToTimedelta().total_seconds() or DEFAULT_TTL
        self._heard = self._hello_sent
        self._beats_sent.clear()
        if self._options.stop_when_lost and self._losing is None:
            self._losing = self._loop.call_later(self._ttl, self._stop_if_lost)
        self._heartbeat_seq = self._pong_seq = 0
        self._last_delivery = 0
        self._crossed = []
        self._revoke([lease.lease_id for lease in welcome.revoked], "the session went on without it")
        self._settlements.restart()
        # Names revoked handlers that still run, so that their slots are not given away.
        self.heartbeat()
        if self._drain_reason is not None:
            self._send(pb.LeaseRequest(drain=pb.Drain(reason=self._drain_reason)))
        else:
            self._say_capacity()
        self._book.welcomed(welcome.server, self.id, self._ttl, welcome.unknown_kinds)
        self._changed.set()

    def stay(self) -> None:
        """No other stream was found: goes on with the old one, if there is one."""
        self.moving = False
        crossed, self._crossed = self._crossed, []
        for message in crossed:
            # Not begun after all: whether the other server took the session over is not known.
            self._refuse(self._take(message, Clock.monotonic(), time.time()))
        self._settlements.flush()
        self._changed.set()

    def over(self) -> None:
        """The server has ended the session, or does not know it any more: what it still held went back."""
        leases, self._leases = list(self._leases.values()), {}
        self._token = ""
        self.moving = False
        self._crossed = []
        # Those of revoked leases were told already.
        lost = [lease for lease in leases if lease.place is not Place.DONE]
        if lost:
            log.warning("the session is over; %d jobs went back, their handlers are stopped", len(lost))
        for lease in lost:
            self._give_up(lease, "the session is over")
        for lease in leases:
            if lease.alive:
                self._capacity.orphan(lease)
        self._changed.set()

    @property
    def opening(self) -> bool:
        """Whether a Welcome is awaited that would begin a session."""
        return self.moving and not self._token

    @property
    def finished(self) -> bool:
        """Whether it drains and the server keeps nothing of it: there is nothing left to say."""
        return self._drain_reason is not None and not self._token

    def handle(self, frame: pb.LeaseResponse) -> None:
        """What a frame says is done. An unknown one is ignored."""
        name = frame.WhichOneof("frame")
        handler = self._frames.get(name) if name is not None else None
        if handler is not None:
            handler(getattr(frame, name))  # type: ignore[arg-type]

    def heartbeat(self) -> bool:
        """Sends a heartbeat. False: the last two were not answered, and the stream is as good as dead."""
        if self._heartbeat_seq - self._pong_seq >= 2:
            return False
        self._settlements.flush()
        self._heartbeat_seq += 1
        self._beats_sent[self._heartbeat_seq] = Clock.monotonic()
        # Those that are settled and wait for the answer alone are no longer held: they should free their slots.
        held = [id for id, lease in self._leases.items() if lease.alive or lease.place is not Place.SENT]
        self._send(pb.LeaseRequest(heartbeat=pb.Heartbeat(seq=self._heartbeat_seq, held=held)))
        return True

    def _send(self, frame: pb.LeaseRequest) -> bool:
        if self.stream is None or (self.moving and frame.WhichOneof("frame") == "settle"):
            return False
        self.stream.send(frame)
        return True

    # --- what handlers say ---

    def ended(self, leases: Iterable[Lease]) -> None:
        """Handlers have ended; how, is the `result` of each."""
        # The wake-up for an end may be an earlier one, of another's end: what these said before is not taken yet.
        self._take_reports()
        now = Clock.monotonic()
        settling: list[Lease] = []
        for lease in leases:
            lease.alive = False
            lease.seconds = now - lease.started
            if lease.place is _RUNNING:
                lease.outcome = lease.result
                self._progress.before_settling(lease.id)
                settling.append(lease)
            elif self._capacity.ended(lease):
                self._say_capacity()  # of a session that is over: its slot is free again
            elif lease.place is Place.DONE:
                self._leases.pop(lease.id, None)
        if settling:
            self._settlements.add(settling)
        self._changed.set()

    # --- leaving ---

    def drain(self, reason: str) -> None:
        """Takes no more jobs, on this stream and on those that follow."""
        self._drain_reason = reason
        self._book.draining()
        self._send(pb.LeaseRequest(drain=pb.Drain(reason=reason[:255])))

    def alive(self) -> list[Lease]:
        """Every lease whose handler runs, those of earlier sessions included."""
        return [lease for lease in self._leases.values() if lease.alive] + self._capacity.orphans()

    def _counts(self) -> tuple[int, int, int]:
        """Slots, handlers that run, and those of them that are orphans. For any thread: the list is made at once."""
        leases = list(self._leases.values())
        orphans = len(self._capacity.orphans())
        return self._capacity.slots, sum(each.alive for each in leases) + orphans, orphans

    def unanswered(self) -> int:
        """How many outcomes the server has not answered."""
        return len(self._settlements)

    def stop_all(self, reason: str, within: float) -> None:
        """Tells every handler to stop; what it then raises is a release."""
        for lease in self.alive():
            if lease.place is Place.RUNNING:
                self._stop(lease, Stop.SHUTDOWN, reason, within)

    def release_all(self) -> None:
        """Gives back what still runs; the process ends before its handlers do."""
        self._take_reports()
        for lease in self.alive():
            if lease.place is Place.RUNNING and lease.id in self._leases:
                JobLog(lease.context.job).warning("the handler did not stop in time; its job goes back")
                lease.outcome = released()
                lease.seconds = Clock.monotonic() - lease.started
                self._progress.before_settling(lease.id)
                self._settlements.add([lease])

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Waits until a condition on the session holds; False: it did not in time."""
        ends = self._loop.time() + seconds
        while not condition():
            self._changed.clear()
            try:
                async with asyncio.timeout_at(ends):
                    await self._changed.wait()
            except TimeoutError:
                return condition()
        return True

    def pause(self, paused: bool) -> None:
        """Declares no capacity, or all of it again."""
        self._capacity.paused = paused
        self._say_capacity()

    def _say_capacity(self) -> None:
        self._send(pb.LeaseRequest(capacity=self._capacity.message()))

    # --- what the server says ---

    def _delivery(self, delivery: pb.Delivery) -> None:
        stream = self.stream
        if stream is None:
            return
        stream.last_delivery = self._last_delivery = delivery.seq
        self._loop.call_later(_RECEIPT_AFTER, self._receipt, stream)
        if self.moving:
            self._crossed.extend(delivery.jobs)
            return
        starting: dict[RunIn, list[Lease]] = {}
        later: list[Lease] = []
        started, begun = Clock.monotonic(), time.time()
        for message in delivery.jobs:
            lease = self._take(message, started, begun)
            if lease.handler is NO_HANDLER or self._drain_reason is not None:
                self._refuse(lease)
            elif message.attempt == 1:
                starting.setdefault(lease.handler.run_in, []).append(lease)
            else:
                later.append(lease)
        self._start(starting)
        if later:
            self._loop.call_later(_RECEIPT_WITHIN, self._begin_later, later)
            stream.receipt(lambda: self._begin_later(later))

    def _start(self, starting: dict[RunIn, list[Lease]]) -> None:
        for run_in, leases in starting.items():
            self._runners[run_in].start(leases)

    def _begin_later(self, leases: list[Lease]) -> None:
        """Begins attempts after the first; at the second call there are none left."""
        waiting = leases.copy()
        leases.clear()
        starting: dict[RunIn, list[Lease]] = {}
        for lease in waiting:
            if (stop := lease.context.stop_reason) is None:
                starting.setdefault(lease.handler.run_in, []).append(lease)
            else:
                lease.result = of_exception(asyncio.CancelledError(), stop)
                self.ended([lease])
        self._start(starting)

    def _take(self, message: pb.LeasedJob, started: float, begun: float) -> Lease:
        """A lease of a job that came at this moment, by both clocks."""
        id, kind = message.lease_id, message.kind
        context = JobContext(LeasedJob(message), self._reported, id, begun, self._handlers.state)
        lease = self._leases[id] = Lease(
            id, message, self._handlers.get(kind) or NO_HANDLER, context, started
        )
        if self._observing is not None:
            self._observing.tell(self._observing.observer.attempt_started, attempt_of(message))
        return lease

    def _report_from_thread(
        self, context: JobContext, fraction: float | None, text: str, checkpoint: bytes | None
    ) -> None:
        self._reports.append((context, fraction, text, checkpoint))
        try:
            self._loop.call_soon_threadsafe(self._take_reports)
        except RuntimeError:
            pass  # the session is over, and with it the interest in the handler's progress

    def _take_reports(self) -> None:
        while self._reports:
            context, fraction, text, checkpoint = self._reports.popleft()
            lease = self._leases.get(context.lease_id)
            # A number is unique in one session only: an orphan's may meanwhile be another's.
            if lease is not None and lease.context is context and lease.place is _RUNNING:
                self._progress.put(lease.id, fraction, text, checkpoint)

    def _refuse(self, lease: Lease) -> None:
        """Gives a job back unstarted: it crossed our Drain on the wire, or is of a kind that was not asked for."""
        if lease.handler is NO_HANDLER:
            JobLog(lease.context.job).error("delivered, but its kind has no handler here; it goes back")
        lease.result = released()
        self.ended([lease])

    def _receipt(self, stream: Stream) -> None:
        if stream.receipted < stream.last_delivery:
            stream.send(pb.LeaseRequest())

    def _pong(self, pong: pb.Pong) -> None:
        self._pong_seq = max(self._pong_seq, pong.seq)
        for seq in [seq for seq in self._beats_sent if seq <= self._pong_seq]:
            self._heard = self._beats_sent.pop(seq)

    def _stop_if_lost(self) -> None:
        """Stops the handlers if no server can have heard of the session for its ttl, and else looks again."""
        self._losing = None
        if not self._token:
            return
        left = self._heard + self._ttl - Clock.monotonic()
        if left > 0:
            self._losing = self._loop.call_later(left, self._stop_if_lost)
            return
        lost = [lease for lease in self.alive() if lease.place is Place.RUNNING]
        log.warning(
            "no server was heard for the session's ttl of %g s; %d handlers are stopped", self._ttl, len(lost)
        )
        for lease in lost:
            self._stop(lease, Stop.LOST, "the worker is cut off", within=_REVOKED_GRACE)

    def _control(self, control: pb.Control) -> None:
        action = control.WhichOneof("action")
        if action == "cancel":
            grace = control.cancel.grace.ToTimedelta().total_seconds()
            for id in control.cancel.lease_ids:
                self._cancel(id, control.cancel.reason, grace)
        elif action == "revoke":
            self._revoke(control.revoke.lease_ids, control.revoke.reason)

    def _cancel(self, id: int, reason: str, grace: float) -> None:
        lease = self._leases.get(id)
        if lease is not None and lease.alive and lease.context.stop_reason is None:
            # A killed process must be reported before the server decides by itself.
            self._stop(lease, Stop.CANCEL, reason or "cancelled", within=grace * 0.8)

    def _revoke(self, ids: Iterable[int], reason: str) -> None:
        for id in ids:
            lease = self._leases.get(id)
            if lease is None or (lease.alive and lease.place is Place.DONE):
                continue  # it is said again as long as the handler runs
            JobLog(lease.context.job).warning("the lease was revoked: %s", reason or "no reason given")
            self._give_up(lease, f"the lease was revoked: {reason}")
            if not lease.alive:
                del self._leases[id]
        self._changed.set()

    def _give_up(self, lease: Lease, reason: str) -> None:
        """Drops the outcome of a lease that is no longer ours, and stops its handler."""
        if lease.place is not Place.DONE:
            self._settlements.drop(lease)
            seconds = Clock.monotonic() - lease.started if lease.alive else lease.seconds
            self._observe_end(lease, "error", seconds, reason)
        if lease.alive:
            self._stop(lease, Stop.REVOKED, reason, within=_REVOKED_GRACE)

    def _stop(self, lease: Lease, why: Stop, reason: str, within: float) -> None:
        lease.context.cancel_reason = reason
        lease.context.stop_reason = why
        self._runners[lease.handler.run_in].stop(lease, within)

    def _settled(self, settled: pb.Settled) -> None:
        again: list[Lease] = []
        results = {result.lease_id: result for result in settled.exceptions}
        for lease in self._settlements.answered(settled):
            result = results.get(lease.id)
            if lease.outcome is None and result is None:
                self._finished(lease, "succeeded")
                continue
            verdict = _TAKEN[0] if result is None else result.verdict
            if verdict in _TAKEN:
                log_applied(lease, result)
                self._finished(lease, label_of(lease.outcome, result))
            elif verdict == Verdict.TRY_AGAIN:
                again.append(lease)
            elif verdict == Verdict.INVALID and result is not None:
                self._correct(lease, result.message)
            else:
                name = Verdict.Name(verdict) if verdict in Verdict.values() else str(verdict)
                text = result.message if result is not None else ""
                JobLog(lease.context.job).warning("the outcome was not taken: %s %s", name, text)
                self._finished(lease, "error", f"the outcome was not taken: {name} {text}".rstrip())
        if again:
            self._settlements.again_later(again)
        self._changed.set()

    def _correct(self, lease: Lease, message: str) -> None:
        """The server called an outcome malformed: a failure says so instead, and if that is no better, a release."""
        lease.corrections += 1
        job_log = JobLog(lease.context.job)
        if lease.corrections > 2:
            job_log.error("the server refuses every outcome of the lease: %s", message)
            self._finished(lease, "error", f"the server refuses every outcome: {message}")
            return
        job_log.error("the server refused the outcome: %s", message)
        invalid = failed("InvalidOutcome", f"the handler's outcome was refused: {message}")
        lease.outcome = invalid if lease.corrections == 1 else released()
        self._settlements.add([lease])

    def too_large(self, error: JobQueueError) -> None:
        """The stream has ended because a frame was larger than the server takes."""
        lease = self._settlements.too_large()
        if lease is not None:
            size = size_of(lease)
            self._correct(lease, f"it has {size} bytes, more than the server takes at once ({error.message})")

    def _finished(self, lease: Lease, label: str, error: str = "") -> None:
        self._settlements.drop(lease)
        if not lease.alive:
            self._leases.pop(lease.id, None)
        self._observe_end(lease, label, lease.seconds, error)

    def _observe_end(self, lease: Lease, label: str, seconds: float, error: str) -> None:
        # Most workers have no observer, and then nothing is made for each job.
        if self._observing is not None:
            self._observing.tell(
                in_context_of(lease, self._observing.observer.attempt_ended),
                attempt_of(lease.message),
                label,
                seconds,
                error or error_of(lease.outcome),
            )
