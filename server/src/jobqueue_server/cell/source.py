"""The database that a cell leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from . import side
from .errors import MoveRefused
from .side import NAME, Range, Reached, Table

_SEQUENCES = """
select quote_ident(s.schemaname) || '.' || quote_ident(s.sequencename) as name, s.last_value
from pg_sequences s where s.schemaname = current_schema() and s.last_value is not null
"""

_END_READERS = (
    "select count(pg_terminate_backend(active_pid)) from pg_replication_slots where slot_name = $1 and active"
)


class Source:
    """What a move asks of it, and does to it.

    Args:
        connection: Of the owner.
    """

    def __init__(self, connection: Reached) -> None:
        self._connection = connection

    async def check(self) -> None:
        """Returns if it can be copied while it is written to.

        Raises:
            MoveRefused: It can't, with what would help.
        """
        level = await self._connection.fetchval("select current_setting('wal_level')")
        if level != "logical":
            raise MoveRefused(
                f"the source has wal_level = {level}: set wal_level = logical in its configuration, and restart it"
            )
        if not await self._connection.fetchval(
            "select rolreplication or rolsuper from pg_roles where rolname = current_user"
        ):
            raise MoveRefused(
                "the role of the source may not replicate: give it the attribute by `alter role ... replication`"
            )

    async def version(self) -> int:
        """Of PostgreSQL, such as 150004."""
        found: int = await self._connection.fetchval("select current_setting('server_version_num')::int4")
        return found

    async def migrations(self) -> dict[int, str]:
        """The checksum of each migration."""
        return await side.migrations_of(self._connection)

    async def mark(self) -> Any:
        """See `mark_of`."""
        return await side.mark_of(self._connection)

    async def schema(self) -> str:
        """Where its tables are."""
        found: str = await self._connection.fetchval("select current_schema()")
        return found

    async def tables(self) -> Sequence[Table]:
        """Those that move.

        Raises:
            MoveRefused: One of them has no primary key, by which its rows would be known over there.
        """
        tables = await side.tables_of(self._connection)
        keyless = [table.name for table in tables if not table.has_key]
        if keyless:
            raise MoveRefused(
                f"these tables have no primary key, so they can't be replicated: {', '.join(keyless)}"
            )
        return tables

    async def publish(self, tables: Sequence[Table], target: str) -> None:
        """Offers these tables to this target. It may be done again, until that subscribes.

        Raises:
            MoveRefused: They are offered to another one.
        """
        offered_to = await self._connection.fetchval(
            "select coalesce(obj_description(oid, 'pg_publication'), '') from pg_publication where pubname = $1",
            NAME,
        )
        if offered_to is None:
            names = ", ".join(table.full_name for table in tables)
            await self._connection.execute(
                f"create publication {NAME} for table {names} with (publish_via_partition_root = true); "
                f"comment on publication {NAME} is '{target}'"
            )
        elif offered_to != target:
            raise MoveRefused(
                "the source is being moved to another database: end that by --abandon, with the same --to as then"
            )
        # One that was made for a subscription which then did not come about.
        await self.drop_slot()

    async def make_slot(self) -> None:
        """Keeps the log from here on, for the subscription."""
        await self._connection.execute("select pg_create_logical_replication_slot($1, 'pgoutput')", NAME)

    async def partitions(self, kind: str) -> list[Range]:
        """Those of jobs (`job_partition`) or of the audit log (`audit_partition`)."""
        rows = await self._connection.fetch(f"select name, from_id, to_id from {kind} order by from_id")
        return [Range(*row) for row in rows]

    async def sequences(self) -> dict[str, int]:
        """The last value of each."""
        return {row["name"]: row["last_value"] for row in await self._connection.fetch(_SEQUENCES)}

    async def closed(self) -> bool:
        """Whether it takes no writes any more."""
        return await side.closed(self._connection)

    async def close(self) -> str:
        """It takes no writes from here on. Where its log ends, which the copy has to come to."""
        await side.close(self._connection)
        # A message is more than a place: it goes to the slot at once, where a place alone waits for a keepalive.
        await self._connection.execute(f"select pg_logical_emit_message(true, '{NAME}', '')")
        found: str = await self._connection.fetchval("select pg_current_wal_lsn()::text")
        return found

    async def open_again(self) -> None:
        """It takes writes."""
        await side.open_again(self._connection)

    async def behind(self, place: str | None = None) -> int | None:
        """How many bytes of its log the copy has not confirmed, up to `place`, else to now; None: there is no slot."""
        found: int | None = await self._connection.fetchval(
            "select (coalesce($2::text::pg_lsn, pg_current_wal_lsn()) - confirmed_flush_lsn)::int8 "
            "from pg_replication_slots where slot_name = $1",
            NAME,
            place,
        )
        return found

    async def counts(self, tables: Sequence[Table], *, within_ms: int) -> dict[str, int]:
        """See `counts_of`."""
        return await side.counts_of(self._connection, tables, within_ms=within_ms)

    async def forget(self) -> None:
        """Takes back what `publish` did, and the slot, which would keep the log for ever."""
        await self._connection.execute(f"drop publication if exists {NAME}")
        await self.drop_slot()

    async def drop_slot(self) -> None:
        """Keeps the log no longer."""
        while await self._connection.fetchval(_END_READERS, NAME):  # noqa: ASYNC110  There is no event for it.
            await asyncio.sleep(0.01)
        await self._connection.execute(
            "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1", NAME
        )
