"""Commits of outcomes: the statements, what became of each outcome, and what follows from that."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

from ...errors import DatabaseAway, DatabaseFull
from ...lifecycle import Event, Status, status_of
from ...metrics import Metrics
from ...store.attempt.attempts import AttemptEnd, AttemptStore, Settled
from ...store.database import DataError, Record
from ..events.ends import Ended, Ends
from ..lease.attempt_ends import AttemptEnds
from ..policy.keyed_ends import KeyedEnds
from .outcome import Answer, PendingOutcome, Succeeded, SuccessBatch

_log = logging.getLogger(__name__)

#: So many outcomes pause the keys of their jobs by one transaction, which locks them all.
MOST_PAUSING = 50


class Commits:
    """Ends attempts as their workers say, and answers each outcome after its commit."""

    def __init__(
        self,
        store: AttemptStore,
        attempts: AttemptEnds,
        ends: Ends,
        keyed: KeyedEnds,
        metrics: Metrics,
        most_admitted: int,
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._ends = ends
        self._keyed = keyed
        self._most_admitted = most_admitted
        self._metrics = metrics

    async def commit(self, batches: Sequence[SuccessBatch], items: Sequence[PendingOutcome]) -> None:
        """Commits batches and single outcomes. Each job is in them once."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        succeeded = [item for item in items if item.outcome.event is Event.SUCCEED]
        others = [item for item in items if item.outcome.event is not Event.SUCCEED]
        stale: list[PendingOutcome] = []
        jobs = sum(len(batch.leases) for batch in batches) + len(items)
        keyed = [batch for batch in batches if self._keyed.have_permits(batch.leases)]
        if keyed:
            batches = [batch for batch in batches if batch not in keyed]
        for some, settle in ((batches, self._end_plain), (keyed, self._end_keyed)):
            if some:
                stale += await self._succeed_batches(some, settle)
        pausing: list[PendingOutcome] = []
        if any(item.outcome.pause_key is not None for item in others):
            pausing = [item for item in others if self._may_pause(item)]
            others = [item for item in others if not self._may_pause(item)]
        for single, commit in (
            (succeeded, self._succeed),
            (others, self._leave),
            *(
                (pausing[first : first + MOST_PAUSING], self._leave_and_pause)
                for first in range(0, len(pausing), MOST_PAUSING)
            ),
        ):
            if single:
                stale += await self.guarded(single, commit)
        await self.explain(stale)
        self._metrics.observe_batch("settle", loop.time() - started, jobs)

    async def _end_plain(self, batches: Sequence[SuccessBatch]) -> Settled:
        runs: list[tuple[list[UUID], int, int]] = []
        for batch in batches:
            attempt = 0
            for lease in batch.leases:
                if lease.template.attempt != attempt:
                    attempt, ids = lease.template.attempt, list[UUID]()
                    runs.append((ids, attempt, batch.session.id))
                ids.append(lease.job_id)
        return await self._store.end_plain(runs)

    async def _end_keyed(self, batches: Sequence[SuccessBatch]) -> Settled:
        return await self._keyed.succeed(
            [(batch.session, lease) for batch in batches for lease in batch.leases],
            [
                (lease.job_id, lease.template.attempt, batch.session.id, None)
                for batch in batches
                for lease in batch.leases
            ],
        )

    def _may_pause(self, item: PendingOutcome) -> bool:
        return item.outcome.pause_key is not None and self._keyed.may_pause(item.lease)

    async def _succeed_batches(
        self,
        batches: Sequence[SuccessBatch],
        settle: Callable[[Sequence[SuccessBatch]], Awaitable[Settled]],
    ) -> list[PendingOutcome]:
        """Commits plain successes. Returns those that matched no lease."""
        try:
            at, settled, admitted = await settle(batches)
        except Exception as error:
            failed, items = error, [batch.pending(lease) for batch in batches for lease in batch.leases]

            async def again(some: list[PendingOutcome]) -> list[PendingOutcome]:
                if some is items:
                    raise failed
                return await self._succeed(some)

            return await self.guarded(items, again)
        self._keyed.tell(admitted)
        stale: list[PendingOutcome] = []
        ended = Succeeded(at)
        for batch in batches:
            leases = batch.leases
            if settled is not None:
                # A job that was lost and came back may be in it with both attempts, of which the later one counts.
                newest = {lease.job_id: lease for lease in sorted(leases, key=lambda lease: lease.attempt)}
                leases = [lease for job_id, lease in newest.items() if job_id in settled]
                counted = set(leases)
                stale += [batch.pending(lease) for lease in batch.leases if lease not in counted]
            try:
                batch.session.drop_all(leases)
                batch.reply.applied(len(leases))
                ended.add(leases)
            except Exception:
                # It is committed, and the others are still to be answered.
                _log.exception("%d outcomes are settled, and what follows from it failed", len(leases))
        self._ends.tell(ended.ends)
        return stale

    async def explain(self, stale: list[PendingOutcome]) -> None:
        """Answers what matched no lease."""
        if stale:
            await self.guarded(stale, self._explain)

    async def guarded(
        self,
        items: list[PendingOutcome],
        commit: Callable[[list[PendingOutcome]], Awaitable[list[PendingOutcome]]],
    ) -> list[PendingOutcome]:
        """Runs a statement on a batch. Returns what matched no lease. A value that is refused harms only its own."""
        try:
            stale: list[PendingOutcome] = await commit(items)
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

    def answer_all(self, items: list[PendingOutcome], verdict: str, message: str) -> None:
        """Answers outcomes that were not applied."""
        for item in items:
            if item.lease is not None:
                item.lease.unsettled()
            item.reply.done(Answer(item.lease_id, item.job_id, item.attempt, verdict, message=message))

    async def _succeed(self, items: list[PendingOutcome]) -> list[PendingOutcome]:
        settling = [item.succeeding for item in items]
        leases = [(item.session, item.lease) for item in items if item.lease is not None]
        if self._keyed.have_permits(lease for _, lease in leases):
            return self.succeeded(items, await self._keyed.succeed(leases, settling))
        return self.succeeded(items, await self._store.end_succeeded(settling))

    def succeeded(self, items: list[PendingOutcome], done: Settled) -> list[PendingOutcome]:
        """Successes are committed: answers those that were settled, and returns the others."""
        at, settled, admitted = done
        self._keyed.tell(admitted)
        stale: list[PendingOutcome] = []
        if settled is not None:
            stale = [item for item in items if item.job_id not in settled]
            items = [item for item in items if item.job_id in settled]
        for item in items:
            if item.lease is not None:
                item.session.drop_all([item.lease])
        for item in items:
            item.reply.done()
        ended = Succeeded(at)
        ended.add(item.lease for item in items if item.lease is not None)
        # Kind and start of a lease that the session no longer held are not known here.
        unheld = [item.job_id for item in items if item.lease is None]
        self._ends.tell([*ended.ends, Ended(unheld)] if unheld else ended.ends)
        return stale

    async def _leave(self, items: list[PendingOutcome]) -> list[PendingOutcome]:
        return self._left(items, await self._attempts.end([_end(item) for item in items]))

    async def _leave_and_pause(self, items: list[PendingOutcome]) -> list[PendingOutcome]:
        pauses = [(_end(item), item.outcome.pause_key or timedelta()) for item in items]
        stale = self._left(items, await self._attempts.end_and_pause(pauses, self._most_admitted))
        gone = {item.job_id for item in stale}
        for item in items:
            # Of a lease that the session no longer held the queue is not known.
            if item.lease is not None and item.job_id not in gone:
                self._metrics.key_paused(item.lease.template.lane.queue)
        return stale

    @staticmethod
    def _left(items: Sequence[PendingOutcome], rows: Sequence[Record]) -> list[PendingOutcome]:
        """These attempts have ended: answers those of them that had, and returns the others."""
        by_id = {row["id"]: row for row in rows}
        stale = []
        for item in items:
            row = by_id.get(item.job_id)
            if row is None:
                stale.append(item)
                continue
            if item.lease is not None:
                item.session.drop(item.lease_id)
            item.reply.done(
                Answer(item.lease_id, item.job_id, item.attempt, "APPLIED", row["status"], row["run_at"])
            )
        return stale

    async def _explain(self, items: list[PendingOutcome]) -> list[PendingOutcome]:
        """Answers the outcomes that matched no lease: applied before, stale, or the job is gone."""
        rows = {
            (row["id"], row["attempt"]): row
            for row in await self._store.settled_before(
                [(item.session.scope, item.job_id, item.attempt) for item in items]
            )
        }
        for item in items:
            verdict, status, message = _explain(item, rows.get((item.job_id, item.attempt)))
            if verdict == "STALE_LEASE":
                self._metrics.stale_settlement()
            if item.lease is not None:
                item.session.drop(item.lease_id)
            item.reply.done(
                Answer(item.lease_id, item.job_id, item.attempt, verdict, status, message=message)
            )
        return []


def _end(item: PendingOutcome) -> AttemptEnd:
    outcome = item.outcome
    return AttemptEnd(
        item.job_id, item.attempt, item.session.id, outcome.event, outcome.permanent,
        outcome.after, outcome.error_type, outcome.message, outcome.stack,
    )  # fmt: skip


def _explain(item: PendingOutcome, row: Record | None) -> tuple[str, int, str]:
    """The verdict on an outcome that matched no lease, from what is stored of its job."""
    if row is not None and row["finished"]:
        status = int(row["status"])
    elif row is not None and row["live"]:
        status = int(status_of(row["state"], row["failures"], row["losses"]))
    else:
        return "NOT_FOUND", 0, "no job has this id; it was deleted, or its retention ended"
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
