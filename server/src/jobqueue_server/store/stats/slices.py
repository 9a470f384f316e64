"""Slices of statistics: written, rolled up and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import NamedTuple

from ..database import Database, Record, Session
from ..upkeep.clock import Expected

#: Seconds of a slice, and how long it is kept. The hour and the day have something to spare, so that a read from an
#: hour ago on finds slices of 10 s alone.
WIDTHS = (10, 60, 900)
KEPT = (timedelta(hours=1, minutes=5), timedelta(hours=24, minutes=15), timedelta(days=90))


class Slice(NamedTuple):
    """What happened to the jobs of a lane.

    Attributes:
        lane_id: The lane, or a negative number for many lanes of a namespace.
        counts: In the order of the columns of `lane_stat`.
        waits: A histogram; None: it is empty.
        runs: Likewise.
    """

    lane_id: int
    counts: Sequence[int]
    waits: Sequence[int] | None
    runs: Sequence[int] | None


class SliceStore:
    """The table `lane_stat`.

    Raises (every method): DatabaseAway, DatabaseFull.
    """

    def __init__(self, database: Database, *, expected: Expected, batch: int = 5_000) -> None:
        self._database = database
        self._expected = expected
        self._batch = batch

    async def write(self, at: datetime, server_id: int, slices: Sequence[Slice]) -> None:
        """Stores slices of a server that begin at `at`."""
        await self._database.fetch(
            "write_slices",
            at,
            server_id,
            [each.lane_id for each in slices],
            *zip(*(each.counts for each in slices), strict=True),
            [_literal(each.waits) for each in slices],
            [_literal(each.runs) for each in slices],
        )

    async def claim_roll_up(self, every: timedelta) -> bool:
        """Whether this server is to roll up, and no other for so long."""
        return await self._database.fetchrow("claim_roll_up", every) is not None

    async def roll_up(self, step: int) -> int:
        """Makes slices of `WIDTHS[step + 1]` of the oldest ones of `WIDTHS[step]`; how many these were."""
        row = await self._database.fetchrow(
            "roll_up", WIDTHS[step], WIDTHS[step + 1], KEPT[step], self._expected()
        )
        return 0 if row is None else int(row["rolled"])

    async def sweep(self) -> int:
        """Deletes some of the slices that are too old; how many, and fewer than a batch if these were the last."""
        row = await self._database.fetchrow("sweep_slices", KEPT[-1], self._batch, self._expected())
        return 0 if row is None else int(row["swept"])

    def is_batch(self, swept: int) -> bool:
        """Whether there may be more to sweep."""
        return swept >= self._batch

    async def recent(self, since: datetime, until: datetime) -> Mapping[int, Record]:
        """What happened, by lane, from slices of 10 s."""
        return {row["lane_id"]: row for row in await self._database.fetch("recent_slices", since, until)}

    async def lost_lately(self) -> list[Record]:
        """How many attempts were lost in the last hour, by lane: lane_id, lost, since, last."""
        return await self._database.fetch("lost_lately")

    def snapshot(self) -> AbstractAsyncContextManager[Session]:
        """For several reads: a roll-up between two of them moves what it rolls up to an earlier time."""
        return self._database.transaction(one_snapshot=True)

    async def sums(
        self, since: datetime, until: datetime, lanes: Sequence[int], session: Session
    ) -> Mapping[int, int]:
        """How much happened in a time, by lane. `lanes` are sorted; `session`: of `snapshot`."""
        rows = await session.fetch("stat_sums", since, until, lanes)
        return {row["lane_id"]: row["jobs"] for row in rows}

    async def points(
        self,
        since: datetime,
        until: datetime,
        lanes: Sequence[int],
        series: Sequence[int],
        step: timedelta,
        first: datetime,
        session: Session,
    ) -> list[Record]:
        """A row for each series and step in which something happened, in this order.

        Args:
            since: From then on.
            until: Up to there.
            lanes: Sorted.
            series: That of each lane.
            step: How long a step is.
            first: Where one of them begins.
            session: Of `snapshot`.
        """
        return await session.fetch("stat_points", since, until, lanes, series, step, first)


def _literal(histogram: Sequence[int] | None) -> str | None:
    """An array as text, without the zeros at its end: arrays of several lengths can't be given in another way."""
    if histogram is None:
        return None
    length = max((n for n, count in enumerate(histogram, 1) if count), default=0)
    return f"{{{','.join(map(str, histogram[:length]))}}}"
