"""The dispatcher: turns credit into leases, by claims of what waits and by seats for what is just being stored.

A claim is made for a group: the sessions with the same subscriptions, so that any row it brings fits any of its seats.
Rows are claimed only against credit that exists; while a claim is under way its seats are reserved.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from operator import itemgetter

from ..errors import JobQueueError
from ..lifecycle import Event
from ..metrics import Metrics
from ..store.database import Record
from ..store.jobs import JobStore, Leaving, Look
from .catalog import Catalog, Lane
from .groups import Group, deal, deal_chunks
from .lease.attempt_ends import AttemptEnds
from .lines import BEGINNING, Line, Lines
from .load import Load
from .session import Lease, Session, Terms

_log = logging.getLogger(__name__)

MAX_CLAIM = 1000
# What is being settled brings credit in a moment: a claim of fewer than this waits for it, since two cost twice one (16
# streams of one slot: 0.29 commits a job instead of 0.45).
FEW = 100
# How many deliveries may be under way while the next claim is made.
MAX_DELIVERIES = 2
# How long an insert waits at most for the claims and settlements that go first while there is a backlog, and a claim of
# a few for a settlement.
ADMISSION_PATIENCE = 0.05
RETRY_AFTER_ERROR = 0.25
# Where producers outrun the server: of what has ended an insert brings that much anew, so that a backlog drains; and at
# least so many jobs.
DRAINING = 0.8
LEAST_INSERT = 100
# Of a row of a claim: its lane and priority, and its run_at.
_LINE_OF, _RUN_AT_OF = itemgetter(1, 2), itemgetter(3)


class Seats:
    """Slots that are kept for jobs of one lane while they are stored, first come first.

    Attributes:
        sessions: Whose they are: each for that many of the next jobs.
        count: How many there are.
    """

    def __init__(self, kind: str) -> None:
        self.sessions: list[tuple[Session, int]] = []
        self.count = 0
        self._kind = kind
        self._sizes: list[int] = []

    def keep(self, session: Session, size: int, jobs: int) -> None:
        """Keeps slots of a session for that many jobs, whose payloads have `size` bytes together."""
        session.reserve(self._kind, size, jobs)
        self.sessions.append((session, jobs))
        self._sizes.append(size)
        self.count += jobs

    def release(self) -> None:
        """The insert was answered: what came of it counts by itself now."""
        for (session, jobs), size in zip(self.sessions, self._sizes, strict=True):
            session.unreserve(self._kind, size, jobs)
        self.sessions, self._sizes = [], []


class Dispatcher:
    """Deals ready jobs to sessions with credit."""

    def __init__(
        self,
        store: JobStore,
        catalog: Catalog,
        lines: Lines,
        metrics: Metrics,
        load: Load,
        attempts: AttemptEnds,
    ) -> None:
        self._store = store
        self._load = load
        self._catalog = catalog
        self._metrics = metrics
        self._attempts = attempts
        self.lines = lines
        self._groups: dict[object, Group] = {}
        self._group_of: dict[Session, object] = {}
        self._by_lane: dict[int, list[Group]] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        # Claims and deliveries under way.
        self._claims = 0
        self._deliveries = 0
        self._orphans: list[Leaving] = []
        self._rounds = 0
        self.paused = False
        self.on_new_lanes: asyncio.Event = asyncio.Event()
        self.settlements_wait = False
        #: Whether a commit of settlements is under way, which brings credit back.
        self.settling = False
        # How many jobs inserts may bring because others have ended.
        self._allowance = 0.0
        # The last delivery that began; those before it end before it does.
        self._delivering: asyncio.Task[None] | None = None
        self._failed: Exception | None = None
        # A group whose last claim was a whole one, for the second claimer.
        self._thick: Group | None = None
        # Whether the last claim was of several lines.
        self._wide = False
        self._more = asyncio.Event()
        # Inserts under way that keep seats.
        self._handing_off = 0
        self.on_handed_over: Callable[[Session, Sequence[Lease]], None] = lambda session, leases: None
        catalog.on_change.append(self._lanes_changed)

    # ---- who takes what

    def attach(self, session: Session) -> None:
        """A session takes jobs from now on, or takes more or fewer than before."""
        key: object = session.id if session.bounded else (session.scope.namespace, session.subscriptions)
        if self._group_of.get(session) == key:
            session.has_room()
            self.wake()
            return
        self.detach(session)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(session.scope.namespace, session.subscriptions)
            self._lanes_changed()
        group.add(session)
        self._group_of[session] = key
        self.wake()

    def detach(self, session: Session) -> None:
        """A session takes no more jobs. Its leases stay."""
        key = self._group_of.pop(session, None)
        if key is None:
            return
        group = self._groups[key]
        group.discard(session)
        if not group.sessions:
            del self._groups[key]
            self._lanes_changed()

    def _lanes_changed(self) -> None:
        self._by_lane = {}
        for group in self._groups.values():
            group.see(self._catalog.lanes())
            for lane in group.lanes:
                self._by_lane.setdefault(lane.id, []).append(group)
        self.on_new_lanes.set()
        self.wake()

    def lanes(self) -> list[Lane]:
        """Every lane that a session here takes jobs from."""
        return [lane for lane_id in self._by_lane if (lane := self._catalog.lane_by_id(lane_id)) is not None]

    def wake(self) -> None:
        """Something changed: a job, a slot, a lane, a session."""
        self._wake.set()

    # ---- hand-off: seats for jobs that are just being stored

    def seats(self, lane: Lane, priority: int, sizes: Sequence[int]) -> Seats:
        """Kept seats for new jobs of a lane, first come first. Where jobs wait that go before them there are only those
        that the next claim can't use, and none over a backlog.

        The caller releases them once its insert is answered.

        `sizes` are those of the payloads, in bytes. What is beyond the answered seats goes to the backlog.
        """
        seats = Seats(lane.kind)
        groups = self._by_lane.get(lane.id)
        if not groups or lane.gated or self.paused:
            return seats
        before = self._before(lane, priority)
        if before:
            if any(line.thick for line in before):
                return seats
            # As when another server tells of a few: while they are claimed the others need not wait. A claim under
            # way has its seats already.
            kept = 0 if self._claims else MAX_CLAIM
            spare = sum(group.credit(kept + len(sizes)) for group in groups) - kept
            if spare <= 0:
                return seats
            sizes = sizes[:spare]
        # What a claim under way brings to a bounded session is not known yet.
        sessions = (
            session
            for session in heapq.merge(
                *(group.by_room() for group in groups), key=lambda session: session.free, reverse=True
            )
            if not (session.bounded and session.claiming)
        )
        for session, chunk in deal_chunks(sessions, len(sizes), whole=self._load.short):
            given = seats.count
            if not session.bounded:
                seats.keep(session, sum(sizes[given : given + chunk]), chunk)
                continue
            for _ in range(chunk):
                size = sizes[seats.count]
                if session.free_for(lane.kind) > 0 and session.fits(size):
                    seats.keep(session, size, 1)
        return seats

    @contextmanager
    def handing_off(self) -> Iterator[None]:
        """Around an insert that keeps seats."""
        self._handing_off += 1
        try:
            yield
        finally:
            self._handing_off -= 1
            self.progressed()

    def _before(self, lane: Lane, priority: int) -> list[Line]:
        """The lines whose jobs go before new ones of this lane at this priority."""
        return [
            line
            for line in self.lines.of_queue(lane.queue_id)
            if line.ready
            and line.priority >= priority
            and line.lane.id in self._by_lane
            and not line.lane.gated
        ]

    # ---- admission: new work waits for finished work

    async def admit(self) -> int:
        """Waits, while there is a backlog that credit could take, until claims and settlements had their turn.

        Without this rule the system has two states, and falls into the slow one as soon as producers outrun workers
        (measured: 10-14 k jobs ended per second instead of 55 k). What goes through the backlog costs half as much
        again, so where there is more to do than can be done, an insert brings no more than what can be handed off, or,
        over a backlog, less than what has ended since the last one.

        Returns:
            How many jobs the next insert may have, as far as units allow.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ADMISSION_PATIENCE
        outrun = self._load.short and self._load.keeps_up and bool(self._by_lane)
        if self._backlog():
            wanted = self._rounds + 1 if self._claimable() else self._rounds
            while self._claims or self.settlements_wait or (self._rounds < wanted and self._claimable()):
                if not await self._progresses(give_up):
                    break
            room = int(self._allowance) if outrun else MAX_CLAIM
        elif outrun:
            while (self.settling or self.settlements_wait) and not self._credit(1):
                if not await self._progresses(give_up):
                    break
            room = self._credit(MAX_CLAIM)
        else:
            room = MAX_CLAIM
        return max(room, LEAST_INSERT)

    async def _progresses(self, until: float) -> bool:
        """Waits for a claim or a settlement to end; False if the time is up first."""
        left = until - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        self._progress.clear()
        try:
            async with asyncio.timeout(left):
                await self._progress.wait()
        except TimeoutError:
            return False
        return True

    def _credit(self, enough: int) -> int:
        """The free credit of all sessions, as far as it matters."""
        return sum(group.credit(enough) for group in self._groups.values())

    def brought(self, jobs: int) -> None:
        """An insert brought jobs."""
        self._allowance = max(self._allowance - jobs, 0.0)
        self._load.stored += jobs

    def ended(self, jobs: int) -> None:
        """Jobs have ended."""
        self._allowance = min(self._allowance + jobs * DRAINING, MAX_CLAIM)
        self._load.ended += jobs

    def progressed(self) -> None:
        """A claim or a settlement ended."""
        self._progress.set()

    def _backlog(self) -> bool:
        return any(group.waiting(self.lines) for group in self._groups.values())

    def _claimable(self) -> bool:
        return any(group.has_credit() and group.looks(self.lines, 1)[0] for group in self._groups.values())

    async def quiet(self) -> None:
        """Waits, once it is paused, until nothing is on its way to a session any more."""
        while self._claims or self._deliveries or self._handing_off:
            self.wake()
            self._progress.clear()
            await self._progress.wait()

    # ---- claims

    async def run(self) -> None:
        """Claims while there is both credit and work, until cancelled."""
        second = asyncio.ensure_future(self._claim_more())
        try:
            await self._run()
        finally:
            tasks = [second] if self._delivering is None else [second, self._delivering]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _run(self) -> None:
        away = False
        # After a crash there may be work that nobody wakes us for again.
        self.wake()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                while await self._round():
                    pass
                away = False
            except JobQueueError as error:
                if not away:
                    _log.warning("claims stop: %s", error)
                away = True
                self.lines.forget()
                await asyncio.sleep(RETRY_AFTER_ERROR)
                self.wake()
            finally:
                self.progressed()

    async def _claim_more(self) -> None:
        """A second claimer, for whole claims: the database makes one while the rows of the other are handled."""
        while True:
            await self._more.wait()
            self._more.clear()
            with suppress(JobQueueError):
                while self._thick is not None and not self.paused and await self._claim(self._thick):
                    pass

    async def _round(self) -> bool:
        """One claim for each group that can have one. Returns whether another round may bring something."""
        again = False
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed
        await self._return_orphans()
        if self.paused:
            return False
        for key in list(self._groups):
            group = self._groups.get(key)
            if group is None:
                continue
            again |= await self._claim_alone(group)
            again |= await self._claim(group)
        self._rounds += 1
        self.progressed()
        return again

    async def _return_orphans(self) -> None:
        """Gives back the leases that could not be handed over. What can't be given back now is, later."""
        if not self._orphans:
            return
        orphans, self._orphans = self._orphans, []
        try:
            await self._attempts.end(orphans)
        except JobQueueError:
            self._orphans += orphans
            raise

    async def _claim(self, group: Group) -> bool:
        waited = False
        while True:
            if self.paused or not group.waiting(self.lines):
                return False
            seats = deal(group.by_room(), MAX_CLAIM, whole=self._load.short)
            if not seats:
                return False
            looks, lines = group.looks(self.lines, len(seats))
            if not looks:
                return False
            if self.settling and not waited and len(seats) < FEW:
                waited = True
                await self._progresses(asyncio.get_running_loop().time() + ADMISSION_PATIENCE)
                continue
            if seats[0].capacity.bytes:
                seats = seats[: await self._fitting(seats[0], looks, len(seats))]
                if not seats:
                    return False
            # A claim of several lines locks more than it takes, and what another then passes over is behind its floor.
            # So only claims of one and the same line are made side by side.
            if not self._claims or (len(looks) == 1 and not self._wide):
                break
            self._progress.clear()
            await self._progress.wait()
        marks = [line.mark for line in lines]
        if self._thick is group:
            self._more.set()
        self._wide = len(looks) > 1
        rows = await self._take(
            seats,
            self._store.claim(looks, [seat.id for seat in seats], {seat.id: seat.epoch for seat in seats}),
        )
        group.turn += 1
        whole = len(rows) == MAX_CLAIM and len(looks) == 1 and not seats[0].bounded
        self._thick = group if whole else None
        found = Counter(map(_LINE_OF, rows))
        newest: dict[tuple[int, int], datetime] = {}
        for key, run_at in zip(map(_LINE_OF, rows), map(_RUN_AT_OF, rows), strict=True):
            if run_at > newest.get(key, BEGINNING):
                newest[key] = run_at
        for (lane_id, priority), run_at in newest.items():
            self.lines.line(self._lane(lane_id), priority).claimed(run_at)
        of_queue: dict[int, int] = defaultdict(int)
        for look in looks:
            of_queue[look.queue_number] += found[look.lane_id, look.priority]
        for look, line, mark in zip(looks, lines, marks, strict=True):
            count = found[look.lane_id, look.priority]
            line.thick = count >= look.take
            # Fewer rows than seats and than its queue may give: nothing was cut off; what was not found is not there.
            cut_off = len(rows) >= len(seats) or of_queue[look.queue_number] >= look.most
            if not cut_off and count < look.take and line.mark == mark:
                line.ready = False
        # A look stops at the first thick priority. Where that was just used up, nothing was found and those below it
        # were not asked: without another round they would wait for the next sweep, a second for each priority.
        return bool(rows) or group.waiting(self.lines)

    async def _fitting(self, session: Session, looks: list[Look], most: int) -> int:
        """How many of the next jobs fit into the bytes that a session may still hold."""
        sizes = await self._store.peek(looks, most)
        if not sizes:
            return 1  # the claim finds as little, and notes that these lines are used up
        held, count = session.bytes_held + session.capacity.reserved_bytes, 0
        for size in sizes:
            if held and held + size > session.capacity.bytes:
                break
            held += size
            count += 1
        return count

    async def _claim_alone(self, group: Group) -> bool:
        lanes = [lane for lane in group.lanes if lane.id in self.lines.alone and not lane.gated]
        seats = (
            [session for session in group.sessions if session.free > 0 and session.isolated == 0]
            if lanes
            else []
        )
        if not seats:
            return False
        if group.sessions and any(session.capacity.by_kind for session in group.sessions):
            lanes = [lane for lane in lanes if any(session.free_for(lane.kind) > 0 for session in seats)]
            if not lanes:
                return False
        if seats[0].capacity.bytes and not seats[0].fits(
            await self._store.peek_alone([lane.id for lane in lanes])
        ):
            return False
        marks = {lane.id: self.lines.alone[lane.id] for lane in lanes}
        rows = await self._take(
            seats,
            self._store.claim_alone([lane.id for lane in lanes], {seat.id: seat.epoch for seat in seats}),
            isolated=True,
        )
        if len(rows) < len(seats):
            for lane_id, mark in marks.items():
                if self.lines.alone.get(lane_id) == mark:
                    del self.lines.alone[lane_id]
        return bool(rows)

    async def _take(self, seats: list[Session], claim, *, isolated: bool = False) -> list[Record]:  # type: ignore[no-untyped-def]
        """Runs a claim with its seats reserved, and delivers what it brought."""
        for session, count in Counter(seats).items():
            session.claim_begins(count)
        self._claims += 1
        started = asyncio.get_running_loop().time()
        delivers = False
        try:
            rows: list[Record] = await claim
            if not rows:
                return rows
            self._metrics.observe_batch("claim", asyncio.get_running_loop().time() - started, len(rows))
            by_id = {session.id: session for session in seats}
            if isolated or seats[0].bounded:
                # What the next claim may take is known when this one's jobs are.
                await self._deliver(rows, by_id, isolated)
                return rows
            # While it is on its way the next claims are made.
            before, delivers = self._delivering, True
            self._deliveries += 1
            self._delivering = asyncio.ensure_future(self._deliver_after(before, rows, seats, by_id))
            while self._deliveries > MAX_DELIVERIES:
                self._progress.clear()
                await self._progress.wait()
            return rows
        finally:
            self._claims -= 1
            if not delivers:
                self._unseat(seats)
            self.progressed()

    async def _deliver_after(
        self,
        before: asyncio.Task[None] | None,
        rows: list[Record],
        seats: list[Session],
        sessions: dict[int, Session],
    ) -> None:
        """Delivers once the delivery before has ended, and gives the seats back. The next round says what failed."""
        try:
            await self._deliver(rows, sessions, isolated=False, before=before)
        except Exception as error:
            self._failed = error
        finally:
            self._deliveries -= 1
            self._unseat(seats)
            self.wake()
            self.progressed()

    @staticmethod
    def _unseat(seats: list[Session]) -> None:
        for session, count in Counter(seats).items():
            session.claim_ended(count)

    def _lane(self, lane_id: int) -> Lane:
        lane = self._catalog.lane_by_id(lane_id)
        assert lane is not None, "a claim names only lanes that are known here"
        return lane

    async def _deliver(
        self,
        rows: list[Record],
        sessions: dict[int, Session],
        isolated: bool,
        before: asyncio.Task[None] | None = None,
    ) -> None:
        try:
            bodies = {body[0]: body for body in await self._store.bodies([row[0] for row in rows])}
            again = [row[0] for row in rows if row[4] > 1]
            checkpoints = await self._store.checkpoints(again) if again else {}
        except JobQueueError:
            # They are leased, and nobody will hear of it.
            self._orphans += [
                Leaving(row["id"], row["attempts"], row["session_id"], Event.UNDELIVERED) for row in rows
            ]
            raise
        if before is not None and not before.done():
            await asyncio.wait((before,))
        given: dict[Session, list[Lease]] = defaultdict(list)
        weight: dict[Session, int] = defaultdict(int)
        back: list[Leaving] = []
        alike: dict[tuple[object, ...], Terms] = {}
        waits: dict[Lane, list[float]] = defaultdict(list)
        # In the order of the statements' columns: by name each of a dozen values costs 0.1 us more.
        for (
            job_id, lane_id, priority, run_at, attempt, session_id, failures, max_attempts, timeout_ms, at
        ) in rows:  # fmt: skip
            session = sessions[session_id]
            body = bodies.get(job_id)
            if body is None:
                message = "the job's body is gone"
                back.append(Leaving(job_id, attempt, session.id, Event.BODY_MISSING, message=message))
                continue
            _, payload, labels, headers = body
            if session.capacity.bytes:
                if weight[session] and not session.fits(len(payload), beside=weight[session]):
                    # Others came than the ones that were weighed.
                    back.append(Leaving(job_id, attempt, session.id, Event.UNDELIVERED))
                    continue
                weight[session] += len(payload)
            key = (lane_id, attempt, priority, failures, max_attempts, timeout_ms, labels, headers)
            terms = alike.get(key)
            if terms is None:
                terms = alike[key] = Terms(
                    self._lane(lane_id), attempt, priority, failures, max_attempts, timeout_ms, at, labels, headers,
                    isolated,
                )  # fmt: skip
            waits[terms.lane].append((at - run_at).total_seconds())
            lease = Lease(session.next_lease_id(), job_id, terms, payload)
            if job_id in checkpoints:
                lease.checkpoint = checkpoints[job_id]
            given[session].append(lease)
        for lane, seconds in waits.items():
            self._metrics.waited(lane.kind, seconds)
        for session, leases in given.items():
            self.hand_over(session, leases)
        if back:
            self._orphans += back
            self.wake()

    def hand_over(self, session: Session, leases: list[Lease]) -> None:
        """Puts committed leases on the session's stream. If that is gone or draining they go back."""
        if session not in self._group_of or not session.takes_jobs:
            self.undelivered(leases, session.id)
            return
        session.add_all(leases)
        if session.link is not None:
            session.handed_over(leases)
            session.link.deliver(leases)
        self.on_handed_over(session, leases)

    def undelivered(self, leases: Iterable[Lease], session_id: int) -> None:
        """Committed leases that nobody will be told of: they go back with the next round."""
        self._orphans += [
            Leaving(lease.job_id, lease.attempt, session_id, Event.UNDELIVERED) for lease in leases
        ]
        self.wake()
