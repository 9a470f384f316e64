"""Keeps a worker's session on a stream: connects, reconnects for ever, moves when it is asked to, and leaves."""

from __future__ import annotations

import asyncio
import itertools

from jobqueue.backoff import Backoff
from jobqueue.errors import (
    InvalidRequest,
    JobQueueError,
    NotAllowed,
    NotSupported,
    SessionUnknown,
    TooLarge,
    Unauthenticated,
)
from jobqueue.v1 import lease_pb2 as pb

from .clock import Clock
from .logs import log
from .options import WorkerOptions
from .session import Session
from .status import StatusBook
from .stream import Stream, StreamEnded

_WELCOME_WITHIN = 10.0
# After a stream that lived this long, the next reconnect is fast again.
_GOOD_AFTER = 5.0
# How long a handler that was told to stop at the end of the grace may take for it.
_UNWIND = 2.0
# How long a server is left alone that does not take the credentials: an administrator mends it, or a new token does.
_UNAUTHENTICATED_WAIT = 30.0
# How often that is said.
_SAY_UNAUTHENTICATED_EVERY = 60.0
# How long the last answers, and then Goodbye, are waited for.
_ANSWERS_WITHIN = 5.0

# What no other try will mend. Only before the first Welcome: later it is a fault of one server among several, or of a
# token that is being renewed.
_HOPELESS = (InvalidRequest, NotAllowed, NotSupported)


