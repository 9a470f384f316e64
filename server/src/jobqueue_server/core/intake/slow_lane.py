"""What becomes of an insert that met a lock: most of it is stored without the batches that want the locked row."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from ...fair.turns import Turns
from ..tuning import Tuning
from .batch import Batch
from .beside import Beside, Insert, Want, wants_of
from .inserter import Inserter

_log = logging.getLogger(__name__)


class SlowLane:
    """Parts inserts that met a lock, and stores what wants a locked row, for as long as a statement may take.

    Attributes:
        beside: What slow inserts want, of all lines and of this one.
        patience: How long a statement of an insert waits for a lock.
    """

    def __init__(self, beside: Beside, tuning: Tuning) -> None:
        self.beside = beside
        self.patience = tuning.lock_patience
        self._patience_apart = tuning.lock_patience_apart
        self._tries = tuning.locked_tries
        self._turns = Turns(tuning.slow_inserts)
        self._tasks: set[asyncio.Task[None]] = set()

    async def part(self, inserter: Inserter, insert: Insert, batches: Sequence[Batch]) -> None:
        """Stores those batches of an insert that want nothing which is locked, and stores the others apart.

        It halves them until it knows, and gives up after some tries that met a lock: then more is locked than a few
        rows, and what is left waits together, as it would have without.

        Args:
            inserter: Of their form.
            insert: What had them.
            batches: Those that it left.
        """
        unanswered = set(batches)
        left, tries = [groups_of(batches)], self._tries
        try:
            while left:
                groups = left.pop()
                if len(groups) == 1 or not tries:
                    stuck = [batch for group in groups for batch in group]
                    unanswered.difference_update(stuck)
                    self._put(inserter, stuck)
                    continue
                middle = len(groups) // 2
                for half in (groups[:middle], groups[middle:]):
                    some = [batch for group in half for batch in group]
                    late = await inserter.insert(some, self._patience_apart, asks=False)
                    if late:
                        tries = max(tries - 1, 0)
                        left.append(groups_of(late))
                    answered = set(some).difference(late)
                    unanswered.difference_update(answered)
                    insert.forget(answered)
        except Exception as error:
            # They are in no line any more.
            for batch in unanswered:
                batch.fail(error)
            raise

    def _put(self, inserter: Inserter, batches: list[Batch]) -> None:
        insert = Insert(batches)
        self.beside.add(insert)
        task = asyncio.create_task(self._store(inserter, insert))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _store(self, inserter: Inserter, insert: Insert) -> None:
        """Stores what wants the same locked row, when it is the turn of the first principal there."""
        try:
            async with self._turns.place(insert.batches[0].owner):
                await inserter.insert(insert.batches, None, asks=False)
        except Exception:
            # Their callers were told.
            _log.exception("an insert that met a lock failed")
        finally:
            insert.end()
            self.beside.ended(insert)

    async def run(self) -> None:
        """Until cancelled, which ends what is stored here too."""
        try:
            await asyncio.Event().wait()
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)


def groups_of(batches: Iterable[Batch]) -> list[list[Batch]]:
    """Batches, together with those that want the same rows, directly or by others between."""
    groups: dict[int, list[Batch]] = {}
    of: dict[Want, list[Batch]] = {}
    for batch in batches:
        wants = wants_of(batch)
        met = list({id(group): group for want in wants if (group := of.get(want)) is not None}.values())
        into = met[0] if met else []
        groups[id(into)] = into
        into.append(batch)
        for other in met[1:]:
            into += other
            del groups[id(other)]
            of.update((want, into) for each in other for want in wants_of(each))
        of.update((want, into) for want in wants)
    return list(groups.values())
