"""The database that a cell moves to."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import side
from .errors import MoveRefused
from .side import NAME, Range, Reached, Table

# Numbers that a transaction took and did not store are not in the last value that is read, nor are cached ones.
_SEQUENCES_AHEAD = 1_000

_STATES = """
select c.relname as name, r.srsubstate::text as state, coalesce(p.tuples_processed, 0) as rows
from pg_subscription_rel r
join pg_subscription s on s.oid = r.srsubid and s.subname = $1
join pg_class c on c.oid = r.srrelid
left join pg_stat_progress_copy p on p.relid = c.oid
"""
# A subscription that makes its slot itself can't be made within a block.
_SUBSCRIBE = f"""
do $$
begin
    execute format(
        'create subscription {NAME} connection %L publication {NAME} with (copy_data = true, create_slot = false)',
        (select dsn from pg_temp.move_source)
    );
exception when others then
    raise exception using message = sqlerrm, errcode = sqlstate;
end $$
"""
# How long a run waits for the one before.
_TURN = 10.0
# A partition is known by its ids: the other side may have merged some that are apart here.
_COVERED = "select exists (select from {} where from_id < $2 and to_id > $1)"


@dataclass(frozen=True, slots=True)
class Copied:
    """How far the first copy is. `rows`: of tables that are being copied, by name."""

    states: Mapping[str, int]
    rows: Mapping[str, int]
    done: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether all is there, and what follows is applied as it comes."""
        return bool(self.states) and set(self.states) == {"r"}


