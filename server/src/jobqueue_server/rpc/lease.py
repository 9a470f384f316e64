"""The Lease stream: one worker's deliveries, heartbeats, settlements, cancels and drain, in both directions."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio

from jobqueue.v1 import lease_pb2

from .. import logs
from ..chain import Call
from ..core.attempt.outcome import Outcome, SettleReply
from ..core.attempt.settler import Settler
from ..core.catalog.undeclared import Undeclared
from ..core.lease.progress import ProgressReports
from ..core.lease.session import Session
from ..core.lease.states import SessionState
from ..core.session.drains import Drains, takes_text
from ..core.session.registry import Opened, Sessions
from ..core.upkeep.clock import Clock
from ..errors import (
    FieldInvalid,
    JobQueueError,
    ProtocolViolated,
    SessionEnded,
    SessionSuperseded,
    TooManyStreams,
)
from ..fair.share import Share
from ..model import MAX_CHECKPOINT_BYTES, MAX_SETTLE_OUTCOMES
from ..scope import Scope
from ..store.session.sessions import Told
from .hello import MAX_SLOTS, Hello, checked_hello, take_capacity
from .outcomes import read_outcome
from .stream import LeaseStream
from .transport import FrameStream
from .welcome import welcome

_log = logs.get(__name__)

MAX_PROGRESS_MESSAGE = 1024
# Twice the slots: a heartbeat may still name leases that were just settled.
MAX_HELD = 2 * MAX_SLOTS
# How long a stream may stay without its first frame, in seconds.
HELLO_WITHIN = 10.0


class LeaseServicer:
    """The method `Lease`, for every worker of this server."""

    def __init__(
        self,
        sessions: Sessions,
        settler: Settler,
        progress: ProgressReports,
        drains: Drains,
        undeclared: Undeclared,
        clock: Clock,
        *,
        default_ttl: timedelta,
        max_streams: int,
        server_name: str,
    ) -> None:
        self._sessions = sessions
        self._settler = settler
        self._progress = progress
        self._drains = drains
        self._undeclared = undeclared
        self._clock = clock
        self._default_ttl = default_ttl
        self._streams = Share(max_streams)
        self._silent = Share(max_streams)
        self._server_name = server_name
        self._background: set[asyncio.Task[Any]] = set()

    async def Lease(self, context: FrameStream, call: Call) -> None:
        """One stream from Hello to its end.

        Raises:
            ProtocolViolated: The first frame was not Hello, or came too late, or a later frame was Hello.
            FieldInvalid: A field of a frame breaks its rule.
            SessionUnknown, SessionEnded: The session can't be resumed.
            TooManyStreams: The server holds as many sessions as it may.
            SessionSuperseded: The session was resumed elsewhere.
            SessionSilent: No frame came for three heartbeat intervals.
        """
        owner = call.scope.owner
        if not self._silent.has_room(owner):
            message = f"{self._silent.full(owner, 'streams without Hello')}; connect again later"
            raise TooManyStreams(message, retry_after=timedelta(seconds=1))
        self._silent.take(owner)
        try:
            async with asyncio.timeout(HELLO_WITHIN):
                first = await context.read()
        except TimeoutError:
            raise ProtocolViolated(
                f"no Hello came within {HELLO_WITHIN:g} s; it must be the first frame of a stream"
            ) from None
        finally:
            self._silent.give_back(owner)
        if first is grpc.aio.EOF:
            return
        if first.WhichOneof("frame") != "hello":
            raise ProtocolViolated("the first frame of a stream must be Hello")
        hello = checked_hello(first.hello)
        if not self._streams.has_room(owner):
            message = f"{self._streams.full(owner, 'streams')}; connect to another server"
            raise TooManyStreams(message, retry_after=timedelta(seconds=1))
        # Counted before the database is asked, so that streams that come at the same time count each other.
        self._streams.take(owner)
        try:
            await self._stream(call, context, hello, first.hello.capacity)
        finally:
            self._streams.give_back(owner)

    async def _stream(
        self, call: Call, context: FrameStream, hello: Hello, capacity: lease_pb2.Capacity
    ) -> None:
        """Opens or resumes the session, and serves it to the end of its stream."""
        takes = takes_text(hello.subscriptions, capacity.slots)
        told = Told(hello.worker, hello.labels, hello.client, call.address, takes)
        undeclared = await self._undeclared.among(call.scope, hello.kinds)
        opened = await self._session(call.scope, hello, told)
        session = opened.session
        stream = LeaseStream(context, session, as_value=hello.as_value)
        try:
            take_capacity(session, capacity)
            await context.write(
                lease_pb2.LeaseResponse(welcome=welcome(opened, undeclared, self._server_name))
            )
            self._sessions.attach(session, stream)
            await self._serve(context, session, stream)
        finally:
            stream.gone()
            self._sessions.broken(session, stream)

    async def _session(self, scope: Scope, hello: Hello, told: Told) -> Opened:
        if hello.token is None:
            ttl = hello.ttl or self._default_ttl
            return await self._sessions.open(scope, told, ttl, hello.subscriptions)
        return await self._sessions.resume(
            scope, told, hello.token, hello.held, hello.unanswered, hello.subscriptions
        )

    def _spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _serve(self, context: FrameStream, session: Session, stream: LeaseStream) -> None:
        """Reads and writes until one of the two ends; this ends the other too, and its error is raised."""

        def handle(frame: lease_pb2.LeaseRequest) -> None:
            self._handle(frame, session, stream)

        async def read() -> None:
            try:
                await context.receive(handle, stream.has_room)
                # The worker has closed its side, so the stream ends with Goodbye.
                session.drain()
                await stream.all_answered()
                await self._end(session, stream)
            except Exception as error:
                stream.fail(error)

        reading = asyncio.ensure_future(read())
        try:
            await stream.over
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    def _handle(self, frame: lease_pb2.LeaseRequest, session: Session, stream: LeaseStream) -> None:
        session.heard(frame.last_delivery)
        if session.previous_token:
            session.void_previous_token()
            self._spawn(self._sessions.confirm(session))
        which = frame.WhichOneof("frame")
        if which == "settle":
            self._settle(frame.settle, session, stream)
        elif which == "heartbeat":
            self._heartbeat(frame.heartbeat, session, stream)
        elif which == "capacity":
            take_capacity(session, frame.capacity)
            if session.link is stream:
                self._sessions.capacity_changed(session)
        elif which == "progress":
            self._report(frame.progress, session)
        elif which == "drain":
            reason = frame.drain.reason.replace("\0", "")[:255]
            _log.info("a worker drains", session=session.id, worker=session.name, reason=reason)
            session.drain()
            if session.leases:
                self._spawn(self._drains.said(session, reason))
            self._end_when_empty(session, stream)
        elif which == "hello":
            raise ProtocolViolated("Hello came again; only the first frame of a stream may be Hello")

    def _settle(self, settle: lease_pb2.Settle, session: Session, stream: LeaseStream) -> None:
        count = len(settle.succeeded) + len(settle.outcomes)
        if count > MAX_SETTLE_OUTCOMES:
            raise FieldInvalid.of("settle", f"has {count} outcomes; a frame may have {MAX_SETTLE_OUTCOMES}")
        seq = settle.seq

        def done(answers: list[Any]) -> None:
            stream.settled(seq, count, answers)
            self._end_when_empty(session, stream)

        stream.settling(count)
        reply = SettleReply(count, done)
        outcomes: list[Outcome] = []
        for message in settle.outcomes:
            outcome, answer = read_outcome(message, self._clock)
            if outcome is not None:
                outcomes.append(outcome)
            else:
                reply.done(answer)
        self._settler.settle(session, settle.succeeded, outcomes, reply)

    def _heartbeat(self, heartbeat: lease_pb2.Heartbeat, session: Session, stream: LeaseStream) -> None:
        if len(heartbeat.held) > MAX_HELD:
            # The worker lives all the same. To end its stream would not make it name fewer.
            _log.warning(
                "a heartbeat names too many leases, which are ignored",
                worker=session.name, leases=len(heartbeat.held), most=MAX_HELD,
            )  # fmt: skip
            stream.pong(heartbeat.seq)
            return
        unknown = self._sessions.still_running(session, heartbeat.held)
        if unknown:
            stream.revoke(unknown, "LEASE_UNKNOWN")
        stream.pong(heartbeat.seq)
        # The last lease may have ended without a settlement.
        self._end_when_empty(session, stream)

    def _report(self, progress: lease_pb2.Progress, session: Session) -> None:
        lease = session.leases.get(progress.lease_id)
        if lease is None:
            return
        fraction = progress.fraction if progress.HasField("fraction") else None
        if fraction is not None and not (math.isfinite(fraction) and 0 <= fraction <= 1):
            return
        message = progress.message.replace("\0", "")[:MAX_PROGRESS_MESSAGE]
        checkpoint = progress.checkpoint if progress.HasField("checkpoint") else None
        if checkpoint is not None and len(checkpoint) > MAX_CHECKPOINT_BYTES:
            # The stream has other jobs too, so it goes on. The log says why the next attempt gets an older checkpoint.
            _log.warning(
                "a checkpoint is too large, and is ignored",
                job=str(lease.job_id), worker=session.name, bytes=len(checkpoint), most=MAX_CHECKPOINT_BYTES,
            )  # fmt: skip
            checkpoint = None
        self._progress.report(session, lease, fraction, message, checkpoint)

    def _end_when_empty(self, session: Session, stream: LeaseStream) -> None:
        if session.state is SessionState.DRAINING and session.link is stream and not session.leases:
            self._spawn(self._end(session, stream))

    async def _end(self, session: Session, stream: LeaseStream) -> None:
        """Ends the session: gives back its leases, and sends Goodbye."""
        if session.link is not stream or not session.said_all():
            return
        try:
            await self._progress.before_end(lease.job_id for lease in session.leases.values())
            released = await self._sessions.end(session)
        except (SessionEnded, SessionSuperseded) as error:
            stream.fail(error)
            return
        except JobQueueError as error:
            # The session is silent from now on. The reaper ends it when the database is back.
            _log.warning("a session could not be ended", session=session.id, cause=str(error))
            stream.leave()
            return
        stream.goodbye(released)
