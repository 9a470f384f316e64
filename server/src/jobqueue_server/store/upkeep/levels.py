"""Levels in PostgreSQL: which servers may run on this database."""

from __future__ import annotations

from ..database import Database, Record
from ..migrate import SchemaUnknown


class LevelTooLow(SchemaUnknown):
    """The database is used in ways that this version of the server would break, so the server ends. Upgrade it."""


class LevelStore:
    """Raises (every method): DatabaseAway, DatabaseFull."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def raise_requirement(self, level: int) -> list[Record]:
        """Requires this level of all servers, unless an older one lives: those (name, level), else nothing.

        A server that registers meanwhile either is among those, or finds the new requirement.
        """
        async with self._database.transaction() as session:
            await session.fetch("lock_requirement")
            return await session.fetch("raise_requirement", level)
