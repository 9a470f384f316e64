"""The gates `keys` and `raised`: what limits by job key cost, and whether it stays so with many jobs that wait."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import asyncpg

from ..errors import BenchError
from ..flow import flowing
from ..load import KIND, Load
from ..load.grpc_calls import enqueue_keyed
from ..ours import Measured, Scenario, measure, stage
from ..server import limit_keys
from ..workers import Workers
from . import scenarios
from .gate import Found, Part, ratio
from .round import Round

# A limit that never binds.
_ROOM = 1_000_000
_ONE, _SOME, _MANY = 1, 1_000, 100_000
_FEW_HELD = 10_000
_OF_ONE_KEY = 500
_PEERS_JOBS = 50_000
_PEERS_KEYS = 1_000
_WARM = 3.0
_SECONDS = 15.0
# More than a machine of today ends in the time.
_ENOUGH = 100_000_000
_BATCH = 1_000
# No worker takes it.
_NEVER, _BLOCKED = "never", "blocked"
_WAIT_FOR_KEYS = "select count(*) from live_job where hold = 1"


class Keys:
    """Limits by job key."""

    name = "keys"
    title = "limits by job key"
    method = (
        "Jobs a second. Room left: G1 with keys that go round and a limit that never binds, by G1 of the same round. "
        "Held: drain of jobs that wait for their keys, by G4 of the same round; 100,000 keys of which one job runs at "
        f"once, and one key of which {_OF_ONE_KEY} do. Depth: that of one key, by the same with {_FEW_HELD:,} jobs. "
        "Beside a blocked key: hand-off of jobs of 1,000 other keys in a queue in which all the held ones wait for a "
        f"key whose one job has no worker, by that without them. Peers: {_PEERS_JOBS:,} stored jobs of {_PEERS_KEYS:,} "
        "keys of which one runs at once, beside Graphile Worker's named queues and pg-boss's groups."
    )
    leaves_out = "Rates by key; keys that are long; jobs that fail."
    parts = (
        Part("room left, 1 key", 85, 95, "% of G1"),
        Part("room left, 1,000 keys", 55, 75, "% of G1"),
        Part("room left, 100,000 keys", 40, 60, "% of G1"),
        Part("held, 100,000 keys", 35, 55, "% of G4"),
        Part("held, one key", 60, 85, "% of G4"),
        Part("depth", 90, 98, "% of 10,000"),
        Part("beside a blocked key", 90, 98, "% of without"),
        Part("Graphile Worker", 2, 5, "x Graphile Worker"),
        Part("pg-boss", 2, 5, "x pg-boss"),
    )

    async def measure(self, bench: Round) -> Found:
        """Room, held, depth, beside, peers."""
        detail: dict[str, Any] = {}
        values: dict[str, float | None] = {}

        async def ours(part: str, scenario: Scenario) -> float:
            bench.tell(f"keys, {part}")
            measured: Measured = await measure(bench.cluster, scenario)
            detail[part] = measured.told()
            return measured.rate

        plain = scenarios.hand_off(bench.scale)
        hand_off = (await bench.ours("hand-off, batches of 100", plain)).rate
        for keys, part in ((_ONE, "1 key"), (_SOME, "1,000 keys"), (_MANY, "100,000 keys")):
            name = f"room left, {part}"
            keyed = replace(plain, load=replace(plain.load, keys=keys), of_a_key=_ROOM)
            values[name] = _percent(await ours(name, keyed), hand_off)

        held = bench.scale.jobs(bench.scale.held_jobs)
        drain = (await bench.ours(f"drain of {held:,}", _drain(held))).rate
        many = await ours("held, 100,000 keys", _drain(held, min(_MANY, held // 10), 1))
        one = await ours("held, one key", _drain(held, 1, _OF_ONE_KEY))
        few = await ours(
            f"held, one key, {_FEW_HELD:,} jobs", _drain(bench.scale.jobs(_FEW_HELD), 1, _OF_ONE_KEY)
        )
        values["held, 100,000 keys"] = _percent(many, drain)
        values["held, one key"] = _percent(one, drain)
        values["depth"] = _percent(one, few)

        without = await self._beside(bench, 0)
        blocked = await self._beside(bench, held)
        detail["beside a blocked key"] = {"without": round(without), "with": round(blocked)}
        values["beside a blocked key"] = _percent(blocked, without)

        jobs = bench.scale.jobs(_PEERS_JOBS)
        keyed_drain = await ours("as the peers", _drain(jobs, _PEERS_KEYS, 1))
        for peer, part in (("graphile", "Graphile Worker"), ("pg_boss", "pg-boss")):
            run = await bench.peer(peer, "keyed", jobs)
            values[part] = ratio(keyed_drain, run.rate)
            detail[peer] = run.told
        return Found(values, detail)

    async def _beside(self, bench: Round, held: int) -> float:
        """Jobs of other keys that end a second, while so many wait for a key whose job does not end."""
        bench.tell(f"keys, beside {held:,} of a blocked key")
        others = Load(_ENOUGH, "batch", in_flight=16, keys=_SOME)
        async with bench.cluster.fresh(ours=True) as dsn:
            workers = Workers()
            async with stage(dsn, kinds=(*workers.kinds, _NEVER)) as servers:
                await limit_keys(servers[0], 1)
                if held:
                    await enqueue_keyed(servers[0].grpc, _NEVER, [_BLOCKED])
                    await enqueue_keyed(servers[0].grpc, KIND, [_BLOCKED] * held)
                async with flowing(servers, others, workers) as flow:
                    await flow.rate(min(_WARM, bench.scale.seconds(_WARM)))
                    return await flow.rate(bench.scale.seconds(_SECONDS))


class Raised:
    """A limit by job key that is raised while jobs of many keys wait."""

    name = "raised"
    title = "a limit by job key is raised"
    method = (
        f"Two jobs of each of {_MANY:,} keys, of which one may run, and no worker. From the call of UpdateQueue that "
        "lets two of them run, until the second of each key is let in."
    )
    leaves_out = "Workers that take jobs meanwhile."
    parts = (Part("", 5, 2, "s", less=True),)

    async def measure(self, bench: Round) -> Found:
        """Seconds until the last key has let its job in."""
        keys = bench.scale.jobs(_MANY)
        bench.tell(f"raised, {keys:,} keys")
        async with bench.cluster.fresh(ours=True) as dsn, stage(dsn, kinds=(_NEVER,)) as servers:
            connection = await asyncpg.connect(dsn)
            try:
                await limit_keys(servers[0], 1)
                names = [f"key-{number}" for number in range(keys)]
                for _ in range(2):
                    await enqueue_keyed(servers[0].grpc, _NEVER, names)
                held = await connection.fetchval(_WAIT_FOR_KEYS)
                if held != keys:
                    raise BenchError(f"{held} jobs wait for their keys, not {keys}")
                began = time.monotonic()
                await limit_keys(servers[0], 2)
                answered = time.monotonic() - began
                while await connection.fetchval(_WAIT_FOR_KEYS):
                    await asyncio.sleep(0.05)
                seconds = time.monotonic() - began
            finally:
                connection.terminate()
        return Found({"": round(seconds, 2)}, {"keys": keys, "answered": round(answered, 2)})


def _drain(jobs: int, keys: int = 0, of_a_key: int | None = None) -> Scenario:
    """All stored, then four worker streams."""
    load = Load(jobs, "batch", batch=min(jobs, _BATCH), in_flight=8, keys=keys)
    return Scenario(load, drain=True, of_a_key=of_a_key)


def _percent(rate: float, of: float) -> float:
    return round(100 * rate / of, 1)
