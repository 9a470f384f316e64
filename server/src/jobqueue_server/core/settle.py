"""Settlement: the outcomes of all streams share one statement, and are answered after its commit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from ..errors import DatabaseAway, DatabaseFull
from ..lifecycle import Event, Status, status_of
from ..metrics import Metrics
from ..model import NewJob
from ..store.database import DataError, Record
from ..store.jobs import JobStore, Leaving
from .dispatch import Dispatcher
from .enqueue import Enqueuer
from .events.ends import Ended, Ends
from .follow_ups import FollowUps
from .lease.attempt_ends import AttemptEnds
from .session import Answer, Lease, Session, Terms

_log = logging.getLogger(__name__)

MAX_BATCH = 2000


@dataclass(slots=True, eq=False)
class Outcome:
    """How one attempt ended, as its worker reports it. `event` SUCCEED may carry an output and follow-ups."""

    event: Event
    lease_id: int = 0
    job_id: UUID | None = None
    attempt: int = 0
    output: bytes | None = None
    permanent: bool = False
    after: timedelta | None = None
    error_type: str | None = None
    message: str | None = None
    stack: str | None = None
    follow_ups: Sequence[NewJob] = ()


class Frame:
    """One Settle frame, or one unary call, that waits for all of its outcomes.

    `on_done` gets the answers that say more than APPLIED.
    """

    __slots__ = ("_answers", "_left", "_on_done")

    def __init__(self, outcomes: int, on_done: Callable[[list[Answer]], None]) -> None:
        self._left = outcomes
        self._answers: list[Answer] = []
        self._on_done = on_done
        if outcomes == 0:
            on_done([])

    def done(self, answer: Answer | None = None) -> None:
        """One outcome is answered; None: it was applied, and there is nothing to add."""
        if answer is not None:
            self._answers.append(answer)
        self.applied(1)

    def applied(self, outcomes: int) -> None:
        """So many were applied, and there is nothing to add."""
        self._left -= outcomes
        if self._left == 0:
            self._on_done(self._answers)


@dataclass(slots=True, eq=False)
class Item:
    """An outcome on its way to the database. `lease` is None where the session does not hold it (any more)."""

    session: Session
    job_id: UUID
    attempt: int
    lease_id: int
    lease: Lease | None
    outcome: Outcome
    frame: Frame

    @property
    def succeeding(self) -> tuple[UUID, int, int, bytes | None]:
        """What the statement that ends it as succeeded wants to know."""
        return self.job_id, self.attempt, self.session.id, self.outcome.output


_SUCCEEDED = Outcome(Event.SUCCEED)


class _Succeeded:
    """Attempts that succeeded at one time, by what they had in common."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._by_terms: dict[Terms, list[UUID]] = {}
        self.ends: list[Ended] = []

    def add(self, leases: Iterable[Lease]) -> None:
        """Of one session. What follows another with the same terms, as most do, costs an append."""
        last = None
        for lease in leases:
            if lease.terms is not last:
                last = lease.terms
                ids = self._by_terms.get(last)
                if ids is None:
                    ids = self._by_terms[last] = []
                    ran = (self._at - last.started_at).total_seconds()
                    self.ends.append(Ended(ids, last.lane.kind, "succeeded", ran))
                append = ids.append
            append(lease.job_id)


class Pack:
    """Leases of a session that succeeded without more to say, as most do: all of one frame, and none of them twice."""

    __slots__ = ("frame", "leases", "session")

    def __init__(self, session: Session, leases: list[Lease], frame: Frame) -> None:
        self.session = session
        self.leases = leases
        self.frame = frame

    @property
    def ids(self) -> list[UUID]:
        """Of the jobs."""
        return [lease.job_id for lease in self.leases]

    def item(self, lease: Lease) -> Item:
        """One of them by itself."""
        return Item(self.session, lease.job_id, lease.attempt, lease.lease_id, lease, _SUCCEEDED, self.frame)


