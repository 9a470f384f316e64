"""The overview: what happens, what waits, who works and what is wrong; read once for all, without counting jobs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import overview_pb2, stats_pb2
from jobqueue_server.core.events.tallies import COUNTS
from jobqueue_server.core.insight import overviews
from jobqueue_server.store import database
from jobqueue_server.store.statements import statement

from .hand_worker import PATIENCE, reason_of
from .place import Caller, Place, Status, eventually
from .statistics import stats

pytestmark = pytest.mark.any_engine

Code = overview_pb2.Warning.WarningCode
#: Reads that look at jobs one by one, or may.
_COUNTS_JOBS = re.compile(r"count\([^)]*\)[^;]*\bfrom\s+(job|finished_job)\b", re.DOTALL)


async def overview(place: Caller) -> overview_pb2.Overview:
    answer = await place.insight.GetOverview(overview_pb2.GetOverviewRequest(), timeout=PATIENCE)
    found: overview_pb2.Overview = answer.overview
    return found


async def until(place: Caller, wanted: Callable[[overview_pb2.Overview], Any]) -> overview_pb2.Overview:
    """The overview once it is so; depths are read each 5 s."""

    async def look() -> overview_pb2.Overview | None:
        found = await overview(place)
        return found if wanted(found) else None

    found: overview_pb2.Overview = await eventually(look, timeout=40)
    return found


def warned(found: overview_pb2.Overview) -> set[tuple[str, str]]:
    return {(Code.Name(warning.code), warning.queue) for warning in found.warnings}


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The names of all statements that are run within."""
    names: list[str] = []

    def noted(name: str) -> str:
        names.append(name)
        return statement(name)

    with monkeypatch.context() as patched:
        patched.setattr(database, "statement", noted)
        yield names


@pytest.mark.slow
async def test_it_has_what_waits_what_runs_who_works_and_what_happened_lately(place: Place) -> None:
    worker = await place.worker(queues={"mail": ["send"]}, slots=2)
    for _ in range(3):
        await place.enqueue("send", queue="mail")
    await place.enqueue("send", queue="mail", hold=True)
    await worker.succeed(await worker.job())
    await place.enqueue("scale", queue="images")
    await place.app.stats.slices.stop()
    # First what leaves the window by and by.
    found = await until(place, lambda each: each.flow.succeeded)
    assert found.window.ToTimedelta() == timedelta(seconds=20)
    assert (found.flow.enqueued, found.flow.started, found.flow.succeeded) == (5 / 20, 3 / 20, 1 / 20)
    found = await until(place, lambda each: each.depth.running == 2)
    queues = {each.queue: each for each in found.queues}
    assert [each.queue for each in found.queues] == ["images", "mail"]
    mail, images = queues["mail"], queues["images"]
    assert (mail.depth.queued, mail.depth.held, mail.depth.running) == (1, 1, 2)
    assert (mail.workers, mail.slots, mail.free_slots) == (1, 2, 0)
    assert (images.depth.queued, images.workers) == (1, 0)
    assert images.depth.oldest_due_age.ToTimedelta() > timedelta()
    assert not mail.depth.HasField("oldest_due_age")
    assert (found.workers.sessions, found.workers.slots, found.workers.free_slots) == (1, 2, 0)
    assert [server.self for server in found.servers] == [True]
    assert warned(found) == {("WORKERS_MISSING", "images")}
    assert found.warnings[0].remedy == "a worker that takes kind scale from the queue images"


@pytest.mark.slow
async def test_it_warns_of_paused_queues_full_workers_lost_workers_blocked_keys_and_silent_servers(
    place: Place,
) -> None:
    worker = await place.worker(kinds=["full"], slots=1)
    await place.enqueue("full")
    await worker.job()
    await place.enqueue("full")
    await place.enqueue("paused", queue="paused")
    await place.pause("paused", "the printer burns")
    await place.sql(
        "insert into server (name, level, heartbeat_at) values ('gone', 3, now() - interval '1 minute')"
    )
    lane = await place.value("select id from lane order by id limit 1")
    counts = ", ".join("7" if name == "lost" else "0" for name in COUNTS)
    await place.sql(
        f"insert into lane_stat (width_s, at, lane_id, server_id, {', '.join(COUNTS)})"
        f" values (60, date_bin('1 min', now() - interval '5 min', 'epoch'), $1, 0, {counts})",
        lane,
    )
    found = await until(place, lambda each: ("SLOTS_TAKEN", "default") in warned(each))
    assert warned(found) == {
        ("PAUSED_WITH_JOBS", "paused"), ("SLOTS_TAKEN", "default"), ("WORKERS_LOST", "default"), ("SERVER_SILENT", ""),
    }  # fmt: skip
    by_code = {Code.Name(warning.code): warning for warning in found.warnings}
    assert by_code["PAUSED_WITH_JOBS"].remedy == "ResumeQueue paused"
    assert by_code["PAUSED_WITH_JOBS"].HasField("since")
    assert by_code["WORKERS_LOST"].message.startswith(
        "7 attempts were lost with workers of the queue default"
    )
    assert by_code["SERVER_SILENT"].message.startswith("the server gone was not heard for ")
    paused = next(each for each in found.queues if each.queue == "paused")
    assert (paused.paused, paused.pause.reason) == (True, "the printer burns")


