"""Inserts that take long: what they want is kept for their end, and others go beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from ..tuning import Tuning
from .batch import Batch

#: What an insert locks and others may: the id of a semaphore, the digest of a name or of an idempotency key.
Want: TypeAlias = int | bytes


class Insert:
    """An insert under way.

    Attributes:
        batches: What it stores.
        slow: Whether it is among the slow ones.
        wants: What it locks; known once it is slow.
        ended: Whether it has ended.
        behind: The batches that wait for its end, each with what puts it back in line.
    """

    __slots__ = ("batches", "behind", "ended", "slow", "wants")

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches
        self.slow = False
        self.wants: set[Want] = set()
        self.ended = False
        self.behind: list[tuple[Batch, Callable[[Batch], None]]] = []

    def forget(self, batches: Iterable[Batch]) -> None:
        """Some of its batches are answered, and wanted nothing that the others want."""
        for batch in batches:
            self.wants -= wants_of(batch)

    def becomes_slow(self) -> None:
        """It takes long: what it wants is looked up."""
        self.slow = True
        self.wants = {want for batch in self.batches for want in wants_of(batch)}

    def end(self) -> None:
        """It has ended."""
        self.ended = True


class Beside:
    """The slow inserts of a server, and the places of those that go beside them.

    An insert is slow once it has taken so long that it most likely waits for a row that another transaction has locked.
    What wants one of its rows waits for its end, so that those beside it do not come to wait for the same.

    Attributes:
        slow: The slow inserts.
        slow_after: After how many seconds an insert is slow.
    """

    def __init__(self, tuning: Tuning) -> None:
        self.slow: list[Insert] = []
        self.slow_after = tuning.slow_insert
        self._places = tuning.inserts_beside

    def add(self, insert: Insert) -> None:
        """An insert is slow from now on."""
        insert.becomes_slow()
        self.slow.append(insert)

    def begins(self, insert: Insert) -> bool:
        """An insert is slow from now on: whether there is a place for those beside it, which is taken then."""
        self.add(insert)
        if not self._places:
            return False
        self._places -= 1
        return True

    def leaves(self) -> None:
        """A place is free again."""
        self._places += 1

    def keeps(self, batch: Batch, put_back: Callable[[Batch], None]) -> bool:
        """Whether a slow insert wants what a batch wants. Then the batch is put back after its end."""
        wants = wants_of(batch)
        for insert in self.slow:
            if not insert.wants.isdisjoint(wants):
                insert.behind.append((batch, put_back))
                return True
        return False

    def ended(self, insert: Insert) -> None:
        """A slow insert has ended."""
        self.slow.remove(insert)
        for batch, put_back in insert.behind:
            put_back(batch)
        insert.behind.clear()


def wants_of(batch: Batch) -> set[Want]:
    """What an insert of a batch locks; queues, which are asked, aside."""
    wants: set[Want] = set()
    for row in batch.rows:
        if row.key_digest is not None:
            wants.add(row.key_digest)
        if row.name is not None:
            wants.add(row.name.digest)
        if row.semaphore_ids is not None:
            wants.update(row.semaphore_ids)
    return wants
