"""Inserts of jobs, and the idempotency keys that stand for jobs already. Arrays in, rows out, one commit a call.

The arguments are plain lists: at tens of thousands of jobs a second a frozen dataclass for each job (about 1 us) would
cost as much as the job.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from json.encoder import encode_basestring_ascii
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from ...fields import COLUMNS, milliseconds, reading
from ...lifecycle import Hold
from ...model import NewJob, Unique, UniqueAction, UniqueField, Until
from ...scope import Scope
from ..database import BacklogRefused, Database, Record, Session


class Holder(Protocol):
    """The session of which a hand-off has reserved slots."""

    id: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Name:
    """The name that a job wants to hold.

    Attributes:
        digest: Of the name, its scope and its namespace.
        unique: What the job said of it.
    """

    digest: bytes
    unique: Unique

    @property
    def stored(self) -> str:
        """What the job keeps of it, as JSON: by this a retry finds its name and its scope, and a reader its key."""
        unique = self.unique
        said = f'"digest": "{self.digest.hex()}", "until": {int(unique.until)}, "scope": {int(unique.scope)}'
        if unique.key is None:
            return f"{{{said}}}"
        return f'{{{said}, "key": {encode_basestring_ascii(unique.key)}}}'


@dataclass(frozen=True, slots=True)
class NameHolder:
    """The job that holds a name.

    Attributes:
        job_id: The job.
        waits: Whether it waits; it is locked then. Of names that nothing changes, False.
        lane_id: Its lane, where it waits.
        key: Its key, where it waits.
    """

    job_id: UUID
    waits: bool = False
    lane_id: int | None = None
    key: str | None = None


class KeyHolder(NamedTuple):
    """What an idempotency key stands for.

    Attributes:
        job_id: The job.
        request_digest: Of the request.
        owner: Of the principal that made it.
    """

    job_id: UUID
    request_digest: bytes
    owner: bytes


@dataclass(frozen=True, slots=True)
class Conflict:
    """The job that holds the name of one that was not stored.

    Attributes:
        job_id: The one that holds it.
        action: What was done with it. None: the other one is refused.
        apart: Whether it is refused since the two differ in what is never changed.
    """

    job_id: UUID
    action: UniqueAction | None
    apart: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """Where a job waits that got what a later one of its name brought.

    Attributes:
        lane_id: Its lane.
        priority: Its priority.
        run_at: When it may start.
        isolated: Whether it is to run alone.
        hold: What holds it back.
    """

    lane_id: int
    priority: int
    run_at: datetime
    isolated: bool
    hold: Hold | None


@dataclass(slots=True, eq=False)
class NewRows:
    """Jobs to be stored that differ only in their ids, payloads and keys, as those of a batch mostly do.

    `new` has what they share; its payload and key are those of the first job. `slots` are the slots that a hand-off
    reserved: each session takes so many of the jobs, in their order. The jobs beyond them go to the backlog. A job with
    an idempotency key has rows of its own; `namespace` is the key's, and `owner` stands for its principal. `keys` has
    the key of each job; None: they have none. `semaphore_ids` has the semaphore of each key; None: nothing limits the
    jobs. `name` is the name that the one job of the row wants to hold.
    """

    ids: list[UUID]
    payloads: list[bytes]
    lane_id: int
    new: NewJob
    max_attempts: int | None = None
    timeout_ms: int | None = None
    labels: str | None = None
    headers: bytes | None = None
    slots: list[tuple[Holder, int]] = field(default_factory=list)
    key_digest: bytes | None = None
    request_digest: bytes | None = None
    namespace: int | None = None
    owner: bytes = b""
    keys: list[str] | None = None
    semaphore_ids: list[int] | None = None
    name: Name | None = None

    @property
    def id(self) -> UUID:
        """The first one's, which is the only one's mostly."""
        return self.ids[0]

    def key(self, namespace: int, key_digest: bytes, request_digest: bytes, owner: bytes) -> None:
        """The one job of the row has an idempotency key."""
        self.namespace, self.key_digest = namespace, key_digest
        self.request_digest, self.owner = request_digest, owner

    def place_key(self, key_digest: bytes) -> None:
        """Its idempotency key stands under this digest."""
        self.key_digest = key_digest

    def of_name(self, name: Name) -> None:
        """The one job of the row is unique."""
        self.name = name

    def of_keys(self, keys: list[str], semaphore_ids: list[int] | None) -> None:
        """Each of the jobs has a key, and the semaphore of its key where the queue limits keys."""
        self.keys, self.semaphore_ids = keys, semaphore_ids


@dataclass(frozen=True, slots=True)
class Stored:
    """What an enqueue did.

    Attributes:
        at: When, by the database's clock.
        lost_keys: The jobs whose idempotency key was taken.
        refused: The jobs whose reserved slot was gone.
        kept: The jobs that wait for their key.
        calling: The keys that may let one in now.
        conflicts: The jobs that were not stored since another one holds their name.
        changed: Jobs that got what later ones of their name brought.
    """

    at: datetime
    lost_keys: frozenset[UUID]
    refused: frozenset[UUID]
    kept: frozenset[UUID] = frozenset()
    calling: Sequence[int] = ()
    conflicts: Mapping[UUID, Conflict] = field(default_factory=dict)
    changed: Sequence[Changed] = ()


class BacklogOfKeys(Exception):
    """Keys have as many waiting jobs as their queues allow, so nothing was stored. `semaphore_ids` has theirs."""

    def __init__(self, semaphore_ids: frozenset[int]) -> None:
        super().__init__("the backlog of a key is full")
        self.semaphore_ids = semaphore_ids


#: The arguments of enqueue.sql before those of idempotency keys; enqueue_named.sql has those of names there.
_KEYS_FROM = 8
_AN_HOUR = timedelta(hours=1)
#: No session has this number.
_NO_SESSION = 0


def _column(values: list[Any]) -> list[Any]:
    """The column, or an empty one if no run uses it: `unnest` fills it with nulls, and encoding costs 0.2 us a job."""
    for value in values:
        if value is not None:
            return values
    return []


def _each(rows: Sequence[NewRows], lists: list[list[Any] | None]) -> list[Any]:
    """One value for each job, of rows that have a list of them or None; or an empty column if no row has one."""
    if not any(lists):
        return []
    if len(rows) == 1:
        return lists[0] or []
    values: list[Any] = []
    for row, some in zip(rows, lists, strict=True):
        values += [None] * len(row.ids) if some is None else some
    return values


def _numbers(values: list[int]) -> list[int]:
    """As `_column`, for numbers: 0 is stored where a request names none."""
    return values if any(values) else []


def _starts_later(new: NewJob) -> bool:
    return new.run_at is not None or new.delay is not None


def _starts(runs: Sequence[NewRows]) -> tuple[list[Any], list[Any]]:
    """The columns of `run_at` and `delay`."""
    if any(_starts_later(run.new) for run in runs):
        return _column([run.new.run_at for run in runs]), _column(
            [milliseconds(run.new.delay) for run in runs]
        )
    return [], []


def _stored(record: Record, ids: Sequence[UUID], keyed: bool, limited: bool) -> Stored:
    lost: frozenset[UUID] = frozenset()
    if keyed:
        lost = frozenset(ids).difference(record["stored"] or ())
    refused = frozenset(record["refused"] or ())
    if limited:
        return Stored(record["at"], lost, refused, frozenset(record["kept"] or ()), record["calling"] or ())
    return Stored(record["at"], lost, refused)


def _compiled() -> Callable[[Sequence[NewRows], Sequence[NewRows]], list[list[Any]]]:
    """Makes the function that answers what rows, and the runs of them, have in each of `fields.COLUMNS`.

    Its text is made of the list, as dataclasses make theirs: with a loop over the list an insert of 200 calls takes a
    fifth more here.
    """
    names: dict[str, Any] = {"column": _column, "numbers": _numbers, "each": _each}
    columns, plain, uses = [], [], []
    for each in COLUMNS:
        if each.each:
            column = f"each(rows, [one.{each.of} for one in rows])"
        else:
            used = "column" if each.unset is None else "numbers"
            runs = "new" if each.of.startswith("new.") else "runs"
            column = f"{used}([{reading(each, 'one', names)} for one in {runs}])"
        columns.append(column)
        # Nearly all jobs have headers, and nothing else: one look at each run then saves a dozen of columns.
        if each.name == "headers":
            plain.append(column)
        else:
            plain.append("[]")
            uses.append(
                f"one.{each.of}" if each.each or each.unset is not None else f"one.{each.of} is not None"
            )
    lines = (
        "def columns_of(rows, runs):",
        "    new = [run.new for run in runs]",
        "    for one in runs:",
        f"        if {' or '.join(uses)}:",
        f"            return [{', '.join(columns)}]",
        f"    return [{', '.join(plain)}]",
    )
    exec("\n".join(lines), names)
    made: Callable[[Sequence[NewRows], Sequence[NewRows]], list[list[Any]]] = names["columns_of"]
    return made


_columns_of = _compiled()


def _arguments(
    rows: Sequence[NewRows], keyed: bool, key_ttl: timedelta
) -> tuple[list[UUID], list[NewRows], tuple[object, ...]]:
    """The ids, the runs, and what both statements begin with."""
    ids: list[UUID] = []
    payloads: list[bytes] = []
    # What jobs have in common is sent once for each run of them: an array's element costs the driver 0.3 us.
    runs: list[NewRows] = []
    firsts: list[int] = []
    sessions: list[int] = []
    epochs: list[int] = []
    for row in rows:
        first, end = len(ids) + 1, len(ids) + len(row.ids)
        ids += row.ids
        payloads += row.payloads
        for holder, count in row.slots:
            runs.append(row)
            firsts.append(first)
            sessions.append(holder.id)
            epochs.append(holder.epoch)
            first += count
        if first <= end:
            runs.append(row)
            firsts.append(first)
            sessions.append(_NO_SESSION)
            epochs.append(0)
    # One of each job: a row with a key has one job.
    each = [row for row in rows for _ in row.ids] if keyed else []
    arguments = (
        ids,
        payloads,
        firsts,
        [run.lane_id for run in runs],
        sessions,
        epochs,
        *_starts(runs),
        [row.key_digest for row in each],
        _requests(each),
        [row.namespace for row in each],
        key_ttl,
    )
    return ids, runs, arguments


def _key_holders(records: Sequence[Record]) -> dict[bytes, KeyHolder]:
    return {
        record["key_digest"]: KeyHolder(record["job_id"], record["request_digest"], record["owner"])
        for record in records
    }


def _text_of(patience: timedelta | None) -> str | None:
    return None if patience is None else f"{patience // timedelta(milliseconds=1)}ms"


def _requests(rows: Sequence[NewRows]) -> list[bytes | None]:
    """What idempotency keys are to stand for: the digest of each request, and of its principal."""
    return [None if row.request_digest is None else row.request_digest + row.owner for row in rows]


class IntakeStore:
    """Stores jobs in PostgreSQL.

    Raises (every method): DatabaseAway, with which nothing is known of what happened, and DatabaseFull.
    """

    def __init__(self, database: Database, *, key_ttl: timedelta) -> None:
        self._database = database
        self._key_ttl = key_ttl

    def transaction(self, patience: timedelta | None = None) -> AbstractAsyncContextManager[Session]:
        """A transaction for an enqueue of several statements. `patience`: as in `enqueue`, for each of them."""
        return self._database.transaction(hot=True, patience=patience)

    async def enqueue(
        self, rows: Sequence[NewRows], session: Session | None = None, *, patience: timedelta | None = None
    ) -> Stored:
        """Stores jobs that nothing limits, all or none; with `session`, inside its transaction.

        Either every row has a key or none has, and no key stands twice. Rows whose key is taken are left out and
        named in `lost_keys`. A statement without a `session` waits for a lock for as long as its `patience`; None: for
        as long as it may take.

        Raises:
            Locked: It waited for longer. Nothing is stored.
        """
        keyed = bool(rows) and rows[0].key_digest is not None
        ids, runs, arguments = _arguments(rows, keyed, self._key_ttl)
        record = await self._run(
            "enqueue",
            session,
            *arguments,
            _column([run.new.hold for run in runs]),
            _text_of(patience),
            *_columns_of(rows, runs),
        )
        return _stored(record, ids, keyed, limited=False)

    async def enqueue_counted(
        self, rows: Sequence[NewRows], queues: Sequence[int], *, patience: timedelta | None = None
    ) -> Stored:
        """As `enqueue`, where queues limit how many of their jobs run or start.

        Args:
            rows: What is to be stored. No job has a semaphore.
            queues: Those that are asked how many of their jobs may start, sorted. Of the jobs with a slot no more are
                leased; the others are among `refused`. The queues stay locked until the commit.
            patience: As in `enqueue`.
        """
        keyed = bool(rows) and rows[0].key_digest is not None
        ids, runs, arguments = _arguments(rows, keyed, self._key_ttl)
        holds = _column([run.new.hold for run in runs])
        columns = _columns_of(rows, runs)
        record = await self._run(
            "enqueue_counted", None, *arguments, holds, _text_of(patience), *columns, queues
        )
        return _stored(record, ids, keyed, limited=False)

    async def enqueue_named(
        self, rows: Sequence[NewRows], *, patience: timedelta | None = None
    ) -> tuple[Stored, frozenset[UUID]]:
        """Stores the jobs whose names no job holds, by one statement: what it did, and the jobs that it left.

        Each row has one job that wants a name, and has no idempotency key and no semaphore. Of jobs with one name the
        first one counts. A name may be free although its job is left: where another enqueue wrote it a moment ago.
        `patience` is as in `enqueue`.
        """
        ids, runs, arguments = _arguments(rows, False, self._key_ttl)
        record = await self._run(
            "enqueue_named",
            None,
            *arguments[:_KEYS_FROM],
            *_names(wanted_names(rows)),
            _column([run.new.hold for run in runs]),
            _text_of(patience),
            *_columns_of(rows, runs),
        )
        left = frozenset(ids).difference(record["stored"] or ())
        return _stored(record, ids, keyed=False, limited=False), left

    async def enqueue_limited(
        self,
        rows: Sequence[NewRows],
        session: Session | None = None,
        *,
        later: bool = False,
        patience: timedelta | None = None,
    ) -> Stored:
        """As `enqueue`, of jobs some of which have a semaphore; and of rows with and without idempotency keys.

        Args:
            rows: What is to be stored.
            session: The transaction, if it has one. Semaphores stay locked until its end, so no later statement of it
                may ask for semaphores or idempotency keys.
            later: Semaphores are not asked now, but by `SemaphoreStore.release_due` once this is committed.
            patience: As in `enqueue`.

        Raises:
            BacklogOfKeys: A key has as many waiting jobs as its queue allows. Nothing is stored.
        """
        keyed = any(row.key_digest is not None for row in rows)
        ids, runs, arguments = _arguments(rows, keyed, self._key_ttl)
        holds = [
            Hold.TIME
            if run.semaphore_ids is not None and run.new.hold is None and (later or _starts_later(run.new))
            else run.new.hold
            for run in runs
        ]
        semaphore_ids = _each(rows, [row.semaphore_ids for row in rows])
        try:
            record = await self._run(
                "enqueue_limited",
                session,
                *arguments,
                _column(holds),
                _text_of(patience),
                *_columns_of(rows, runs),
                semaphore_ids,
            )
        except BacklogRefused as error:
            raise BacklogOfKeys(frozenset(error.semaphore_ids)) from error
        return _stored(record, ids, keyed, limited=True)

    async def _run(self, name: str, session: Session | None, *arguments: object) -> Record:
        if session is not None:
            record = await session.fetchrow(name, *arguments)
        else:
            record = await self._database.fetchrow(name, *arguments, hot=True)
        assert record is not None
        return record

    async def find_keys(
        self, scope: Scope, digests: Sequence[bytes], session: Session | None = None
    ) -> dict[bytes, KeyHolder]:
        """What these keys stand for, by their digests. A key that vanished is missing."""
        ordered = sorted(digests)
        if session is not None:
            records = await session.fetch("find_keys", scope.namespace, ordered)
        else:
            records = await self._database.fetch("find_keys", scope.namespace, ordered, hot=True)
        return _key_holders(records)

    async def keep_keys(self, rows: Sequence[NewRows], jobs: Sequence[UUID], session: Session) -> bool:
        """Lets the idempotency key of each row stand for the job beside it; False where one was taken meanwhile."""
        ordered = sorted(zip(rows, jobs, strict=True), key=lambda one: one[0].key_digest or b"")
        record = await session.fetchrow(
            "keep_keys",
            [row.key_digest for row, _ in ordered],
            [job for _, job in ordered],
            _requests([row for row, _ in ordered]),
            [row.namespace for row, _ in ordered],
            self._key_ttl,
        )
        return record is not None and record["kept"] == len(ordered)

    async def standing_keys(
        self, scope: Scope, digests: Sequence[bytes], session: Session
    ) -> dict[bytes, KeyHolder]:
        """As `find_keys`, of the keys that have not expired."""
        return _key_holders(await session.fetch("standing_keys", scope.namespace, sorted(digests)))

    async def prolong_keys(self, namespace: int, standing: Mapping[bytes, UUID]) -> frozenset[bytes]:
        """Lets keys stand longer than any key that is stored within an hour; those that do.

        Args:
            namespace: Where they are.
            standing: By the digest of each, the job that it was seen to stand for.
        """
        records = await self._database.fetch(
            "prolong_keys", namespace, list(standing), list(standing.values()), self._key_ttl + _AN_HOUR
        )
        return frozenset(record["key_digest"] for record in records)

    async def standing_keys_of(self, rows: Sequence[NewRows], session: Session) -> frozenset[bytes]:
        """The keys of these rows, of whatever namespaces, that stand for a job and have not expired."""
        digests: dict[int, list[bytes]] = {}
        for row in rows:
            if row.key_digest is not None and row.namespace is not None:
                digests.setdefault(row.namespace, []).append(row.key_digest)
        standing: list[Record] = []
        for namespace, some in digests.items():
            standing += await session.fetch("standing_keys", namespace, sorted(some))
        return frozenset(record["key_digest"] for record in standing)

    async def held_names(self, digests: Sequence[bytes]) -> tuple[datetime | None, dict[bytes, UUID]]:
        """The jobs that hold some of these names in one snapshot, and when that was; None where none is held.

        Args:
            digests: The names, each once.
        """
        records = await self._database.fetch("held_names", digests, hot=True)
        at = records[0]["at"] if records else None
        return at, {record["digest"]: record["job_id"] for record in records}

    async def take_names(
        self, wanted: Mapping[bytes, NewRows], session: Session
    ) -> tuple[datetime, frozenset[bytes]]:
        """Locks names until the transaction ends: when it began, and the names that were free, which are taken.

        Args:
            wanted: By the digest of the name, the row that wants to hold it.
            session: The transaction.
        """
        record = await session.fetchrow("take_names", *_names(wanted))
        assert record is not None
        return record["at"], frozenset(record["taken"] or ())

    async def lock_holders(self, digests: Sequence[bytes], also: UUID, session: Session) -> None:
        """Locks the jobs that hold names, and another one, in the order in which all lock jobs.

        Args:
            digests: Names that this transaction has locked.
            also: A job that the transaction is going to lock.
            session: The transaction.
        """
        await session.fetch("lock_holders", digests, also)

    async def judge_names(
        self, wanted: Mapping[bytes, NewRows], changing: Sequence[bytes], session: Session
    ) -> dict[bytes, NameHolder]:
        """Takes over locked names whose jobs let go of them: the jobs that hold the others.

        Args:
            wanted: As in `take_names`, of names that it has locked in this transaction and not taken.
            changing: The names whose jobs are to be changed. Those jobs are locked.
            session: The transaction.
        """
        records = await session.fetch("judge_names", *_names(wanted), changing)
        return {
            record["digest"]: NameHolder(record["job_id"], record["waits"], record["lane_id"], record["key"])
            for record in records
        }

    async def change_jobs(
        self, changes: Mapping[UUID, Mapping[UniqueField, NewRows]], session: Session
    ) -> list[Changed]:
        """Changes jobs that wait, which this transaction has locked or stored.

        Args:
            changes: For each of the jobs, and each field, the job that it comes from.
            session: The transaction.
        """
        return [_changed(record) for record in await session.fetch("change_jobs", *_changes(changes))]


def _changes(changes: Mapping[UUID, Mapping[UniqueField, NewRows]]) -> tuple[Any, ...]:
    """The arguments of change_jobs.sql."""
    jobs = sorted(changes)
    each = [changes[job] for job in jobs]

    def of(field: UniqueField, value: Callable[[NewRows], Any]) -> list[Any]:
        return [value(one[field]) if field in one else None for one in each]

    return (
        jobs,
        [sum(1 << field for field in one) for one in each],
        of(UniqueField.PAYLOAD, lambda row: row.payloads[0]),
        of(UniqueField.HEADERS, lambda row: row.headers),
        of(UniqueField.LABELS, lambda row: row.labels),
        of(UniqueField.PRIORITY, lambda row: row.new.priority),
        of(UniqueField.MAX_ATTEMPTS, lambda row: row.max_attempts),
        of(UniqueField.TIMEOUT, lambda row: row.timeout_ms),
        of(UniqueField.RUN_AT, lambda row: row.new.run_at),
        of(UniqueField.RUN_AT, lambda row: row.new.delay),
        of(UniqueField.RUN_AT, lambda row: row.name and row.name.unique.max_delay),
        jobs[0],
        jobs[-1],
    )


def _changed(record: Record) -> Changed:
    hold = None if record["hold"] is None else Hold(record["hold"])
    return Changed(record["lane_id"], record["priority"], record["run_at"], record["isolated"], hold)


def wanted_names(rows: Sequence[NewRows]) -> dict[bytes, NewRows]:
    """By the digest of each name that rows want, the first row that wants it."""
    wanted: dict[bytes, NewRows] = {}
    for row in rows:
        if row.name is not None:
            wanted.setdefault(row.name.digest, row)
    return wanted


def _names(wanted: Mapping[bytes, NewRows]) -> tuple[list[Any], ...]:
    """The arguments of both statements, in the order in which the names are locked."""
    digests = sorted(wanted)
    rows = [wanted[digest] for digest in digests]
    said = [row.name.unique for row in rows if row.name is not None]
    return (
        digests,
        [row.id for row in rows],
        [] if all(one.until is Until.STARTS for one in said) else [int(one.until) for one in said],
        _column([one.period for one in said]),
    )