class Link:
    """The session's connection. Runs on the session's thread.

    Args:
        options: The worker's settings.
        session: What the frames are for.
        book: Where the worker's status is written.
    """

    def __init__(self, options: WorkerOptions, session: Session, book: StatusBook) -> None:
        self._options = options
        self._session = session
        self._book = book
        self._targets = itertools.cycle(options.targets)
        self._backoff = Backoff(base=0.1, cap=5.0)
        self._over = asyncio.Event()
        self._wake = asyncio.Event()
        self._move_at: float | None = None
        self._welcomed = False
        self._said_lost = False
        self._said_unauthenticated = -_SAY_UNAUTHENTICATED_EVERY
        self._pumps: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Holds the session until `leave` is through.

        Raises:
            JobQueueError: The first server refused the worker for what no other try will mend.
        """
        keeping = asyncio.create_task(self._keep())
        leaving = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({keeping, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if keeping.done():
                keeping.result()
        finally:
            keeping.cancel()
            leaving.cancel()
            if self._session.stream is not None:
                self._session.stream.cancel()
            for pump in self._pumps:
                pump.cancel()

    async def _keep(self) -> None:
        while True:
            # A session that has drained and ended is not opened again, though handlers of it may run on.
            wanted = self._session.stream is None or self._move_at is not None
            if wanted and not self._session.finished:
                await self._connect()
            else:
                await self._wake.wait()
                self._wake.clear()

    async def leave(self, grace: float, reason: str) -> None:
        """Drains, and lets `run` return. Cancelling it lets another call of it take over, with another grace."""
        try:
            await self._drain(grace, reason)
        except Exception:
            log.exception("the drain failed; jobs that were not settled run again when the session ends")
        self._over.set()

    async def _drain(self, grace: float, reason: str) -> None:
        """No new jobs, finish what is held within the grace, give the rest back, wait for the answers."""
        session = self._session
        session.drain(reason)
        # A session that is just being opened may have been given jobs: it is drained as well.
        await session.until(lambda: not session.opening, _ANSWERS_WITHIN)
        if not await session.until(lambda: not session.alive(), grace):
            log.warning(
                "%d handlers still run at the end of the grace; they are stopped", len(session.alive())
            )
            session.stop_all("the worker is shutting down", _UNWIND / 2)
            await session.until(lambda: not session.alive(), _UNWIND)
            session.release_all()
        if not await session.until(lambda: not session.unanswered(), _ANSWERS_WITHIN):
            log.error(
                "%d outcomes were not answered; their jobs run again when the session ends",
                session.unanswered(),
            )
        elif session.stream is not None and not await session.until(
            lambda: session.finished, _ANSWERS_WITHIN
        ):
            log.warning("the server said no Goodbye")

    async def _connect(self) -> None:
        """One try to open a stream. What fails is followed by a wait."""
        if self._move_at is not None:
            await asyncio.sleep(self._move_at - asyncio.get_running_loop().time())
            if self._session.finished:
                return
        try:
            stream = Stream(next(self._targets), self._options.access)
        except Exception as error:  # a token that could not be renewed, for one
            self._say_lost(f"no stream could be opened: {error!r}")
            self._book.failing(error)
            await asyncio.sleep(self._backoff.next())
            return
        try:
            welcome = await self._open(stream)
        except asyncio.CancelledError:
            stream.cancel()
            raise
        except SessionUnknown as error:
            stream.cancel()
            self._session_gone(error)
            return
        except JobQueueError as error:
            stream.cancel()
            self._session.stay()
            if not self._welcomed and isinstance(error, _HOPELESS):
                self._book.failing(error, refused=True)
                raise
            await self._wait(stream.target, error)
            return
        resumed = "opened" if self._session.opening else "resumed"
        self._leave_stream()
        self._session.welcome(welcome, stream)
        log.info("session %d %s at %s (%s)", self._session.id, resumed, stream.target, welcome.server)
        self._welcomed = True
        self._said_lost = False
        self._move_at = None
        pump = asyncio.create_task(self._pump(stream))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)

    async def _wait(self, target: str, error: JobQueueError) -> None:
        """After a try in vain. One that still has its old stream soon tries again: a new token may be on its way."""
        if self._session.stream is None:
            self._book.failing(error, refused=isinstance(error, _HOPELESS))
            if isinstance(error, Unauthenticated):
                self._say_unauthenticated(target, error)
                await asyncio.sleep(_UNAUTHENTICATED_WAIT)
                return
            self._say_lost(f"can't reach {target}: {error}")
        await asyncio.sleep(self._backoff.next())

    def _say_unauthenticated(self, target: str, error: JobQueueError) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._said_unauthenticated >= _SAY_UNAUTHENTICATED_EVERY:
            self._said_unauthenticated = now
            log.warning(
                "%s does not take the credentials: %s; trying again each %g s",
                target,
                error,
                _UNAUTHENTICATED_WAIT,
            )

    async def _open(self, stream: Stream) -> pb.Welcome:
        self._session.moving = True
        stream.send(self._session.hello())
        try:
            async with asyncio.timeout(_WELCOME_WITHIN):
                while True:
                    frame = await stream.receive()
                    name = frame.WhichOneof("frame")
                    if name == "welcome":
                        return frame.welcome
                    if name in ("go_away", "goodbye"):
                        raise JobQueueError(
                            f"the server is leaving ({frame.go_away.reason})", code="UNAVAILABLE"
                        )
        except TimeoutError:
            raise JobQueueError(f"no Welcome within {_WELCOME_WITHIN:g} s", code="UNAVAILABLE") from None
        except StreamEnded as end:
            raise end.error or JobQueueError(str(end), code="UNAVAILABLE") from None

    async def _pump(self, stream: Stream) -> None:
        """Hands the frames of one stream to the session, until it ends or another has taken its place."""
        loop = asyncio.get_running_loop()
        opened = loop.time()
        heart = asyncio.create_task(self._beat(stream))
        try:
            await stream.receive_all(lambda frame: self._handle(stream, frame))
        except StreamEnded as end:
            good = loop.time() - opened > _GOOD_AFTER
            if good:
                self._backoff.reset()
            if stream is self._session.stream:
                self._ended(end)
                if not good:
                    # Or a server that welcomes and then hangs up would be asked without a pause.
                    await asyncio.sleep(self._backoff.next())
        except Exception:
            log.exception("a frame could not be handled; the stream is opened anew")
            stream.cancel()
            if stream is self._session.stream:
                self._lost("a frame could not be handled")
        finally:
            heart.cancel()
        self._wake.set()

    def _handle(self, stream: Stream, frame: pb.LeaseResponse) -> None:
        if stream is not self._session.stream:
            return
        self._book.heard = Clock.monotonic()
        if frame.HasField("go_away"):
            self._move(frame.go_away)
        elif frame.HasField("goodbye"):
            self._end_session()
            # Or a server that always says so would be asked without a pause.
            self._move_at = asyncio.get_running_loop().time() + self._backoff.next()
        else:
            self._session.handle(frame)

    def _ended(self, end: StreamEnded) -> None:
        """The session's stream has ended, and not by us."""
        if isinstance(end.error, SessionUnknown):
            self._session_gone(end.error)
            # Or a server that always says so would be asked without a pause.
            self._move_at = asyncio.get_running_loop().time() + self._backoff.next()
            return
        if self._move_at is None:
            self._lost(str(end))
        else:
            log.info("the stream that was to be left has ended: %s", end)
            self._drop_stream()
        if isinstance(end.error, TooLarge):
            self._session.too_large(end.error)

    def _session_gone(self, error: SessionUnknown) -> None:
        log.warning("the server has no such session any more: %s", error)
        self._end_session()
        self._book.failing(error)

    def _lost(self, why: str) -> None:
        self._drop_stream()
        self._book.failing(f"the stream was lost: {why}")
        self._say_lost(f"the stream was lost: {why}")

    def _drop_stream(self) -> None:
        self._session.stream = None
        self._move_at = None
        self._book.lost()

    def _say_lost(self, what: str) -> None:
        """Once until there is a stream again: an hour's outage is one line, not a thousand."""
        if not self._said_lost:
            self._said_lost = True
            if self._session.alive():
                log.warning("%s; jobs run on, trying again until a server answers", what)
            else:
                log.warning("%s; trying again until a server answers", what)

    def _leave_stream(self) -> None:
        """Lets the old stream go, now that another has taken its place."""
        if self._session.stream is not None:
            self._session.stream.cancel()
            self._session.stream = None

    def _end_session(self) -> None:
        """The server has ended the session: its stream goes with it. The next one opens another, unless it drains."""
        self._leave_stream()
        self._move_at = None
        self._session.over()
        self._book.lost()
        self._wake.set()

    def _move(self, go_away: pb.GoAway) -> None:
        log.info("the server asks to connect elsewhere: %s", go_away.reason or "no reason given")
        after = go_away.reconnect_after.ToTimedelta().total_seconds()
        self._move_at = asyncio.get_running_loop().time() + after
        self._wake.set()

    async def _beat(self, stream: Stream) -> None:
        """Sends heartbeats on a stream while it is the session's; one that does not answer is let go."""
        while True:
            await asyncio.sleep(self._session.heartbeat_interval)
            if stream is not self._session.stream:
                return
            if not self._session.heartbeat():
                self._lost("two heartbeats were not answered")
                stream.cancel()
                self._wake.set()
