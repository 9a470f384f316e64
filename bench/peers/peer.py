"""What a peer is to the benchmarks: a name, what it does and does not do for each job, and a way to measure it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

# How jobs come in and what is timed; docs/benchmarks/peers.md says it in full.
WORKLOADS = ("continuous", "drain", "singles", "keyed", "rest_enqueue", "rest", "own")


@dataclass(frozen=True)
class PeerResult:
    """One measurement: jobs / seconds is what counts."""

    jobs: int
    seconds: float
    detail: dict[str, object] = field(default_factory=dict)


class PeerFailed(RuntimeError):
    """A build or a measurement came to nothing. The text says why."""


class Peer(Protocol):
    """A job queue that ours is measured beside."""

    @property
    def name(self) -> str:
        """As it is written in a table: `river`."""

    @property
    def workloads(self) -> frozenset[str]:
        """Those of WORKLOADS that it has a way to do."""

    @property
    def does(self) -> str:
        """What it does for each job, in words."""

    @property
    def lacks(self) -> str:
        """What it does not do that ours does."""

    def missing(self) -> str | None:
        """Why it can't run on this machine; None where it can."""

    def build(self) -> dict[str, str]:
        """Builds it into `.cache/bench/<name>`, unless it is there, and returns the versions of what matters.

        Raises:
            PeerFailed: with the end of what the tools said.
        """

    async def measure(self, dsn: str, workload: str, jobs: int, payload: int) -> PeerResult:
        """Takes `jobs` of `payload` bytes of JSON through the workload, in a database that is fresh and empty.

        Raises:
            PeerFailed: it ended without a result, or was not done in time.
        """
