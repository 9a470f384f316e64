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
from .levels import Levels
from .retention import Retention, partition_width


class UpkeepRoom:
    """Its parts are its attributes."""

    def __init__(self, stores: Stores, expected: ExpectedClocks, *, level: int, retention: timedelta) -> None:
        self.clock = Clock(stores.clock)
        self.levels = Levels(stores.levels, level)
        self.retention = Retention(stores.retention, retention=retention)
        self.audit_partitions = AuditPartitions(stores.audit_partitions)
        self.condition = ConditionReader(
            stores.condition, width=partition_width(retention), known_migration=len(migrate.load())
        )
        self.expected = expected

    def background(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What runs all the time."""
        return {
            "clock": self.clock.run,
            "retention": self.retention.run,
            "condition": self.condition.run,
            "audit partitions": self.audit_partitions.run,
        }
