"""Finds jobs by labels, newest first, partition by partition."""

from __future__ import annotations

from uuid import UUID

from ..database import Database


class Labelled:
    """The ids of jobs with some labels, of any namespace, in a range of ids.

    Args:
        database: Where jobs are.
        labels: As JSON.
        low: Ids from this one on.
        high: Up to that one, exclusive.

    Attributes:
        ids: What was found so far.
    """

    def __init__(self, database: Database, labels: str, low: UUID, high: UUID) -> None:
        self._database = database
        self._labels = labels
        self._low = low
        self._before = high
        # Where partitions begin, newest first. None: not read yet.
        self._starts: list[UUID] | None = None
        self.ids: list[UUID] = []

    async def find(self, most: int) -> list[UUID]:
        """Goes on until so many are found in all, or none is left; all that were found."""
        async with self._database.transaction() as session:
            await session.fetchrow("plan_anew")
            if self._starts is None:
                rows = await session.fetch("partition_starts", self._low, self._before)
                self._starts = [row["from_id"] for row in rows]
            while self._starts and len(self.ids) < most:
                start, left = max(self._starts[0], self._low), most - len(self.ids)
                found = await session.fetch("labelled_ids", self._labels, start, self._before, left)
                self.ids += (row["id"] for row in found)
                if len(found) == left:
                    self._before = self.ids[-1]
                else:
                    self._starts, self._before = self._starts[1:], start
        return self.ids
