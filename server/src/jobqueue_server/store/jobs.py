"""The statements that move jobs: enqueue, claim, settle, end attempts. Arrays in, rows out, one commit a call.

The arguments and answers are plain tuples and the driver's records: at tens of thousands of jobs a second a frozen
dataclass for each job (about 1 us) would cost as much as the job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from ..fields import COLUMNS, milliseconds
from ..lifecycle import Event
from ..model import DEFAULT_RETRY_POLICY, NewJob, RetryPolicy
from ..scope import Scope
from .database import Database, Record, Session
from .upkeep.clock import Expected


class Holder(Protocol):
    """The session of which a hand-off has reserved slots."""

    id: int
    epoch: int


@dataclass(slots=True, eq=False)
class NewRows:
    """Jobs to be stored that differ only in their ids and payloads, as those of a batch mostly do.

    `new` has what they share; its payload is that of the first job. `seats` are the slots that a hand-off reserved:
    each session takes so many of the jobs, in their order. The jobs beyond them go to the backlog. A job with a key has
    rows of its own, and `namespace` is the key's.
    """

    ids: list[UUID]
    payloads: list[bytes]
    lane_id: int
    new: NewJob
    max_attempts: int | None = None
    timeout_ms: int | None = None
    labels: str | None = None
    headers: bytes | None = None
    seats: list[tuple[Holder, int]] = field(default_factory=list)
    key_digest: bytes | None = None
    request_digest: bytes | None = None
    namespace: int | None = None

    @property
    def id(self) -> UUID:
        """The first one's, which is the only one's mostly."""
        return self.ids[0]


@dataclass(frozen=True, slots=True)
class Stored:
    """What an enqueue did: when, by the database's clock; whose key was taken; which reserved slots were gone."""

    at: datetime
    lost_keys: frozenset[UUID]
    refused: frozenset[UUID]


@dataclass(slots=True, eq=False)
class AttemptEnd:
    """One lease on its way out of RUNNING, otherwise than by success."""

    id: UUID
    attempt: int
    session_id: int
    event: Event
    permanent: bool = False
    after: timedelta | None = None
    error_type: str | None = None
    message: str | None = None
    stack: str | None = None


@dataclass(slots=True, eq=False)
class Report:
    """What a running attempt says of itself. `checkpoint` None: the last one stays."""

    job_id: UUID
    attempt: int
    session_id: int
    fraction: float
    message: str
    checkpoint: bytes | None = None


@dataclass(frozen=True, slots=True)
class ClaimTarget:
    """A place that a claim reads: a lane at a priority, from a floor of run_at on. Its queue gives at most `most`."""

    lane_id: int
    priority: int
    take: int
    floor: datetime
    queue_number: int
    most: int = 1000


#: No session has this number.
_NO_SESSION = 0


def _column(values: list[Any]) -> list[Any]:
    """The column, or an empty one if no run uses it: `unnest` fills it with nulls, and encoding costs 0.2 us a job."""
    for value in values:
        if value is not None:
            return values
    return []


def _numbers(values: list[int]) -> list[int]:
    """As `_column`, for numbers: 0 is stored where a request names none."""
    return values if any(values) else []


def _compiled() -> Callable[[Sequence[NewRows]], list[list[Any]]]:
    """Makes the function that answers what runs have in each of `fields.COLUMNS`.

    Its text is made of the list, as dataclasses make theirs: with a loop over the list an insert of 200 calls takes a
    fifth more here.
    """
    lines = ["def columns_of(runs):", "    new = [run.new for run in runs]", "    return ["]
    names: dict[str, Any] = {"column": _column, "numbers": _numbers}
    for each in COLUMNS:
        attribute, asked = each.of.removeprefix("new."), each.of.startswith("new.")
        value = f"one.{attribute}"
        if each.form is not None:
            names[f"form_{each.name}"] = each.form
            value = f"{value} and form_{each.name}({value})"
        used = "column" if each.unset is None else "numbers"
        lines.append(f"        {used}([{value} for one in {'new' if asked else 'runs'}]),")
    exec("\n".join([*lines, "    ]"]), names)
    made: Callable[[Sequence[NewRows]], list[list[Any]]] = names["columns_of"]
    return made


_columns_of = _compiled()


def _target_columns(targets: Sequence[ClaimTarget]) -> tuple[list[Any], ...]:
    return (
        [target.lane_id for target in targets],
        [target.priority for target in targets],
        [target.take for target in targets],
        [target.floor for target in targets],
        [target.queue_number for target in targets],
    )


