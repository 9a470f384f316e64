"""G7: what a job costs the database."""

from __future__ import annotations

from . import scenarios
from .gate import Found, Part
from .round import Round


class Costs:
    """G7."""

    name = "G7"
    title = "WAL a job at 128 B, commits a job"
    method = (
        "WAL as PostgreSQL wrote it during G1 (hand-off), and during the filling and the drain of G4 together "
        "(backlog), with all that the server and autovacuum write beside; a checkpoint before, none within. "
        "Commits: transactions that wrote something, during G1."
    )
    leaves_out = "Images of whole pages after a checkpoint, which a long-lived server writes too."
    parts = (
        Part("hand-off", 900, 750, "B", less=True),
        Part("backlog", 1350, 1100, "B", less=True),
        Part("commits", 0.02, 0.005, "a job", less=True),
    )

    async def measure(self, bench: Round) -> Found:
        """From G1 and G4 of the same round."""
        given = await bench.ours("hand-off, batches of 100", scenarios.hand_off(bench.scale))
        drained = await bench.ours("drain", scenarios.drain(bench.scale))
        through = drained.costs["wal_bytes_per_job"] + drained.costs["filling"]["wal_bytes_per_job"]
        values = {
            "hand-off": given.costs["wal_bytes_per_job"],
            "backlog": through,
            "commits": given.costs["commits_per_job"],
        }
        return Found(values, {"hand-off": given.told(), "backlog": drained.told()})
