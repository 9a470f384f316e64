"""How many functions of the server one enqueue calls, walk by walk: `python -m bench calls`.

A counter, not a time: the same on every machine, so that a test holds it (`bench/calls.lock`). It finds what one more
header, rule or layer costs, long before a clock can tell.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import grpc.aio
from google.protobuf import duration_pb2

from jobqueue.v1 import job_pb2, jobqueue_pb2, jobqueue_pb2_grpc

from .checkout import ROOT, Checkout
from .errors import BenchError
from .ours import stage
from .postgres import Cluster
from .server import limit_keys

LOCK = ROOT / "bench" / "calls.lock"
#: What a count may differ from the lock by: what the server does by itself falls into one run or into another.
LEEWAY = 0.03
KIND = "noop"
# Of a walk some rounds are counted, and the middle one is shown: in a few of them something else happened meanwhile.
_ROUNDS, _CALLS, _WARM, _MANY = 9, 64, 64, 64
_DEADLINE = 60.0
_SAID = """\
# Calls of functions of the server in one enqueue, as `python -m bench calls --lock` counted them: what a change costs
# is seen here, and stands in its commit.
"""
# An insert that waits for more calls looks again and again, and more often the busier its thread is.
_LOOKS = (
    "background.py:",
    "claim/load.py:",
    "intake/window.py:",
    "Batcher.run",
    "Batcher._store",
    "Waiting.jobs",
)
#: Of each function: calls in one walk, by `package/file:name`.
Counts = dict[str, float]
_Send = Callable[[int], Awaitable[None]]

_PLAIN = {"kind": KIND, "payload": {"pad": "x" * 117}}
# By the name of a walk: what the body of a REST enqueue has more than the plain one, and what a job over gRPC has.
_FORMS: dict[str, tuple[dict[str, object], Callable[[int], job_pb2.NewJob]]] = {
    "plain": ({}, lambda number: job_pb2.NewJob()),
    "label": ({"labels": {"team": "red"}}, lambda number: job_pb2.NewJob(labels={"team": "red"})),
    "priority": ({"priority": 3}, lambda number: job_pb2.NewJob(priority=3)),
    "delay": (
        {"delay": "3600s"},
        lambda number: job_pb2.NewJob(delay=duration_pb2.Duration(seconds=3600)),
    ),
    "idempotency key": (
        {"idempotency_key": "#"},
        lambda number: job_pb2.NewJob(idempotency_key=f"{number}"),
    ),
    "limited key": ({"key": "#"}, lambda number: job_pb2.NewJob(key=f"{number}")),
}
#: (protocol, form, calls at once), in the order of the table.
WALKS = tuple((protocol, form, 1) for protocol in ("grpc", "rest") for form in _FORMS) + tuple(
    (protocol, form, _MANY) for protocol in ("grpc", "rest") for form in ("plain", "label")
)


def name_of(walk: tuple[str, str, int]) -> str:
    """Of a walk, as table and lock have it: `rest, label, 64 at once`."""
    protocol, form, width = walk
    return f"{protocol}, {form}" + (f", {width} at once" if width > 1 else "")


async def count_all(
    cluster: Cluster, tell: Callable[[str], None], checkout: Checkout | None = None
) -> dict[str, Counts]:
    """The calls of each walk, on a server that no worker is connected to.

    `checkout`: whose server; None: that of the working tree.
    """
    found = {}
    with tempfile.TemporaryDirectory(prefix="jobqueue-calls-") as folder:
        file = Path(folder) / "counts.json"
        counted = checkout or Checkout(ROOT, "the working tree")
        counted = replace(counted, counts=file)
        async with cluster.fresh(ours=True, migrations=counted.migrations) as dsn:
            async with stage(dsn, kinds=(KIND,), checkout=counted) as servers:
                server = servers[0]
                numbers = count()
                for walk in WALKS:
                    tell(name_of(walk))
                    if walk[1] == "limited key":
                        await limit_keys(server, 1_000_000)
                    async with _sender(walk, server.grpc, server.http) as send:
                        await _walk(send, numbers, _WARM, walk[2])
                        await _taken(server.pid, file)
                        rounds = []
                        for _ in range(_ROUNDS):
                            await _walk(send, numbers, _CALLS, walk[2])
                            taken = await _taken(server.pid, file)
                            rounds.append({name: times / _CALLS for name, times in taken.items()})
                    found[name_of(walk)] = sorted(rounds, key=total)[_ROUNDS // 2]
    return found


def total(counts: Counts) -> int:
    """Calls of one enqueue, without looks at how busy the server is. What most do without is its own work meanwhile."""
    own = {name: each for name, each in counts.items() if not any(look in name for look in _LOOKS)}
    return round(sum(each for each in own.values() if each >= 1 / _MANY))


def locked() -> dict[str, int]:
    """The counts of `LOCK`."""
    lines = [line.rpartition(" ") for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return {name: int(number) for name, _, number in lines}


def lock(found: dict[str, Counts]) -> None:
    """Makes these counts the ones that a change is compared with."""
    LOCK.write_text(_SAID + "".join(f"{name} {total(counts)}\n" for name, counts in found.items()))


def differing(found: dict[str, Counts]) -> list[str]:
    """The walks whose counts are not those of the lock, in words."""
    known = locked()
    return [
        f"{name}: {total(counts)} calls, and {known.get(name, 0)} in {LOCK.name}"
        for name, counts in found.items()
        if abs(total(counts) - known.get(name, 0)) > LEEWAY * known.get(name, 0)
    ]


async def _walk(send: _Send, numbers: count[int], calls: int, width: int) -> None:
    for _ in range(calls // width):
        await asyncio.gather(*(send(next(numbers)) for _ in range(width)))


async def _taken(pid: int, file: Path) -> dict[str, int]:
    """What was called since the last time."""

    def asked() -> None:
        file.unlink(missing_ok=True)
        os.kill(pid, signal.SIGUSR1)

    def there() -> dict[str, int] | None:
        return dict(json.loads(file.read_text())) if file.exists() else None

    asked()
    async with asyncio.timeout(_DEADLINE):
        while (counts := there()) is None:
            await asyncio.sleep(0.005)
    return counts


@asynccontextmanager
async def _sender(walk: tuple[str, str, int], grpc_target: str, http_target: str) -> AsyncIterator[_Send]:
    protocol, form, width = walk
    more, make = _FORMS[form]
    if protocol == "grpc":
        async with grpc.aio.insecure_channel(grpc_target) as channel:
            stub = jobqueue_pb2_grpc.JobQueueStub(channel)

            async def call(number: int) -> None:
                job = make(number)
                job.kind, job.payload_json = KIND, json.dumps(_PLAIN["payload"]).encode()
                await stub.EnqueueJob(
                    jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
                )

            yield call
        return
    async with AsyncExitStack() as up:
        free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        host, port = http_target.split(":")
        for _ in range(width):
            reader, writer = await asyncio.open_connection(host, int(port))
            up.callback(writer.close)
            free.put_nowait((reader, writer))

        async def request(number: int) -> None:
            fields = {
                **_PLAIN,
                **{name: f"{number}" if value == "#" else value for name, value in more.items()},
            }
            body = json.dumps(fields, separators=(",", ":")).encode()
            head = (
                f"POST /v1/jobs HTTP/1.1\r\nhost: {http_target}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\n\r\n"
            )
            reader, writer = await free.get()
            writer.write(head.encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 201 "):
                raise BenchError(f"an enqueue was answered by {answer.decode(errors='replace')}")
            length = next(
                int(line.split(b":")[1])
                for line in answer.split(b"\r\n")
                if line[:15].lower() == b"content-length:"
            )
            await reader.readexactly(length)
            free.put_nowait((reader, writer))

        yield request
