"""Several servers on one database: what one is asked for reaches the worker on another, with notices and without."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue.v1 import job_pb2, lease_pb2
from jobqueue_server.core.catalog import catalog
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.lifecycle import Event
from jobqueue_server.store import migrate
from jobqueue_server.store.attempt.attempts import AttemptEnd

from .hand_worker import PATIENCE, span
from .place import Place, Status, eventually

Verdict = lease_pb2.SettleResult.Verdict
# Without notices: looked for once a second, on a machine that is busy otherwise.
A_SECOND = 1.5


@asynccontextmanager
async def two(dsn: str, **settings: Any) -> AsyncIterator[tuple[Place, Place]]:
    """Two servers, which know of each other."""
    async with Place(dsn, **settings) as first, Place(dsn, **settings) as second:

        async def acquainted() -> bool:
            return all(place.app.events.peers.listen for place in (first, second))

        if settings.get("notify") != "off":
            await eventually(acquainted)
        yield first, second


@pytest.fixture
async def notices_alone(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Place, Place]]:
    """Two servers that look for nothing themselves."""
    monkeypatch.setattr(catalog, "_REFRESH_EVERY", timedelta(hours=1))
    tuning = Tuning(sweep_every=3600.0, cancels_every=3600.0)
    async with two(dsn, tuning=tuning, cancel_grace="1s") as both:
        yield both


@pytest.fixture
async def polling_alone(dsn: str) -> AsyncIterator[tuple[Place, Place]]:
    """Two servers that tell each other nothing."""
    async with two(dsn, cancel_grace="1s", notify="off") as both:
        yield both


@pytest.fixture(params=["notices_alone", "polling_alone"])
def servers(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# ---- jobs


@pytest.mark.any_engine
async def test_a_job_stored_by_one_server_starts_with_the_other_at_once(notices_alone):
    """Also in a lane that the other one has never seen."""
    first, second = notices_alone
    worker = await first.worker(kinds=["work", "new"], slots=10)
    for kind in ("work", "new", "work"):
        started = time.monotonic()
        job = await second.enqueue(kind)
        leased = await worker.job()
        assert leased.id == job.id
        # Nothing else would start it for an hour.
        assert time.monotonic() - started < 5
        assert await worker.succeed(leased) == []


@pytest.mark.any_engine
async def test_a_job_stored_by_one_server_starts_with_the_other_within_a_second(polling_alone):
    first, second = polling_alone
    worker = await first.worker(kinds=["work", "new"], slots=10)
    for kind in ("new", "work"):
        started = time.monotonic()
        job = await second.enqueue(kind)
        assert (await worker.job()).id == job.id
        # A new lane is seen by one look, its job by the next, which follows at once.
        assert time.monotonic() - started < A_SECOND


@pytest.mark.any_engine
async def test_what_a_server_puts_back_in_line_starts_with_the_other_at_once(notices_alone):
    """After a backoff, a delay, an operator's retry, a release, and a loss."""
    first, second = notices_alone
    quick = job_pb2.RetryPolicy(min_backoff=span(0.02), max_backoff=span(0.05))
    failing, snoozed = await second.enqueue(retry_policy=quick), await second.enqueue()
    gone = await second.worker(name="gone", slots=2)
    taken = {job.id: job for job in await gone.jobs(2)}
    worker = await first.worker(slots=10)
    await gone.capacity(0)
    await gone.fail(taken[failing.id])
    assert (await worker.job()).id == failing.id
    await gone.snooze(taken[snoozed.id], 0.05)
    assert (await worker.job()).id == snoozed.id
    delayed = await second.enqueue(delay=0.2)
    assert (await worker.job()).id == delayed.id
    ended = await second.enqueue(delay=60)
    await second.cancel(ended.id)
    await second.retry(ended.id)
    assert (await worker.job()).id == ended.id
    # One that lost its session waits apart.
    lost = await second.enqueue(delay=60)
    await second.sql("update live_job set state = 2, attempts = 1, session_id = 0 where id = $1", lost.id)
    await second.app.lease.attempts.end([AttemptEnd(UUID(lost.id), 1, 0, Event.LOST)])
    assert (await worker.job()).id == lost.id


