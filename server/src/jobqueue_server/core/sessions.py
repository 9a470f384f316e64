"""The sessions of this server: opened, resumed, heard, silent, drained, ended."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from ..errors import (
    JobQueueError,
    SessionEnded,
    SessionSilent,
    SessionSuperseded,
    SessionUnknown,
    TooManyStreams,
)
from ..ids import CELL
from ..lifecycle import Event
from ..scope import Scope
from ..store.database import Record
from ..store.jobs import Leaving
from ..store.sessions import SessionStore
from .catalog import Catalog
from .dispatch import Dispatcher
from .lease.attempt_ends import AttemptEnds
from .lease.states import SessionState
from .peers import Peers
from .session import Asked, Lease, Lingering, Link, Named, Session, Terms

_log = logging.getLogger(__name__)

SILENT_AFTER_INTERVALS = 3
# A worker that is heard, and sends no receipt for so many heartbeat intervals, does not read: what it has not seen goes
# back.
UNSEEN_INTERVALS = 3
# What has no receipt when a stream breaks goes back so long after the last frame (lock_sessions.sql has the same).
UNSEEN_AFTER = timedelta(seconds=15)
# A transaction gives back what so many sessions, or so many leases of them, hold unseen.
UNSEEN_SESSIONS, UNSEEN_LEASES = 200, 1000
WATCH_EVERY = 0.5
# A worker is asked to leave when its stream is so old, in parts of the age that a connection may have.
LEAVE_BEFORE = (0.8, 0.9)
# One that is still there so long after it was asked found nowhere to go.
STAYS_AFTER = 10.0
GATHER = 0.05


@dataclass(frozen=True, slots=True)
class Opened:
    """A session that is a worker's from now on, with what became of the leases that it named."""

    session: Session
    token: str
    kept: Sequence[Named] = ()
    revoked: Sequence[Named] = ()


