"""What a worker of each language does when it is told to end, and when it is told so again."""

from __future__ import annotations

import signal
from itertools import product

import pytest

from jobqueue import Client, Status
from tests.conformance.languages import languages
from tests.e2e.conftest import Bench
from tests.e2e.processes import Process, ServerProcess

from .conftest import Work

# The first build of a language compiles its gRPC.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("language", "number"),
    [
        pytest.param(each, number, id=f"{each}-{number.name}", marks=pytest.mark.language(each))
        for each, number in product(languages(), (signal.SIGTERM, signal.SIGINT))
    ],
)
async def test_a_second_signal_ends_it_at_once(
    work: Work, bench: Bench, dsn: str, language: str, number: signal.Signals
) -> None:
    server = await bench.server(dsn)
    worker, _ = await held(work(language, server.address, "default"), server)
    worker.send(number)
    await server.line("a worker drains")
    worker.send(number)
    # Long before the grace of its handler is over.
    assert await worker.ended(15) != 0


@pytest.mark.language("java")
async def test_where_signals_cant_be_taken_the_end_of_the_process_waits_for_the_drain(
    processes: list[Process], bench: Bench, dsn: str
) -> None:
    """A runtime without `sun.misc.Signal`: a shutdown hook does it, and the exit code is the signal's."""
    server = await bench.server(dsn)
    java, *program = languages()["java"].program
    options = ("work", "--server", server.address, "--name", "java")
    command = [java, f"--limit-modules={MODULES}", *program, *options]
    processes.append(Process(command, bench.folder / "java.log", {}))
    worker, job_id = await held(processes[0], server)
    worker.terminate()
    await server.line("a worker drains")
    async with Client(server.address) as client:
        assert (await client.cancel(job_id)).pending
        job = await client.wait(job_id)
    assert (job.status, job.attempts) == (Status.CANCELLED, 1)
    assert await worker.ended() == 128 + signal.SIGTERM


# What the client and gRPC use of the platform, without jdk.unsupported.
MODULES = "java.base,java.logging,java.management,java.naming"


async def held(worker: Process, server: ServerProcess) -> tuple[Process, str]:
    """The worker, and a job that it holds."""
    async with Client(server.address) as client:
        job = await client.enqueue("hold")
        async for told in client.watch(ids=[job.id]):
            if told.status is Status.RUNNING:
                break
        # A worker starts jobs in their order: when this one has ended, the first is at its handler. Until then a worker
        # that is told to end gives it back.
        after = await client.enqueue("noop")
        assert (await client.wait(after.id)).status is Status.SUCCEEDED
    return worker, job.id
