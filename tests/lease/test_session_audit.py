"""What a server remembers of sessions and what the database says of them are brought together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from jobqueue_server.store import database
from tests.conftest import of_server

from .hand_worker import StreamEnded
from .place import Place, Status, eventually


async def audit(place: Place) -> None:
    """What the server does every 10 s, now."""
    await place.app.session.audit.audit()


@pytest.mark.any_engine
async def test_a_worker_whose_session_was_reaped_behind_its_server_is_told_so(place: Place):
    worker = await place.worker()
    await place.sql("update worker_session set ended_at = now() where id = $1", worker.welcome.session_id)
    await place.app.session.audit.sessions_here()
    with pytest.raises(StreamEnded) as ended:
        await worker.next("goodbye")
    assert ended.value.reason == "SESSION_ENDED"
    assert len(place.app.session.sessions) == 0


@pytest.mark.slow
async def test_a_session_that_nobody_watches_becomes_silent_and_its_jobs_go_on(place: Place):
    """As after a resume that committed while its worker died."""
    job = await place.enqueue()
    session_id = await place.value(
        "insert into worker_session (server_id, ttl, name, token_hash)"
        " values ($1, interval '1 second', 'gone', sha256('x')) returning id",
        place.app.events.server.id,
    )
    await place.sql(
        "update live_job set state = 2, attempts = 1, session_id = $2 where id = $1", job.id, session_id
    )
    await place.app.session.audit.sessions_here()
    await place.app.session.audit.sessions_here()
    worker = await place.worker()
    leased = await worker.job()
    assert (leased.id, leased.attempt) == (job.id, 2)
    assert (await place.get(job.id)).losses == 1


@pytest.mark.any_engine
async def test_a_session_that_moved_to_another_server_is_forgotten_by_the_first(place: Place, dsn: str):
    async with Place(dsn) as second:
        worker = await place.worker()
        await place.enqueue()
        leased = await worker.job()
        again = await second.worker(resume=worker.resume(held=[leased]))
        worker.cut()

        async def forgotten() -> bool:
            return len(place.app.session.sessions) == 0

        await eventually(forgotten)
        assert len(second.app.session.sessions) == 1
        assert await again.succeed(leased) == []


@pytest.mark.any_engine
async def test_the_audit_leaves_alone_what_a_session_holds_with_another_server(place: Place, dsn: str):
    """Its worker has not closed the first stream yet."""
    async with Place(dsn) as second:
        worker = await place.worker()
        again = await second.worker(resume=worker.resume())
        job = await second.enqueue()
        leased = await again.job()
        await place.sql("update live_job set changed_at = now() - interval '1 minute' where id = $1", job.id)
        await audit(place)
        assert await second.status(job.id) == "RUNNING"
        assert await again.succeed(leased) == []


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_lease_that_was_never_handed_over_is_not_charged_when_its_session_is_lost(place: Place):
    """As after a claim whose answer was lost."""
    worker = await place.worker(ttl=5)
    job = await place.enqueue(delay=60)
    await place.sql(
        "update live_job set state = 2, attempts = 1, session_id = $2, run_at = now(), changed_at = now()"
        " where id = $1",
        job.id,
        worker.welcome.session_id,
    )
    worker.cut()
    other = await place.worker(name="other")
    leased = await other.job()
    assert leased.id == job.id
    stored = await place.get(job.id)
    assert (Status.Name(stored.status), stored.losses, stored.attempts) == ("RUNNING", 0, 2)


@pytest.mark.any_engine
async def test_a_stray_of_a_session_that_ended_long_ago_is_found_by_a_server_that_starts(place: Place):
    worker = await place.worker()
    job = await place.enqueue(delay=60)
    await worker.drain()
    await worker.next("goodbye")
    await place.sql(
        "update worker_session set ended_at = now() - interval '2 days' where id = $1",
        worker.welcome.session_id,
    )
    await place.sql(
        "update live_job set state = 2, attempts = 1, session_id = $2, changed_at = now() - interval '2 days'"
        " where id = $1",
        job.id,
        worker.welcome.session_id,
    )
    await audit(place)
    assert await place.status(job.id) == "QUEUED"


@pytest.mark.slow
@pytest.mark.any_engine
async def test_sessions_that_break_together_are_silenced_together(place: Place):
    """As when a proxy restarts: thousands of statements would keep the pool from everybody else."""
    # On a busy machine the ends of 60 streams are heard over a second.
    streams = place.app.session.streams
    streams._tuning = replace(streams._tuning, breaks_gather=0.5)
    workers = await asyncio.gather(*(place.worker(name=f"worker-{number}", ttl=60) for number in range(60)))
    await asyncio.gather(*(worker.heartbeat() for worker in workers))
    store = place.app.session.sessions._store
    written: list[int] = []
    silence = store.silence

    async def counted(sessions: Sequence[tuple[int, int, timedelta]]) -> set[int]:
        written.append(len(sessions))
        return await silence(sessions)

    store.silence = counted  # type: ignore[method-assign]
    for worker in workers:
        worker.cut()
    await eventually(
        lambda: place.value(
            "select count(*) = 60 and max(now() - silent_since) < interval '10 s'"
            " from worker_session where silent_since is not null"
        )
    )
    assert sum(written) == 60
    assert len(written) <= 10


@pytest.fixture
def statements_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "STATEMENT_TIMEOUT", timedelta(seconds=20))


@pytest.mark.slow
@pytest.mark.any_engine
async def test_a_session_whose_welcome_waits_for_a_slow_database_is_not_taken_for_silent(
    statements_take_long: None, place: Place
):
    """Else it would be reaped in the midst of its stream, by another server."""
    worker = await place.worker(ttl=5)
    job = await place.enqueue()
    leased = await worker.job()
    worker.cut()
    await worker.end()
    connection = await place.connection()
    async with connection.transaction():
        # What it holds can't be read: longer than three of its heartbeats.
        await connection.execute("lock table live_job in access exclusive mode")
        resuming = asyncio.create_task(place.worker(ttl=5, resume=worker.resume(held=[leased])))
        await asyncio.sleep(4.5)
        assert not resuming.done()
    again = await resuming
    silent = "select silent_since is not null from worker_session where id = $1"
    assert not await place.value(silent, again.welcome.session_id)
    assert await again.succeed(again.held.get(leased.lease_id, leased)) == []
    assert await place.status(job.id) == "SUCCEEDED"


async def test_a_stream_whose_session_went_on_elsewhere_gets_no_goodbye(dsn: str):
    """It would tell its worker that what it goes on with was given back."""
    async with Place(dsn, notify="off") as first, Place(dsn, notify="off") as second:
        worker = await first.worker()
        await first.enqueue()
        leased = await worker.job()
        again = await second.worker(resume=worker.resume(held=[leased]))
        await worker.half_close()
        assert (await worker.end()).reason == "SESSION_SUPERSEDED"
        assert not worker.has("goodbye")
        assert await again.succeed(leased) == []


@pytest.mark.any_engine
async def test_a_planned_move_logs_no_warning_where_its_notice_was_lost(
    dsn: str, caplog: pytest.LogCaptureFixture
):
    async with Place(dsn, notify="off") as first, Place(dsn, notify="off") as second:
        # What they warn of as they start is of the database.
        caplog.clear()
        worker = await first.worker()
        await first.enqueue()
        leased = await worker.job()
        first.app.session.sessions.all()[0].leave_at = 0.0
        await worker.next("go_away")
        again = await second.worker(resume=worker.resume(held=[leased]))
        await again.heartbeat()
        await first.app.session.audit.sessions_here()
        assert (await worker.end()).reason == "SESSION_SUPERSEDED"
        assert len(first.app.session.sessions) == 0
        assert await again.succeed(leased) == []
    assert not [record.getMessage() for record in of_server(caplog) if record.levelno >= logging.WARNING]