class Settler:
    """Gathers outcomes and commits them, one batch at a time: while one commits, the next gathers."""

    def __init__(
        self,
        store: JobStore,
        dispatcher: Dispatcher,
        enqueuer: Enqueuer,
        metrics: Metrics,
        attempts: AttemptEnds,
        ends: Ends,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._attempts = attempts
        self._ends = ends
        self.follow_ups = FollowUps(self, store, enqueuer)
        self._pending: list[Item | Pack] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def settle(
        self, session: Session, succeeded: Iterable[int], outcomes: Sequence[Outcome], frame: Frame
    ) -> None:
        """Puts outcomes in line. Each is answered through `frame` after its commit."""
        leases = session.leases
        packed: list[Lease] = []
        again: list[Lease] = []
        for lease_id in succeeded:
            lease = leases.get(lease_id)
            if lease is None:
                self._unheld(session, lease_id, _SUCCEEDED, frame)
            elif lease.settling:
                again.append(lease)
            else:
                lease.settling = True
                packed.append(lease)
        if packed:
            self._pending.append(Pack(session, packed, frame))
        for lease in again:
            self._pending.append(
                Item(session, lease.job_id, lease.attempt, lease.lease_id, lease, _SUCCEEDED, frame)
            )
        by_name: dict[tuple[UUID, int], Lease] | None = None
        for outcome in outcomes:
            lease = leases.get(outcome.lease_id) if outcome.lease_id else None
            if lease is None and outcome.job_id is not None:
                if by_name is None:
                    # Once a frame: a look at each lease for each outcome is ten million, half a second for everybody.
                    by_name = {(one.job_id, one.attempt): one for one in leases.values()}
                lease = by_name.get((outcome.job_id, outcome.attempt))
            if lease is not None:
                lease.settling = True
                self._put(Item(session, lease.job_id, lease.attempt, lease.lease_id, lease, outcome, frame))
            else:
                self._unheld(session, outcome.lease_id, outcome, frame)
        self._signal()

    def _put(self, item: Item) -> None:
        if item.outcome.follow_ups:
            self.follow_ups.put(item)
        else:
            self._pending.append(item)

    def _unheld(self, session: Session, lease_id: int, outcome: Outcome, frame: Frame) -> None:
        """An outcome for a lease that the session does not hold: the database knows what became of it."""
        known = session.remembered.get(lease_id) if lease_id else None
        lingering = session.lingering.get(lease_id)
        if known is None and lingering is not None and lingering.job_id is not None:
            known = (lingering.job_id, lingering.attempt)
        if known is None and outcome.job_id is not None:
            known = (outcome.job_id, outcome.attempt)
        if known is None:
            message = (
                "this session has no such lease; name the job and the attempt to learn what became of it"
            )
            frame.done(Answer(lease_id, outcome.job_id, outcome.attempt, "STALE_LEASE", message=message))
            return
        self._put(Item(session, known[0], known[1], lease_id, None, outcome, frame))

    def _signal(self) -> None:
        if self._pending:
            self._dispatcher.settlements_wait = True
            self._idle.clear()
            self._wake.set()

    async def drained(self) -> None:
        """Waits until every outcome in line is answered."""
        await self._idle.wait()
        await self.follow_ups.drained()

    async def run(self) -> None:
        """Commits what is in line, until cancelled."""
        # After a crash there may be some that nobody wakes us for again.
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                packs, items = self._next_batch()
                self._dispatcher.settlements_wait = bool(self._pending)
                self._dispatcher.settling = True
                try:
                    await self._commit(packs, items)
                finally:
                    self._dispatcher.settling = False
                    self._dispatcher.ended(sum(len(pack.ids) for pack in packs) + len(items))
                    self._dispatcher.progressed()
                    self._dispatcher.wake()
            self._idle.set()

    def _next_batch(self) -> tuple[list[Pack], list[Item]]:
        """The next outcomes, each job once: the same settlement again must see the first one committed."""
        packs: list[Pack] = []
        items: list[Item] = []
        later: list[Item | Pack] = []
        taken: set[UUID] = set()
        room = MAX_BATCH
        for entry in self._pending:
            ids = entry.ids if isinstance(entry, Pack) else (entry.job_id,)
            if room < len(ids):
                room = 0  # what came later must not overtake it
            if room == 0 or not taken.isdisjoint(ids):
                later.append(entry)
            else:
                room -= len(ids)
                if isinstance(entry, Pack):
                    packs.append(entry)
                else:
                    items.append(entry)
            taken.update(ids)
        self._pending = later
        return packs, items

    async def _commit(self, packs: list[Pack], items: list[Item]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        succeeded = [item for item in items if item.outcome.event is Event.SUCCEED]
        others = [item for item in items if item.outcome.event is not Event.SUCCEED]
        stale: list[Item] = []
        if packs:
            stale += await self._succeed_packed(packs)
        for some, commit in ((succeeded, self._succeed), (others, self._leave)):
            if some:
                stale += await self.guarded(some, commit)
        await self.explain(stale)
        jobs = sum(len(pack.leases) for pack in packs) + len(items)
        self._metrics.observe_batch("settle", loop.time() - started, jobs)

    async def _succeed_packed(self, packs: list[Pack]) -> list[Item]:
        """Commits what succeeded without more to say: what matched no lease."""
        runs: list[tuple[list[UUID], int, int]] = []
        for pack in packs:
            attempt = 0
            for lease in pack.leases:
                if lease.terms.attempt != attempt:
                    attempt, ids = lease.terms.attempt, list[UUID]()
                    runs.append((ids, attempt, pack.session.id))
                ids.append(lease.job_id)
        try:
            at, settled = await self._store.settle_succeeded(runs)
        except Exception as error:
            failed, items = error, [pack.item(lease) for pack in packs for lease in pack.leases]

            async def again(some: list[Item]) -> list[Item]:
                if some is items:
                    raise failed
                return await self._succeed(some)

            return await self.guarded(items, again)
        stale: list[Item] = []
        ended = _Succeeded(at)
        for pack in packs:
            leases = pack.leases
            if settled is not None:
                # A job that was lost and came back may be in it with both attempts, of which the later one counts.
                newest = {lease.job_id: lease for lease in sorted(leases, key=lambda lease: lease.attempt)}
                leases = [lease for job_id, lease in newest.items() if job_id in settled]
                counted = set(leases)
                stale += [pack.item(lease) for lease in pack.leases if lease not in counted]
            try:
                pack.session.drop_all(leases)
                pack.frame.applied(len(leases))
                ended.add(leases)
            except Exception:
                # It is committed, and the others are still to be answered.
                _log.exception("%d outcomes are settled, and what follows from it failed", len(leases))
        self._ends.tell(ended.ends)
        return stale

    async def explain(self, stale: list[Item]) -> None:
        """Answers what matched no lease."""
        if stale:
            await self.guarded(stale, self._explain)

    async def guarded(
        self, items: list[Item], commit: Callable[[list[Item]], Awaitable[list[Item]]]
    ) -> list[Item]:
        """Runs a statement on a batch: what matched no lease. A value that PostgreSQL refuses harms its own only."""
        try:
            stale: list[Item] = await commit(items)
            return stale
        except (DatabaseAway, DatabaseFull) as error:
            _log.warning("%d outcomes are not settled: %s", len(items), error)
            self.answer_all(items, "TRY_AGAIN", error.message)
        except DataError as error:
            if len(items) > 1:
                middle = len(items) // 2
                return await self.guarded(items[:middle], commit) + await self.guarded(items[middle:], commit)
            _log.warning("an outcome of job %s is refused: %s", items[0].job_id, error)
            self.answer_all(items, "INVALID", "the outcome holds a value that can't be stored")
        except Exception:
            _log.exception("%d outcomes are not settled", len(items))
            self.answer_all(items, "TRY_AGAIN", "the server failed; try again")
        return []

    def answer_all(self, items: list[Item], verdict: str, message: str) -> None:
        """Answers outcomes that were not applied."""
        for item in items:
            if item.lease is not None:
                item.lease.settling = False
            item.frame.done(Answer(item.lease_id, item.job_id, item.attempt, verdict, message=message))

    async def _succeed(self, items: list[Item]) -> list[Item]:
        at, settled = await self._store.settle_with_output([item.succeeding for item in items])
        return self.succeeded(items, at, settled)

    def succeeded(self, items: list[Item], at: datetime, settled: frozenset[UUID] | None) -> list[Item]:
        """Successes are committed: answers those that were settled (None: all), and returns the others."""
        stale: list[Item] = []
        if settled is not None:
            stale = [item for item in items if item.job_id not in settled]
            items = [item for item in items if item.job_id in settled]
        for item in items:
            if item.lease is not None:
                item.session.drop_all([item.lease])
        for item in items:
            item.frame.done()
        ended = _Succeeded(at)
        ended.add(item.lease for item in items if item.lease is not None)
        # Of what the session no longer held it is not known here what it was.
        unheld = [item.job_id for item in items if item.lease is None]
        self._ends.tell([*ended.ends, Ended(unheld)] if unheld else ended.ends)
        return stale

    async def _leave(self, items: list[Item]) -> list[Item]:
        rows = await self._attempts.end(
            [
                Leaving(
                    item.job_id, item.attempt, item.session.id, item.outcome.event, item.outcome.permanent,
                    item.outcome.after, item.outcome.error_type, item.outcome.message, item.outcome.stack,
                )
                for item in items
            ]
        )  # fmt: skip
        left = {row["id"]: row for row in rows}
        stale = []
        for item in items:
            row = left.get(item.job_id)
            if row is None:
                stale.append(item)
                continue
            if item.lease is not None:
                item.session.drop(item.lease_id)
            item.frame.done(
                Answer(item.lease_id, item.job_id, item.attempt, "APPLIED", row["status"], row["run_at"])
            )
        return stale

    async def _explain(self, items: list[Item]) -> list[Item]:
        """Answers the outcomes that matched no lease: applied before, stale, or the job is gone."""
        rows = {
            (row["id"], row["attempt"]): row
            for row in await self._store.settled_before(
                [(item.session.scope, item.job_id, item.attempt) for item in items]
            )
        }
        for item in items:
            verdict, status, message = _explain(item, rows.get((item.job_id, item.attempt)))
            if item.lease is not None:
                item.session.drop(item.lease_id)
            item.frame.done(
                Answer(item.lease_id, item.job_id, item.attempt, verdict, status, message=message)
            )
        return []


def _explain(item: Item, row: Record | None) -> tuple[str, int, str]:
    """The verdict on an outcome that matched no lease, from what is stored of its job."""
    if row is not None and row["finished"]:
        status = int(row["status"])
    elif row is not None and row["live"]:
        status = int(status_of(row["state"], row["failures"], row["losses"]))
    else:
        return "NOT_FOUND", 0, "there is no such job; it was deleted, or its retention ended"
    event = item.outcome.event
    mine = item.session.id
    if event is Event.SUCCEED:
        same = (
            row["finished"]
            and row["status"] == Status.SUCCEEDED
            and row["finished_attempt"] == item.attempt
            and row["finished_session"] == mine
        ) or (row["tried_session"] == mine and row["outcome"] == Event.SUCCEED)
    else:
        same = row["tried_session"] == mine and row["outcome"] == event
    if same:
        return "ALREADY_APPLIED", status, ""
    return "STALE_LEASE", status, "the lease was given to another, settled otherwise, or taken back"
