"""The metrics by which an operator sees that a server, its workers or its database are not well."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest

from jobqueue.v1 import jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server import __version__
from jobqueue_server.core.upkeep.condition import ConditionReader
from jobqueue_server.embedded import EmbeddedPostgres
from jobqueue_server.store import migrate
from tests.lease.place import Place, eventually
from tests.standby import a_primary_and_its_standby

pytestmark = [pytest.mark.slow, pytest.mark.any_engine]


def value(place: Place, name: str, **labels: str) -> float | None:
    """As Prometheus would read it."""
    return place.app.metrics.registry.get_sample_value(name, labels)


async def becomes(place: Place, wanted: float | None, name: str, **labels: str) -> None:
    """Waits until a metric has this value."""

    async def look() -> bool:
        return value(place, name, **labels) == wanted

    try:
        await eventually(look)
    except AssertionError as error:
        raise AssertionError(f"{name}{labels} is {value(place, name, **labels)}, not {wanted}") from error


@pytest.fixture
async def place(dsn: str) -> AsyncIterator[Place]:
    async with Place(dsn) as place:
        yield place


async def test_a_server_says_what_it_is_and_that_it_is_well(place):
    labels = {"version": __version__, "python": platform.python_version()}
    assert value(place, "jobqueue_build_info", **labels) == 1
    assert value(place, "jobqueue_ready") == 1
    assert value(place, "jobqueue_database_up") == 1
    assert value(place, "jobqueue_enqueue_waiting") == 0
    assert value(place, "jobqueue_database_connections", pool="vital", state="idle") in (0, 1)
    hot = sum(
        value(place, "jobqueue_database_connections", pool="hot", state=state) or 0
        for state in ("idle", "used")
    )
    assert 1 <= hot <= 4


async def test_a_connection_that_works_is_used_and_one_that_is_kept_ready_is_idle(place):
    database = place.app.stores.database
    await place.enqueue()

    async def all_idle() -> bool:
        # The server's own statements may take one at any time.
        return database.connections()["hot", "used"] == 0 and database.connections()["hot", "idle"] >= 1

    await eventually(all_idle)
    async with database.session(hot=True):
        assert database.connections()["hot", "used"] >= 1
    await eventually(all_idle)


async def test_a_server_that_leaves_is_not_ready(place):
    place.app.leaving.begin()
    await becomes(place, 0, "jobqueue_ready")
    assert value(place, "jobqueue_database_up") == 1


@pytest.fixture
def postgres() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(listen=True) as postgres:
        yield postgres


async def test_a_database_that_is_away_is_seen(postgres):
    await migrate.up(postgres.dsn)
    async with Place(postgres.dsn) as place:
        await asyncio.to_thread(postgres.kill)
        await becomes(place, 0, "jobqueue_database_up")
        await becomes(place, 0, "jobqueue_ready")
        await asyncio.to_thread(postgres.start)
        await becomes(place, 1, "jobqueue_database_up")
        await becomes(place, 1, "jobqueue_ready")


async def test_a_promotion_is_counted():
    async with a_primary_and_its_standby() as pair:
        await migrate.up(pair.old.dsn)
        async with Place(pair.dsn) as place:
            assert value(place, "jobqueue_database_failovers_total") == 0
            await asyncio.to_thread(pair.old.kill)
            await pair.promote()
            await becomes(place, 1, "jobqueue_database_failovers_total")


async def test_a_loop_that_was_held_up_is_seen(place):
    time.sleep(0.6)  # noqa: ASYNC251 - that is what it is about
    slow = "jobqueue_event_loop_lag_seconds"

    async def seen() -> bool:
        below = value(place, f"{slow}_bucket", le="0.25")
        return (value(place, f"{slow}_count") or 0) > (below or 0)

    await eventually(seen)


async def test_free_slots_are_told_by_lane_and_a_lane_without_workers_is_not_shown(place):
    await place.enqueue("work", queue="mail")
    await place.enqueue("rest", queue="mail")
    worker = await place.worker(queues={"mail": ["work"]}, slots=5)
    await worker.job()
    await becomes(place, 4, "jobqueue_lane_credit", queue="mail", kind="work")
    assert value(place, "jobqueue_lane_credit", queue="mail", kind="rest") is None
    await worker.close()
    await becomes(place, None, "jobqueue_lane_credit", queue="mail", kind="work")


async def test_a_paused_queue_is_shown_until_it_is_resumed(place):
    await place.enqueue(queue="mail")
    await place.admin.PauseQueue(queue_admin_pb2.PauseQueueRequest(name="mail"))
    await becomes(place, 1, "jobqueue_queue_paused", queue="mail")
    assert value(place, "jobqueue_queue_paused", queue="default") is None
    await place.admin.ResumeQueue(queue_admin_pb2.ResumeQueueRequest(name="mail"))
    await becomes(place, None, "jobqueue_queue_paused", queue="mail")


async def test_sessions_that_end_are_told_apart_and_the_jobs_that_were_lost_with_them(place):
    lost = await place.worker(name="lost", ttl=5.0, kinds=["work"], heartbeats=False)
    await place.enqueue()
    await lost.job()
    await lost.heartbeat()  # the receipt
    polite = await place.worker(name="polite", kinds=["none"])
    await polite.drain()
    await polite.next("goodbye")
    await becomes(place, 1, "jobqueue_sessions_ended_total", how="goodbye")
    lost.cut()
    await becomes(place, 1, "jobqueue_sessions_ended_total", how="lost")
    await becomes(place, 1, "jobqueue_jobs_lost_total", kind="work", outcome="retrying")
    assert value(place, "jobqueue_sessions_ended_total", how="goodbye") == 1
    assert value(place, "jobqueue_jobs_lost_total", kind="work", outcome="failed_permanent") is None
    assert value(place, "jobqueue_lost_worker_late_seconds_count") == 1


async def test_an_outcome_that_came_too_late_is_counted(place):
    holder, other = await place.worker(name="holder"), await place.worker(name="other", kinds=["none"])
    job = await place.enqueue()
    leased = await holder.job()
    late = lease_pb2.Outcome(job_id=job.id, attempt=1, success=lease_pb2.Success())
    await other.settle(outcomes=[late])
    assert value(place, "jobqueue_stale_settlements_total") == 1
    await holder.succeed(leased)
    assert value(place, "jobqueue_stale_settlements_total") == 1


async def test_what_the_audit_gives_back_is_counted(place):
    worker = await place.worker(name="holder")
    job = await place.enqueue()
    leased = await worker.job()
    session = place.app.session.sessions.linked()[0]
    # As by a race: the database has a lease that this server does not know.
    session.drop(leased.lease_id)
    await place.sql("update live_job set changed_at = now() - interval '1 hour' where id = $1", job.id)
    await place.app.session.audit.audit()
    assert value(place, "jobqueue_audit_strays_total") == 1
    assert value(place, "jobqueue_undelivered_total") == 1


async def test_a_watch_tells_how_old_news_are(place):
    watching = place.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest())
    await watching.read()
    for _ in range(3):
        await place.enqueue()
        told = await watching.read()
        while not told.HasField("job"):
            told = await watching.read()
    count = value(place, "jobqueue_watch_lag_seconds_count")
    assert count is not None
    assert 1 <= count <= 3
    assert 0 <= (value(place, "jobqueue_watch_lag_seconds_sum") or 0) < 3 * 5
    watching.cancel()


async def test_what_a_watch_is_told_of_the_past_is_no_lag(place):
    job = await place.enqueue(delay=3600)
    await place.sql("update live_job set changed_at = now() - interval '1 hour' where id = $1", job.id)
    watching = place.stub.WatchJobs(jobqueue_pb2.WatchJobsRequest(ids=[job.id]))
    assert (await watching.read()).job.id == job.id
    assert value(place, "jobqueue_watch_lag_seconds_count") == 0
    watching.cancel()


async def test_the_condition_of_the_database_is_told_from_the_second_scrape_on(dsn, monkeypatch):
    monkeypatch.setitem(ConditionReader.__init__.__kwdefaults__, "every", 0.1)
    async with Place(dsn) as place:
        assert value(place, "jobqueue_partitions", state="present") is None
        await becomes(place, 1, "jobqueue_partitions", state="present")
        assert (value(place, "jobqueue_partitions", state="ahead") or 0) >= 2
        known = str(len(migrate.load()))
        assert value(place, "jobqueue_migration", version=known, known=known) == 1
        assert value(place, "jobqueue_retention_lag_seconds") == 0
        assert value(place, "jobqueue_partition_width_seconds") == timedelta(hours=6).total_seconds()
        assert value(place, "jobqueue_dead_rows", table="live_job") is not None
        assert value(place, "jobqueue_oldest_snapshot_seconds") is not None
        assert value(place, "jobqueue_replication_slot_retained_bytes") == 0
