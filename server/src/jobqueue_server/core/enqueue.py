"""Enqueueing: concurrent calls share one insert, which is answered after its commit.

An enqueue is a unit: one job, or a batch that is stored whole or not at all. Units without idempotency keys gather
while the last insert commits; those with keys flush apart, each key once.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from json.encoder import encode_basestring
from typing import cast
from uuid import UUID

from ..errors import FieldViolation, IdempotencyKeyReused, Internal, JobQueueError, QueueFull
from ..fields import FIELDS, milliseconds
from ..ids import IdMint
from ..lifecycle import Status
from ..metrics import Metrics
from ..model import DEFAULT_MAX_ATTEMPTS, Enqueued, EnqueuedBatch, Job, NewJob, NewJobs
from ..scope import Scope
from ..store.database import DataError
from ..store.database import Session as StoreSession
from ..store.intake.intake import IntakeStore, NewRows, Stored
from ..store.query.reads import ReadStore
from .callers import FairLine
from .catalog import Catalog, Lane
from .claim.handoff import HandOff, SlotReservation
from .clock import Clock
from .digest import key_digest, request_digest
from .lease.lease import Lease, LeaseTemplate
from .lease.session import Session
from .load import Load
from .window import wait_for_company

_log = logging.getLogger(__name__)

MAX_ROWS = 1000
MAX_BYTES = 8 << 20
KEYS_VANISH_TRIES = 5
# Each has a connection for all of its transaction; the others are for claims and settlements.
KEYED_BATCHES_AT_ONCE = 1


@dataclass(slots=True, eq=False)
class Unit:
    """One call's jobs on their way to the database. `taken`: an insert has them."""

    rows: list[NewRows]
    lanes: list[Lane]
    jobs: int
    size: int
    taken: bool = False
    done: asyncio.Future[Stored] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @classmethod
    def of(cls, rows: list[NewRows], lanes: list[Lane]) -> Unit:
        """Of rows and the lane of each."""
        if len(rows) == 1:
            payloads = rows[0].payloads
            return cls(rows, lanes, len(payloads), sum(map(len, payloads)))
        jobs = sum(len(row.ids) for row in rows)
        return cls(rows, lanes, jobs, sum(sum(map(len, row.payloads)) for row in rows))

    def give_up(self) -> None:
        """Its caller has gone. What no insert has yet is not stored, and not kept until its turn comes."""
        if not self.taken:
            self.rows, self.lanes, self.jobs, self.size = [], [], 0, 0
            self.done.cancel()


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that are stored together or not at all, with their lanes. `at` is the path of their list in the request."""

    rows: list[NewRows]
    lanes: list[Lane]
    at: str

    @property
    def keyed(self) -> bool:
        """Whether one of them has an idempotency key."""
        return any(row.key_digest is not None for row in self.rows)


class KeyVanished(Exception):
    """A key that was taken a moment ago is nobody's now."""