def digest(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def new_token() -> str:
    """What a token has after the session's number: the cell, a point, and a secret.

    It is kept as the digest of all of it. In tokens from before migration 0012 there is the secret alone; they are good
    for as long as their sessions.
    """
    return f"{CELL}.{secrets.token_urlsafe(32)}"


def split_token(token: str) -> tuple[int, str]:
    """A token's session and secret.

    Raises:
        SessionUnknown: It is no token of ours.
    """
    number, _, secret = token.partition(".")
    if not (number.isascii() and number.isdigit() and len(number) <= 18 and secret):
        raise SessionUnknown("the session token is not one of ours; say Hello without resume")
    return int(number), secret


def _superseded() -> SessionSuperseded:
    return SessionSuperseded("the session goes on elsewhere; resume it with its newest token")


def _ended() -> SessionEnded:
    return SessionEnded("the session has ended, and its leases went back; say Hello without resume")


def _silent(seconds: float) -> SessionSilent:
    return SessionSilent(
        f"nothing was heard on this stream for {seconds:.0f} s, three heartbeat intervals; resume the session"
    )


class Sessions:
    """Every session whose worker is, or was last, connected here.

    Attributes:
        on_attached: A session has its stream, with the leases that it kept.
    """

    def __init__(
        self,
        store: SessionStore,
        dispatcher: Dispatcher,
        catalog: Catalog,
        peers: Peers,
        attempts: AttemptEnds,
        server_id: Callable[[], int],
        *,
        most: int,
        max_age: timedelta,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._catalog = catalog
        self._peers = peers
        self._attempts = attempts
        self._server_id = server_id
        self._most = most
        self._max_age = max_age.total_seconds()
        self._sessions: dict[int, Session] = {}
        self._unlinked = asyncio.Event()
        self._unheard: set[tuple[int, int]] = set()
        self._somebody_broke = asyncio.Event()
        # Those without a stream whose silence is not in the database yet.
        self._unwritten: set[Session] = set()
        self.on_attached: Callable[[Session], None] = lambda session: None

    def __len__(self) -> int:
        return len(self._sessions)

    def all(self) -> list[Session]:
        """Every session, linked or not."""
        return list(self._sessions.values())

    async def all_unlinked(self) -> None:
        """Waits until no stream is open."""
        while any(session.link is not None for session in self._sessions.values()):
            self._unlinked.clear()
            await self._unlinked.wait()

    def get(self, session_id: int) -> Session | None:
        """The session, if its worker was last connected here."""
        return self._sessions.get(session_id)

    # ---- a worker comes

    async def open(
        self,
        scope: Scope,
        name: str,
        labels: Mapping[str, str],
        ttl: timedelta,
        subscriptions: frozenset[tuple[str, str]],
    ) -> Opened:
        """A new session.

        Raises:
            TooManyStreams: The server holds as many as it may.
        """
        self._room()
        secret = new_token()
        session_id, epoch = await self._store.open(self._server_id(), name, labels, ttl, digest(secret))
        session = Session(scope, session_id, epoch, name, ttl, subscriptions)
        self._sessions[session_id] = session
        return Opened(session, f"{session_id}.{secret}")

    def _room(self) -> None:
        if len(self._sessions) >= self._most:
            message = f"this server holds {self._most} sessions, as many as it may"
            raise TooManyStreams(message, retry_after=timedelta(seconds=1))

    async def resume(
        self,
        scope: Scope,
        token: str,
        held: Sequence[Named],
        unanswered: Sequence[Named],
        subscriptions: frozenset[tuple[str, str]],
    ) -> Opened:
        """The next epoch of a session, on this server, with the leases that its worker still names.

        Those that it does not name go back at once, uncharged. The stream that it had here ends.

        Raises:
            SessionUnknown: The token is not its own.
            SessionEnded: It ended.
            SessionSuperseded: Another resume came after this one, and won.
        """
        session_id, secret = split_token(token)
        if session_id not in self._sessions:
            self._room()
        new_secret = new_token()
        row = await self._store.resume(session_id, digest(secret), digest(new_secret), self._server_id())
        if row is None:
            raise await self.refusal(token)
        # The server that had it ends its stream, and forgets what it holds.
        self._peers.tell_gone(session_id, row["epoch"] - 1)
        session = self._take_over(scope, row, subscriptions)
        try:
            kept, revoked = await self._reconcile(session, held, unanswered)
        except BaseException:
            self.broken(session, None)
            raise
        return Opened(session, f"{session_id}.{new_secret}", kept, revoked)

    async def refusal(self, token: str) -> JobQueueError:
        """Why a session did not go on by this token: SessionUnknown, SessionEnded or SessionSuperseded.

        Only a token that is the session's own is told what became of it.
        """
        session_id, secret = split_token(token)
        row = await self._store.find(session_id, digest(secret))
        if row is None or not row["own"]:
            return SessionUnknown(
                "the session token is not one of ours, or a newer one took its place; say Hello without resume"
            )
        return _ended() if row["ended"] else _superseded()

    def _take_over(self, scope: Scope, row: Record, subscriptions: frozenset[tuple[str, str]]) -> Session:
        """The session in its new epoch: a fresh object, so that what the old stream still does finds the old one.

        Of resumes at once the answers may come in another order than their epochs.
        """
        old = self._sessions.get(row["id"])
        if old is not None and old.epoch > row["epoch"]:
            raise _superseded()
        session = Session(
            scope, row["id"], row["epoch"], row["name"], row["ttl"], subscriptions, resumed=True
        )
        if old is not None:
            self._dispatcher.detach(old)
            session.inherit(old)
            link = old.link
            self.forget(old)
            if link is not None:
                link.fail(_superseded())
        self._sessions[session.id] = session
        return session

    async def _reconcile(
        self, session: Session, held: Sequence[Named], unanswered: Sequence[Named]
    ) -> tuple[list[Named], list[Named]]:
        named = {(lease.job_id, lease.attempt): lease for lease in (*held, *unanswered)}
        kept: list[Named] = []
        back: list[Leaving] = []
        rows = await self._store.held([session.id])
        jobs = (
            {
                row["id"]: row
                for row in await self._store.named_jobs(session.scope, [job_id for job_id, _ in named])
            }
            if named
            else {}
        )
        if any(self._catalog.lane_by_id(row["lane_id"]) is None for row in (*rows, *jobs.values())):
            # Another server made the lane since this one looked.
            await self._catalog.refresh()
        if self._sessions.get(session.id) is not session or any(
            row["epoch"] != session.epoch for row in rows
        ):
            # What is held now is a later resume's to keep or give back, here or with another server.
            raise _superseded()
        for row in rows:
            lease = named.pop((row["id"], row["attempts"]), None)
            lane = self._catalog.lane_by_id(row["lane_id"])
            if lease is None or lane is None or lease.lease_id in session.leases:
                back.append(Leaving(row["id"], row["attempts"], session.id, Event.UNDELIVERED))
                continue
            asked = Asked.of(row["cancel_reason"], row["left"]) if row["cancel_requested"] else None
            terms = Terms(
                lane, row["attempts"], row["priority"], 0, 0, row["timeout_ms"], row["changed_at"],
                isolated=row["isolated"],
            )  # fmt: skip
            taken = Lease(lease.lease_id, row["id"], terms)
            taken.seq, taken.asked = -1, asked
            taken.size = jobs[row["id"]]["size"] if row["id"] in jobs else 0
            session.add(taken)
            kept.append(lease)
        if back:
            await self._attempts.end(back)
        # A settlement that is sent again names its lease by its number alone, which another server gave.
        session.remember(list(named.values()))
        held_names = {(lease.job_id, lease.attempt) for lease in held}
        revoked = [lease for key, lease in named.items() if key in held_names]
        for lease in revoked:
            # The worker is told to stop its handler, which takes up a slot until it has.
            job = jobs.get(lease.job_id)
            lane = None if job is None else self._catalog.lane_by_id(job["lane_id"])
            session.linger(
                lease.lease_id,
                Lingering(
                    lease.job_id,
                    lease.attempt,
                    lane.kind if lane is not None else None,
                    job["size"] if job is not None else 0,
                ),
            )
        return kept, revoked

    def attach(self, session: Session, link: Link) -> None:
        """Its stream is ready for deliveries; or at its end, where the session went on while Welcome was written."""
        if self._sessions.get(session.id) is not session:
            link.fail(_superseded())
            return
        session.attach(link, self._leave_at(time.monotonic()))
        self._dispatcher.attach(session)
        self.on_attached(session)

    def _leave_at(self, now: float) -> float:
        return now + self._max_age * random.uniform(*LEAVE_BEFORE)

    def capacity_changed(self, session: Session) -> None:
        """Its worker takes more or fewer jobs than before."""
        if session.takes_jobs:
            self._dispatcher.attach(session)

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
            self._dispatcher.detach(session)
            self._unwritten.add(session)
            self._unlinked.set()
            self._somebody_broke.set()

    async def _write_silences(self) -> None:
        """Of all that broke or fell silent, in one statement: of a proxy that restarts it is thousands."""
        now = time.monotonic()
        silent = list(self._unwritten)
        if not silent:
            return
        try:
            written = await self._store.silence(
                [(session.id, session.epoch, timedelta(seconds=now - session.heard_at)) for session in silent]
            )
        except JobQueueError as error:
            # Written by the watch once the database is back.
            _log.warning("%d sessions are silent, which could not be written: %s", len(silent), error)
            return
        self._unwritten.difference_update(silent)
        for session in silent:
            if session.id not in written:
                # It goes on with another server, or has ended.
                self.forget(session)

    async def end(self, session: Session) -> list[Lease]:
        """A worker has said all: its session ends, and what it still held goes back uncharged. Returns that.

        Raises:
            SessionEnded: It has ended already.
            SessionSuperseded: It goes on in another epoch, with what it holds.
        """
        self._dispatcher.detach(session)
        released = list(session.leases.values())
        undelivered = {lease.job_id for lease in released if session.receipts.unseen(lease)}

        def decide(row: Record) -> Leaving:
            event = Event.UNDELIVERED if row["id"] in undelivered else Event.RELEASE
            return Leaving(row["id"], row["attempts"], row["session_id"], event)

        rows = await self._store.end(session.id, session.epoch, decide)
        self.forget(session)
        if rows is None:
            row = await self._store.find(session.id, None)
            raise _ended() if row is None or row["ended"] else _superseded()
        self._attempts.ended(rows)
        return released

    async def reap(self, expired: Sequence[Record]) -> None:
        """Ends sessions whose ttl is over, in one transaction.

        What a worker was seen to hold is lost; the rest goes back as `Session.end_of` says.
        """
        silent: dict[int, Session | None] = {}
        for row in expired:
            session = self._sessions.get(row["id"])
            if session is None or session.epoch != row["epoch"]:
                silent[row["id"]] = None
            elif session.link is None:
                silent[row["id"]] = session
        # Where a stream was here, this server knows what was delivered on it.
        known = {
            session_id: {lease.job_id: session.end_of(lease) for lease in session.leases.values()}
            for session_id, session in silent.items()
            if session is not None and session.had_stream
        }
        told = {row["id"]: row for row in expired if row["id"] in silent}
        if not told:
            return

        def decide(row: Record) -> Leaving:
            session_id = row["session_id"]
            event = Event.LOST
            if session_id in known:
                event = known[session_id].get(row["id"], Event.UNDELIVERED)
            message = f"the session of worker {told[session_id]['name']} was lost"
            return Leaving(
                row["id"],
                row["attempts"],
                session_id,
                event,
                message=message if event is Event.LOST else None,
            )

        ended, rows = await self._store.reap({id: row["epoch"] for id, row in told.items()}, decide)
        for session_id in ended:
            session = silent[session_id]
            if session is not None:
                self.forget(session)
            row = told[session_id]
            self._peers.tell_ended(session_id, row["epoch"])
            _log.warning(
                "session %d of worker %s is lost, with %d leases", session_id, row["name"], row["leases"]
            )
        self._attempts.ended(rows)

    async def give_back_unseen(self) -> None:
        """Gives back the leases without a receipt, of streams that broke and of workers that do not read.

        Raises:
            DatabaseAway: It is tried again with the next look.
        """
        together: dict[Session, list[Lease]] = {}
        leases = 0
        for session in self.all():
            unseen = self._unseen(session)
            if not unseen:
                continue
            if together and (len(together) >= UNSEEN_SESSIONS or leases + len(unseen) > UNSEEN_LEASES):
                await self._give_back(together)
                together, leases = {}, 0
            together[session] = unseen
            leases += len(unseen)
        if together:
            await self._give_back(together)

    def _unseen(self, session: Session) -> list[Lease]:
        """What is to go back now."""
        if session.link is not None:
            return session.unseen_for(UNSEEN_INTERVALS) if session.receipts.wanted else []
        if session.state is SessionState.OPENING or session in self._unwritten:
            return []
        if session.ttl <= UNSEEN_AFTER or time.monotonic() - session.heard_at < UNSEEN_AFTER.total_seconds():
            return []
        return session.unseen_without_stream()

    async def _give_back(self, unseen: Mapping[Session, Sequence[Lease]]) -> None:
        silent = {session for session in unseen if session.link is None}
        leavings = [
            Leaving(
                lease.job_id,
                lease.attempt,
                session.id,
                session.end_of(lease) if session in silent else Event.UNDELIVERED,
            )
            for session, leases in unseen.items()
            for lease in leases
        ]
        rows = await self._store.give_back(
            [(session.id, session.epoch, session in silent) for session in unseen], leavings
        )
        back = {(row["session_id"], row["id"], row["attempts"]) for row in rows}
        for session, leases in unseen.items():
            gone = [lease for lease in leases if (session.id, lease.job_id, lease.attempt) in back]
            if not gone:
                continue
            _log.warning(
                "session %d of worker %s sent no receipt for %d leases; they go back",
                session.id,
                session.name,
                len(gone),
            )
            for lease in gone:
                session.drop(lease.lease_id, linger=session.link is not None)
            if session.link is not None:
                session.link.revoke([lease.lease_id for lease in gone], "UNSEEN")
        self._attempts.ended(rows)

    def forget(self, session: Session) -> None:
        """It is not this server's any more, or not by a stream."""
        session.gone()
        self._unwritten.discard(session)
        self._unlinked.set()
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]

    # ---- what the server says to a worker

    def take_back(self, session_id: int, job_id: UUID, attempt: int, reason: str) -> None:
        """This server ended a lease, whichever server its worker hangs on."""
        if not self.taken_back(session_id, job_id, attempt, reason):
            self._peers.tell_taken_back(session_id, job_id, attempt, reason)

    def taken_back(self, session_id: int, job_id: UUID, attempt: int, reason: str) -> bool:
        """A lease is no longer its worker's: the worker is told, and its slot stays counted while the handler runs.

        Answers whether it was told here.
        """
        session = self._sessions.get(session_id)
        lease = session.find(job_id, attempt) if session is not None else None
        if session is None or lease is None:
            return False
        session.drop(lease.lease_id, linger=True)
        if session.link is None:
            return False
        session.link.revoke([lease.lease_id], reason)
        return True

    def gone(self, session_id: int, epoch: int) -> None:
        """Another server says that the session goes on in a later epoch than this."""
        self._is_over(session_id, epoch, _superseded())

    def ended(self, session_id: int, epoch: int) -> None:
        """Another server says that the session has ended, in this epoch."""
        self._is_over(session_id, epoch, _ended())

    def _is_over(self, session_id: int, epoch: int, error: JobQueueError) -> None:
        session = self._sessions.get(session_id)
        if session is not None and session.epoch <= epoch:
            self._let_go(session, error)

    def _let_go(self, session: Session, error: JobQueueError) -> None:
        """It is not this server's any more: its stream ends, and nothing is written of it."""
        if session.link is not None:
            session.link.fail(error)
            self.broken(session, session.link)
        self.forget(session)

    async def audit(self) -> None:
        """Compares the sessions that the database counts as heard here with those that this server knows.

        One that was reaped while this server could not reach the database, or that goes on elsewhere, is ended here:
        it would get no more jobs. One that nobody here knows - its resume committed, and its caller was gone or the
        answer lost - is silent: it would never be reaped.
        """
        known = self.all()
        rows = await self._store.open_sessions(self._server_id(), [session.id for session in known])
        epochs = {row["id"]: row["epoch"] for row in rows}
        for session in known:
            if epochs.get(session.id) == session.epoch or self._sessions.get(session.id) is not session:
                continue
            if session.id in epochs:
                # As after every planned move whose notice was lost, or of a server that sends none.
                _log.info("session %d of worker %s goes on elsewhere", session.id, session.name)
                self._let_go(session, _superseded())
            else:
                # One that is ending has ended by its worker's word, and its stream was cut off before this server knew.
                if session.state is not SessionState.ENDING:
                    _log.warning("session %d of worker %s has ended elsewhere", session.id, session.name)
                self._let_go(session, _ended())
        here = {(session.id, session.epoch) for session in self.all()}
        unheard = {(row["id"], row["epoch"]) for row in rows if row["counted_on"]} - here
        # Seen twice: a session that is just being opened is in the database first.
        if again := unheard & self._unheard:
            # Each caller was gone before its session was open: no fault of the server.
            _log.info("%d sessions have no stream and nobody who watches them", len(again))
            await self._store.silence([(session_id, epoch, timedelta()) for session_id, epoch in again])
        self._unheard = unheard

    async def run(self) -> None:
        """Finds the connections that fell silent, and writes down whose stream is gone, until cancelled."""
        while True:
            try:
                async with asyncio.timeout(WATCH_EVERY):
                    await self._somebody_broke.wait()
                # Many break together.
                await asyncio.sleep(GATHER)
            except TimeoutError:
                pass
            self._somebody_broke.clear()
            now = time.monotonic()
            for session in self.all():
                link = session.link
                if link is not None and _is_silent(session, now):
                    _log.warning("session %d of worker %s is silent", session.id, session.name)
                    link.fail(_silent(now - session.heard_at))
                    self.broken(session, link)
                elif link is not None:
                    session.receipts.insist()
                    self._move_on(session, link, now)
            await self._write_silences()

    def _move_on(self, session: Session, link: Link, now: float) -> None:
        """Asks a worker to connect anew before its connection is too old; one that finds no other server stays."""
        if now >= session.leave_at:
            if session.too_old(now + STAYS_AFTER):
                self._dispatcher.detach(session)
                link.go_away("MAX_AGE", None)
        elif now >= session.stays_at:
            session.stayed(self._leave_at(now))
            self.capacity_changed(session)


def _is_silent(session: Session, now: float) -> bool:
    return now - session.heard_at > SILENT_AFTER_INTERVALS * session.heartbeat_seconds
