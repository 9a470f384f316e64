from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from jobqueue_server.lifecycle import Event, Status
from jobqueue_server.model import RetryPolicy

from .stored import SCOPE, stored


async def test_a_queued_job_is_read_as_it_was_asked_for(dsn):
    async with stored(dsn) as s:
        job_id = await s.queued(
            payload=b'{"n":12345678901234567890, "x": 7}',
            queue="mail",
            priority=3,
            max_attempts=5,
            timeout=timedelta(seconds=90),
            retry_policy=RetryPolicy(timedelta(seconds=2), timedelta(seconds=9)),
            labels={"team": "a"},
            headers={"x-request-id": "r"},
            delay=timedelta(hours=1),
        )
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert (job.id, job.kind, job.queue, job.status) == (job_id, "hello", "mail", Status.QUEUED)
        assert job.payload == b'{"n":12345678901234567890, "x": 7}'
        assert (job.priority, job.max_attempts, job.attempts, job.failures, job.losses) == (3, 5, 0, 0, 0)
        assert job.timeout == timedelta(seconds=90)
        assert job.retry_policy == RetryPolicy(timedelta(seconds=2), timedelta(seconds=9))
        assert (job.labels, job.headers) == ({"team": "a"}, {"x-request-id": "r"})
        assert int(job.created_at.timestamp() * 1000 + 0.5) == job_id.int >> 80
        assert timedelta(minutes=59) < job.run_at - job.created_at < timedelta(minutes=61)
        assert (job.locked_at, job.locked_by, job.last_error, job.finished_at) == (None, None, None, None)
        assert not job.cancel_requested


async def test_the_basic_view_leaves_out_the_bodies(dsn):
    async with stored(dsn) as s:
        job_id, attempt, session_id = await s.running(headers={"a": "b"})
        await s.end_attempt(job_id, attempt, session_id, Event.FAIL, after=timedelta(), message="m")
        job = await s.reads.get(SCOPE, job_id, full=False)
        assert job is not None
        assert (job.payload, job.output, job.headers, job.failed_attempts) == (None, None, {}, ())
        assert job.last_error == "m"


async def test_a_running_job_names_its_worker_and_since_when(dsn):
    async with stored(dsn) as s:
        job_id = await s.queued()
        await s.claim(job_id, await s.session("worker-7"))
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert (job.status, job.locked_by, job.attempts) == (Status.RUNNING, "worker-7", 1)
        assert job.locked_at == job.updated_at


async def test_the_last_error_stays_after_a_later_success_and_the_history_is_kept(dsn):
    async with stored(dsn) as s:
        job_id = await s.retrying("first")
        retrying = await s.reads.get(SCOPE, job_id)
        assert retrying is not None
        assert (retrying.status, retrying.failures, retrying.locked_by) == (Status.RETRYING, 1, None)
        attempt, session_id = await s.claim(job_id)
        await s.end_attempt(job_id, attempt, session_id, Event.SNOOZE, after=timedelta())
        attempt, session_id = await s.claim(job_id)
        assert await s.succeed(job_id, attempt, session_id, b'{"ok":true}')
        job = await s.reads.get(SCOPE, job_id)
        assert job is not None
        assert (job.status, job.attempts, job.failures, job.last_error) == (Status.SUCCEEDED, 3, 1, "first")
        assert job.output == b'{"ok":true}'
        assert job.finished_at == job.updated_at
        (failed,) = job.failed_attempts
        assert (failed.attempt, failed.reason, failed.error_type, failed.error, failed.worker) == (
            1,
            "HANDLER_FAILED",
            "Oops",
            "first",
            "worker-1",
        )
        assert failed.started_at <= failed.ended_at


async def test_the_history_is_the_newest_hundred_and_at_most_a_mebibyte(dsn):
    async with stored(dsn) as s:
        many, heavy = await s.queued(), await s.queued()
        insert = """insert into attempt (job_id, attempt, started_at, outcome, reason, message)
                    select $1, n, now(), 1, 'HANDLER_FAILED', repeat('x', $2) from generate_series(1, $3) n"""
        await s.sql.execute(insert, many, 10, 150)
        await s.sql.execute(insert, heavy, 200_000, 20)
        job = await s.reads.get(SCOPE, many)
        assert job is not None
        assert [failed.attempt for failed in job.failed_attempts] == list(range(51, 151))
        job = await s.reads.get(SCOPE, heavy)
        assert job is not None
        assert [failed.attempt for failed in job.failed_attempts] == list(range(16, 21))


async def test_there_is_no_job_under_an_unknown_id(dsn):
    async with stored(dsn) as s:
        assert await s.reads.get(SCOPE, UUID(int=7)) is None
        assert await s.reads.get(SCOPE, s.mint.mint()) is None


async def test_jobs_that_are_read_together_are_as_each_of_them_alone(dsn):
    async with stored(dsn) as s:
        waiting = await s.queued(labels={"team": "a"}, headers={"a": "b"})
        running, attempt, session_id = await s.running()
        failed = await s.queued()
        await s.end_attempt(running, attempt, session_id, Event.FAIL, after=timedelta(), message="m")
        ids = [waiting, running, failed, UUID(int=7)]
        found = await s.reads.get_some(SCOPE.namespace, ids, full=True)
        assert found.keys() == set(ids[:3])
        for job_id in ids[:3]:
            assert found[job_id] == await s.reads.get(SCOPE, job_id)
        assert await s.reads.get_some(SCOPE.namespace + 1, ids, full=True) == {}
