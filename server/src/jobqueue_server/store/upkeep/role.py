"""The role of the service in PostgreSQL: whether it may do more than the service needs."""

from __future__ import annotations

from dataclasses import dataclass

from ..database import Reads


@dataclass(frozen=True, slots=True)
class Role:
    """A role.

    Attributes:
        superuser: Whether no right is denied to it.
        owner: Whether it may do with the tables as their owner may.
    """

    superuser: bool
    owner: bool


class RoleStore:
    """Raises (every method): DatabaseAway."""

    def __init__(self, database: Reads) -> None:
        self._database = database

    async def read_role(self) -> Role:
        """The role of this server."""
        row = await self._database.fetchrow("read_role")
        assert row is not None  # each connection has a role
        return Role(row["superuser"], row["owner"])
