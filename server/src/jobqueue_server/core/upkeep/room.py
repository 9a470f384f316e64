"""The parts that keep the server and its database in order, put together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from ...store import migrate
from ...store.stores import Stores
from .audit_partitions import AuditPartitions
from .clock import Clock
from .condition import ConditionReader
from .expected_clock import ExpectedClocks
from .forgetting import Forgetting
from .levels import Levels
from .retention import Retention, partition_width
from .standstill import Standstill


class UpkeepRoom:
    """Its parts are its attributes."""

    def __init__(self, stores: Stores, expected: ExpectedClocks, *, level: int, retention: timedelta) -> None:
        self.clock = Clock(stores.clock)
        self.levels = Levels(stores.levels, level)
        self.standstill = Standstill(stores.standstill)
        forgetting = Forgetting(stores.forgetting)
        self.retention = Retention(stores.retention, retention=retention, forgetting=forgetting)
        self.audit_partitions = AuditPartitions(stores.audit_partitions)
        self.condition = ConditionReader(
            stores.condition, width=partition_width(retention), known_migration=len(migrate.load())
        )
        self.expected = expected

    async def start(self, *, paused: bool, by: str) -> None:
        """Before anything is written but the server's row: partitions, and whether it stands.

        Raises:
            LocksBusy, DatabaseAway, DatabaseFull: Partitions can't be made.
        """
        await self.standstill.start(paused=paused, by=by)
        await self.retention.ensure()
        await self.audit_partitions.ensure()

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {
            "clock": self.clock.run,
            "retention": self.retention.run,
            "condition": self.condition.run,
            "audit partitions": self.audit_partitions.run,
        }
