"""The gate `handlers`: what typed kinds, middleware and encodings cost a worker of each language."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from jobqueue import Client

from ..checkout import ROOT
from ..errors import BenchError
from ..meter import cpu_seconds
from ..ours import stage
from ..programs import PROGRAMS, Program, there
from ..server import Server
from ..workers.handlers import KINDS, SLOTS, encodings, payload
from .gate import Found, Part
from .round import Round

_JOBS, _BATCH = 40_000, 100
_SMALL, _LARGE = 1_000, 100_000
_LONGEST = 300.0


@dataclass(frozen=True, slots=True)
class Drained:
    """What one way cost.

    Attributes:
        rate: Jobs a second, from the first start to the last end.
        enqueued, handled: CPU a job, in us, of the client in Python and of the worker's process.
    """

    rate: float
    enqueued: float
    handled: float


def _parts(language: str) -> tuple[Part, ...]:
    small, large = (30, 400) if language == "python" else (10, 300)
    return (
        Part(f"{language}, typed", 85, 95, "% of plain"),
        Part(f"{language}, three middlewares", 93, 98, "% of plain"),
        Part(f"{language}, encodings, 1 kB", small, small / 2, "us a job", less=True),
        Part(f"{language}, encodings, 100 kB", large, large / 2, "us a job", less=True),
    )


class HandlerCosts:
    """A worker of each language, by what goes around its handlers."""

    name = "handlers"
    title = "Typed kinds, middleware, encodings"
    method = (
        f"Drains of {_JOBS:,} stored jobs of about 1 kB by one worker process with {SLOTS:,} slots. Its handler reads "
        "the payload and answers a small object; in Python it is async. Between two drains by plain handlers: a typed "
        "kind of five fields; three middlewares that do nothing; Zstd and AES-GCM on both sides. The CPU of encodings "
        "is that of the worker beyond the plain ones', less what the smaller wire saves; in Python that of the client "
        "is in it. Of 100 kB, with a hundredth of the jobs."
    )
    leaves_out = (
        "Handlers in threads and processes; schemas of libraries; the clients of other languages than Python."
    )
    parts = tuple(part for program in PROGRAMS for part in _parts(program.language))

    async def measure(self, bench: Round) -> Found:
        """Each language: each way once, and plain handlers before and after."""
        values: dict[str, float | None] = {}
        told: dict[str, Any] = {}
        for program, missing in there():
            language = program.language
            if missing:
                values |= dict.fromkeys((part.name for part in _parts(language)), None)
                told[language] = {"missing": missing}
                continue
            bench.tell(f"handlers: {language}, building")
            await asyncio.to_thread(program.make)
            found, told[language] = await _of(bench, program)
            values |= {f"{language}, {part}": value for part, value in found.items()}
        return Found(values, told)


async def _of(bench: Round, program: Program) -> tuple[dict[str, float], dict[str, Any]]:
    """The parts of one language, and each of its drains."""
    jobs = bench.scale.jobs(_JOBS)
    ways: dict[str, Drained] = {}
    for name, way, size, count in (
        ("plain before", "plain", _SMALL, jobs),
        ("typed", "typed", _SMALL, jobs),
        ("middleware", "middleware", _SMALL, jobs),
        ("encoded", "encoded", _SMALL, jobs),
        ("plain after", "plain", _SMALL, jobs),
        ("plain, large", "plain", _LARGE, max(100, jobs // 100)),
        ("encoded, large", "encoded", _LARGE, max(100, jobs // 100)),
    ):
        bench.tell(f"handlers: {program.language}, {name}")
        ways[name] = await _drained(bench, program, way, size, count)
    both = ways["plain before"], ways["plain after"]
    rate = sum(each.rate for each in both) / 2

    def cpu(one: Drained) -> float:
        return one.handled + (one.enqueued if program.language == "python" else 0.0)

    values = {
        "typed": round(100 * ways["typed"].rate / rate, 1),
        "three middlewares": round(100 * ways["middleware"].rate / rate, 1),
        "encodings, 1 kB": round(cpu(ways["encoded"]) - sum(map(cpu, both)) / 2, 1),
        "encodings, 100 kB": round(cpu(ways["encoded, large"]) - cpu(ways["plain, large"]), 1),
    }
    told = {
        name: {
            "jobs_per_second": round(each.rate),
            "enqueue_us_a_job": round(each.enqueued, 1),
            "worker_us_a_job": round(each.handled, 1),
        }
        for name, each in ways.items()
    }
    return values, told


async def _drained(bench: Round, program: Program, way: str, size: int, jobs: int) -> Drained:
    kind = KINDS[way]
    async with (
        bench.cluster.fresh(ours=True) as dsn,
        stage(dsn, kinds=(kind.name,)) as servers,
        Client(servers[0].grpc, encodings=encodings() if way == "encoded" else None) as client,
    ):
        payloads = [payload(way, number, size) for number in range(jobs)]
        batch = _BATCH if size == _SMALL else 10
        before = time.process_time()
        for start in range(0, jobs, batch):
            await client.enqueue_many([kind.new(each) for each in payloads[start : start + batch]])
        enqueued = time.process_time() - before
        await client.pause_queue("default")
        connection = await asyncpg.connect(dsn)
        try:
            async with _working(program, way, servers[0]) as process:
                await servers[0].streams(1, 60)
                began = cpu_seconds(process.pid)
                await client.resume_queue("default")
                await _until_ended(connection, jobs, servers[0], process)
                handled = cpu_seconds(process.pid) - began
            row = await connection.fetchrow(
                "select extract(epoch from max(finished_at) - min(started_at))::float8 as seconds, "
                "count(*) filter (where status <> 3) as failed from finished_job"
            )
        finally:
            await connection.close()
    if row["failed"]:
        raise BenchError(f"{row['failed']} jobs of the kind {kind.name} did not succeed")
    return Drained(jobs / row["seconds"], 1e6 * enqueued / jobs, 1e6 * handled / jobs)


@asynccontextmanager
async def _working(program: Program, way: str, server: Server) -> AsyncIterator[Process]:
    with tempfile.TemporaryFile("w+") as said:
        process = await asyncio.create_subprocess_exec(
            *program.command, way, server.grpc,
            cwd=ROOT, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip
        try:
            yield process
        except BenchError as error:
            said.seek(0)
            raise BenchError(f"{error}; the worker said:\n{said.read()[-2000:]}") from None
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                await process.wait()


async def _until_ended(connection: Any, jobs: int, server: Server, worker: Process) -> None:
    until = time.monotonic() + _LONGEST
    while (ended := await connection.fetchval("select count(*) from finished_job")) < jobs:
        if time.monotonic() > until:
            raise BenchError(f"of {jobs} jobs {ended} ended within {_LONGEST:g} s")
        server.check()
        if worker.returncode is not None:
            raise BenchError("the worker ended by itself")
        await asyncio.sleep(0.25)
