"""The gate `auth`: what it costs that callers show keys, and that calls carry a traceparent."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from jobqueue_server.bootstrap import first_key
from jobqueue_server.core.access import keys

from ..credentials import bearer
from ..errors import BenchError
from ..load import KIND, padded
from ..meter import Meter, memory
from ..ours import Measured, Scenario, measure
from ..scale import Scale
from ..server import Server, declare
from ..turns import in_turn, ratios
from . import scenarios
from .gate import Found, Part
from .round import Round

_MOST, _GOAL = 1.05, 1.02
_WITHOUT, _KEYS, _TRACED = "without", "keys", "traceparent"
# The scenario of each gate, how many times its jobs, as `bench ab` has them, and what is compared.
_CASES: tuple[tuple[str, Callable[[Scale], Scenario], float, tuple[str, ...]], ...] = (
    ("G1", scenarios.hand_off, 2.5, (_KEYS,)),
    ("G2", scenarios.rest, 1.3, (_KEYS, _TRACED)),
    ("G3", scenarios.unary, 3.0, (_KEYS, _TRACED)),
)
_MEMORY, _WRONG = "memory of 10,000 keys", "a wrong key"
# A server looks at ten wrong keys of an address at once; the further ones it refuses without a look.
_LOOKS = 10
_ADDRESSES = 100
# Each waits for its commits.
_CONNECTIONS = 64
# A new key is known by then, and what its coming made the server do is done.
_SETTLED = 3.0
# Of each key: in a fleet each has its own, and grants of its own.
_INSERT = """
insert into api_key (id, namespace_id, lineage, name, secret_hash, grants, created_by, expires_at)
select id, 1, id, 'key ' || number, secret_hash, jsonb_build_array(jsonb_build_object(
    'permissions', jsonb_build_array('ENQUEUE'), 'queues', jsonb_build_array('mail', 'team-' || number || '-*'),
    'kinds', jsonb_build_array('*'), 'payloads', false)), 'bench', now() + interval '90 days'
