"""How much is measured: the counts and durations of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scale:
    """The counts of a full run. `factor` makes all of them smaller, for a quick look: ratios then say little.

    Attributes:
        factor: Of every count and duration.
        drain_jobs: The backlog of G4.
        hold_seconds: How long the snapshot of G8 is held.
        soak_seconds: How long G11 goes on.
        large_backlog: The larger one of G12, and that of the gate `explain`, which has a tenth as many held back.
        idle_streams: Of G10.
        pairs: Of the gates `auth`, `labels`, `ui` and `bulk`: how often each of their scenarios is run.
        known_keys: Of the gate `auth`, whose memory is measured.
        held_jobs: Of the gate `keys`: how many wait for their keys.
        limits_hold_seconds: Of the gate `totals`: how long its snapshots are held.
        schedules: Of the gate `schedules`: how many there are.
        waiting_jobs, ended_jobs: Of the gate `ui-size`.
        retried_jobs: Of the gate `bulk`.
    """

    factor: float = 1.0
    drain_jobs: int = 1_000_000
    hold_seconds: float = 300
    soak_seconds: float = 3600
    large_backlog: int = 10_000_000
    idle_streams: int = 10_000
    pairs: int = 6
    known_keys: int = 10_000
    held_jobs: int = 1_000_000
    limits_hold_seconds: float = 600
    schedules: int = 100_000
    waiting_jobs: int = 1_000_000
    ended_jobs: int = 5_000_000
    retried_jobs: int = 1_000_000

    def smaller(self, gate: str) -> bool:
        """Whether less was measured for a gate than a full run does."""
        full = Scale()
        of_its_own = {
            "G4": ("drain_jobs",),
            "G7": ("drain_jobs",),
            "G8": ("hold_seconds",),
            "G10": ("idle_streams",),
            "G11": ("soak_seconds",),
            "G12": ("large_backlog",),
            "auth": ("pairs",),
            "labels": ("pairs",),
            "keys": ("held_jobs",),
            "totals": ("limits_hold_seconds",),
            "schedules": ("schedules",),
            "explain": ("large_backlog",),
            "ui": ("pairs",),
            "ui-size": ("waiting_jobs", "ended_jobs"),
            "bulk": ("retried_jobs", "pairs"),
        }
        names = ("factor", *of_its_own.get(gate, ()))
        return any(getattr(self, name) < getattr(full, name) for name in names)

    def jobs(self, count: int) -> int:
        """So many at full scale, in whole hundreds."""
        return max(100, round(count * self.factor / 100) * 100)

    def seconds(self, span: float, least: float = 1.0) -> float:
        """So long at full scale."""
        return max(least, span * self.factor)
