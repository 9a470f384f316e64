"""What an operator does after a restore: look at what would run again, then resume."""

from __future__ import annotations

import getpass
import socket
from datetime import datetime

from ..store import migrate
from ..store.database import Session
from ..store.upkeep.standstill import StandstillStore


async def resume(dsn: str) -> datetime | None:
    """Ends the standstill. Since when it stood; None: it did not.

    Raises:
        MigrationError: The database refuses the login, or its schema is not one that this version knows.
        DatabaseAway: The database does not answer.
    """
    await migrate.verify(dsn)
    async with migrate.connected(dsn, "jobqueue-server resume") as connection:
        return await StandstillStore(Session(connection)).end_standstill(_operator())


def _operator() -> str:
    """Who calls, as the machine knows it."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
