"""`--processes N`: several servers on the same ports, started, watched, drained and measured as one program."""

from __future__ import annotations

import asyncio
import os
import signal
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc.aio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobqueue.v1 import jobqueue_pb2_grpc
from jobqueue_server.metrics import Metrics
from jobqueue_server.processes.metrics import merged
from tests.lease.hand_worker import PATIENCE, HandWorker
from tests.lease.place import Caller, Status, eventually
from tests.serve.server_process import ServerProcess

pytestmark = pytest.mark.slow


@pytest.fixture
async def processes(dsn: str) -> AsyncIterator[Callable[..., ServerProcess]]:
    """Makes programs of two server processes, and kills those that a test leaves."""
    made: list[ServerProcess] = []

    def make(**settings: str) -> ServerProcess:
        made.append(ServerProcess(dsn, **{"processes": "2", "shutdown_grace": "5s", **settings}))
        return made[-1]

    yield make
    for process in made:
        # Children end when their parent is gone.
        await process.kill()


def text_of(line: dict[str, Any]) -> str:
    return str(line.get("event", line.get("message")))


async def pids(server: ServerProcess) -> dict[int, int]:
    """The process of each number, of those that were started last."""
    await server.said("a server process starts", times=2)
    return {line["process"]: line["pid"] for line in server.log if text_of(line) == "a server process starts"}


async def scrape(server: ServerProcess) -> dict[tuple[str, str], float]:
    """Sample and process -> value."""
    port = (await server.said("metrics of all processes are served"))["port"]

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    families = text_string_to_metric_families(await asyncio.to_thread(read))
    return {
        (sample.name, sample.labels.get("process", "")): sample.value
        for family in families
        for sample in family.samples
    }


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