@pytest.mark.slow
async def test_a_long_transaction_is_told_of_with_its_age(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue_server.core.insight.warnings.LONG_SNAPSHOT", timedelta(seconds=1))
    connection = await place.connection()
    async with connection.transaction(isolation="repeatable_read"):
        await connection.fetch("select count(*) from server")
        found = await until(place, lambda each: ("LONG_SNAPSHOT", "") in warned(each))
    warning = next(each for each in found.warnings if each.code == Code.LONG_SNAPSHOT)
    assert warning.since.ToDatetime() < found.read_at.ToDatetime()


@pytest.mark.slow
async def test_all_who_watch_share_one_reading_and_none_is_made_while_nobody_does(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overviews, "READ_EVERY", 0.3)
    place.app.insight.overviews._read._seconds = 0.2
    with statements(monkeypatch) as names:
        calls = [place.insight.WatchOverview(overview_pb2.WatchOverviewRequest()) for _ in range(10)]
        seen = await asyncio.gather(*(read_some(call, 5) for call in calls))
        for call in calls:
            call.cancel()
        read = names.count("overview_state")
        # Five answers to each of ten, of a reading each; another may have begun.
        assert 5 <= read <= 8
        assert len({tuple(each) for each in seen}) <= 3
        await asyncio.sleep(1)
        names.clear()
        await asyncio.sleep(1.5)
        assert "overview_state" not in names
        assert "recent_slices" not in names


async def read_some(call: Any, answers: int) -> list[int]:
    return [(await call.read()).overview.read_at.ToNanoseconds() for _ in range(answers)]


async def test_watches_of_the_overview_count_with_those_of_jobs_and_end_with_the_server(dsn: str) -> None:
    async with Place(dsn, max_watches=1) as place:
        first = place.insight.WatchOverview(overview_pb2.WatchOverviewRequest())
        await first.read()
        second = place.insight.WatchOverview(overview_pb2.WatchOverviewRequest())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await second.read()
        assert reason_of(raised.value) == "TOO_MANY_WATCHES"
        first.cancel()
        await eventually(lambda: asyncio.sleep(0, not len(place.app.query.watch_limit)))
        third = place.insight.WatchOverview(overview_pb2.WatchOverviewRequest())
        await third.read()
        stopping = asyncio.create_task(place.app.stop())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            while True:
                assert await third.read() is not grpc.aio.EOF
        assert reason_of(raised.value) == "DRAINING"
        await stopping


@pytest.mark.slow
async def test_neither_the_overview_nor_statistics_count_jobs_and_idle_statistics_write_nothing(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.enqueue()
    await place.app.stats.slices.stop()
    with statements(monkeypatch) as names:
        await until(place, lambda each: each.depth.queued == 1)
        await stats(place, group_by=stats_pb2.GROUP_BY_QUEUE)
        read = set(names)
        assert {"overview_state", "recent_slices", "stat_points"} <= read
        assert "count_jobs" not in read
        # `running_depths` and `lane_depths` are bounded, and are run for the metrics anyway.
        assert [name for name in read if _COUNTS_JOBS.search(statement(name))] == []
        assert _COUNTS_JOBS.search("select count(*) as n from job")
        names.clear()
        await asyncio.sleep(12)
        assert names.count("write_slices") == 0


async def test_jobs_are_counted_exactly_where_there_is_time_and_else_at_least(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As long as a busy machine may take.
    monkeypatch.setattr("jobqueue_server.core.stats.counting.COUNT_FOR", 60.0)
    await place.batch(7, "a", labels={"team": "x"})
    await place.batch(3, "b")
    for wanted, jobs in (
        ({}, 10), ({"kind": "a"}, 7), ({"labels": ["team=x"]}, 7), ({"status": [Status.SUCCEEDED]}, 0),
        ({"queue": "none"}, 0),
    ):  # fmt: skip
        answer = await place.insight.CountJobs(stats_pb2.CountJobsRequest(**wanted))
        assert (answer.count, answer.exact) == (jobs, True)
    # The answer is kept for a minute.
    await place.enqueue("a")
    assert (await place.insight.CountJobs(stats_pb2.CountJobsRequest(kind="a"))).count == 7
    monkeypatch.setattr("jobqueue_server.core.stats.counting.COUNT_FOR", 0.0)
    place.app.stats.counts._store._stretch = 4
    answer = await place.insight.CountJobs(stats_pb2.CountJobsRequest(queue="default"))
    assert (answer.count, answer.exact) == (4, False)
    monkeypatch.setattr("jobqueue_server.core.stats.counting.COUNT_FOR", 60.0)
    answer = await place.insight.CountJobs(stats_pb2.CountJobsRequest(queue="default", kind="a"))
    assert (answer.count, answer.exact) == (8, True)


async def test_a_count_that_nobody_waits_for_any_more_ends_and_only_ten_wait_for_their_turn(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.batch(3)
    counts = place.app.stats.counts
    counting, goes_on = asyncio.Event(), asyncio.Event()
    count = counts._store.count

    async def slow(*wanted: Any) -> Any:
        counting.set()
        await goes_on.wait()
        return await count(*wanted)

    monkeypatch.setattr(counts._store, "count", slow)
    request = stats_pb2.CountJobsRequest
    calls = [place.insight.CountJobs(request(kind=f"k{number}")) for number in range(12)]
    # Two are counted, of whoever.
    await eventually(lambda: asyncio.sleep(0, counts._turns.waiting(None) == 10))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await place.insight.CountJobs(request(kind="one-more"))
    assert reason_of(raised.value) == "TOO_MANY_CALLS"
    for call in calls:
        call.cancel()
    await eventually(lambda: asyncio.sleep(0, not counts._turns.taken))
    goes_on.set()
    assert (await place.insight.CountJobs(request())).count == 3