# ---- cancels, timeouts, sessions


@pytest.mark.any_engine
async def test_a_cancel_on_one_server_reaches_the_worker_of_the_other_within_a_second(servers):
    first, second = servers
    worker = await first.worker()
    job = await first.enqueue()
    leased = await worker.job()
    started = time.monotonic()
    answer = await second.cancel(job.id, "no longer wanted")
    assert (answer.pending, Status.Name(answer.job.status)) == (True, "RUNNING")
    cancel = (await worker.next("control")).cancel
    assert time.monotonic() - started < A_SECOND
    assert (list(cancel.lease_ids), cancel.reason) == ([leased.lease_id], "no longer wanted")
    assert timedelta() < cancel.grace.ToTimedelta() <= timedelta(seconds=1)
    result = await worker.cancelled(leased)
    assert (result.verdict, Status.Name(result.status)) == (Verdict.APPLIED, "CANCELLED")
    assert (await second.wait(job.id)).reason == "CANCELLED_BY_CALLER"
    assert not worker.has("control")


@pytest.mark.any_engine
async def test_a_cancel_is_told_once_on_a_stream_however_often_it_is_looked_for(dsn):
    async with two(dsn, notify="off") as (first, second):
        worker = await first.worker()
        job = await first.enqueue()
        await worker.job()
        await second.cancel(job.id)
        assert (await worker.next("control")).HasField("cancel")
        for _ in range(3):
            await first.app.session.cancels.check()
        await worker.heartbeat()
        assert not worker.has("control")
        # A cancel that comes again is news.
        await first.cancel(job.id)
        assert (await worker.next("control")).HasField("cancel")


@pytest.mark.slow
@pytest.mark.any_engine
async def test_after_the_grace_the_server_decides_whichever_was_asked(servers):
    first, second = servers
    worker = await first.worker()
    job = await first.enqueue()
    leased = await worker.job()
    await second.cancel(job.id)
    assert (await worker.next("control")).HasField("cancel")
    revoke = (await worker.next("control")).revoke
    assert (list(revoke.lease_ids), revoke.reason) == ([leased.lease_id], "CANCEL_GRACE_ENDED")
    assert (await second.wait(job.id)).reason == "CANCEL_GRACE_ENDED"
    assert [result.verdict for result in await worker.succeed(leased)] == [Verdict.STALE_LEASE]


async def test_a_timeout_that_another_server_settles_revokes_the_lease_where_it_hangs(notices_alone):
    """Its own server is too busy to look; a second after the deadline the other one does not wait for it any more."""
    first, _ = notices_alone

    async def busy() -> None:
        pass

    first.app.session.reaper.end_due = busy
    worker = await first.worker()
    job = await first.enqueue(timeout=1, max_attempts=1)
    leased = await worker.job()
    revoke = (await worker.next("control")).revoke
    assert (list(revoke.lease_ids), revoke.reason) == ([leased.lease_id], "TIMED_OUT")
    done = await first.wait(job.id)
    assert (Status.Name(done.status), done.failed_attempts[0].reason) == ("FAILED_PERMANENT", "TIMED_OUT")
    assert done.failed_attempts[0].ended_at.ToNanoseconds() - leased_at(done) >= 2e9
    # Its handler still runs, so its slot stays counted.
    await first.enqueue()
    await worker.heartbeat()
    await worker.no_job(0.1)


def leased_at(job: job_pb2.Job) -> int:
    nanoseconds: int = job.failed_attempts[0].started_at.ToNanoseconds()
    return nanoseconds


async def test_a_session_that_goes_on_elsewhere_ends_its_stream_at_once(notices_alone):
    first, second = notices_alone
    worker = await first.worker()
    await first.enqueue()
    leased = await worker.job()
    again = await second.worker(resume=worker.resume(held=[leased]))
    assert (await worker.end(5)).reason == "SESSION_SUPERSEDED"
    assert await again.succeed(leased) == []

    async def forgotten() -> bool:
        return len(first.app.session.sessions) == 0

    await eventually(forgotten)


