"""The worker of each language against our server: `python -m bench workers`."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from tests.conformance.languages import Language, languages

from .errors import BenchError
from .load import KIND, Load
from .meter import Meter, children, per_job
from .ours import producers, stage
from .postgres import Cluster
from .scale import Scale
from .server import Server

STREAMS, SLOTS = 4, 1000
METHOD = (
    f"The worker program of each language with a handler that does nothing, {STREAMS} streams with {SLOTS:,} slots "
    "each in one process; the server, PostgreSQL and a producer of batches of 100 beside it on the same cores. "
    "Hand-off: from the first enqueue to the last settlement's transaction. Drain: all jobs are stored first, and the "
    "time runs from the start of the program, which is part of it."
)
_LONGEST = 600.0


async def measure(
    cluster: Cluster, scale: Scale, tell: Callable[[str], None], only: list[str] | None = None
) -> dict[str, Any]:
    """One entry a language: its figures, or why there are none."""
    found: dict[str, Any] = {}
    for language in languages().values():
        if only and language.name not in only:
            continue
        if missing := language.missing():
            found[language.name] = {"missing": f"no {', '.join(missing)} on PATH"}
            continue
        language = language.optimised or language
        tell(f"{language.name}: building")
        if trouble := await asyncio.to_thread(language.make):
            raise BenchError(f"{language.name} can't be built:\n{trouble}")
        jobs = scale.jobs(200_000)
        tell(f"{language.name}: hand-off of {jobs:,}")
        given = await measured(cluster, language, jobs, drain=False)
        tell(f"{language.name}: drain of {jobs:,}")
        found[language.name] = {
            "hand-off": given,
            "drain": await measured(cluster, language, jobs, drain=True),
        }
    return found


async def measured(cluster: Cluster, language: Language, jobs: int, *, drain: bool) -> dict[str, Any]:
    """One run of a language, which is built: see `METHOD`."""
    load = Load(jobs, "batch")
    async with cluster.fresh(ours=True) as dsn, stage(dsn, kinds=(KIND,)) as servers:
        connection = await asyncpg.connect(dsn)
        try:
            async with producers(servers, load) as made:
                if drain:
                    made.go()
                    await made.reports(_LONGEST)
                async with _working(language, servers[0]) as program:
                    if not drain:
                        await servers[0].streams(STREAMS, 60)
                    pids = {"server": [servers[0].pid], "worker": [program, *children(program)]}
                    meter = Meter(connection, cluster.pid, pids)
                    since = await connection.fetchval("select clock_timestamp()")
                    before = await meter.read()
                    if not drain:
                        made.go()
                    await _until_ended(connection, load.stored, servers[0])
                    # What it started meanwhile is counted with it.
                    after = await meter.read()
            last, twice = await connection.fetchrow(
                "select max(finished_at), count(*) filter (where attempts > 1) from finished_job"
            )
        finally:
            await connection.close()
    seconds = (last - since).total_seconds()
    return {
        "jobs": load.stored,
        "seconds": round(seconds, 2),
        "jobs_per_second": round(load.stored / seconds),
        **per_job(before, after, load.stored),
        "ran_twice": twice,
    }


@asynccontextmanager
async def _working(language: Language, server: Server) -> AsyncIterator[int]:
    """Its program at work; the number of the process."""
    with tempfile.TemporaryFile("w+") as said:
        process = await asyncio.create_subprocess_exec(
            *(*language.program, "work", "--server", server.grpc, "--queue", "default"),
            *("--name", language.name, "--slots", str(SLOTS), "--workers", str(STREAMS)),
            cwd=language.folder,
            env={**os.environ, "PYTHONPATH": str(language.folder / "clients/python/src")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            yield process.pid
            if process.returncode is not None:
                said.seek(0)
                raise BenchError(f"the worker in {language.name} ended by itself:\n{said.read()[-2000:]}")
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                try:
                    await asyncio.wait_for(process.wait(), 40)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _until_ended(connection: Any, jobs: int, server: Server) -> None:
    until = time.monotonic() + _LONGEST
    while (ended := await connection.fetchval("select count(*) from finished_job")) < jobs:
        if time.monotonic() > until:
            raise BenchError(f"of {jobs} jobs {ended} ended within {_LONGEST:g} s")
        server.check()
        await asyncio.sleep(0.25)