class Target:
    """What a move asks of it, and does to it.

    Args:
        connection: Of the owner.
    """

    def __init__(self, connection: Reached) -> None:
        self._connection = connection

    async def check(self, source_version: int) -> None:
        """Returns if a cell can move there.

        Raises:
            MoveRefused: It can't, with what would help.
        """
        version = await self._connection.fetchval("select current_setting('server_version_num')::int4")
        if version // 10_000 < source_version // 10_000:
            raise MoveRefused(
                f"the target is PostgreSQL {version // 10_000}, older than the source's {source_version // 10_000}"
            )
        if not await self._connection.fetchval(
            """select rolsuper or exists (
                   select from pg_roles g
                   where g.rolname = 'pg_create_subscription' and pg_has_role(r.oid, g.oid, 'usage'))
               from pg_roles r where r.rolname = current_user"""
        ):
            raise MoveRefused(
                "the role of the target may not subscribe: it needs to be a superuser, or from PostgreSQL 16 on a "
                "member of pg_create_subscription with `create` on the database"
            )

    async def turn(self) -> None:
        """Waits until a run before, which was killed, has ended here too. One run at a time.

        Raises:
            MoveRefused: Another one goes on.
        """
        until = time.monotonic() + _TURN
        while not await self._connection.fetchval(
            "select pg_try_advisory_lock(hashtextextended($1, 0))", NAME
        ):
            if time.monotonic() > until:
                raise MoveRefused(
                    "another `jobqueue-server cell move` is at work on this target: wait for its end"
                )
            await asyncio.sleep(0.1)

    async def name(self) -> str:
        """What no other database is called."""
        found: str = await self._connection.fetchval(
            "select s.system_identifier || '/' || d.oid from pg_control_system() s, pg_database d "
            "where d.datname = current_database()"
        )
        return found

    async def schema(self) -> str:
        """Where its tables are."""
        found: str = await self._connection.fetchval("select current_schema()")
        return found

    async def subscribed(self) -> bool:
        """Whether it follows a source already."""
        found: bool = await self._connection.fetchval(
            "select exists (select from pg_subscription where subname = $1 and subdbid = "
            "(select oid from pg_database where datname = current_database()))",
            NAME,
        )
        return found

    async def migrations(self) -> dict[int, str]:
        """The checksum of each migration."""
        return await side.migrations_of(self._connection)

    async def mark(self) -> Any:
        """See `mark_of`."""
        return await side.mark_of(self._connection)

    async def is_used(self) -> bool:
        """Whether it holds what may be wanted: jobs or keys."""
        if not await self.migrations():
            return False
        found: bool = await self._connection.fetchval(
            "select exists (select from job) or exists (select from api_key)"
        )
        return found

    async def empty(self, tables: Sequence[Table]) -> None:
        """Takes away what the migrations wrote: the source has it too."""
        await self._connection.execute(f"truncate {', '.join(table.full_name for table in tables)}")

    async def subscribe(self, source: str) -> None:
        """Begins to copy, from the slot that the source has made.

        PostgreSQL logs statements that fail, and their context, and may log all with their parameters. The password is
        in none of these: it comes by a copy into a table of this session, and the error is raised anew.

        Args:
            source: Where this database reaches the other one, as libpq takes it.

        Raises:
            MoveRefused: It does not reach it.
        """
        async with self._connection.transaction():
            await self._connection.execute("create temporary table move_source (dsn text) on commit drop")
            await self._connection.copy("move_source", source)
            await self._connection.execute(_SUBSCRIBE)

    async def copied(self) -> Copied:
        """How far the first copy is."""
        rows = await self._connection.fetch(_STATES, NAME)
        return Copied(
            Counter(row["state"] for row in rows),
            {row["name"]: row["rows"] for row in rows if row["state"] == "d"},
            frozenset(row["name"] for row in rows if row["state"] not in "id"),
        )

    async def trouble(self) -> int:
        """How often applying failed so far. PostgreSQL tries again by itself; its log has the reason."""
        found: int | None = await self._connection.fetchval(
            "select apply_error_count + sync_error_count from pg_stat_subscription_stats where subname = $1",
            NAME,
        )
        return found or 0

    async def make_partitions(self, jobs: Sequence[Range], audit: Sequence[Range]) -> int:
        """Makes those that are missing here; how many."""
        made = 0
        for ranges, kind, bases in (
            (jobs, "job_partition", ("job", "finished_job", "attempt")),
            (audit, "audit_partition", ("audit",)),
        ):
            for each in ranges:
                if not await self._connection.fetchval(_COVERED.format(kind), each.low, each.high):
                    await self._make_partition(each, kind, bases)
                    made += 1
        return made

    async def _make_partition(self, each: Range, kind: str, bases: Sequence[str]) -> None:
        """As `ensure_partitions` and `ensure_audit_partitions` of the migrations make them."""
        async with self._connection.transaction():
            for base in bases:
                name = f"{base}_{each.name}"
                await self._connection.execute(f'create table "{name}" (like {base} including all)')
                await self._connection.execute(
                    f"alter table {base} attach partition \"{name}\" for values from ('{each.low}') to ('{each.high}')"
                )
                if base == "finished_job":
                    await self._connection.execute(f"select summarize_ends('\"{name}\"')")
            await self._connection.execute(
                f"insert into {kind} (name, from_id, to_id) values ($1, $2, $3)",
                each.name,
                each.low,
                each.high,
            )

    async def set_sequences(self, sequences: Mapping[str, int]) -> None:
        """Goes on where the other side ended, with room between."""
        for name, last in sequences.items():
            await self._connection.fetchval(
                "select setval($1::text::regclass, $2)", name, last + _SEQUENCES_AHEAD
            )

    async def close(self) -> None:
        """It takes no writes but the source's: servers that are started on it wait."""
        await side.close(self._connection)

    async def closed(self) -> bool:
        """Whether it takes no writes but the source's."""
        return await side.closed(self._connection)

    async def open(self) -> None:
        """It takes writes."""
        await side.open_again(self._connection)

    async def counts(self, tables: Sequence[Table], *, within_ms: int) -> dict[str, int]:
        """See `counts_of`."""
        return await side.counts_of(self._connection, tables, within_ms=within_ms)

    async def unsubscribe(self) -> None:
        """Follows the source no more. The slot over there is not touched."""
        # All or nothing: a subscription that is half gone would never come to the end of the log.
        async with self._connection.transaction():
            await self._connection.execute(f"alter subscription {NAME} disable")
            await self._connection.execute(f"alter subscription {NAME} set (slot_name = none)")
            await self._connection.execute(f"drop subscription {NAME}")

    async def analyze(self) -> None:
        """Tells the planner what came."""
        await self._connection.execute("analyze")
