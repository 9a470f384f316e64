"""How often each statement ran in a database, by pg_stat_statements."""

from __future__ import annotations

import asyncio
import time

import asyncpg

#: Settings of a PostgreSQL that counts.
COUNTING = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "top"}
# How much more often than at rest a statement of the server's own may run, and how many times beyond that: some come
# once a minute, and were not seen at rest.
_MORE, _BEYOND = 1.5, 10
_COUNT = """
select queryid, min(query), sum(calls) from pg_stat_statements s
join pg_database d on d.oid = s.dbid where d.datname = $1 group by queryid
"""


class Statements:
    """Counts what ran beyond what the server does by itself.

    Args:
        admin: Of another database on the same PostgreSQL, so that looking is not counted.
        database: The name of the server's.
    """

    def __init__(self, admin: str, database: str) -> None:
        self._admin = admin
        self._database = database
        # By statement, a second.
        self._at_rest: dict[int, float] = {}
        self._texts: dict[int, str] = {}

    async def prepare(self) -> None:
        """Makes the counts readable."""
        connection = await asyncpg.connect(self._admin)
        try:
            await connection.execute("create extension if not exists pg_stat_statements")
        finally:
            await connection.close()

    async def count(self) -> dict[int, int]:
        """How often each ran until now."""
        connection = await asyncpg.connect(self._admin)
        try:
            rows = await connection.fetch(_COUNT, self._database)
        finally:
            await connection.close()
        self._texts.update({query: text for query, text, _ in rows})
        return {query: int(calls) for query, _, calls in rows}

    async def rest(self, seconds: float) -> None:
        """Looks what runs while nobody calls."""
        before, began = await self.count(), time.monotonic()
        await asyncio.sleep(seconds)
        after, took = await self.count(), time.monotonic() - began
        self._at_rest = {query: (calls - before.get(query, 0)) / took for query, calls in after.items()}

    async def since(self, before: dict[int, int], seconds: float) -> dict[str, int]:
        """What ran in these seconds that would not have run by itself: the beginning of each statement, how often."""
        found = {}
        for query, calls in (await self.count()).items():
            ran = calls - before.get(query, 0)
            allowed = self._at_rest.get(query, 0.0) * seconds * _MORE + _BEYOND
            if ran > allowed:
                found[" ".join(self._texts[query].split())[:60]] = ran
        return found