class Enqueuer:
    """Stores new jobs, and hands them to workers with credit in the same breath."""

    def __init__(
        self,
        store: IntakeStore,
        catalog: Catalog,
        dispatcher: HandOff,
        clock: Clock,
        mint: IdMint,
        metrics: Metrics,
        reads: ReadStore,
        load: Load,
        *,
        most_waiting: int,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._dispatcher = dispatcher
        self._clock = clock
        self._mint = mint
        self._metrics = metrics
        self._reads = reads
        self._most_waiting = most_waiting
        self._plain: FairLine[Unit] = FairLine()
        self._keyed: FairLine[Unit] = FairLine()
        self._pending_keys: dict[bytes, asyncio.Future[Stored]] = {}
        self._last_headers: tuple[Mapping[str, str], bytes] = ({}, b"")
        self._waiting = 0
        self._load = load
        self._batches = asyncio.Semaphore(KEYED_BATCHES_AT_ONCE)
        self._wake = asyncio.Event()
        self._keyed_wake = asyncio.Event()

    # ---- callers

    async def enqueue(self, scope: Scope, new: NewJob) -> Enqueued:
        """Stores one job, or answers the one that its idempotency key stands for.

        Raises:
            PayloadInvalid, KindUnknown: It does not fit.
            IdempotencyKeyReused: Its key stands for another request.
            QueueFull: Too many wait to be stored.
            DatabaseAway: It may have been stored or not.
        """
        lane = self._catalog.known_lane(scope, new.queue, new.kind)
        if lane is None:
            with self._taking_room(1):
                lane = await self._catalog.lane(scope, new.queue, new.kind)
        self._catalog.check_payload(lane, new.payload)
        row = self._rows([self._mint.mint()], NewJobs.of(new), lane)
        if new.idempotency_key is None:
            stored = await self._put(self._plain, self._wake, Unit.of([row], [lane]))
            return Enqueued(row.id, False, self._as_enqueued(row, lane, stored.at))
        digest = key_digest(scope.namespace, new.idempotency_key)
        row.namespace, row.key_digest, row.request_digest = scope.namespace, digest, request_digest(new)
        for _ in range(KEYS_VANISH_TRIES):
            pending = self._pending_keys.get(digest)
            if pending is not None:
                # The same key is being stored right now: what comes of it decides about this one.
                await asyncio.wait([pending])
            else:
                unit = Unit.of([row], [lane])
                self._pending_keys[digest] = unit.done
                unit.done.add_done_callback(lambda _: self._pending_keys.pop(digest, None))
                stored = await self._put(self._keyed, self._keyed_wake, unit)
                if row.id not in stored.lost_keys:
                    return Enqueued(row.id, False, self._as_enqueued(row, lane, stored.at))
            winner = (await self._store.find_keys(scope, [digest])).get(digest)
            if winner is not None:
                self._same_request(winner, row, "job.idempotency_key")
                return Enqueued(winner[0], True, await self._reads.get(scope, winner[0]))
            row.ids = [self._mint.mint()]
        raise Internal("the idempotency key changed hands too often; try again")

    def start(self, scope: Scope, jobs: Sequence[NewJobs], caller: str) -> Unit | None:
        """Puts jobs without keys in line, without waiting for them; None where `enqueue` has more to do.

        Raises:
            PayloadInvalid: One does not fit.
        """
        lanes, rows = [], []
        for some in jobs:
            new = some.new
            lane = self._catalog.known_lane(scope, new.queue, new.kind)
            if lane is None:
                return None
            if not self._catalog.takes_any_json(lane):
                for payload in some.payloads:
                    self._catalog.check_payload(lane, payload)
            lanes.append(lane)
            rows.append(self._rows(self._mint.mint_many(len(some.payloads)), some, lane))
        unit = Unit.of(rows, lanes)
        if self._waiting + unit.jobs > self._most_waiting:
            return None
        count = unit.jobs
        self._load.arrived += 1
        self._waiting += count
        unit.done.add_done_callback(lambda done: self._no_longer_waiting(count))
        self._plain.append(unit, caller)
        self._wake.set()
        return unit

    def _jobs_waiting(self) -> int:
        return self._waiting

    def _no_longer_waiting(self, jobs: int) -> None:
        self._waiting -= jobs

    def job_of(self, unit: Unit, at: datetime) -> Job:
        """The job of such a unit as it was enqueued at that time."""
        return self._as_enqueued(unit.rows[0], unit.lanes[0], at)

    async def enqueue_batch(self, scope: Scope, jobs: Sequence[NewJobs]) -> EnqueuedBatch:
        """Stores all of them, or none. Those with a key that was used before answer the job that it stands for.

        Raises:
            As `enqueue`; the violations name the jobs by their place, `jobs[3].payload`.
        """
        with self._taking_room(sum(len(some.payloads) for some in jobs)):
            batch = await self.prepare(scope, jobs, "jobs")
        if batch.keyed:
            return await self._keyed_batch(scope, batch)
        await self._put(self._plain, self._wake, Unit.of(batch.rows, batch.lanes))
        return EnqueuedBatch([job_id for row in batch.rows for job_id in row.ids])

    async def prepare(self, scope: Scope, jobs: Sequence[NewJobs], at: str) -> Batch:
        """Checks jobs that are to be stored together, and makes their rows; `at` is the path of their list.

        Raises:
            PayloadInvalid, KindUnknown: One does not fit.
        """
        rows, lanes = [], []
        ids = self._mint.mint_many(sum(len(some.payloads) for some in jobs))
        first = 0
        for some in jobs:
            new = some.new
            lane = self._catalog.known_lane(scope, new.queue, new.kind) or await self._catalog.lane(
                scope, new.queue, new.kind, f"{at}[{first}].kind"
            )
            if not self._catalog.takes_any_json(lane):
                for index, payload in enumerate(some.payloads, first):
                    self._catalog.check_payload(lane, payload, f"{at}[{index}].payload")
            rows.append(self._rows(ids[first : first + len(some.payloads)], some, lane))
            lanes.append(lane)
            first += len(some.payloads)
        for row in rows:
            if row.new.idempotency_key is not None:
                row.namespace = scope.namespace
                row.key_digest = key_digest(scope.namespace, row.new.idempotency_key)
                row.request_digest = request_digest(row.new)
        return Batch(rows, lanes, at)

    @contextmanager
    def _taking_room(self, jobs: int) -> Iterator[None]:
        """Around what a call's jobs wait for before they are in line: they wait to be stored as those in line do.

        A flood of calls that were the first in their lane was read whole before. Follow-ups take no room: they end a
        job.

        Raises:
            QueueFull: Too many wait.
        """
        self.check_room(jobs)
        self._waiting += jobs
        try:
            yield
        finally:
            self._waiting -= jobs

    def _rows(self, ids: list[UUID], jobs: NewJobs, lane: Lane) -> NewRows:
        new = jobs.new
        kind = self._catalog.kind_of(lane)
        attempts = new.max_attempts if new.max_attempts is not None else kind.max_attempts
        timeout = new.timeout if new.timeout is not None else kind.timeout
        return NewRows(
            ids,
            jobs.payloads,
            lane.id,
            new,
            attempts,
            None if timeout is None else milliseconds(timeout),
            json.dumps(dict(new.labels)) if new.labels else None,
            self._encode_headers(new.headers) if new.headers else None,
        )

    def _encode_headers(self, headers: Mapping[str, str]) -> bytes:
        """As JSON. The jobs of a batch mostly have the same; `json.dumps` costs 8 us where this takes 1."""
        if len(headers) == 1 and (only := headers.get("x-request-id")) is not None:
            # One of its own for each call that brings one job.
            return b'{"x-request-id": %b}' % encode_basestring(only).encode()
        if headers is not self._last_headers[0] and headers != self._last_headers[0]:
            text = ", ".join(
                f"{encode_basestring(name)}: {encode_basestring(value)}" for name, value in headers.items()
            )
            self._last_headers = headers, f"{{{text}}}".encode()
        return self._last_headers[1]

    def _as_enqueued(self, row: NewRows, lane: Lane, at: datetime) -> Job:
        """The job as it was enqueued: what followed since is read by GetJob."""
        new = row.new
        run_at = new.run_at if new.run_at is not None else at + (new.delay or timedelta())
        created_at = _time_of(row.id)
        return _as_asked(
            new,
            id=row.id,
            status=Status.QUEUED,
            attempts=0,
            failures=0,
            losses=0,
            max_attempts=row.max_attempts or DEFAULT_MAX_ATTEMPTS,
            run_at=max(run_at, at),
            created_at=created_at,
            updated_at=at,
            timeout=None if row.timeout_ms is None else timedelta(milliseconds=row.timeout_ms),
        )

    @staticmethod
    def _same_request(winner: tuple[UUID, bytes], row: NewRows, path: str) -> None:
        job_id, digest = winner
        if digest != row.request_digest:
            message = (
                f"the key was used for another request, whose job is {job_id}; choose a new key for this one"
            )
            raise IdempotencyKeyReused(
                message, metadata={"job_id": str(job_id)}, violations=[FieldViolation(path, message)]
            )

    # ---- keyed batches: a transaction of their own

    async def _keyed_batch(self, scope: Scope, batch: Batch) -> EnqueuedBatch:
        """A batch in which a job has a key; no key stands twice in it. Its jobs all go to the backlog."""
        ids = [job_id for row in batch.rows for job_id in row.ids]
        self.check_room(len(ids))
        self._waiting += len(ids)
        try:
            async with self._batches:
                for _ in range(KEYS_VANISH_TRIES):
                    try:
                        async with self._store.transaction() as session:
                            replays = await self.store_within(scope, session, batch)
                    except KeyVanished:
                        continue
                    self.announce(batch, replays)
                    return EnqueuedBatch(
                        [replays.get(job_id, job_id) for job_id in ids], frozenset(replays.values())
                    )
        finally:
            self._waiting -= len(ids)
        raise Internal("the idempotency keys changed hands too often; try again")

    async def store_within(self, scope: Scope, session: StoreSession, batch: Batch) -> dict[UUID, UUID]:
        """Stores a batch within somebody's transaction, none of it handed off.

        Args:
            scope: That of the jobs that have keys.
            session: The transaction.
            batch: Its jobs.

        Returns:
            The rows that were not stored because their key stands for a job already: id of the row -> that job.

        Raises:
            KeyVanished: A key was taken and is free now; try again in a new transaction.
            IdempotencyKeyReused: A key stands for another request.
        """
        keyed = [row for row in batch.rows if row.key_digest is not None]
        plain = [row for row in batch.rows if row.key_digest is None]
        replays: dict[UUID, UUID] = {}
        if keyed:
            stored = await self._store.enqueue(keyed, session)
            lost = [row for row in keyed if row.id in stored.lost_keys]
            winners = (
                await self._store.find_keys(scope, [row.key_digest or b"" for row in lost], session)
                if lost
                else {}
            )
            for row in lost:
                winner = winners.get(row.key_digest or b"")
                if winner is None:
                    raise KeyVanished
                index = sum(len(one.ids) for one in batch.rows[: batch.rows.index(row)])
                self._same_request(winner, row, f"{batch.at}[{index}].idempotency_key")
                replays[row.id] = winner[0]
        if plain:
            await self._store.enqueue(plain, session)
        return replays

    def announce(self, batch: Batch, replays: Mapping[UUID, UUID]) -> None:
        """A batch is committed: tells the lines of what waits now."""
        for row, lane in zip(batch.rows, batch.lanes, strict=True):
            if row.id not in replays:
                self._waits(row, lane)
                self._metrics.enqueued(lane.kind, len(row.ids))

    # ---- the shared inserts

    async def _put(self, line: FairLine[Unit], wake: asyncio.Event, unit: Unit) -> Stored:
        jobs = unit.jobs
        try:
            self.check_room(jobs)
        except QueueFull:
            # Those who come with the same key must not wait for what is never stored.
            unit.done.cancel()
            raise
        self._load.arrived += 1
        self._waiting += jobs
        line.append(unit)
        wake.set()
        try:
            # Shielded: a caller that gives up must not take its neighbours' insert along.
            return await asyncio.shield(unit.done)
        except asyncio.CancelledError:
            unit.give_up()
            raise
        finally:
            self._waiting -= jobs

    def check_room(self, jobs: int) -> None:
        """Refuses jobs that there is no room for.

        Raises:
            QueueFull: Too many wait to be stored.
        """
        if self._waiting + jobs > self._most_waiting:
            message = f"{self._waiting} jobs wait to be stored, as many as the server holds"
            raise QueueFull(message, retry_after=timedelta(milliseconds=200))

    async def run(self) -> None:
        """Stores jobs without keys, until cancelled."""
        await self._serve(self._plain, self._wake)

    async def run_keyed(self) -> None:
        """Stores jobs with keys, until cancelled."""
        await self._serve(self._keyed, self._keyed_wake)

    async def _serve(self, line: FairLine[Unit], wake: asyncio.Event) -> None:
        # After a crash the line may hold what nobody wakes us for again.
        wake.set()
        while True:
            await wake.wait()
            wake.clear()
            while line:
                await wait_for_company(self._load, self._jobs_waiting)
                most = min(await self._dispatcher.admit(), MAX_ROWS)
                units = self._gather(line, most)
                if units:
                    await self._flush(units)

    @staticmethod
    def _gather(line: FairLine[Unit], most: int) -> list[Unit]:
        """The next units, within the bounds of one insert: so many jobs, or one unit."""
        units: list[Unit] = []
        rows = size = 0
        while line:
            unit = line.peek()
            if units and (rows + unit.jobs > most or size + unit.size > MAX_BYTES):
                break
            line.pop()
            if unit.done.done():
                continue  # its caller gave up
            unit.taken = True
            units.append(unit)
            rows += unit.jobs
            size += unit.size
        return units

    async def _flush(self, units: list[Unit]) -> None:
        loop = asyncio.get_running_loop()
        rows = [row for unit in units for row in unit.rows]
        lanes = [lane for unit in units for lane in unit.lanes]
        started = loop.time()
        kept: list[SlotReservation] = []
        try:
            self._seat(rows, lanes, kept)
            with self._dispatcher.handing_off():
                stored = await self._store.enqueue(rows)
        except Exception as error:
            await self._failed(units, error)
            return
        finally:
            for seats in kept:
                seats.release()
        jobs = sum(unit.jobs for unit in units)
        self._dispatcher.brought(jobs)
        self._metrics.observe_batch("enqueue", loop.time() - started, jobs)
        try:
            self._after(rows, lanes, stored)
        finally:
            # They are committed, whatever becomes of the hand-off.
            for unit in units:
                if not unit.done.done():
                    unit.done.set_result(stored)

    async def _failed(self, units: list[Unit], error: Exception) -> None:
        """A value that PostgreSQL refuses harms its own unit only; all else is everybody's answer."""
        if isinstance(error, DataError) and len(units) > 1:
            for unit in units:
                await self._flush([unit])
            return
        if not isinstance(error, JobQueueError):
            _log.error("an insert of %d calls failed", len(units), exc_info=error)
        for unit in units:
            if not unit.done.done():
                unit.done.set_exception(error)
                # A caller that gave up meanwhile never looks at it.
                unit.done.exception()

    def _seat(self, rows: list[NewRows], lanes: list[Lane], kept: list[SlotReservation]) -> None:
        """Keeps seats for jobs that may start at once, to be released later, and notes them in the rows."""
        wanted: dict[tuple[Lane, int], list[NewRows]] = defaultdict(list)
        for row, lane in zip(rows, lanes, strict=True):
            row.seats = []
            new = row.new
            if new.delay is None and new.run_at is None:
                wanted[lane, new.priority].append(row)
        for (lane, priority), alike in sorted(wanted.items(), key=lambda entry: -entry[0][1]):
            sizes = [len(payload) for row in alike for payload in row.payloads]
            seats = self._dispatcher.seats(lane, priority, sizes)
            kept.append(seats)
            takers = iter(alike)
            row, room = next(takers), len(alike[0].ids)
            for session, count in seats.sessions:
                while count:
                    if not room:
                        row = next(takers)
                        room = len(row.ids)
                    some = min(room, count)
                    row.seats.append((session, some))
                    room -= some
                    count -= some

    def _after(self, rows: list[NewRows], lanes: list[Lane], stored: Stored) -> None:
        """The insert is committed: delivers what was handed off, and tells the lines of the rest."""
        given: dict[Session, list[Lease]] = defaultdict(list)
        counts: dict[Lane, int] = defaultdict(int)
        ready: set[tuple[int, int]] = set()
        lost, refused, at = stored.lost_keys, stored.refused, stored.at
        for row, lane in zip(rows, lanes, strict=True):
            ids, payloads = row.ids, row.payloads
            if lost and row.id in lost:
                continue
            counts[lane] += len(ids)
            first = 0
            if row.seats:
                terms = LeaseTemplate(
                    lane, 1, row.new.priority, 0, row.max_attempts or DEFAULT_MAX_ATTEMPTS, row.timeout_ms, at,
                    row.labels, row.headers,
                )  # fmt: skip
                for holder, count in row.seats:
                    session, end = cast(Session, holder), first + count
                    leases = [
                        Lease(lease_id, job_id, terms, payload)
                        for lease_id, job_id, payload in zip(
                            session.next_lease_ids(count), ids[first:end], payloads[first:end], strict=True
                        )
                        if not (refused and job_id in refused)
                    ]
                    if leases:
                        given[session] += leases
                        self._metrics.waited_not(lane.kind, len(leases))
                    if len(leases) < count:
                        ready.add((lane.id, row.new.priority))
                    first = end
            if first == len(ids):
                continue
            if row.new.run_at is None and row.new.delay is None:
                ready.add((lane.id, row.new.priority))
            else:
                self._waits(row, lane)
        for session, leases in given.items():
            self._dispatcher.hand_over(session, leases)
        for lane_id, priority in ready:
            self._dispatcher.lines.ready(lane_id, priority)
        for lane, count in counts.items():
            self._metrics.enqueued(lane.kind, count)

    def _waits(self, row: NewRows, lane: Lane) -> None:
        new = row.new
        if new.run_at is not None:
            self._dispatcher.lines.due_at(lane.id, new.priority, new.run_at)
        elif new.delay is not None:
            self._dispatcher.lines.due_at(lane.id, new.priority, self._clock.now() + new.delay)
        else:
            self._dispatcher.lines.ready(lane.id, new.priority)


def _compiled(*others: str) -> Callable[..., Job]:
    """Makes the function of a NewJob, and by name of these others, that answers the Job.

    Its text is made of the list of fields: all else that is asked for is shown as it was asked for.
    """
    same = [
        f"{field.name}=new.{field.name}"
        for field in FIELDS
        if field.asked and field.shown and field.name not in others
    ]
    given = ", ".join([*same, *(f"{name}={name}" for name in others)])
    made: Callable[..., Job] = eval(f"lambda new, *, {', '.join(others)}: Job({given})", {"Job": Job})
    return made


_as_asked = _compiled(
    "id",
    "status",
    "attempts",
    "failures",
    "losses",
    "max_attempts",
    "run_at",
    "created_at",
    "updated_at",
    "timeout",
)


def _time_of(job_id: UUID) -> datetime:
    return datetime.fromtimestamp((job_id.int >> 80) / 1000, tz=UTC)
