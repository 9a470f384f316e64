"""How many slots a queue wants: what could run now and what runs, and nothing that waits for something else."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest
from prometheus_client.parser import text_string_to_metric_families

from jobqueue.v1 import insight_pb2
from jobqueue_server import gauges
from jobqueue_server.chain import ANONYMOUS
from jobqueue_server.core.catalog.depths import Depths
from jobqueue_server.core.insight.expected import Expected
from jobqueue_server.core.upkeep import duty_cycle
from jobqueue_server.store.insight.insight import InsightStore

from .hand_worker import PATIENCE, reason_of
from .place import Caller, Place, eventually

pytestmark = pytest.mark.any_engine


async def demand(place: Caller, queue: str = "default") -> insight_pb2.GetQueueDemandResponse:
    request = insight_pb2.GetQueueDemandRequest(queue=queue)
    answer: insight_pb2.GetQueueDemandResponse = await place.insight.GetQueueDemand(request, timeout=PATIENCE)
    return answer


async def until(place: Caller, **wanted: object) -> insight_pb2.GetQueueDemandResponse:
    """The answer once it has these values: it may be a second old."""

    async def look() -> insight_pb2.GetQueueDemandResponse | None:
        answer = await demand(place)
        return answer if all(getattr(answer, name) == value for name, value in wanted.items()) else None

    found: insight_pb2.GetQueueDemandResponse = await eventually(look)
    return found


async def test_what_runs_is_wanted_although_nothing_waits(place: Place) -> None:
    worker = await place.worker(slots=3)
    await place.batch(2)
    await worker.jobs(2)
    answer = await until(place, running=2)
    assert (answer.runnable, answer.wanted_slots) == (0, 2)
    assert (answer.workers, answer.slots, answer.free_slots) == (1, 3, 1)
    assert (answer.more_workers_would_help, answer.why) == (False, "no job waits for a slot")
    assert not answer.HasField("oldest_runnable_age")


@pytest.mark.slow
async def test_what_waits_for_a_slot_is_wanted_and_nothing_that_waits_for_something_else(
    place: Place,
) -> None:
    worker = await place.worker(slots=1)
    await place.batch(4)
    leased = await worker.job()
    await place.enqueue(hold=True)
    await place.enqueue(delay=60.0)
    answer = await until(place, held=1, later=1, runnable=3)
    assert (answer.running, answer.wanted_slots, answer.paused) == (1, 4, 0)
    assert answer.more_workers_would_help
    assert answer.why == "3 runnable, and no slot is free for 3 of them"
    assert answer.oldest_runnable_age.ToTimedelta().total_seconds() > 0
    await place.pause("default")
    answer = await until(place, paused=3)
    assert (answer.runnable, answer.running, answer.wanted_slots) == (0, 1, 1)
    assert not answer.more_workers_would_help
    assert answer.why == "the queue default is paused, with 3 jobs that are due: more workers would not help"
    assert not answer.HasField("oldest_runnable_age")
    await worker.succeed(leased)
    assert (await until(place, running=0)).wanted_slots == 0


async def test_what_came_between_two_reads_has_no_negative_age(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.enqueue(kind="other", delay=60.0)
    await place.enqueue()
    made = InsightStore.queue_demand_few

    async def apart(*args: Any) -> list[dict[str, Any]]:
        rows = [dict(row) for row in await made(*args)]
        for row in rows:
            # What is due was read last.
            row["now"] -= timedelta(0) if row["due"] else timedelta(seconds=5)
        return rows

    monkeypatch.setattr(InsightStore, "queue_demand_few", apart)
    answer = await until(place, runnable=1, later=1)
    assert answer.oldest_runnable_age.ToTimedelta() >= timedelta(0)


async def test_a_queue_without_workers_wants_some(place: Place) -> None:
    await place.enqueue("one")
    await place.enqueue("two")
    answer = await until(place, runnable=2)
    assert (answer.workers, answer.wanted_slots, answer.more_workers_would_help) == (0, 2, True)
    assert answer.why == "2 runnable, and no worker takes jobs of the queue default"


async def test_a_session_counts_once_in_its_queue_and_only_full_kinds_want_workers(place: Place) -> None:
    worker = await place.worker(kinds=["one", "two"], slots=4, slots_by_kind={"one": 1})
    for _ in range(3):
        await place.enqueue("one")
    await worker.job()
    answer = await until(place, runnable=2, running=1)
    assert (answer.workers, answer.slots, answer.free_slots) == (1, 4, 3)
    assert answer.more_workers_would_help
    assert answer.why == "2 runnable, and no slot is free for 2 of them"


@pytest.mark.slow
async def test_workers_of_the_other_server_count(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        await other.worker(slots=5)
        await one.enqueue(hold=True)
        answer = await until(one, workers=1, held=1)
        assert (answer.slots, answer.free_slots, list(answer.unknown)) == (5, 5, [])


@pytest.mark.slow
async def test_what_came_and_ended_in_the_last_minute_is_told_of_all_servers(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        worker = await other.worker(kinds=["work", "fails"], slots=20)
        await one.batch(6)
        await other.batch(3)
        await one.batch(2, "fails", max_attempts=1)
        await one.enqueue("never")
        await one.enqueue(queue="another")
        # A cancel of a job that waits is no end: no attempt of it ended.
        await one.cancel((await one.enqueue("never")).id)
        jobs = await worker.jobs(11)
        for job in jobs[:-1]:
            await (worker.fail(job) if job.kind == "fails" else worker.succeed(job))
        for place in (one, other):

            async def counted(place: Place = place) -> bool:
                answer = await demand(place)
                came, ended = answer.arrivals_per_second * 60, answer.ends_per_second * 60
                return (round(came, 6), round(ended, 6)) == (13, 10)

            await eventually(counted)


@pytest.mark.slow
async def test_demand_is_read_once_a_second_for_all_who_ask(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.enqueue()
    await until(place, runnable=1)
    reads = Count(monkeypatch, InsightStore, "queue_demand_few")
    began = time.monotonic()
    same = [await demand(place) for _ in range(50)]
    assert len({each.read_at.ToNanoseconds() for each in same}) <= 1 + reads.calls
    assert reads.calls <= 1 + time.monotonic() - began
    await place.enqueue()
    await until(place, runnable=2)


async def test_queues_that_are_asked_for_in_turn_are_read_together(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    demands = place.app.insight.demands
    monkeypatch.setattr(demands, "_expected", Expected(1.0, most=10, clock=lambda: now[0]))
    for queue in ("one", "two"):
        await place.enqueue(queue=queue)
    for now[0] in (0.0, 10.0):
        for queue in ("one", "two"):
            await demands.of_queue(ANONYMOUS, queue)
    now[0] = 20.0
    reads = Count(monkeypatch, InsightStore, "queue_demand_few")
    one = await demands.of_queue(ANONYMOUS, "one", max_age=0)
    two = await demands.of_queue(ANONYMOUS, "two")
    assert (one.read_at, reads.calls) == (two.read_at, 1)


@pytest.mark.parametrize(("queue", "reason"), [("never", "QUEUE_NOT_FOUND"), ("MAIL", "FIELD_INVALID")])
async def test_a_queue_that_is_not_there_wants_nothing(place: Place, queue: str, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await demand(place, queue)
    assert reason_of(refused.value) == reason


@pytest.mark.slow
async def test_metrics_tell_what_queues_want_and_read_it_only_while_somebody_reads_them(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gauges, "DEPTHS_EVERY", 0.02)
    # On a busy machine a slow round would be followed by a long rest.
    monkeypatch.setattr(duty_cycle, "_SHARE", 0)
    reads = Count(monkeypatch, InsightStore, "queue_demand_few")
    rounds = Count(monkeypatch, Depths, "read")
    async with Place(dsn, metrics_addr="127.0.0.1:0") as place:

        async def told() -> dict[str, float]:
            return await wanted_of(place.app.metrics_port)

        await place.enqueue(queue="mail")
        await place.batch(2, queue="paused")
        await place.pause("paused")
        await rounds.more(3)
        assert reads.calls == 0
        assert await told() == {}
        await eventually(lambda: _same(told, {"mail": 1.0, "paused": 0.0}))
        worker = await place.worker(queues={"mail": ["work"]})
        await worker.job()
        await place.batch(2, kind="other", queue="mail")
        await eventually(lambda: _same(told, {"mail": 3.0, "paused": 0.0}))
        # Metrics are not read any more: the server reads nothing, and does not show old values.
        monkeypatch.setattr(gauges, "SCRAPED_LATELY", 0.0)
        await rounds.more(2)
        reads.calls = 0
        await rounds.more(3)
        assert reads.calls == 0
        assert await told() == {}


@pytest.mark.slow
async def test_a_queue_of_few_jobs_is_read_in_short_and_what_that_leaves_out_in_full(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Count(monkeypatch, InsightStore, "queue_demand")
    await place.batch(100)
    answer = await until(place, runnable=100)
    assert (answer.later, answer.held, full.calls) == (0, 0, 0)
    await place.enqueue("other")
    await place.enqueue("third", delay=60.0)
    await until(place, runnable=101, later=1)
    assert full.calls == 0
    await place.enqueue("third", hold=True)
    await until(place, runnable=101, later=1, held=1)
    assert full.calls > 0
    await place.batch(3)
    await until(place, runnable=104, later=1, held=1)


class Count:
    """Counts the calls of a method."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, method: str) -> None:
        self.calls = 0
        made = getattr(owner, method)

        async def counted(*args: Any, **more: Any) -> Any:
            self.calls += 1
            return await made(*args, **more)

        monkeypatch.setattr(owner, method, counted)

    async def more(self, calls: int) -> None:
        """Waits for so many more."""
        until = self.calls + calls

        async def reached() -> bool:
            return self.calls >= until

        await eventually(reached)


