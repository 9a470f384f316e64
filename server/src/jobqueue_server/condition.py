"""What an operator wants to know of the database, as it was read last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of a database.

    Attributes:
        snapshot_seconds: For how long the oldest snapshot has kept dead rows from being removed; 0: none does.
        slot_bytes: How much WAL the replication slot that is furthest behind keeps from being removed.
        dead_rows: By table, of those that change often.
        partitions: How many there are, by state: `past`, `present`, `ahead`, `leftover`.
        partition_seconds: Of how much time a partition holds the jobs.
        retention_lag_seconds: For how long the oldest partition has been due to go, while it holds what is to go.
        migration: The newest migration that the database has.
        known_migration: The newest one that this server knows.
    """

    snapshot_seconds: float
    slot_bytes: int
    dead_rows: Mapping[str, int]
    partitions: Mapping[str, int]
    partition_seconds: float
    retention_lag_seconds: float
    migration: int
    known_migration: int
