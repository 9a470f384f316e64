"""One round of measurements: ours and peers in turns on one PostgreSQL, each measured once and used by every gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import BenchError
from ..ours import Measured, Scenario, measure
from ..peers import PEERS, PeerFailed
from ..postgres import Cluster
from ..scale import Scale
from .scenarios import OURS

#: Ours, in the place of a peer's name.
JOBQUEUE = "jobqueue"


@dataclass(frozen=True, slots=True)
class PeerRun:
    """A peer at one workload, or ours: its rate, or why there is none."""

    peer: str
    workload: str
    rate: float | None
    told: dict[str, Any]


@dataclass
class Round:
    """What is measured is kept until the round ends.

    Attributes:
        cluster: The PostgreSQL.
        scale: How much of everything.
        tell: Told what is being measured.
        about: Machine, versions and settings, to be kept with every result.
        built: The versions of each peer that was built.
    """

    cluster: Cluster
    scale: Scale
    tell: Callable[[str], None]
    about: dict[str, Any]
    built: dict[str, dict[str, str]]
    _ours: dict[Scenario, Measured] = field(default_factory=dict)
    _peers: dict[tuple[str, str], PeerRun] = field(default_factory=dict)

    async def ours(self, what: str, scenario: Scenario) -> Measured:
        """Ours in a scenario."""
        if scenario not in self._ours:
            self.tell(f"ours: {what}")
            self._ours[scenario] = await measure(self.cluster, scenario)
        return self._ours[scenario]

    async def peer(self, name: str, workload: str, jobs: int, payload: int = 128) -> PeerRun:
        """A peer at a workload."""
        key = name, workload
        if key not in self._peers:
            self.tell(f"{name}: {workload}")
            self._peers[key] = await self._measured(name, workload, jobs, payload)
        return self._peers[key]

    @property
    def runs(self) -> list[PeerRun]:
        """All workloads of this round, of peers and of ours."""
        scenarios = ((workload, scenario(self.scale)) for workload, scenario in OURS.items())
        ours = (
            (workload, self._ours[scenario]) for workload, scenario in scenarios if scenario in self._ours
        )
        return [
            *self._peers.values(),
            *(PeerRun(JOBQUEUE, workload, found.rate, found.told()) for workload, found in ours),
        ]

    async def _measured(self, name: str, workload: str, jobs: int, payload: int) -> PeerRun:
        peer = next((each for each in PEERS if each.name == name), None)
        if peer is None:
            return PeerRun(name, workload, None, {"missing": f"there is no peer {name}"})
        if (why := peer.missing()) is not None:
            return PeerRun(name, workload, None, {"missing": why})
        if workload not in peer.workloads:
            return PeerRun(name, workload, None, {"missing": f"{name} has no workload {workload}"})
        try:
            if peer.name not in self.built:
                self.tell(f"{peer.name}: building")
                self.built[peer.name] = await asyncio.to_thread(peer.build)
            async with self.cluster.fresh(ours=False) as dsn:
                result = await peer.measure(dsn, workload, jobs, payload)
        except PeerFailed as error:
            # The figures of the others are worth having.
            return PeerRun(name, workload, None, {"missing": str(error)[-1000:]})
        if result.jobs <= 0 or result.seconds <= 0:
            raise BenchError(f"{name}, {workload}: {result.jobs} jobs in {result.seconds} s")
        rate = result.jobs / result.seconds
        told = {
            "jobs": result.jobs,
            "seconds": round(result.seconds, 2),
            "jobs_per_second": round(rate),
            **result.detail,
        }
        return PeerRun(name, workload, rate, told)
