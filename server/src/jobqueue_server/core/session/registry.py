"""The sessions of this server: opened, resumed, heard, silent, drained, ended."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ...errors import (
    JobQueueError,
)
from ...lifecycle import Event
from ...metrics import Metrics
from ...scope import Scope
from ...store.attempt.attempts import AttemptEnd
from ...store.database import Record
from ...store.session.sessions import SessionStore, Told
from ..access.checks import check_subscriptions
from ..claim.takers import Takers
from ..events.notices import Peers
from ..events.this_server import ThisServer
from ..lease.attempt_ends import AttemptEnds
from ..lease.early_cancels import EarlyCancels
from ..lease.lease import Lease, Named
from ..lease.session import Link, Session
from ..tuning import Tuning
from .held import HeldSessions
from .resumption import Resumption
from .silences import Silences
from .tokens import digest, ended, new_token, refusal_of, split_token, superseded

_log = logging.getLogger(__name__)

#: Pairs of queue and kind.
Subscriptions = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is a worker's from now on, with what became of the leases that it named."""

    session: Session
    token: str
    kept: Sequence[Named] = ()
    revoked: Sequence[Named] = ()


class Sessions:
    """Every session whose worker is, or was last, connected here."""

    def __init__(
        self,
        store: SessionStore,
        takers: Takers,
        resumption: Resumption,
        silences: Silences,
        cancels: EarlyCancels,
        attempts: AttemptEnds,
        peers: Peers,
        server: ThisServer,
        metrics: Metrics,
        *,
        most: int,
        max_age: timedelta,
        tuning: Tuning | None = None,
    ) -> None:
        self._store = store
        self._takers = takers
        self._resumption = resumption
        self._silences = silences
        self._cancels = cancels
        self._attempts = attempts
        self._peers = peers
        self._server = server
        self._metrics = metrics
        self._max_age = max_age.total_seconds()
        self._tuning = tuning or Tuning()
        self._sessions = HeldSessions(most)
        self._unlinked = asyncio.Event()
        self._on_attached: list[Callable[[Session], object]] = []
        peers.hear_gone(lambda session_id, epoch: self._is_over(session_id, epoch, superseded()))
        peers.hear_ended(lambda session_id, epoch: self._is_over(session_id, epoch, ended()))

    def __len__(self) -> int:
        return len(self._sessions)

    def hear_attached(self, listener: Callable[[Session], object]) -> None:
        """A session takes jobs from now on."""
        self._on_attached.append(listener)

    def all(self) -> list[Session]:
        """Every session, linked or not."""
        return list(self._sessions.values())

    def linked(self) -> list[Session]:
        """Every session that has a stream."""
        return [session for session in self._sessions.values() if session.link is not None]

    async def all_unlinked(self) -> None:
        """Waits until no stream is open."""
        while any(session.link is not None for session in self._sessions.values()):
            self._unlinked.clear()
            await self._unlinked.wait()

    def get(self, session_id: int) -> Session | None:
        """The session, if its worker was last connected here."""
        return self._sessions.get(session_id)

    # ---- a worker comes

    async def open(self, scope: Scope, told: Told, ttl: timedelta, subscriptions: Subscriptions) -> Opened:
        """A new session.

        Raises:
            NotAllowed: The principal may not work on one of the subscriptions.
            TooManyStreams: The server holds as many as it may.
        """
        check_subscriptions(scope, subscriptions)
        self._sessions.check_room(scope)
        secret = new_token()
        session_id, epoch = await self._store.open(scope, self._server.id, told, ttl, digest(secret))
        session = Session(scope, session_id, epoch, told.name, ttl, subscriptions)
        self._sessions.hold(session)
        return Opened(session, f"{session_id}.{secret}")

    async def resume(
        self,
        scope: Scope,
        told: Told,
        token: str,
        held: Sequence[Named],
        unanswered: Sequence[Named],
        subscriptions: Subscriptions,
    ) -> Opened:
        """The next epoch of a session, on this server, with the leases that its worker still names.

        Those that it does not name go back at once, uncharged. The stream that it had here ends.

        Raises:
            NotAllowed: The principal may not work on one of the subscriptions.
            SessionUnknown: The token is not its own, or another principal opened the session.
            SessionEnded: It ended.
            SessionSuperseded: Another resume came after this one, and won.
        """
        check_subscriptions(scope, subscriptions)
        session_id, secret = split_token(token)
        if session_id not in self._sessions:
            self._sessions.check_room(scope)
        new = new_token()
        row = await self._store.resume(scope, told, session_id, digest(secret), digest(new), self._server.id)
        if row is None:
            raise await self.refusal(scope, token)
        # The server that had it ends its stream, and forgets what it holds.
        self._peers.tell_gone(session_id, row["epoch"] - 1)
        session = self._take_over(scope, row, subscriptions)
        try:
            kept, revoked = await self._resumption.reconcile(
                session, held, unanswered, lambda: self._sessions.get(session.id) is session
            )
        except BaseException:
            self.broken(session, None)
            raise
        return Opened(session, f"{session_id}.{new}", kept, revoked)

    async def refusal(self, scope: Scope, token: str) -> JobQueueError:
        """Why this token does not continue a session: SessionUnknown, SessionEnded or SessionSuperseded."""
        session_id, secret = split_token(token)
        return refusal_of(await self._store.find(scope, session_id, digest(secret)))

    def _take_over(self, scope: Scope, row: Record, subscriptions: Subscriptions) -> Session:
        """The session in its new epoch: a fresh object, so that what the old stream still does finds the old one.

        Of resumes at once the answers may come in another order than their epochs.
        """
        old = self._sessions.get(row["id"])
        if old is not None and old.epoch > row["epoch"]:
            raise superseded()
        session = Session(
            scope,
            row["id"],
            row["epoch"],
            row["name"],
            row["ttl"],
            subscriptions,
            resumed=True,
            drains=row["drains"],
        )
        if old is not None:
            self._takers.detach(old)
            session.inherit(old)
            link = old.link
            self.forget(old)
            if link is not None:
                link.fail(superseded())
        self._sessions.hold(session)
        return session

    def attach(self, session: Session, link: Link) -> None:
        """Its stream is ready for deliveries; or at its end, where the session went on while Welcome was written."""
        if self._sessions.get(session.id) is not session:
            link.fail(superseded())
            return
        session.attach(link, self.leave_at(time.monotonic()))
        self.capacity_changed(session)
        self._cancels.attached(session)
        for listener in self._on_attached:
            listener(session)

    def leave_at(self, now: float) -> float:
        """When a stream that begins now is too old: of many that begin together at different times."""
        return now + self._max_age * random.uniform(self._tuning.leave_from, self._tuning.leave_until)

    def capacity_changed(self, session: Session) -> None:
        """The worker of this session takes more or fewer jobs than before."""
        if session.takes_jobs:
            self._takers.attach(session)

    def still_running(self, session: Session, held: Iterable[int]) -> list[int]:
        """Takes in a heartbeat's list of leases. Returns those that this session does not hold."""
        lingering = len(session.lingering)
        unknown = session.still_running(held)
        if len(session.lingering) < lingering:
            self._takers.wake()
        return unknown

    async def confirm(self, session: Session) -> None:
        """The first frame under a new epoch came: the previous token is void."""
        session.void_previous_token()
        try:
            await self._store.confirm(session.id, session.epoch)
        except JobQueueError:
            session.keep_previous_token()

    # ---- a worker goes

    def broken(self, session: Session, link: Link | None) -> None:
        """Its stream is gone. The session goes on until its ttl ends, counted from the last frame heard.

        `link` None: it never had one, and will get none.
        """
        if session.broken(link):
            self._takers.detach(session)
            self._silences.add(session)
            self._unlinked.set()

    async def end(self, session: Session, how: str = "goodbye") -> list[Lease]:
        """Ends a session as its worker says, or is `refused`. The leases that it held go back uncharged; returns those.

        Raises:
            SessionEnded: It has ended already.
            SessionSuperseded: It goes on in another epoch, with what it holds.
        """
        self._takers.detach(session)
        released = list(session.leases.values())
        undelivered = {lease.job_id for lease in released if session.receipts.unseen(lease)}

        def decide(row: Record) -> AttemptEnd:
            event = Event.UNDELIVERED if row["id"] in undelivered else Event.RELEASE
            return AttemptEnd(row["id"], row["attempts"], row["session_id"], event)

        rows = await self._store.end(session.id, session.epoch, decide)
        self.forget(session)
        if rows is None:
            row = await self._store.find(session.scope, session.id, None)
            raise ended() if row is None or row["ended"] else superseded()
        self._metrics.session_ended(how)
        self._attempts.ended(rows)
        return released

    def forget(self, session: Session) -> None:
        """The session has moved to another server, or has no stream any more."""
        session.gone()
        self._silences.discard(session)
        self._unlinked.set()
        self._sessions.let_go(session)

    # ---- what other servers say

    def _is_over(self, session_id: int, epoch: int, error: JobQueueError) -> None:
        """Another server says that the session has ended, or goes on there, after this epoch."""
        session = self._sessions.get(session_id)
        if session is not None and session.epoch <= epoch:
            self.let_go(session, error)

    def let_go(self, session: Session, error: JobQueueError) -> None:
        """The session is not this server's any more: its stream ends, and its silence is not written."""
        if session.link is not None:
            session.link.fail(error)
            self.broken(session, session.link)
        self.forget(session)