async def wanted_of(port: int) -> dict[str, float]:
    """The series `jobqueue_queue_wanted_slots`, by queue."""

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
            return str(response.read().decode())

    return {
        sample.labels["queue"]: sample.value
        for family in text_string_to_metric_families(await asyncio.to_thread(read))
        for sample in family.samples
        if sample.name == "jobqueue_queue_wanted_slots"
    }


async def _same(look: Callable[[], Awaitable[dict[str, float]]], wanted: dict[str, float]) -> bool:
    return await look() == wanted


@pytest.mark.slow
async def test_a_queue_that_keeps_up_wants_all_that_runs(place: Place) -> None:
    """A steady flow of jobs and no backlog: a scaler that counts the backlog alone would remove the workers."""
    worker = await place.worker(slots=20)
    await place.batch(5)
    running = deque(await worker.jobs(5))
    seen: dict[int, insight_pb2.GetQueueDemandResponse] = {}

    async def flow() -> None:
        while len(seen) < 3:
            _, job, _ = await asyncio.gather(place.enqueue(), worker.job(), asyncio.sleep(0.01))
            running.append(job)
            await worker.succeed(running.popleft())

    flowing = asyncio.create_task(flow())
    while not flowing.done():
        answer = await demand(place)
        seen[answer.read_at.ToNanoseconds()] = answer
        await asyncio.sleep(0.2)
    await flowing
    for answer in seen.values():
        assert answer.running >= 5
        assert answer.wanted_slots >= answer.running
        assert not answer.more_workers_would_help


@pytest.mark.slow
async def test_from_zero_to_one_within_two_seconds(place: Place) -> None:
    worker = await place.worker()
    await place.enqueue()
    await worker.succeed(await worker.job())
    await worker.close()
    await until(place, wanted_slots=0)
    began = time.monotonic()
    await place.enqueue()
    answer = await until(place, wanted_slots=1)
    assert time.monotonic() - began < 2
    assert answer.more_workers_would_help
