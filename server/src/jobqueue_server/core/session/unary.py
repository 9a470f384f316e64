"""Sessions of workers without a stream: each call says who it is, and any server can answer it.

Between calls a server keeps nothing of such a session. What it takes stands in its row (`greeting`), what it holds in
live_job; its ttl counts from its last call. For the time of a call there is a `Session` as a stream has one, so that
claims, fences, settlements and metrics are the same for both.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from ...errors import JobQueueError, SessionStreams
from ...lifecycle import Event, Status
from ...model import MAX_PAGE_BYTES
from ...scope import Scope
from ...store.attempt.attempts import AttemptEnd
from ...store.database import Record
from ...store.session.sessions import SessionStore, Told
from ..access.checks import check_subscriptions
from ..attempt.outcome import Answer, Outcome, SettleReply
from ..attempt.settler import Settler
from ..catalog.catalog import Catalog
from ..claim.delivery import Delivery
from ..claim.takers import Takers
from ..events.this_server import ThisServer
from ..lease.attempt_ends import AttemptEnds
from ..lease.lease import CancelRequest, Lease, LeaseTemplate, Named
from ..lease.session import Session
from .drains import Drains
from .registry import Opened, Sessions
from .tokens import digest, new_token, split_token

# The slots of a worker that does not bound them: any job fits, whatever it takes.
_ANY_SLOTS = 1 << 30
# How long a claim that has got a job waits for more of them: they come in the same round, or not soon.
GATHER = 0.02


@dataclass(frozen=True, slots=True)
class UnarySessionOptions:
    """What a worker that makes calls takes. 0 is no bound."""

    subscriptions: frozenset[tuple[str, str]]
    slots: int = 0
    slots_by_kind: Mapping[str, int] = field(default_factory=dict)
    bytes_limit: int = 0
    as_value: bool = False

    def text(self) -> str:
        """As it is stored."""
        return json.dumps(
            {
                "subscriptions": sorted(self.subscriptions),
                "slots": self.slots,
                "slots_by_kind": dict(self.slots_by_kind),
                "bytes": self.bytes_limit,
                "as_value": self.as_value,
            }
        )

    @classmethod
    def of(cls, text: str) -> UnarySessionOptions:
        """As it was stored."""
        stored = json.loads(text)
        return cls(
            frozenset((queue, kind) for queue, kind in stored["subscriptions"]),
            stored["slots"],
            stored["slots_by_kind"],
            stored["bytes"],
            stored["as_value"],
        )


@dataclass(frozen=True, slots=True)
class Cancelling:
    """A lease whose job is to be cancelled."""

    lease: Named
    asked: CancelRequest


@dataclass(frozen=True, slots=True)
class _Heard:
    """A session for the time of a call, with the rows of what it holds."""

    session: Session
    greeting: UnarySessionOptions | None
    streams: bool
    held: list[Record]


class _Gathering:
    """The Link of a claim: keeps what is delivered until the call answers. All else is read of the rows."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []
        self.came = asyncio.Event()

    def deliver(self, leases: Sequence[Lease]) -> None:
        self.leases += leases
        self.came.set()

    def cancel(self, lease_ids: Sequence[int], reason: str, grace: timedelta) -> None:
        pass

    def revoke(self, lease_ids: Sequence[int], reason: str) -> None:
        pass

    def go_away(self, reason: str, drain: timedelta | None, reconnect_after: timedelta = timedelta()) -> None:
        pass

    def goodbye(self, released: Sequence[Lease]) -> None:
        pass

    def fail(self, error: JobQueueError) -> None:
        pass

    def leave(self) -> None:
        pass

    def awaits_receipt(self, seen: int) -> bool:
        return False

    def go_on(self) -> None:
        pass


