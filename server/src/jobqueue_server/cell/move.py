"""Moves a cell to another PostgreSQL while it works: by logical replication, and a cut-over of a second or two.

What it has done it reads off the two databases, so that it may be ended at any point and run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..store import migrate
from .errors import MoveRefused
from .side import Table
from .source import Source
from .target import Target

# What is applied in less than a second, at the cut-over.
IN_STEP = 1 << 20
# How long the target may take to come to the end of the source's log, before the source takes writes again.
CATCH_UP = 30.0
_LOOK_EVERY = 0.5
_LOOK_OFTEN = 0.02
# At the cut-over everybody waits: so many rows are counted in about a tenth of a second.
MOST_COUNTED = 1_000_000
_COUNT_MS = 500


class Teller(Protocol):
    """Who is told how it goes."""

    def step(self, text: str) -> None:
        """What is done now, or was found."""

    def copied(self, rows: int, of: int) -> None:
        """So many rows are there, of about so many."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of a cut-over.

    Attributes:
        seconds: For how long neither database took writes; 0 where an earlier run had done it.
        compared: Tables of which both sides have as many rows.
        not_compared: Those that are too large to be counted meanwhile.
    """

    seconds: float = 0.0
    compared: int = 0
    not_compared: tuple[str, ...] = ()


class Move:
    """One move.

    Args:
        source, target: The databases, each by a connection of its owner.
        target_dsn: The URL of the target, for the migrations.
        reached_by: Where the target reaches the source, as libpq takes it.
        service_role: The role of the servers on the target; None: that of `target_dsn`.
        teller: Is told how it goes.
    """

    def __init__(
        self,
        source: Source,
        target: Target,
        target_dsn: str,
        reached_by: str,
        service_role: str | None,
        teller: Teller,
    ) -> None:
        self._source = source
        self._target = target
        self._target_dsn = target_dsn
        self._reached_by = reached_by
        self._service_role = service_role
        self._teller = teller

    async def follow(self) -> bool:
        """Copies the source and follows it until both are in step. False: it has moved already.

        Raises:
            MoveRefused: One of the databases is not fit for it, or holds something else.
        """
        await self._target.turn()
        if not await self._target.subscribed():
            if await self._was_cut():
                return False
            await self._begin()
        await self._until_in_step()
        self._teller.step("reading statistics for the planner")
        await self._target.analyze()
        await self._until_in_step()
        return True

    async def cut_over(self) -> Moved:
        """Closes the source, waits for the rest of its log, opens the target. To be called in step.

        Raises:
            MoveRefused: The target did not come to the end, or differs. The source takes writes again.
        """
        if not await self._target.subscribed():
            return await self._finish(Moved())
        await self._same_schema()
        tables = await self._source.tables()
        self._teller.step("cutting over: the source takes no writes from here on")
        began = time.monotonic()
        try:
            await self._catch_up(await self._source.close())
            await self._target.set_sequences(await self._source.sequences())
            moved = await self._compare(tables)
        except BaseException:
            await self._source.open_again()
            self._teller.step("the source takes writes again; nothing has moved")
            raise
        # From here on there is no way back.
        await self._target.unsubscribe()
        await self._target.open()
        seconds = time.monotonic() - began
        return await self._finish(Moved(seconds, moved.compared, moved.not_compared))

    async def abandon(self) -> None:
        """Takes everything back that a move has done: the source is as before, and the target may be dropped.

        Raises:
            MoveRefused: It has moved already.
        """
        await self._target.turn()
        if await self._source.closed() and not await self._target.closed():
            raise MoveRefused(
                "the cell has moved: the target takes writes, so what the source has is old; there is no way back"
            )
        if await self._target.subscribed():
            await self._target.unsubscribe()
        await self._source.forget()
        if await self._source.closed():
            await self._source.open_again()

    async def _was_cut(self) -> bool:
        """Whether the target follows no more since all is there."""
        return await self._source.closed() and await self._source.mark() == await self._target.mark()

    async def _begin(self) -> None:
        source, target = self._source, self._target
        await source.check()
        await target.check(await source.version())
        if await source.closed():
            raise MoveRefused(
                "the source takes no writes: it moved to another database, or `default_transaction_read_only` is on; "
                "`jobqueue-server cell move --abandon` opens it"
            )
        if await target.is_used():
            raise MoveRefused("the target holds jobs or keys of its own: name an empty database")
        # An earlier run may have closed the target since.
        if not await target.closed():
            self._teller.step("making the schema on the target")
            await migrate.up(self._target_dsn, self._service_role)
        await self._same_schema()
        tables = await source.tables()
        await target.close()
        await source.publish(tables, await target.name())
        await self._make_partitions()
        await target.empty(tables)
        self._teller.step(f"copying {len(tables)} tables")
        await source.make_slot()
        try:
            await target.subscribe(self._reached_by)
        except MoveRefused:
            # It would keep the source's log until the next run.
            if not await target.subscribed():
                await source.drop_slot()
            raise

    async def _same_schema(self) -> None:
        ours, theirs = await self._source.migrations(), await self._target.migrations()
        if ours != theirs:
            raise MoveRefused(
                f"the source has {len(ours)} migrations and the target {len(theirs)}: run `jobqueue-server migrate up` "
                "of one version on both"
            )
        names = await self._source.schema(), await self._target.schema()
        if len(set(names)) > 1:
            raise MoveRefused(
                f"the tables are in the schema {names[0]} of the source and {names[1]} of the target: "
                "they should be in schemas of one name"
            )

    async def _until_in_step(self) -> None:
        """Until all tables are copied, and what was written since is applied but for a second's worth."""
        sizes = {table.name: table.about_rows for table in await self._source.tables()}
        failures = await self._target.trouble()
        while True:
            await self._make_partitions()
            copied, behind = await self._target.copied(), await self._source.behind()
            rows = sum(sizes[name] for name in copied.done) + sum(copied.rows.values())
            self._teller.copied(rows, max(sum(sizes.values()), rows))
            if behind is None:
                raise MoveRefused(
                    "the source has no replication slot of this move any more, so the copy can't go on: run this with "
                    "--abandon, and begin again on an empty database"
                )
            if copied.whole and behind < IN_STEP:
                return
            if (failed := await self._target.trouble()) > failures:
                failures = failed
                self._teller.step(
                    "the target could not apply what the source sent, and tries again: its log says why"
                )
            await asyncio.sleep(_LOOK_EVERY)

    async def _catch_up(self, place: str) -> None:
        until = time.monotonic() + CATCH_UP
        while (behind := await self._source.behind(place)) is None or behind > 0:
            if behind is None or time.monotonic() > until:
                raise MoveRefused(
                    f"the target did not come to the end of the source's log in {CATCH_UP:g} s, {behind} bytes are left"
                )
            await self._make_partitions()
            await asyncio.sleep(_LOOK_OFTEN)

    async def _make_partitions(self) -> None:
        """Replication tells of no new tables."""
        await self._target.make_partitions(
            await self._source.partitions("job_partition"), await self._source.partitions("audit_partition")
        )

    async def _compare(self, tables: Sequence[Table]) -> Moved:
        """That both sides have as many rows, of as many tables as are counted soon.

        Raises:
            MoveRefused: They have not.
        """
        small: list[Table] = []
        room = MOST_COUNTED
        for table in sorted(tables, key=lambda table: table.about_rows):
            room -= table.about_rows
            if room < 0:
                break
            small.append(table)
        ours, theirs = await asyncio.gather(
            self._source.counts(small, within_ms=_COUNT_MS), self._target.counts(small, within_ms=_COUNT_MS)
        )
        both = ours.keys() & theirs.keys()
        differ = [
            f"{name} ({ours[name]} and {theirs[name]})" for name in sorted(both) if ours[name] != theirs[name]
        ]
        if differ:
            raise MoveRefused(f"these tables have other numbers of rows on the target: {', '.join(differ)}")
        others = sorted(table.name for table in tables if table.name not in both)
        return Moved(compared=len(both), not_compared=tuple(others))

    async def _finish(self, moved: Moved) -> Moved:
        """Also what an earlier run may have left."""
        if await self._target.closed():
            await self._target.open()
        await self._source.forget()
        return moved