async def test_a_session_that_another_server_reaped_ends_its_stream_at_once(notices_alone):
    """As after a time in which its server alone could not reach the database."""
    first, second = notices_alone
    worker = await first.worker(ttl=5)
    await first.enqueue()
    await worker.job()
    await second.sql(
        "update worker_session set silent_since = now() - interval '1 minute' where id = $1",
        worker.welcome.session_id,
    )
    await second.app.session.reaper.reap_lost()
    assert (await worker.end(5)).reason == "SESSION_ENDED"


@pytest.mark.any_engine
async def test_a_server_that_reaches_the_database_again_looks_at_once_what_became_of_its_sessions(
    polling_alone,
):
    first, second = polling_alone
    worker = await first.worker(ttl=5)
    await second.sql("update worker_session set ended_at = now() where id = $1", worker.welcome.session_id)
    end_due = first.app.session.reaper.end_due

    async def away_once() -> None:
        first.app.session.reaper.end_due = end_due
        raise DatabaseAway("the database does not answer; try again")

    first.app.session.reaper.end_due = away_once
    # The audit alone would find it after ten seconds.
    assert (await worker.end(6)).reason == "SESSION_ENDED"


# ---- the notices themselves


@pytest.mark.any_engine
async def test_a_server_that_is_alone_tells_nobody(place):
    listening = await listener(place)
    await place.worker()
    await place.batch(50)
    await asyncio.sleep(0.1)
    assert [notice for notice in listening if "echo" not in notice] == []


async def listener(place: Place) -> list[dict[str, Any]]:
    """Every notice from now on."""
    heard: list[dict[str, Any]] = []
    connection = await place.connection()
    await connection.add_listener("jobqueue", lambda *arguments: heard.append(json.loads(arguments[3])))
    return heard


@pytest.mark.any_engine
async def test_what_comes_together_is_told_together_in_notices_that_postgresql_takes(dsn):
    async with two(dsn) as (first, _):
        heard = await listener(first)
        sizes: list[int] = []
        await (await first.connection()).add_listener(
            "jobqueue", lambda *it: sizes.append(len(it[3].encode()))
        )
        ready = {(lane_id, priority) for lane_id in range(100_000, 100_150) for priority in range(-10, 11)}
        job_id = UUID("01234567-89ab-7def-8123-456789abcdef")
        for _ in range(2):
            for lane_id, priority in ready:
                first.app.events.peers.tell_ready(lane_id, priority, isolated=lane_id % 2 == 1)
        for number in range(200):
            first.app.events.peers.tell_cancel(job_id, 10**12 + number, 1, "ä" * 500)

        async def all_told() -> bool:
            return sum(len(notice.get("cancel", ())) for notice in heard) == 200

        await eventually(all_told)
        told = [
            tuple(line) for notice in heard for name in ("ready", "alone") for line in notice.get(name, ())
        ]
        assert len(told) == len(ready)
        assert set(told) == ready
        assert all(line[0] % 2 == 1 for notice in heard for line in notice.get("alone", ()))
        assert max(sizes) < 8000
        assert len(sizes) < 30


@pytest.mark.any_engine
async def test_a_connection_for_notices_that_is_lost_or_deaf_is_made_anew(dsn):
    tuning = Tuning(notices_echo_every=0.2, notices_again_after=0.05, sweep_every=3600.0)

    async with two(dsn, tuning=tuning) as (first, second):
        listening = first.app.events.exchange._notices
        # What PostgreSQL ends, as at its restart.
        assert isinstance(listening._connection, asyncpg.Connection)
        before = listening._connection
        await first.sql("select pg_terminate_backend($1)", before.get_server_pid())

        async def another() -> bool:
            return listening._connection not in (None, before) and first.app.events.exchange._echoed

        await eventually(another)
        # What stays open and does not hear: half-open, or behind a pooler.
        before = listening._connection
        await before.execute("unlisten *")
        await eventually(another)
        listens = first.app.metrics.registry.get_sample_value("jobqueue_listens_total")
        assert listens is not None
        assert listens >= 3
        worker = await first.worker()
        job = await second.enqueue()
        assert (await worker.job()).id == job.id


def lines_heard(place: Place) -> list[tuple[int, int, bool]]:
    """The lines that it is told of by other servers from now on."""
    heard: list[tuple[int, int, bool]] = []
    place.app.events.peers.hear_ready(lambda *line: heard.append(line))
    return heard