class UnarySessions:
    """What workers do by calls. Every method but `open` raises as `Sessions.refusal` says."""

    def __init__(
        self,
        store: SessionStore,
        sessions: Sessions,
        takers: Takers,
        delivery: Delivery,
        settler: Settler,
        attempts: AttemptEnds,
        catalog: Catalog,
        drains: Drains,
        server: ThisServer,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._takers = takers
        self._drains = drains
        self._delivery = delivery
        self._settler = settler
        self._attempts = attempts
        self._catalog = catalog
        self._server = server
        self._claims: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()
        self._gathering: set[_Gathering] = set()
        self._leaving = False

    def leave(self) -> None:
        """The server leaves: claims that wait are answered with what they have."""
        self._leaving = True
        for gathering in self._gathering:
            gathering.came.set()

    async def open(self, scope: Scope, told: Told, ttl: timedelta, greeting: UnarySessionOptions) -> Opened:
        """A new session, heard by its calls."""
        check_subscriptions(scope, greeting.subscriptions)
        secret = new_token()
        session_id, epoch = await self._store.open(
            scope, self._server.id, told, ttl, digest(secret), greeting.text()
        )
        session = Session(scope, session_id, epoch, told.name, ttl, greeting.subscriptions)
        return Opened(session, f"{session_id}.{secret}")

    async def resume(
        self,
        scope: Scope,
        told: Told,
        token: str,
        held: Sequence[Named],
        unanswered: Sequence[Named],
        greeting: UnarySessionOptions,
    ) -> Opened:
        """The next epoch of a session that had a stream, or not, heard by its calls from now on."""
        opened = await self._sessions.resume(scope, told, token, held, unanswered, greeting.subscriptions)
        self._sessions.forget(opened.session)
        if not await self._store.greet(opened.session.id, opened.session.epoch, greeting.text()):
            raise await self._sessions.refusal(scope, opened.token)
        return opened

    async def claim(
        self, scope: Scope, token: str, most: int, wait: timedelta, held: Sequence[Named] | None
    ) -> tuple[list[Lease], bool]:
        """Leases up to `most` jobs, and waits for the first one; whether they are to be shown as values.

        Args:
            scope: Whose session it is.
            token: The session's.
            most: At least 1. The session's capacity may bound it further.
            wait: How long, at most. None came: the answer is empty.
            held: What the worker holds; the session's other leases go back. None: it does not say.

        Raises:
            NotAllowed: The principal may not work on one of the subscriptions any more.
            SessionStreams: The session has a stream, which is where its jobs go.
        """
        session_id, _ = split_token(token)
        # Two claims at once would each take the other's leases for their own.
        async with self._claims.setdefault(session_id, asyncio.Lock()):
            heard = await self._heard(scope, token)
            if heard.greeting is None or heard.streams:
                raise SessionStreams(
                    "the session has a stream and gets its jobs there; to claim by calls, open a session by OpenSession"
                )
            # Its grants may have become fewer since the session was opened.
            check_subscriptions(scope, heard.greeting.subscriptions)
            if held is not None:
                await self._give_back_unnamed(heard, held)
            return await self._gather(heard, heard.greeting, most, wait), heard.greeting.as_value

    async def _gather(
        self, heard: _Heard, greeting: UnarySessionOptions, most: int, wait: timedelta
    ) -> list[Lease]:
        session, gathering = heard.session, _Gathering()
        session.capacity.set(
            greeting.slots or _ANY_SLOTS,
            greeting.slots_by_kind,
            # The answer has to fit into a message, whatever the worker could hold.
            session.bytes_held + min(greeting.bytes_limit or MAX_PAGE_BYTES, MAX_PAGE_BYTES),
            len(session.leases) + most,
        )
        session.attach(gathering)
        self._drains.claims(session)
        self._gathering.add(gathering)
        answered = False
        try:
            if not self._leaving:
                # One that is drained waits as others do: it would come again at once.
                if session.takes_jobs:
                    self._takers.attach(session)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait.total_seconds()):
                        await gathering.came.wait()
                        while len(gathering.leases) < most and not self._leaving:
                            before = len(gathering.leases)
                            await asyncio.sleep(GATHER)
                            if len(gathering.leases) == before:
                                break
            answered = True
            return gathering.leases
        finally:
            self._drains.claimed(session)
            session.broken(gathering)
            self._takers.detach(session)
            self._gathering.discard(gathering)
            if not answered:
                # The caller hung up: no worker will ever see them.
                self._delivery.undelivered(gathering.leases, session.id)

    async def settle(self, scope: Scope, token: str, outcomes: Sequence[Outcome]) -> list[Answer]:
        """What became of each outcome, in their order."""
        heard = await self._heard(scope, token)
        numbers = {(lease.job_id, lease.attempt): lease.lease_id for lease in heard.session.leases.values()}
        answers: list[Answer | None] = [None] * len(outcomes)
        all_done = asyncio.Event()
        left = len(outcomes)
        if left == 0:
            return []

        def reply(index: int) -> SettleReply:
            def done(said: list[Answer]) -> None:
                nonlocal left
                outcome = outcomes[index]
                applied = Answer(0, outcome.job_id, outcome.attempt, "APPLIED", Status.SUCCEEDED)
                answers[index] = said[0] if said else applied
                left -= 1
                if left == 0:
                    all_done.set()

            return SettleReply(1, done)

        for index, outcome in enumerate(outcomes):
            if outcome.job_id is not None:
                outcome.names_lease(numbers.get((outcome.job_id, outcome.attempt), 0))
            self._settler.settle(heard.session, (), [outcome], reply(index))
        await all_done.wait()
        return [answer for answer in answers if answer is not None]

    async def heartbeat(
        self, scope: Scope, token: str, held: Sequence[Named] | None
    ) -> tuple[list[Cancelling], list[Named]]:
        """What its worker is to cancel, and what it is to give up of what it says that it holds."""
        heard = await self._heard(scope, token)
        known = {(row["id"], row["attempts"]) for row in heard.held}
        cancelling = [
            Cancelling(
                Named(0, row["id"], row["attempts"]), CancelRequest.of(row["cancel_reason"], row["left"])
            )
            for row in heard.held
            if row["cancel_requested"]
        ]
        return cancelling, [lease for lease in held or () if (lease.job_id, lease.attempt) not in known]

    async def close(self, scope: Scope, token: str) -> list[Named]:
        """Ends the session; what it still held goes back uncharged. Returns that."""
        heard = await self._heard(scope, token)
        session = heard.session

        def decide(row: Record) -> AttemptEnd:
            return AttemptEnd(row["id"], row["attempts"], session.id, Event.RELEASE)

        rows = await self._store.end(session.id, session.epoch, decide)
        if rows is None:
            raise await self._sessions.refusal(scope, token)
        self._attempts.ended(rows)
        attempts = {row["id"]: row["attempts"] for row in heard.held}
        return [Named(0, row["id"], attempts[row["id"]]) for row in rows if row["id"] in attempts]

    async def _heard(self, scope: Scope, token: str) -> _Heard:
        session_id, secret = split_token(token)
        row = await self._store.touch(scope, session_id, digest(secret))
        if row is None:
            raise await self._sessions.refusal(scope, token)
        held = await self._store.held([session_id])
        greeting = None if row["greeting"] is None else UnarySessionOptions.of(row["greeting"])
        subscriptions = greeting.subscriptions if greeting else frozenset[tuple[str, str]]()
        session = Session(
            scope, row["id"], row["epoch"], row["name"], row["ttl"], subscriptions, drains=row["drains"]
        )
        if any(self._catalog.lane_by_id(lease["lane_id"]) is None for lease in held):
            await self._catalog.refresh()
        for lease in held:
            self._add(session, lease)
        return _Heard(session, greeting, row["streams"], held)

    def _add(self, session: Session, row: Record) -> None:
        lane = self._catalog.lane_by_id(row["lane_id"])
        assert lane is not None, "the catalog was just read"
        template = LeaseTemplate(
            lane, row["attempts"], 0, row["changed_at"], isolated=row["isolated"], weight=lane.weight
        )
        session.add(Lease(session.next_lease_id(), row["id"], template))

    async def _give_back_unnamed(self, heard: _Heard, named: Iterable[Named]) -> None:
        """Gives back leases that the worker does not name: the answer that carried them was lost."""
        holds: set[tuple[UUID, int]] = {(lease.job_id, lease.attempt) for lease in named}
        unnamed = [row for row in heard.held if (row["id"], row["attempts"]) not in holds]
        if not unnamed:
            return
        await self._attempts.end(
            [AttemptEnd(row["id"], row["attempts"], heard.session.id, Event.UNDELIVERED) for row in unnamed]
        )
        gone = {row["id"] for row in unnamed}
        for lease in list(heard.session.leases.values()):
            if lease.job_id in gone:
                heard.session.drop(lease.lease_id)
