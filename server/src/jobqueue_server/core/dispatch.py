"""The dispatcher: turns credit into leases, by claims of what waits and by seats for what is just being stored.

A claim is made for a group: the sessions with the same subscriptions, so that any row it brings fits any of its seats.
Rows are claimed only against credit that exists; while a claim is under way its seats are reserved.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from uuid import UUID

from ..errors import JobQueueError
from ..lifecycle import Event, Status
from ..metrics import Metrics
from ..store.database import Record
from ..store.jobs import JobStore, Leaving, Look
from .catalog import Catalog, Lane
from .groups import Group, deal, deal_chunks
from .lines import BEGINNING, Lines
from .load import Load
from .session import Lease, Session, Terms

_log = logging.getLogger(__name__)

#: The label `outcome` of what a job became.
_OUTCOMES = {
    Status.QUEUED: "retrying",
    Status.RETRYING: "retrying",
    Status.FAILED_PERMANENT: "failed_permanent",
    Status.CANCELLED: "cancelled",
}

MAX_CLAIM = 1000
# How long an insert waits at most for the claims and settlements that go first while there is a backlog.
ADMISSION_PATIENCE = 0.05
RETRY_AFTER_ERROR = 0.25


async def _nothing_to_keep(job_ids: Iterable[UUID]) -> None:
    """Stands for the checkpoints of leases that leave, where nobody takes them."""


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
        on_finished: Callable[[Iterable[UUID]], None],
    ) -> None:
        self._store = store
        self._load = load
        self._catalog = catalog
        self._metrics = metrics
        self._on_finished = on_finished
        self.lines = lines
        self._groups: dict[object, Group] = {}
        self._group_of: dict[Session, object] = {}
        self._by_lane: dict[int, list[Group]] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._claiming = False
        self._orphans: list[Leaving] = []
        self._rounds = 0
        self.paused = False
        self.on_new_lanes: asyncio.Event = asyncio.Event()
        self.settlements_wait = False
        self.on_handed_over: Callable[[Session, Sequence[Lease]], None] = lambda session, leases: None
        self.before_leaving: Callable[[Iterable[UUID]], Awaitable[None]] = _nothing_to_keep
        catalog.on_change.append(self._lanes_changed)

    # ---- who takes what

    def attach(self, session: Session) -> None:
        """A session takes jobs from now on, or takes more or fewer than before."""
        key: object = session.id if session.bounded else session.subscriptions
        if self._group_of.get(session) == key:
            session.has_room()
            self.wake()
            return
        self.detach(session)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = Group(session.subscriptions)
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
        """Kept seats for new jobs of a lane, first come first; none where a job waits that goes before them.

        The caller releases them once its insert is answered.

        `sizes` are those of the payloads, in bytes. What is beyond the answered seats goes to the backlog.
        """
        seats = Seats(lane.kind)
        groups = self._by_lane.get(lane.id)
        if not groups or lane.gated or self.paused or self._blocked(lane, priority):
            return seats
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

    def _blocked(self, lane: Lane, priority: int) -> bool:
        for line in self.lines.of_queue(lane.queue_id):
            if (
                line.ready
                and line.priority >= priority
                and line.lane.id in self._by_lane
                and not line.lane.gated
            ):
                return True
        return False

    # ---- admission: new work waits for finished work

    async def admit(self) -> None:
        """Waits, while there is a backlog that credit could take, until claims and settlements had their turn.

        Without this rule the system has two states, and falls into the slow one as soon as producers outrun workers
        (measured: 10-14 k jobs ended per second instead of 55 k).
        """
        if not self._backlog():
            return
        loop = asyncio.get_running_loop()
        give_up = loop.time() + ADMISSION_PATIENCE
        wanted = self._rounds + 1 if self._claimable() else self._rounds
        while self._claiming or self.settlements_wait or (self._rounds < wanted and self._claimable()):
            left = give_up - loop.time()
            if left <= 0:
                return
            self._progress.clear()
            try:
                async with asyncio.timeout(left):
                    await self._progress.wait()
            except TimeoutError:
                return

    def progressed(self) -> None:
        """A claim or a settlement ended."""
        self._progress.set()

    def _backlog(self) -> bool:
        return any(group.waiting(self.lines) for group in self._groups.values())

    def _claimable(self) -> bool:
        return any(group.has_credit() and group.looks(self.lines, 1)[0] for group in self._groups.values())

    # ---- claims

    async def run(self) -> None:
        """Claims while there is both credit and work, until cancelled."""
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

    async def _round(self) -> bool:
        """One claim for each group that can have one. Returns whether another round may bring something."""
        again = False
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
            await self.give_back(orphans)
        except JobQueueError:
            self._orphans += orphans
            raise

    async def _claim(self, group: Group) -> bool:
        if not group.waiting(self.lines):
            return False
        seats = deal(group.by_room(), MAX_CLAIM, whole=self._load.short)
        if not seats:
            return False
        looks, lines = group.looks(self.lines, len(seats))
        if not looks:
            return False
        if seats[0].bytes_limit:
            seats = seats[: await self._fitting(seats[0], looks, len(seats))]
            if not seats:
                return False
        marks = [line.mark for line in lines]
        rows = await self._take(
            seats,
            self._store.claim(looks, [seat.id for seat in seats], {seat.id: seat.epoch for seat in seats}),
        )
        group.turn += 1
        found: dict[tuple[int, int], int] = defaultdict(int)
        newest: dict[tuple[int, int], datetime] = {}
        for _, lane_id, priority, run_at, *_ in rows:
            key = (lane_id, priority)
            found[key] += 1
            if run_at > newest.get(key, BEGINNING):
                newest[key] = run_at
        for (lane_id, priority), run_at in newest.items():
            self.lines.line(self._lane(lane_id), priority).claimed(run_at)
        for look, line, mark in zip(looks, lines, marks, strict=True):
            count = found[look.lane_id, look.priority]
            line.thick = count >= look.take
            # Fewer rows than seats: nothing was cut off, so what was not found is not there.
            if len(rows) < len(seats) and count < look.take and line.mark == mark:
                line.ready = False
        # A look stops at the first thick priority. Where that was just used up, nothing was found and those below it
        # were not asked: without another round they would wait for the next sweep, a second for each priority.
        return bool(rows) or group.waiting(self.lines)

    async def _fitting(self, session: Session, looks: list[Look], most: int) -> int:
        """How many of the next jobs fit into the bytes that a session may still hold."""
        sizes = await self._store.peek(looks, most)
        if not sizes:
            return 1  # the claim finds as little, and notes that these lines are used up
        held, count = session.bytes_held + session.bytes_reserved, 0
        for size in sizes:
            if held and held + size > session.bytes_limit:
                break
            held += size
            count += 1
        return count

    async def _claim_alone(self, group: Group) -> bool:
        lanes = [lane for lane in group.lanes if lane.id in self.lines.alone and not lane.gated]
        seats = (
            [session for session in group.sessions if session.free > 0 and session.suspects == 0]
            if lanes
            else []
        )
        if not seats:
            return False
        if group.sessions and any(session.slots_by_kind for session in group.sessions):
            lanes = [lane for lane in lanes if any(session.free_for(lane.kind) > 0 for session in seats)]
            if not lanes:
                return False
        if seats[0].bytes_limit and not seats[0].fits(
            await self._store.peek_alone([lane.id for lane in lanes])
        ):
            return False
        marks = {lane.id: self.lines.alone[lane.id] for lane in lanes}
        rows = await self._take(
            seats,
            self._store.claim_alone([lane.id for lane in lanes], {seat.id: seat.epoch for seat in seats}),
            suspect=True,
        )
        if len(rows) < len(seats):
            for lane_id, mark in marks.items():
                if self.lines.alone.get(lane_id) == mark:
                    del self.lines.alone[lane_id]
        return bool(rows)

    async def _take(self, seats: list[Session], claim, *, suspect: bool = False) -> list[Record]:  # type: ignore[no-untyped-def]
        """Runs a claim with its seats reserved, and delivers what it brought."""
        for session in seats:
            session.reserved += 1
            session.claiming = True
        self._claiming = True
        started = asyncio.get_running_loop().time()
        try:
            rows: list[Record] = await claim
            if rows:
                self._metrics.observe_batch("claim", asyncio.get_running_loop().time() - started, len(rows))
                await self._deliver(rows, {session.id: session for session in seats}, suspect)
            return rows
        finally:
            self._claiming = False
            for session in seats:
                session.reserved -= 1
                session.claiming = False
                session.has_room()

    def _lane(self, lane_id: int) -> Lane:
        lane = self._catalog.lane_by_id(lane_id)
        assert lane is not None, "a claim names only lanes that are known here"
        return lane

    async def _deliver(self, rows: list[Record], sessions: dict[int, Session], suspect: bool) -> None:
        try:
            bodies = {body[0]: body for body in await self._store.bodies([row[0] for row in rows])}
            again = [row["id"] for row in rows if row["attempts"] > 1]
            checkpoints = await self._store.checkpoints(again) if again else {}
        except JobQueueError:
            # They are leased, and nobody will hear of it.
            self._orphans += [
                Leaving(row["id"], row["attempts"], row["session_id"], Event.UNDELIVERED) for row in rows
            ]
            raise
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
            if session.bytes_limit:
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
                    suspect,
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
        if session not in self._group_of or session.draining:
            self.undelivered(leases, session.id)
            return
        session.add_all(leases)
        if session.link is not None:
            session.link.deliver(leases)
        self.on_handed_over(session, leases)

    def undelivered(self, leases: Iterable[Lease], session_id: int) -> None:
        """Committed leases that nobody will be told of: they go back with the next round."""
        self._orphans += [
            Leaving(lease.job_id, lease.attempt, session_id, Event.UNDELIVERED) for lease in leases
        ]
        self.wake()

    async def give_back(self, leavings: list[Leaving]) -> list[Record]:
        """Takes leases out of RUNNING, and tells the lines where their jobs wait now."""
        await self.before_leaving(leaving.id for leaving in leavings)
        rows = await self._store.leave(leavings)
        self.returned(rows)
        return rows

    def returned(self, rows: Sequence[Record]) -> None:
        """Jobs left RUNNING otherwise than by success: notes where they wait now, or who waits for their end."""
        for row in rows:
            if row["run_at"] is not None:
                self.lines.left(row["lane_id"], row["priority"], row["losses"], row["run_at"])
            lane = self._catalog.lane_by_id(row["lane_id"])
            if lane is not None and row["event"] != Event.UNDELIVERED:
                self._metrics.finished(lane.kind, _OUTCOMES[row["status"]])
                self._metrics.ran(lane.kind, (row["at"] - row["started_at"]).total_seconds())
        ended = [row["id"] for row in rows if row["run_at"] is None]
        if ended:
            self._on_finished(ended)