def _settled(record: Record | None) -> tuple[datetime, frozenset[UUID] | None]:
    assert record is not None
    settled = record["settled"]
    return record["at"], None if settled is None else frozenset(settled)


class JobStore:
    """Moves jobs in PostgreSQL.

    Raises (every method): DatabaseAway, with which nothing is known of what happened, and DatabaseFull.
    """

    def __init__(
        self, database: Database, *, key_ttl: timedelta, max_losses: int, expected: Expected
    ) -> None:
        self._database = database
        self._key_ttl = key_ttl
        self._max_losses = max_losses
        self._expected = expected
        self._policy: RetryPolicy = DEFAULT_RETRY_POLICY

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """A transaction for an enqueue of several statements."""
        return self._database.transaction(hot=True)

    async def enqueue(self, rows: Sequence[NewRows], session: Session | None = None) -> Stored:
        """Stores jobs, all or none; with `session`, inside its transaction.

        Either every row has a key or none has, and no key stands twice. Rows whose key is taken are left out and
        named in `lost_keys`.
        """
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
            for holder, count in row.seats:
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
        keyed = bool(rows) and rows[0].key_digest is not None
        arguments = (
            ids,
            payloads,
            firsts,
            [run.lane_id for run in runs],
            sessions,
            epochs,
            _column([run.new.run_at for run in runs]),
            _column([milliseconds(run.new.delay) for run in runs]),
            [row.key_digest for row in rows] if keyed else [],
            [row.request_digest for row in rows] if keyed else [],
            [row.namespace for row in rows] if keyed else [],
            self._key_ttl,
            *_columns_of(runs),
        )
        if session is not None:
            record = await session.fetchrow("enqueue", *arguments)
        else:
            record = await self._database.fetchrow("enqueue", *arguments, hot=True)
        assert record is not None
        lost: frozenset[UUID] = frozenset()
        if keyed:
            lost = frozenset(ids).difference(record["stored"] or ())
        return Stored(record["at"], lost, frozenset(record["refused"] or ()))

    async def find_keys(
        self, scope: Scope, digests: Sequence[bytes], session: Session | None = None
    ) -> dict[bytes, tuple[UUID, bytes]]:
        """Who holds these keys: digest -> (job id, digest of its request). A key that vanished is missing."""
        ordered = sorted(digests)
        if session is not None:
            records = await session.fetch("find_keys", scope.namespace, ordered)
        else:
            records = await self._database.fetch("find_keys", scope.namespace, ordered, hot=True)
        return {record["key_digest"]: (record["job_id"], record["request_digest"]) for record in records}

    async def claim(
        self, targets: Sequence[ClaimTarget], slots: Sequence[int], epochs: dict[int, int]
    ) -> list[Record]:
        """Leases up to `len(slots)` ready jobs. `slots` has the id of each slot's session, in the order of dealing."""
        return await self._database.fetch(
            "claim",
            *_target_columns(targets),
            slots,
            list(epochs),
            list(epochs.values()),
            [target.most for target in targets],
            hot=True,
        )

    async def peek(self, targets: Sequence[ClaimTarget], most: int) -> list[int]:
        """The sizes in bytes of the jobs that a claim would take now, in its order."""
        rows = await self._database.fetch("peek", *_target_columns(targets), most, hot=True)
        return [row["size"] for row in rows]

    async def peek_isolated(self, lane_ids: Sequence[int]) -> int:
        """The size in bytes of the isolated job that `claim_isolated` would take now; 0 where there is none."""
        row = await self._database.fetchrow("peek_isolated", lane_ids, hot=True)
        return 0 if row is None else int(row["size"])

    async def claim_isolated(self, lane_ids: Sequence[int], epochs: dict[int, int]) -> list[Record]:
        """Leases at most one isolated job to each session."""
        return await self._database.fetch(
            "claim_isolated", lane_ids, list(epochs), list(epochs.values()), hot=True
        )

    async def bodies(self, ids: Sequence[UUID]) -> list[Record]:
        """Payload, labels and headers of jobs that were just claimed."""
        return await self._database.fetch("bodies", ids, min(ids), max(ids), hot=True)

    async def named_jobs(self, scope: Scope, ids: Sequence[UUID]) -> list[Record]:
        """Lane and size of payload of jobs that a worker names after a break; of those that are gone, none."""
        return await self._database.fetch("named_jobs", ids, min(ids), max(ids), scope.namespace, hot=True)

    async def heads(self, targets: Sequence[tuple[int, int, datetime]]) -> list[Record]:
        """The head of each line (lane, priority, floor): its run_at, and whether it is due."""
        lanes, priorities, floors = zip(*targets, strict=True)
        return await self._database.fetch("heads", lanes, priorities, floors, hot=True)

    async def heads_isolated(self, lane_ids: Sequence[int]) -> list[Record]:
        """The lanes in which an isolated job waits."""
        return await self._database.fetch("heads_isolated", lane_ids, hot=True)

    async def settle_succeeded(
        self, leases: Sequence[tuple[Sequence[UUID], int, int]]
    ) -> tuple[datetime, frozenset[UUID] | None]:
        """Ends leases as succeeded, without outputs.

        Args:
            leases: Runs of (ids, attempt, session), in any order: the scan of the primary key sorts them. Each id once.

        Returns:
            When, and the ids that were settled where some were not; None for all.
        """
        ids: list[UUID] = []
        firsts: list[int] = []
        for some, _, _ in leases:
            firsts.append(len(ids) + 1)
            ids += some
        _, attempts, sessions = zip(*leases, strict=True)
        return _settled(
            await self._database.fetchrow("settle_succeeded", ids, firsts, attempts, sessions, hot=True)
        )

    async def settle_with_output(
        self, leases: Sequence[tuple[UUID, int, int, bytes | None]], session: Session | None = None
    ) -> tuple[datetime, frozenset[UUID] | None]:
        """As `settle_succeeded`, of leases (id, attempt, session, output); with `session`, inside its transaction."""
        columns = zip(*leases, strict=True)
        if session is not None:
            return _settled(await session.fetchrow("settle_with_output", *columns))
        return _settled(await self._database.fetchrow("settle_with_output", *columns, hot=True))

    async def end_attempt(self, ends: Sequence[AttemptEnd], session: Session | None = None) -> list[Record]:
        """Takes leases out of RUNNING, otherwise than by success. Answers a row for each that matched its fence."""
        ordered = sorted(ends, key=lambda end: end.id)
        arguments = (
            [end.id for end in ordered],
            [end.attempt for end in ordered],
            [end.session_id for end in ordered],
            [int(end.event) for end in ordered],
            [end.permanent for end in ordered],
            [milliseconds(end.after) for end in ordered],
            [end.error_type for end in ordered],
            [end.message for end in ordered],
            [end.stack for end in ordered],
            milliseconds(self._policy.min_backoff),
            milliseconds(self._policy.max_backoff),
            self._max_losses,
            self._expected(),
        )
        if session is not None:
            return await session.fetch("end_attempt", *arguments)
        return await self._database.fetch("end_attempt", *arguments, hot=True)

    async def settled_before(self, leases: Sequence[tuple[Scope, UUID, int]]) -> list[Record]:
        """What became of (scope, id, attempt) whose settlement did not match; of jobs that are not there, no row."""
        scopes, ids, attempts = zip(*leases, strict=True)
        namespaces = [scope.namespace for scope in scopes]
        return await self._database.fetch("settled_before", ids, attempts, namespaces, hot=True)

    async def due(self, server_id: int, most: int) -> list[Record]:
        """Leases past their deadline; those of another server that lives a second later."""
        return await self._database.fetch("due", server_id, most, self._expected(), hot=True)

    async def stray(self, ended_within: timedelta) -> list[Record]:
        """Leases of sessions that have ended within this time."""
        return await self._database.fetch("stray", ended_within, self._expected(), hot=True)

    async def report_progress(self, reports: Sequence[Report]) -> None:
        """Keeps what attempts last said. Sorted by id, each id once."""
        await self._database.fetch(
            "report_progress",
            [report.job_id for report in reports],
            [report.attempt for report in reports],
            [report.session_id for report in reports],
            [report.fraction for report in reports],
            [report.message for report in reports],
            _column([report.checkpoint for report in reports]),
            hot=True,
        )

    async def checkpoints(self, ids: Sequence[UUID]) -> dict[UUID, bytes]:
        """What the attempts before left behind, by job; jobs without are missing."""
        rows = await self._database.fetch("checkpoints", ids, hot=True)
        return {row["job_id"]: row["checkpoint"] for row in rows}
