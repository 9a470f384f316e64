"""Ends of attempts, and what running attempts say. Arrays in, rows out, one commit a call.

The arguments and answers are plain tuples and the driver's records: at tens of thousands of jobs a second a frozen
dataclass for each job (about 1 us) would cost as much as the job.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from ...fields import milliseconds
from ...lifecycle import Event
from ...model import DEFAULT_RETRY_POLICY, RetryPolicy
from ...scope import Scope
from ..database import Database, Record, Session
from ..policy.semaphores import NO_SLOTS, Admitted, Slots
from ..upkeep.clock import Expected


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


class Settled(NamedTuple):
    """What a settlement did: when; the ids that matched their lease, None for all; and whom it let in."""

    at: datetime
    ids: frozenset[UUID] | None
    admitted: Admitted = Admitted()


#: (id, attempt, session, output)
Settling = tuple[UUID, int, int, bytes | None]


class AttemptStore:
    """Ends attempts in PostgreSQL.

    Raises (every method): DatabaseAway, with which nothing is known of what happened, and DatabaseFull.
    """

    def __init__(self, database: Database, *, max_losses: int, expected: Expected) -> None:
        self._database = database
        self._max_losses = max_losses
        self._expected = expected
        self._policy: RetryPolicy = DEFAULT_RETRY_POLICY

    def transaction(self) -> AbstractAsyncContextManager[Session]:
        """A transaction for the end of an attempt that enqueues jobs."""
        return self._database.transaction(hot=True)

    async def end_plain(self, leases: Sequence[tuple[Sequence[UUID], int, int]]) -> Settled:
        """Ends leases as succeeded, without outputs.

        Args:
            leases: Runs of (ids, attempt, session), in any order: the scan of the primary key sorts them. Each id once.
        """
        ids: list[UUID] = []
        firsts: list[int] = []
        for some, _, _ in leases:
            firsts.append(len(ids) + 1)
            ids += some
        _, attempts, sessions = zip(*leases, strict=True)
        record = await self._database.fetchrow("end_plain", ids, firsts, attempts, sessions, hot=True)
        assert record is not None
        if record["settled"] is None:
            return Settled(record["at"], None)
        # It left jobs that hold permits, and leases that are over.
        done = frozenset(record["settled"])
        rest = await self.end_succeeded(
            [(id, attempt, of, None) for some, attempt, of in leases for id in some if id not in done]
        )
        return rest if rest.ids is None else rest._replace(ids=done | rest.ids)

    async def end_succeeded(self, leases: Sequence[Settling], session: Session | None = None) -> Settled:
        """Ends leases as succeeded, of any job, without a look at who waits for its key. `again`: keys others wait for.

        Args:
            leases: Each as (id, attempt, session, output).
            session: The transaction, if it has one.
        """
        if session is not None:
            record = await session.fetchrow("end_succeeded", *_columns(leases))
        else:
            record = await self._database.fetchrow("end_succeeded", *_columns(leases), hot=True)
        assert record is not None
        return Settled(record["at"], _ids(record), Admitted(again=record["calling"] or ()))

    async def end_and_admit(self, leases: Sequence[Settling], most: int, slots: Slots = NO_SLOTS) -> Settled:
        """As `end_succeeded`, at twice the cost: jobs that wait for the permits are admitted by the same statement.

        Args:
            leases: Each as (id, attempt, session, output).
            most: How many are admitted; the others are named in `again`.
            slots: Which they may take.
        """
        record = await self._database.fetchrow(
            "end_and_admit", *_columns(leases), most, *slots.columns, hot=True
        )
        assert record is not None
        return Settled(record["now"], _ids(record), Admitted.of(record))

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

    async def end_and_pause(self, pauses: Sequence[tuple[AttemptEnd, timedelta]], most: int) -> list[Record]:
        """As `end_attempt`, in a transaction that pauses the keys of these jobs, where their queues limit keys.

        Args:
            pauses: Each end with how long its key is paused.
            most: How many jobs of these keys that stand in line wait for them again, at most; the others start.
        """
        ordered = sorted(pauses, key=lambda pause: pause[0].id)
        async with self._database.transaction(hot=True) as session:
            paused = await session.fetch(
                "pause_keys",
                [end.id for end, _ in ordered],
                [end.attempt for end, _ in ordered],
                [end.session_id for end, _ in ordered],
                [milliseconds(pause) for _, pause in ordered],
            )
            rows = await self.end_attempt([end for end, _ in ordered], session)
            if paused:
                await session.fetch("hold_line", sorted(row["id"] for row in paused), most)
        return rows

    async def settled_before(self, leases: Sequence[tuple[Scope, UUID, int]]) -> list[Record]:
        """What became of (scope, id, attempt) whose settlement did not match; of jobs that are not there, no row."""
        scopes, ids, attempts = zip(*leases, strict=True)
        namespaces = [scope.namespace for scope in scopes]
        return await self._database.fetch("settled_before", ids, attempts, namespaces, hot=True)

    async def report_progress(self, reports: Sequence[Report]) -> None:
        """Keeps what attempts last said. Sorted by id, each id once."""
        checkpoints = [report.checkpoint for report in reports]
        await self._database.fetch(
            "report_progress",
            [report.job_id for report in reports],
            [report.attempt for report in reports],
            [report.session_id for report in reports],
            [report.fraction for report in reports],
            [report.message for report in reports],
            checkpoints if any(each is not None for each in checkpoints) else [],
            hot=True,
        )


def _columns(leases: Sequence[Settling]) -> tuple[Sequence[object], ...]:
    """As the statements that end successes want them."""
    ids, attempts, sessions, outputs = zip(*leases, strict=True)
    return ids, attempts, sessions, outputs if any(each is not None for each in outputs) else ()


def _ids(record: Record) -> frozenset[UUID] | None:
    return None if record["settled"] is None else frozenset(record["settled"])
