"""G12: a backlog of millions, and a rare kind behind it."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from ..flow import flowing
from ..load import KIND, Load, padded
from ..load.grpc_calls import enqueue_one
from ..ours import stage
from ..server import Server
from ..workers import Workers
from .gate import Found, Part
from .round import Round

_SMALL = 10_000
_OTHERS = 1_000_000
_WAVES = 20
_RARE = "rare"
_FEW = 10
_WARM = 5
_HOLDS = 0.03
_CHUNK = 500_000
_FILL = (Path(__file__).parents[1] / "fill.sql").read_text()
_CLAIMS = "jobqueue_op_seconds_count{op=claim}"
_CLAIM_SECONDS = "jobqueue_op_seconds_sum{op=claim}"
_CLAIMED = "jobqueue_op_batch_jobs_sum{op=claim}"


class Backlog:
    """G12."""

    name = "G12"
    title = "backlog of 10 M against 10 k: claim rate; a rare kind behind 1 M of others"
    method = (
        "Backlogs are written by SQL, as enqueues would leave them, and nothing of it is left to autovacuum or to the "
        "next checkpoint. Claim rate: jobs by the seconds that the server's "
        f"claims took, over {_WAVES} waves of 10,000 jobs, and over as many jobs taken from the front of 10 million, "
        f"by one worker that holds its 1,000 for {_HOLDS * 1000:g} ms, so that a claim has the machine for itself; "
        "those of 10,000 before and after, since the clock of a machine drifts. "
        f"Rare kind: {_WAVES} times {_FEW} jobs of another kind in the same queue, behind a million of others, and a "
        f"worker for that kind alone; the mean time of a claim, after {_WARM} that are not counted, since each "
        "connection plans its first."
    )
    leaves_out = (
        "Bodies fetched for what was claimed, and settlements; a backlog that does not fit into memory."
    )
    parts = (Part("claim rate", 90, 100, "%"), Part("rare kind", 5, 1, "ms", less=True))

    async def measure(self, bench: Round) -> Found:
        """Small, large, small again, rare."""
        small = await self._small(bench)
        large = await self._large(bench)
        again = await self._small(bench)
        rare = await self._rare(bench)
        of_small = (small["claimed_per_second"] + again["claimed_per_second"]) / 2
        values: dict[str, float | None] = {
            "claim rate": round(100 * large["claimed_per_second"] / of_small, 1),
            "rare kind": round(rare["claim_ms"], 3),
        }
        return Found(values, {"small": small, "large": large, "small again": again, "rare": rare})

    async def _small(self, bench: Round) -> dict[str, float]:
        wave = bench.scale.jobs(_SMALL)
        workers = _one_by_one()
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=workers.kinds) as servers:
            lane = await lane_of(servers[0], dsn, KIND)
            async with flowing(servers, Load(0), workers) as flow:
                await flow.until_ended(1, 60)
                before = await servers[0].metrics()
                for number in range(1, _WAVES + 1):
                    bench.tell(f"backlog of {wave:,}, wave {number} of {_WAVES}")
                    await fill(dsn, lane, wave)
                    await flow.until_ended(1 + number * wave, 60)
                return claims(before, await servers[0].metrics())

    async def _large(self, bench: Round) -> dict[str, float]:
        jobs = bench.scale.jobs(bench.scale.large_backlog)
        taken = bench.scale.jobs(_SMALL) * _WAVES
        workers = _one_by_one()
        async with bench.cluster.fresh(ours=True) as dsn:
            async with stage(dsn, kinds=workers.kinds) as servers:
                lane = await lane_of(servers[0], dsn, KIND)
            bench.tell(f"writing a backlog of {jobs:,}")
            await fill(dsn, lane, jobs)
            async with stage(dsn, kinds=workers.kinds) as servers:
                before = await servers[0].metrics()
                bench.tell(f"draining {taken:,} of {jobs:,}")
                async with flowing(servers, Load(0), workers) as flow:
                    await flow.until_ended(min(taken, jobs), 600)
                    return claims(before, await servers[0].metrics())

    async def _rare(self, bench: Round) -> dict[str, float]:
        others = bench.scale.jobs(_OTHERS)
        workers = Workers(kinds=(_RARE,))
        async with bench.cluster.fresh(ours=True) as dsn:
            async with stage(dsn, kinds=(KIND, _RARE)) as servers:
                lane = await lane_of(servers[0], dsn, KIND)
                rare = await lane_of(servers[0], dsn, _RARE)
            bench.tell(f"writing {others:,} jobs of another kind")
            await fill(dsn, lane, others)
            async with stage(dsn, kinds=(KIND, _RARE)) as servers:
                async with flowing(servers, Load(0), workers) as flow:
                    await flow.until_ended(1, 60)
                    before: dict[str, float] = {}
                    for number in range(1, _WARM + _WAVES + 1):
                        bench.tell(f"rare kind, wave {number} of {_WARM + _WAVES}")
                        await fill(dsn, rare, _FEW)
                        await flow.until_ended(1 + number * _FEW, 60)
                        if number == _WARM:
                            before = await servers[0].metrics()
                    return claims(before, await servers[0].metrics())


def _one_by_one() -> Workers:
    """A worker that takes as many as a claim has at most, and holds them for a while."""
    return Workers(streams=1, handler_seconds=_HOLDS)


async def lane_of(server: Server, dsn: str, kind: str) -> int:
    """The lane of a kind in the default queue, which its first job makes."""
    await enqueue_one(server.grpc, kind)
    connection = await asyncpg.connect(dsn)
    try:
        found: int = await connection.fetchval(
            "select l.id from lane l join kind k on k.id = l.kind_id where k.name = $1", kind
        )
        return found
    finally:
        await connection.close()


async def fill(dsn: str, lane: int, jobs: int) -> None:
    """Writes a backlog."""
    connection = await asyncpg.connect(dsn)
    try:
        for start in range(0, jobs, _CHUNK):
            await connection.execute(_FILL, lane, min(_CHUNK, jobs - start), padded(128))
        if jobs >= _CHUNK:
            await connection.execute("vacuum (analyze) live_job, job")
            await connection.execute("checkpoint")
    finally:
        await connection.close()


def claims(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """What the server's claims did between two looks at its metrics."""
    count, seconds, jobs = (after[name] - before.get(name, 0) for name in (_CLAIMS, _CLAIM_SECONDS, _CLAIMED))
    return {
        "claims": count,
        "jobs": jobs,
        "claim_ms": 1000 * seconds / count,
        "claimed_per_second": round(jobs / seconds),
    }