from unnest($1::text[], $2::bytea[]) with ordinality as key (id, secret_hash, number)
"""


class Auth:
    """Keys on, against off."""

    name = "auth"
    title = "keys on against off"
    method = (
        "G1, G2 and G3 on the same code without anything, with keys asked for and shown by all producers and workers, "
        "and with a traceparent of its own in each call; in turns, each on a fresh database, the order changes with "
        "each turn. The ratio is that of CPU of server and PostgreSQL a job, the geometric mean of the pairs. "
        "Memory: resident, of a server's process that learns 10,000 keys with grants of their own, after an enqueue "
        f"by each, against after as many enqueues by one key. A wrong key: {_ADDRESSES * _LOOKS:,} calls over REST "
        f"with wrong keys from {_ADDRESSES} addresses of loopback; statements a call, less those of a quiet server."
    )
    leaves_out = "Keys that are bound to networks, and rates; wrong keys over gRPC, which go the same way."
    parts = (
        *(
            Part(f"{name} {side}", _MOST, _GOAL, "x without", less=True)
            for name, _, _, others in _CASES
            for side in others
        ),
        Part(_MEMORY, 30, 20, "MB", less=True),
        Part(_WRONG, 0.01, 0, "statements", less=True),
    )

    async def measure(self, bench: Round) -> Found:
        """The pairs, then memory and statements."""
        values: dict[str, float | None] = {}
        detail: dict[str, Any] = {"ratios": {}, "runs": {}}
        for name, make, times, others in _CASES:
            runs = await self._pairs(
                bench, name, make(replace(bench.scale, factor=bench.scale.factor * times)), others
            )
            for side in others:
                told, decides = ratios([run[_WITHOUT] for run in runs], [run[side] for run in runs])
                part = f"{name} {side}"
                values[part] = None if decides is None else round(decides.mean, 3)
                detail["ratios"][part] = told
            detail["runs"][name] = [{side: each.told() for side, each in run.items()} for run in runs]
        values[_MEMORY], detail["memory_mb"] = await self._memory(bench)
        values[_WRONG], detail["wrong_key"] = await self._wrong(bench)
        return Found(values, detail)

    async def _pairs(
        self, bench: Round, name: str, scenario: Scenario, others: tuple[str, ...]
    ) -> list[dict[str, Measured]]:
        by_side = {
            _WITHOUT: scenario,
            _KEYS: replace(scenario, keys=True),
            _TRACED: replace(scenario, load=replace(scenario.load, traceparent=True)),
        }
        pairs = bench.scale.pairs

        async def run(number: int, side: str) -> Measured:
            bench.tell(f"auth, turn {number} of {pairs}, {name}, {side}")
            return await measure(bench.cluster, by_side[side])

        sides = (_WITHOUT, *others)
        return [await in_turn(sides, number, partial(run, number)) for number in range(1, pairs + 1)]

    async def _memory(self, bench: Round) -> tuple[float, dict[str, float]]:
        """MB that the server's process grows by as it learns and is shown so many keys."""
        count = bench.scale.jobs(bench.scale.known_keys)
        bench.tell(f"auth, memory of {count:,} keys")
        minted = [keys.mint() for _ in range(count)]
        async with _guarded(bench) as (dsn, server):
            await _enqueue_all(server.http, [server.key] * count)
            before = memory(server.pid)
            await _insert(dsn, [key.id for key in minted], [key.secret_hash for key in minted])
            its_own = [key.text for key in minted]
            async with asyncio.timeout(60):
                while await _enqueued(server.http, its_own[-1:]) != {201: 1}:
                    # Less often than wrong keys are looked at.
                    await asyncio.sleep(0.25)
            known = memory(server.pid)
            await _enqueue_all(server.http, its_own)
            shown = memory(server.pid)
        sizes = {"one key": before, "known": known, "shown": shown}
        grown = round((max(known, shown) - before) / 1e6, 1)
        return grown, {"keys": count, **{name: round(size / 1e6, 1) for name, size in sizes.items()}}

    async def _wrong(self, bench: Round) -> tuple[float, dict[str, Any]]:
        """Statements that a call with a wrong key costs the database."""
        bench.tell("auth, wrong keys")
        nobodys, there = keys.mint(), keys.mint()
        async with _guarded(bench) as (dsn, server):
            # A key that is known, with another secret.
            await _insert(dsn, [there.id], [keys.mint().secret_hash])
            await asyncio.sleep(_SETTLED)
            calls = [(nobodys, there)[number % 2].text for number in range(_LOOKS)]
            async with bench.cluster.connected(urlsplit(dsn).path[1:]) as connection:
                meter = Meter(connection, bench.cluster.pid, {})
                readings = [await meter.read()]
                began = time.monotonic()
                for number in range(_ADDRESSES):
                    answers = await _enqueued(server.http, calls, f"127.0.1.{number + 1}")
                    # 429 would be a refusal without a look.
                    _check(answers, 401)
                readings.append(await meter.read())
                # As long again, quiet.
                await asyncio.sleep(time.monotonic() - began)
                readings.append(await meter.read())
        busy, quiet = (
            sum(after.statements.values()) - sum(before.statements.values())
            for before, after in pairwise(readings)
        )
        count = _ADDRESSES * _LOOKS
        return round(max(0, busy - quiet) / count, 3), {"calls": count, "statements": busy, "quiet": quiet}


@asynccontextmanager
async def _guarded(bench: Round) -> AsyncIterator[tuple[str, Server]]:
    """A server that asks for keys, and its database."""
    async with bench.cluster.fresh(ours=True) as dsn:
        first = await first_key(dsn, "bench", force=False)
        async with Server(dsn, key=first.text) as server:
            await declare(server, (KIND,))
            yield dsn, server


async def _insert(dsn: str, ids: list[str], hashes: list[bytes]) -> None:
    """Stores keys; the server finds them within a second."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(_INSERT, ids, hashes)
            await connection.execute("update access_version set version = version + 1")
    finally:
        await connection.close()


async def _enqueued(place: str, texts: list[str], source: str = "127.0.0.1") -> Counter[int]:
    """The statuses of enqueues over REST, each with its key, one after the other."""
    host, port = place.split(":")
    statuses = Counter[int]()
    body = b'{"kind":"%b","queue":"mail","payload":%b}' % (KIND.encode(), padded(128))
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(source, 0))
    try:
        for key in texts:
            head = f"POST /v1/jobs HTTP/1.1\r\nhost: {place}\r\ncontent-type: application/json\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in bearer(key))
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            said = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = said[said.find(b"content-length:") + 15 :].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            statuses[int(said[9:12])] += 1
    finally:
        writer.close()
    return statuses


async def _enqueue_all(place: str, texts: list[str]) -> None:
    """Makes enqueues that must be taken, over some connections."""
    shares = [texts[number::_CONNECTIONS] for number in range(_CONNECTIONS)]
    for answers in await asyncio.gather(*(_enqueued(place, share) for share in shares)):
        _check(answers, 201)


def _check(statuses: Counter[int], wanted: int) -> None:
    """Raises BenchError where a call was answered otherwise."""
    if set(statuses) != {wanted}:
        raise BenchError(f"calls were answered by {dict(statuses)}, and not by {wanted} alone")
