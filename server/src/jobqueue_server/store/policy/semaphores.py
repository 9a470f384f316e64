"""Semaphores: how many jobs of a key were let in, how many wait, and who is let in next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from ..database import Database, Record, Session

#: (id, lane, priority, run_at, attempt, session, failures, when): the columns of a claim's rows.
Leased = tuple[UUID, int, int, datetime, int, int, int, datetime]


_first_int8 = Struct(">q").unpack_from


@lru_cache(maxsize=4096)
def semaphore_of(queue_id: int, key: str) -> int:
    """The number of the semaphore of a key (`semaphore.id`), known before the database is asked.

    In SQL: `semaphore_of(queue_id, key)`. Those of late are remembered: most jobs have the keys of few.
    """
    number: int = _first_int8(sha256(f"{queue_id}:{key}".encode("utf-8", "surrogatepass")).digest())[0]
    return number


@dataclass(frozen=True, slots=True)
class Slots:
    """Slots that jobs may take which are let in.

    Attributes:
        lanes: By the number of a lane: its jobs take of these slots: after which, and how many. Lanes that share slots
            have the same ones.
        sessions: Whose slot each is.
        epochs: Of each session.
    """

    lanes: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    sessions: Sequence[int] = ()
    epochs: Mapping[int, int] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[Sequence[int], ...]:
        """As admit.sql wants them."""
        lanes = sorted(self.lanes)
        after, counts = [self.lanes[lane][0] for lane in lanes], [self.lanes[lane][1] for lane in lanes]
        return lanes, after, counts, self.sessions, list(self.epochs), list(self.epochs.values())


NO_SLOTS = Slots()


@dataclass(frozen=True, slots=True)
class Admitted:
    """Whom a statement admitted: admit, end_and_admit.

    Attributes:
        lines: Where jobs wait in line now: (lane, priority, isolated, how many).
        leased: The jobs that took slots.
        again: The keys that are to be asked again at once.
        next_call: How long until the next of these keys may let one in; None: each waits for an end.
    """

    lines: Sequence[tuple[int, int, bool, int]] = ()
    again: Sequence[int] = ()
    next_call: timedelta | None = None
    leased: Sequence[Leased] = ()

    @classmethod
    def of(cls, row: Record) -> Admitted:
        """From what admit.sql answers, and end_and_admit.sql."""
        lines: Sequence[tuple[int, int, bool, int]] = ()
        if row["lanes"] is not None:
            lines = tuple(zip(row["lanes"], row["priorities"], row["isolated"], row["jobs"], strict=True))
        return cls(lines, row["again"] or (), _until(row), _leased(row))

    @property
    def jobs(self) -> int:
        """How many were let in."""
        return len(self.leased) + sum(jobs for *_, jobs in self.lines)


class KeysCounted(NamedTuple):
    """Keys of a queue that have jobs.

    `state` is what these wait for: `at_limit`, `rate`, `paused`, `blocked`; `open`: none waits. `tokens`: how many of
    the jobs run or stand in line.
    """

    queue_id: int
    state: str
    keys: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Walked:
    """What a step through all semaphores did.

    Attributes:
        looked: How many it looked at.
        last: The last of them; None where there was none.
        calling: The keys that may let one in now.
        gone: How many keys had no jobs and are forgotten.
        drifted: Semaphores that do not count what is there, each with its queue.
        over: The keys whose pause by a worker is to end now, before its time.
        counted: How many keys with jobs there were.
    """

    looked: int
    last: int | None
    calling: Sequence[int] = ()
    gone: int = 0
    drifted: Sequence[tuple[int, int]] = ()
    over: Sequence[int] = ()
    counted: Sequence[KeysCounted] = ()


class Due(NamedTuple):
    """Where a job waits in line that was put off until its key is paused no longer, and is due now."""

    lane_id: int
    priority: int
    run_at: datetime
    isolated: bool


class Calling(NamedTuple):
    """What a sweep found.

    Attributes:
        semaphore_ids: Keys that may let one in now.
        next_call: How long until the next one may; None: each waits for an end.
        cancels: Whether jobs are to be cancelled, since one of their key failed.
    """

    semaphore_ids: Sequence[int]
    next_call: timedelta | None
    cancels: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """What a step of the cancels did that a failure brings.

    Attributes:
        jobs: Each job that was cancelled, with its lane.
        calling: The keys that go on.
        more: Whether there are more to cancel.
    """

    jobs: Sequence[tuple[UUID, int]]
    calling: Sequence[int]
    more: bool


class SemaphoreStore:
    """Lets jobs in that their keys hold back.

    Raises (every method): DatabaseAway, with which nothing is known of what happened, and DatabaseFull.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def admit(
        self, semaphore_ids: Sequence[int], most: int, slots: Slots = NO_SLOTS, *, in_line: int = 1
    ) -> Admitted:
        """Admits the jobs that their keys have permits for, `most` at once.

        `in_line`: how many jobs of one key may stand in line where keys take turns.
        """
        row = await self._database.fetchrow(
            "admit", sorted(semaphore_ids), most, *slots.columns, in_line, hot=True
        )
        assert row is not None
        return Admitted.of(row)

    async def cancel_rest(self, most: int) -> Rest:
        """Cancels jobs that waited for their key when one failed, `most` at once."""
        row = await self._database.fetchrow("cancel_rest", most, hot=True)
        assert row is not None
        jobs = tuple(zip(row["jobs"] or (), row["lanes"] or (), strict=True))
        return Rest(jobs, row["calling"] or (), row["more"])

    async def release_due(self, most: int) -> tuple[int, Sequence[int]]:
        """Sends jobs whose run_at has come to their semaphores: how many, and the keys that may let one in now."""
        row = await self._database.fetchrow("release_due", most, hot=True)
        assert row is not None
        return row["moved"], row["calling"] or ()

    async def calling(self, most: int) -> Calling:
        """The keys that may let one in now."""
        row = await self._database.fetchrow("calling", most, hot=True)
        assert row is not None
        return Calling(row["calling"] or (), _until(row), row["cancels"])

    async def call_keys(self, after: int, most: int) -> Walked:
        """Lets keys call that may let one in and do not, as after a change of their queue's limit."""
        row = await self._database.fetchrow("call_keys", after, most, hot=True)
        assert row is not None
        return Walked(row["looked"], row["last"], calling=row["calling"] or (), over=row["over"] or ())

    async def end_pauses(self, semaphore_ids: Sequence[int]) -> tuple[Sequence[int], Sequence[Due]]:
        """Ends the pauses of these keys by workers: the keys that may let one in now, and the jobs that are due now."""
        async with self._database.transaction(hot=True) as session:
            return await end_pauses(session, semaphore_ids)

    async def audit_keys(self, after: int, most: int, most_rows: int) -> Walked:
        """Compares semaphores with the live rows that they count, and forgets those of keys without jobs."""
        row = await self._database.fetchrow("audit_keys", after, most, most_rows, hot=True)
        assert row is not None
        drifted: Sequence[tuple[int, int]] = ()
        if row["drifted"] is not None:
            drifted = tuple(zip(row["drifted"], row["drifted_queues"], strict=True))
        counted = [KeysCounted(*each) for each in row["counted"] or ()]
        return Walked(row["looked"], row["last"], gone=row["gone"], drifted=drifted, counted=counted)

    async def recount(self, semaphore_id: int) -> None:
        """Counts the live rows of a semaphore anew, under its lock."""
        async with self._database.transaction(hot=True) as session:
            await session.fetchrow("lock_semaphores", [semaphore_id])
            await session.fetch("recount_semaphore", semaphore_id)


async def end_pauses(session: Session, semaphore_ids: Sequence[int]) -> tuple[Sequence[int], Sequence[Due]]:
    """As `SemaphoreStore.end_pauses`, within a transaction that holds no lock of a semaphore yet."""
    await session.fetch("lock_semaphores", semaphore_ids)
    row = await session.fetchrow("end_pauses", semaphore_ids)
    assert row is not None
    columns = (row[name] or () for name in ("lanes", "priorities", "run_at", "isolated"))
    return row["calling"] or (), [Due(*each) for each in zip(*columns, strict=True)]


def _leased(row: Record) -> Sequence[Leased]:
    ids = row["leased"]
    if ids is None:
        return ()
    at = [row["now"]] * len(ids)
    columns = (f"leased_{name}" for name in ("lanes", "priorities", "attempts", "sessions", "failures"))
    lanes, priorities, attempts, sessions, failures = (row[name] for name in columns)
    return list(zip(ids, lanes, priorities, at, attempts, sessions, failures, at, strict=True))


def _until(row: Record) -> timedelta | None:
    return None if row["next_call"] is None else row["next_call"] - row["now"]
