"""Which kinds are not declared."""

from __future__ import annotations

from collections.abc import Collection

from ...scope import Scope
from ..database import Database


class UndeclaredStore:
    """Asks PostgreSQL.

    Raises (every method): DatabaseAway.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def among(self, scope: Scope, kinds: Collection[str]) -> list[str]:
        """Which of these kinds are not declared now."""
        rows = await self._database.fetch("undeclared_kinds", scope.namespace, list(kinds))
        return [row["name"] for row in rows]