@asynccontextmanager
async def workers(address: str, count: int, **hello: Any) -> AsyncIterator[list[HandWorker]]:
    """Workers with a connection each, which the kernel deals to the processes."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(count)]
    made = [HandWorker(jobqueue_pb2_grpc.JobQueueStub(channel), **hello) for channel in channels]
    try:
        yield [await worker.connect() for worker in made]
    finally:
        for worker in made:
            await worker.close()
        for channel in channels:
            await channel.close()


async def test_processes_share_a_port_the_work_and_a_page_of_metrics(processes):
    server = processes(http_addr="127.0.0.1:0")
    await server.launch()
    await server.said("all processes are ready")
    ports = {line["http_port"] for line in server.log if text_of(line) == "jobqueue-server is ready"}
    assert len(ports) == 1
    readyz = f"http://127.0.0.1:{ports.pop()}/readyz"
    assert await asyncio.to_thread(lambda: urllib.request.urlopen(readyz, timeout=10).status) == 200
    caller = Caller(await server.address())
    async with workers(caller.address, 16, slots=2) as hands:
        before = await scrape(server)
        sessions = [before["jobqueue_sessions", number] for number in ("0", "1")]
        assert sum(sessions) == 16
        assert min(sessions) > 0, "the kernel dealt all to one"
        assert [before["jobqueue_process_up", number] for number in ("0", "1")] == [1, 1]
        # The caller hangs on one of them; the workers of both get its jobs.
        ids = await caller.batch(32)
        jobs = {job.id for worker in hands for job in await worker.jobs(2)}
        assert jobs == set(ids)
        for worker in hands:
            assert await worker.succeed(*worker.held.values()) == []
        assert {Status.Name((await caller.wait(job_id)).status) for job_id in ids} == {"SUCCEEDED"}
    await caller.close()
    server.send(signal.SIGTERM)
    assert await server.ended() == 0
    assert len([line for line in server.log if text_of(line) == "jobqueue-server has ended"]) == 2
    assert not any(alive(pid) for pid in (await pids(server)).values())


async def test_a_process_that_dies_is_started_again_and_its_workers_lose_nothing(processes):
    server = processes()
    await server.launch()
    await server.said("all processes are ready")
    first = await pids(server)
    address = await server.address()
    caller = Caller(address)
    async with workers(address, 1) as [worker]:
        job = await caller.enqueue()
        leased = await worker.job()
        await worker.heartbeat()
        holder = await eventually(lambda: _holder(server))
        os.kill(first[int(holder)], signal.SIGKILL)
        await worker.end()
        line = await server.said("a server process ended, and is started again")
        assert (line["process"], line["code"], line["level"]) == (int(holder), -9, "error")
        other = await eventually(lambda: _other(address, worker, leased))
        assert await other.succeed(leased) == []
        await server.said("a server process starts", times=3)
        assert (await pids(server))[int(holder)] != first[int(holder)]
        done = await Caller(address).wait(job.id)
        assert (Status.Name(done.status), done.attempts, done.losses) == ("SUCCEEDED", 1, 0)

        async def both_up() -> bool:
            now = await scrape(server)
            return [now["jobqueue_process_up", number] for number in ("0", "1")] == [1, 1]

        await eventually(both_up)
        await other.close()
    await caller.close()


async def _holder(server: ServerProcess) -> str | None:
    now = await scrape(server)
    return next((number for number in ("0", "1") if now.get(("jobqueue_leases", number))), None)


async def _other(address: str, worker: HandWorker, leased: Any) -> HandWorker | None:
    """The session, resumed with whichever process the connection comes to."""
    channel = grpc.aio.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
    hand = HandWorker(jobqueue_pb2_grpc.JobQueueStub(channel), resume=worker.resume(held=[leased]))
    try:
        return await hand.connect()
    except Exception:
        await channel.close()
        return None


async def test_the_processes_end_with_their_parent_however_it_ends(processes):
    server = processes()
    await server.launch()
    await server.said("all processes are ready")
    children = await pids(server)
    assert all(alive(pid) for pid in children.values())
    server.send(signal.SIGKILL)
    await server.ended()

    async def gone() -> bool:
        return not any(alive(pid) for pid in children.values())

    try:
        await eventually(gone)
    finally:
        for pid in children.values():
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


async def test_a_second_signal_ends_them_at_once(processes):
    server = processes(shutdown_grace="1m")
    await server.launch()
    await server.said("all processes are ready")
    caller = Caller(await server.address())
    async with workers(caller.address, 1) as [worker]:
        await caller.enqueue()
        await worker.job()
        server.send(signal.SIGINT)
        await worker.next("go_away")
        await server.said("draining", times=3)
        server.send(signal.SIGINT)
        assert await server.ended(timeout=PATIENCE) == 0
    await caller.close()


async def test_a_port_that_is_taken_ends_the_program_before_a_process_is_started(processes):
    first = processes()
    await first.launch()
    await first.said("all processes are ready")
    second = processes(grpc_addr=await first.address())
    await second.launch()
    assert await second.ended() == 1
    assert any("JOBQUEUE_GRPC_ADDR" in text_of(line) for line in second.log)
    assert not any("starts" in text_of(line) for line in second.log)


async def test_what_keeps_every_process_from_starting_ends_the_program(empty_dsn):
    server = ServerProcess(empty_dsn, processes="2")
    await server.launch()
    assert await server.ended() == 1
    assert any("migrate" in text_of(line) for line in server.log)
    await server.kill()


def test_a_page_has_each_family_once_and_each_sample_with_its_process():
    pages = {}
    for number in (0, 1):
        metrics = Metrics()
        metrics.enqueued("work", 3 + number)
        metrics.watch({"sessions": [lambda: 0, lambda: 1][number]})
        metrics.at_limit("q", "rate", 1 + number)
        pages[number] = metrics.exposition("")[0].decode()
    pages[1] += (
        '# HELP jobqueue_queue_depth Jobs.\n# TYPE jobqueue_queue_depth gauge\njobqueue_queue_depth{queue="q"} 7\n'
    )
    pages[0] += (
        '# HELP jobqueue_queue_depth Jobs.\n# TYPE jobqueue_queue_depth gauge\njobqueue_queue_depth{queue="q"} 6\n'
    )
    text = merged(pages)
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert [
        samples["jobqueue_jobs_enqueued_total", (("kind", "work"), ("process", number))]
        for number in ("0", "1")
    ] == [3, 4]
    assert samples["jobqueue_sessions", (("process", "1"),)] == 1
    # Each saw a limit for itself.
    at_limit = [
        value for (name, _), value in samples.items() if name == "jobqueue_queue_at_limit_seconds_total"
    ]
    assert at_limit == [1, 2]
    # What is in the database, each of them would count.
    assert [value for (name, _), value in samples.items() if name == "jobqueue_queue_depth"] == [6]
