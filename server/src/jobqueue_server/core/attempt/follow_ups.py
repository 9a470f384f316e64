"""Settlements that carry follow-ups: an attempt's success and the jobs that come of it are one transaction.

They commit apart from the shared settlements, so that no other settlement waits for a bad follow-up, or for a key that
another call is just storing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeAlias
from uuid import UUID

from ...errors import (
    Duplicate,
    FieldInvalid,
    IdempotencyKeyReused,
    JobQueueError,
    KindUnknown,
    NotAllowed,
    PayloadInvalid,
    PayloadTooLarge,
    ServersDiffer,
)
from ...model import NewJobs
from ...store.attempt.attempts import AttemptStore, Settled
from ...store.database import Deadlock
from ..intake.batch import Batch
from ..intake.intake import Intake
from ..intake.keyed import KeyedBatches
from ..intake.names import KeyVanished
from ..intake.placement import Placement, StoredWithin
from ..tuning import Tuning
from .commits import Commits
from .outcome import PendingOutcome

_log = logging.getLogger(__name__)

Commit: TypeAlias = Callable[[list[PendingOutcome]], Awaitable[list[PendingOutcome]]]

_PATH = "success.follow_ups[]"
_REFUSALS = (FieldInvalid, KindUnknown, NotAllowed, PayloadInvalid, PayloadTooLarge)


class FollowUps:
    """The line of such settlements. Those without keys and names share a transaction.

    Each other has its own. It may wait there for a key that another call is just storing; the line goes on meanwhile.
    """

    def __init__(
        self,
        commits: Commits,
        store: AttemptStore,
        intake: Intake,
        keyed_batches: KeyedBatches,
        placement: Placement,
        tuning: Tuning,
    ) -> None:
        self._commits = commits
        self._store = store
        self._intake = intake
        self._keyed_batches = keyed_batches
        self._placement = placement
        self._tuning = tuning
        self._pending: list[PendingOutcome] = []
        # What has a transaction of its own, by the job that it settles.
        self._alone: dict[UUID, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, item: PendingOutcome) -> None:
        """Puts a success in line. It is answered through its frame after the commit."""
        self._pending.append(item)
        self._idle.clear()
        self._wake.set()

    async def drained(self) -> None:
        """Waits until every one in line is answered."""
        await self._idle.wait()

    async def run(self) -> None:
        """Commits what is in line, until cancelled."""
        # After a crash of this task the line may hold outcomes for which no wake comes again.
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while items := self._next():
                await self._commit(items)
            if not self._pending and not self._alone:
                self._idle.set()

    def _next(self) -> list[PendingOutcome]:
        """As many as one insert takes, each job once: the same settlement again must see the first one committed.

        None: all that is in line waits for one that is being committed.
        """
        taken: dict[object, PendingOutcome] = {}
        later: list[PendingOutcome] = []
        most_jobs, most_bytes = self._tuning.most_inserted, self._tuning.most_inserted_bytes
        rows = size = 0
        for item in self._pending:
            new = item.outcome.follow_ups
            rows, size = rows + len(new), size + sum(len(one.payload) for one in new)
            if (
                item.job_id in taken
                or item.job_id in self._alone
                or (taken and (rows > most_jobs or size > most_bytes))
            ):
                later.append(item)
            else:
                taken[item.job_id] = item
        self._pending = later
        return list(taken.values())

    async def _commit(self, items: list[PendingOutcome]) -> None:
        batches: dict[PendingOutcome, Batch] = {}

        async def prepare(one: list[PendingOutcome]) -> list[PendingOutcome]:
            (item,) = one
            try:
                batches[item] = await self._intake.rows_in_new_lanes(
                    item.session.scope, [NewJobs.of(new) for new in item.outcome.follow_ups], _PATH
                )
            except _REFUSALS as error:
                self._commits.answer_all(one, "INVALID", _named(error))
            except ServersDiffer as error:
                self._commits.answer_all(one, "TRY_AGAIN", error.message)
            return []

        async def commit(some: list[PendingOutcome]) -> list[PendingOutcome]:
            return await self._store_with([(item, batches[item]) for item in some])

        for item in items:
            await self._commits.guarded([item], prepare)
        alone = [item for item, batch in batches.items() if batch.keyed or batch.named]
        shared = [item for item in batches if item not in alone]
        for item in alone:
            task = asyncio.get_running_loop().create_task(self._commit_alone(item, commit))
            self._alone[item.job_id] = task
            task.add_done_callback(partial(self._no_longer_alone, item.job_id))
        if shared:
            await self._commits.explain(await self._commits.guarded(shared, commit))

    async def _commit_alone(self, item: PendingOutcome, commit: Commit) -> None:
        async with self._keyed_batches.turn(item.session.scope.owner):
            await self._commits.explain(await self._commits.guarded([item], commit))

    def _no_longer_alone(self, job_id: UUID, task: asyncio.Task[None]) -> None:
        del self._alone[job_id]
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a settlement with follow-ups failed", exc_info=error)

    async def _store_with(self, settlements: list[tuple[PendingOutcome, Batch]]) -> list[PendingOutcome]:
        """One transaction: the successes, and the follow-ups of those whose lease was still theirs."""
        items = [item for item, _ in settlements]
        scope = items[0].session.scope
        for _ in range(self._tuning.key_tries):
            try:
                async with self._store.transaction() as session:
                    # Names lock before the semaphores that a settlement locks, as in an enqueue.
                    taken = await self._keyed_batches.take_names(
                        scope, session, settlements[0][1], items[0].job_id
                    )
                    done = await self._store.end_succeeded([item.succeeding for item in items], session)
                    settled = done.ids
                    if taken is not None and settled is not None and items[0].job_id not in settled:
                        raise _NotSettled(done)
                    stored = Batch.joined(
                        (batch for item, batch in settlements if settled is None or item.job_id in settled),
                        _PATH,
                    )
                    # Those with keys are of one settlement. What their queues limit asks for its key afterwards: this
                    # transaction has locked semaphores already.
                    how = (
                        await self._keyed_batches.store_within(
                            scope, session, stored, later=True, taken=taken
                        )
                        if stored.rows
                        else StoredWithin()
                    )
            except Deadlock:
                continue
            except KeyVanished as vanished:
                await self._keyed_batches.again(vanished)
                continue
            except _NotSettled as error:
                return self._commits.succeeded(items, error.done)
            except (Duplicate, FieldInvalid, IdempotencyKeyReused) as error:
                self._commits.answer_all(items, "INVALID", _named(error))
                return []
            self._placement.announce(stored, how)
            return self._commits.succeeded(items, done)
        self._commits.answer_all(
            items, "TRY_AGAIN", "the idempotency keys changed hands too often; try again"
        )
        return []


class _NotSettled(Exception):
    """The lease is not its worker's any more, so that no name may be taken."""

    def __init__(self, done: Settled) -> None:
        super().__init__()
        self.done = done


def _named(error: JobQueueError) -> str:
    """What was wrong and where: an outcome's answer has a text alone."""
    return "; ".join(f"{one.field} {one.description}" for one in error.violations) or error.message