@pytest.mark.any_engine
async def test_servers_in_two_schemas_of_one_database_do_not_hear_each_other(empty_dsn):
    connection = await asyncpg.connect(empty_dsn)
    dsns = []
    for schema in ("alpha", "beta"):
        await connection.execute(f"create schema {schema}")
        dsns.append(f"{empty_dsn}{'&' if '?' in empty_dsn else '?'}search_path={schema}")
        await migrate.up(dsns[-1])
    await connection.close()
    async with two(dsns[0]) as (first, second), two(dsns[1]) as (third, fourth):
        here, there = lines_heard(first), [*map(lines_heard, (third, fourth))]
        worker = await first.worker()
        for _ in range(20):
            job = await second.enqueue()
            leased = await worker.job()
            assert leased.id == job.id
            assert await worker.succeed(leased) == []
        assert here
        assert there == [[], []]
        stranger = await fourth.worker()
        job = await third.enqueue()
        assert (await stranger.job()).id == job.id
        assert there[1]
        assert [await place.value("select count(*) from job") for place in (first, third)] == [20, 1]


@pytest.mark.any_engine
async def test_a_server_of_the_version_before_hears_this_one_and_is_heard(notices_alone):
    """It knows one channel for all schemas. What servers of this version say on both is taken once."""
    first, second = notices_alone
    heard = await listener(first)
    lines = lines_heard(second)
    await first.enqueue()

    async def told() -> Any:
        return lines and [notice for notice in heard if "ready" in notice]

    (notice,) = await eventually(told)
    assert notice["from"] == first.app.events.server.id
    # What came on another channel would be there by the time that this is.
    before = {"from": 999, "ready": [[lines[0][0], 7]]}
    await first.sql("select pg_notify('jobqueue', $1)", json.dumps(before))

    async def both() -> bool:
        return (lines[0][0], 7, False) in lines

    await eventually(both)
    assert len(lines) == 2


@pytest.mark.any_engine
async def test_a_server_tells_at_most_every_25_ms_and_keeps_a_bounded_part_of_what_is_to_tell(dsn):
    async with two(dsn) as (first, _):
        heard = await listener(first)
        started = time.monotonic()
        for number in range(60):
            first.app.events.peers.tell_ready(number, 0, isolated=False)
            await asyncio.sleep(0.002)
        async with asyncio.timeout(PATIENCE):
            while sum(len(notice.get("ready", ())) for notice in heard) < 60:
                await asyncio.sleep(0.01)
        assert (
            1
            < len([notice for notice in heard if "ready" in notice])
            <= (time.monotonic() - started) / 0.025 + 2
        )
        for number in range(3 * Tuning().notices_kept):
            first.app.events.peers.tell_ready(number, 0, isolated=False)
        assert len(first.app.events.peers._news) == Tuning().notices_kept


@pytest.mark.any_engine
async def test_what_is_no_notice_of_this_version_is_passed_over(notices_alone, caplog):
    first, second = notices_alone
    for text in (
        "", "garbage", "[]", "7", "null", '{"cancel":[]}', '{"from":0,"cancel":7}', '{"from":0,"cancel":[[1]]}',
        '{"from":0,"cancel":[["no uuid",1,1,""]]}', '{"from":0,"taken_back":[[0,"",1,""]]}',
        '{"from":0,"ready":[["a","b"]]}', '{"from":0,"ready":[[999999,0]]}', '{"from":0,"of_tomorrow":[1]}',
    ):  # fmt: skip
        await first.sql("select pg_notify('jobqueue', $1)", text)
    # Each server says so of each that is none; the last three are.

    async def passed_over() -> bool:
        return sum("is not one" in record.message for record in caplog.records) == 2 * 10

    await eventually(passed_over)
    worker = await first.worker()
    job = await second.enqueue()
    assert (await worker.job()).id == job.id


@pytest.mark.any_engine
async def test_a_server_that_is_told_not_to_listen_does_not(dsn):
    async with two(dsn, notify="off") as (first, second):
        heard = await listener(first)
        await second.batch(10)
        await asyncio.sleep(0.1)
        assert heard == []
        assert not first.app.events.peers._connected
