"""REPLACE and DEBOUNCE: the job that holds a name gets what a later one brings, and its worker gets the last of it."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import asyncpg
import grpc
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.core.claim.sweep import Sweep

from .hand_worker import reason_of, span, violations_of
from .place import Caller, Place, Status, eventually

pytestmark = pytest.mark.any_engine

U = job_pb2.Unique


def new(payload: object = None, **fields: Any) -> job_pb2.NewJob:
    """Of the name user-7; fields of `unique` are told by their names."""
    said = {
        name: fields.pop(name)
        for name in list(fields)
        if name in U.DESCRIPTOR.fields_by_name and name != "key"
    }
    for name in ("period", "max_delay"):
        if name in said:
            said[name] = span(said[name])
    if "delay" in fields:
        fields["delay"] = span(fields["delay"])
    unique = U(key="user-7", **{"on_conflict": U.REPLACE, **said})
    fields.setdefault("kind", "work")
    return job_pb2.NewJob(payload_json=json.dumps(payload).encode(), unique=unique, **fields)


def debounced(payload: object = None, delay: float = 600, **fields: Any) -> job_pb2.NewJob:
    return new(payload, on_conflict=U.DEBOUNCE, delay=delay, **fields)


async def ask(place: Caller, job: job_pb2.NewJob) -> tuple[job_pb2.Job, int]:
    """The job of the answer, and what was done instead of storing one."""
    request = jobqueue_pb2.EnqueueJobRequest(job=job, payload_format=job_pb2.PAYLOAD_FORMAT_JSON)
    answer = await place.stub.EnqueueJob(request)
    return answer.job, answer.unique_action


async def limited(place: Place) -> None:
    """The queue `limited` runs one job of a key."""
    policy = queue_admin_pb2.KeyPolicy(max_running=1)
    queue = queue_admin_pb2.Queue(name="limited", key_policy=policy)
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))


def start(job: job_pb2.Job) -> timedelta:
    """From its enqueue to when it may start."""
    return job.run_at.ToDatetime() - job.created_at.ToDatetime()


async def test_a_job_that_waits_gets_payload_labels_and_headers_of_the_last_one_and_keeps_its_id(place):
    first, _ = await ask(place, new(1, labels={"a": "1"}, headers={"h": "1"}, priority=3, delay=600))
    second, action = await ask(place, new(2, labels={"b": "2"}, headers={"h": "2"}, priority=5))
    assert (second.id, action) == (first.id, U.REPLACED)
    assert second.payload_json == b"2"
    assert dict(second.labels) == {"b": "2"}
    assert second.headers["h"] == "2"
    # What was not to be replaced is as it was.
    assert (second.priority, second.run_at, second.created_at) == (3, first.run_at, first.created_at)
    assert await place.value("select count(*) from job") == 1


async def test_a_job_that_got_another_priority_is_found_in_its_new_line_at_once(place, monkeypatch):
    """A claim reads a line from its floor on: before it a job would wait for the sweep of all lines.

    The sweep of a new lane reads them all, and on a busy machine it comes late enough to find the job as well.
    """

    async def none(self: Sweep, whole: bool) -> None:
        pass

    monkeypatch.setattr(Sweep, "sweep", none)
    await place.batch(3, priority=5)
    worker = await place.worker(slots=3)
    leased = await worker.jobs(3)
    first, _ = await ask(place, new(1))
    await place.sql("update live_job set run_at = now() - interval '1 hour' where state <> 2")
    replaced, action = await ask(place, new(2, priority=5, replace=[U.PRIORITY]))
    assert (replaced.id, action, replaced.priority) == (first.id, U.REPLACED, 5)
    await worker.succeed(*leased)
    assert (await worker.job(timeout=5.0)).id == first.id


async def test_each_field_that_is_named_is_replaced_and_no_other(place):
    first, _ = await ask(place, new(1, max_attempts=3, timeout=span(60), delay=600))
    for field, said in (
        (U.PAYLOAD, {"payload": 2}),
        (U.RUN_AT, {"delay": 900}),
        (U.PRIORITY, {"priority": 7}),
        (U.LABELS, {"labels": {"a": "b"}}),
        (U.HEADERS, {"headers": {"h": "2"}}),
        (U.MAX_ATTEMPTS, {"max_attempts": 9}),
        (U.TIMEOUT, {"timeout": span(30)}),
    ):
        before = await place.get(first.id)
        changed, action = await ask(place, new(**said, replace=[field]))
        assert action == U.REPLACED
        differ = {
            each.name
            for each in job_pb2.Job.DESCRIPTOR.fields
            if each.name not in ("updated_at", "payload", "payload_json")
            and getattr(before, each.name) != getattr(changed, each.name)
        }
        assert differ == ({U.Field.Name(field).lower()} - {"payload"}), differ
    assert changed.payload_json == b"2"
    worker = await place.worker(slots=1)
    assert (await ask(place, new(replace=[U.RUN_AT])))[0].id == first.id
    leased = await worker.job()
    assert (leased.id, leased.payload_json, leased.max_attempts) == (first.id, b"2", 9)
    assert (leased.timeout.seconds, leased.headers["h"]) == (30, "2")


async def test_one_that_runs_is_kept_as_it_is_and_the_answer_says_so(place):
    worker = await place.worker(slots=1)
    first, _ = await ask(place, new(1, until=U.ENDS))
    assert (await worker.job()).id == first.id
    kept, action = await ask(place, new(2, until=U.ENDS))
    assert (kept.id, action, kept.payload_json) == (first.id, U.KEPT, b"1")


async def test_one_that_has_ended_within_its_period_is_kept(place):
    first, _ = await ask(place, new(1, until=U.PERIOD, period=600))
    await place.cancel(first.id)
    kept, action = await ask(place, new(2))
    assert (kept.id, action, kept.status) == (first.id, U.KEPT, Status.CANCELLED)


async def test_a_job_that_failed_and_waits_again_gets_the_new_payload_and_one_more_attempt(place):
    worker = await place.worker(slots=1)
    policy = job_pb2.RetryPolicy(min_backoff=span(3600), max_backoff=span(3600))
    first, _ = await ask(place, new(1, until=U.ENDS, max_attempts=5, retry_policy=policy))
    await worker.fail(await worker.job())
    await place.until(first.id, "RETRYING")
    changed, action = await ask(place, new(2, max_attempts=1, replace=[U.PAYLOAD, U.MAX_ATTEMPTS, U.RUN_AT]))
    assert (changed.id, action, changed.max_attempts) == (first.id, U.REPLACED, 2)
    again = await worker.job()
    assert (again.id, again.attempt, again.payload_json) == (first.id, 2, b"2")


async def test_in_a_batch_the_last_of_a_name_wins_and_all_are_answered_by_the_first(place):
    jobs = [
        new(1, delay=600),
        new(7, labels={"n": "7"}),
        new(2),
        debounced(3, delay=900, replace=[U.PRIORITY], priority=4),
        new(5, replace=[U.LABELS]),
    ]
    answer = await place.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs))
    changed = [U.REPLACED, U.REPLACED, U.DEBOUNCED, U.REPLACED]
    assert [each.unique_action for each in answer.results] == [0, *changed]
    (job_id,) = {each.id for each in answer.results}
    stored = await place.get(job_id)
    ((payload,),) = await place.sql("select payload from job")
    assert (payload, dict(stored.labels), stored.priority) == (b"2", {}, 4)
    assert start(stored) >= timedelta(seconds=900)


async def test_a_key_whose_job_was_replaced_stands_for_it_and_replaces_once(place):
    first, _ = await ask(place, new(1))
    assert (await ask(place, new(2, idempotency_key="b")))[1] == U.REPLACED
    assert (await ask(place, new(3)))[1] == U.REPLACED
    again, action = await ask(place, new(2, idempotency_key="b"))
    assert (again.id, action, again.payload_json) == (first.id, 0, b"3")


# ---- debounce


async def test_each_call_moves_the_start_and_the_payload_stays_unless_it_is_to_be_replaced(place):
    first, action = await ask(place, debounced(1))
    assert action == 0
    second, action = await ask(place, debounced(2))
    assert (second.id, action, second.payload_json) == (first.id, U.DEBOUNCED, b"1")
    assert second.run_at.ToDatetime() > first.run_at.ToDatetime()
    third, _ = await ask(place, debounced(3, replace=[U.PAYLOAD]))
    assert third.payload_json == b"3"
    assert third.run_at.ToDatetime() > second.run_at.ToDatetime()
    earlier, _ = await ask(place, debounced(delay=60))
    assert timedelta(seconds=60) <= start(earlier) < timedelta(seconds=600)


async def test_the_start_is_never_moved_beyond_the_longest_delay(place):
    first, _ = await ask(place, debounced(delay=600, max_delay=700))
    assert timedelta(seconds=600) <= start(first) < timedelta(seconds=601)
    moved, action = await ask(place, debounced(delay=650, max_delay=650))
    assert (action, start(moved)) == (U.DEBOUNCED, timedelta(seconds=650))
    moved, _ = await ask(place, debounced(delay=650, max_delay=660))
    assert timedelta(seconds=650) < start(moved) <= timedelta(seconds=660)


async def test_a_job_whose_longest_delay_is_over_starts_now(place):
    worker = await place.worker(slots=1)
    first, _ = await ask(place, debounced(delay=600))
    moved, _ = await ask(place, debounced(delay=0, max_delay=0))
    assert moved.run_at.ToDatetime() >= first.created_at.ToDatetime()
    assert (await worker.job()).id == first.id


@pytest.mark.slow
async def test_a_job_that_was_moved_starts_then_and_not_before(place):
    # It starts only after it was moved, however long that takes.
    worker = await place.worker(slots=0)
    first, _ = await ask(place, debounced(1, delay=0.5))
    moved, _ = await ask(place, debounced(2, delay=1, replace=[U.PAYLOAD]))
    await worker.capacity(1)
    leased = await worker.job()
    assert (leased.id, leased.payload_json) == (first.id, b"2")
    assert (await place.get(first.id)).locked_at.ToDatetime() >= moved.run_at.ToDatetime()


@pytest.mark.slow
async def test_a_throttle_keeps_the_last_one_for_the_next_window(place):
    """DEBOUNCE with a delay that is the longest one: the start stays, and the last payload runs."""
    worker = await place.worker(slots=0)
    first, _ = await ask(place, debounced(1, delay=1.5, max_delay=1.5, replace=[U.PAYLOAD]))
    last, action = await ask(place, debounced(2, delay=1.5, max_delay=1.5, replace=[U.PAYLOAD]))
    assert (last.id, action, start(last)) == (first.id, U.DEBOUNCED, timedelta(seconds=1.5))
    await worker.capacity(2)
    assert (await worker.job()).payload_json == b"2"
    # Its window is over: the next one is another job.
    assert (await ask(place, debounced(3, delay=1.5, max_delay=1.5)))[1] == 0


# ---- what a job never changes


@pytest.mark.parametrize("other", [{"queue": "other"}, {"key": "k"}], ids=["queue", "key"])
async def test_a_job_of_another_queue_or_key_is_not_changed_and_the_call_is_refused(place, other):
    first, _ = await ask(place, new(1))
    batch = jobqueue_pb2.BatchEnqueueJobsRequest(
        jobs=[job_pb2.NewJob(kind="work", payload_json=b"0"), new(2, **other)]
    )
    for call, path in ((ask(place, new(2, **other)), "job"), (place.stub.BatchEnqueueJobs(batch), "jobs[1]")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert reason_of(refused.value) == "FIELD_INVALID"
        (says,) = (
            text
            for field, text in violations_of(refused.value).items()
            if field == f"{path}.unique.on_conflict"
        )
        assert first.id in says
        assert "a job never changes these" in says
    assert (await ask(place, new(on_conflict=U.KEEP)))[0].payload_json == b"1"
    assert await place.value("select count(*) from job") == 1


async def test_a_job_that_waits_for_its_key_keeps_its_place_and_gets_the_payload(place):
    await limited(place)
    worker = await place.worker(slots=1, queues={"limited": ["work"]})
    await place.enqueue(queue="limited", key="k")
    running = await worker.job()
    waits, _ = await ask(place, new(1, queue="limited", key="k"))
    changed, action = await ask(
        place,
        new(2, queue="limited", key="k", priority=5, delay=600, replace=[U.PAYLOAD, U.PRIORITY, U.RUN_AT]),
    )
    assert (changed.id, action, changed.payload_json) == (waits.id, U.REPLACED, b"2")
    assert (changed.hold, changed.priority, changed.run_at) == (job_pb2.Job.KEY, 0, waits.run_at)
    await worker.succeed(running)
    leased = await worker.job()
    assert (leased.id, leased.payload_json) == (waits.id, b"2")


async def test_a_job_of_a_key_that_waits_for_its_time_can_start_earlier(place):
    await limited(place)
    worker = await place.worker(slots=1, queues={"limited": ["work"]})
    first, _ = await ask(place, new(1, queue="limited", key="k", delay=600))
    moved, _ = await ask(place, new(2, queue="limited", key="k", replace=[U.RUN_AT]))
    assert moved.id == first.id
    assert (await worker.job()).id == first.id


async def test_a_job_that_is_held_back_by_hand_is_changed_and_stays_held(place):
    first, _ = await ask(place, new(1, hold=True))
    changed, action = await ask(place, new(2, replace=[U.PAYLOAD, U.RUN_AT]))
    assert (changed.id, action, changed.hold) == (first.id, U.REPLACED, job_pb2.Job.HAND)


# ---- follow-ups


def success(leased: Any, *follow_ups: job_pb2.NewJob) -> lease_pb2.Outcome:
    return lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=follow_ups))


async def test_a_follow_up_replaces_as_any_job(place):
    worker = await place.worker(kinds=["work"], slots=1)
    waits, _ = await ask(place, new(1, kind="next"))
    await place.enqueue()
    assert await worker.settle(outcomes=[success(await worker.job(), new(2, kind="next"))]) == []
    assert (await ask(place, new(kind="next", on_conflict=U.KEEP)))[0].payload_json == b"2"
    assert await place.value("select count(*) from live_job where id = $1", waits.id) == 1


async def test_a_follow_up_that_can_not_replace_leaves_its_job_running(place):
    worker = await place.worker(kinds=["work"], slots=1)
    await ask(place, new(1, kind="next", queue="other"))
    await place.enqueue()
    leased = await worker.job()
    (answer,) = await worker.settle(outcomes=[success(leased, new(2, kind="next"))])
    assert answer.verdict == lease_pb2.SettleResult.INVALID
    assert "success.follow_ups[0].unique.on_conflict" in answer.message
    assert (await place.get(leased.id)).status == Status.RUNNING


async def test_a_follow_up_locks_the_job_that_it_replaces_before_its_own_ends(place):
    """All lock live rows before the semaphores of keys, which a settlement locks. Else they would deadlock."""
    await limited(place)
    waits, _ = await ask(place, new(1, kind="next"))
    worker = await place.worker(slots=1, queues={"limited": ["work"]})
    await place.enqueue(queue="limited", key="k")
    leased = await worker.job()
    connection = await asyncpg.connect(place.dsn)
    try:
        async with connection.transaction():
            await connection.execute("select from live_job where id = $1 for update", waits.id)
            settling = asyncio.create_task(worker.settle(outcomes=[success(leased, new(2, kind="next"))]))

            async def blocked() -> bool:
                return bool(
                    await place.value(
                        "select count(*) from pg_stat_activity"
                        " where datname = current_database() and wait_event_type = 'Lock'"
                    )
                )

            await eventually(blocked)
            assert len(await connection.fetch("select id from semaphore for update nowait")) == 1
    finally:
        await connection.close()
    assert await settling == []
    assert (await ask(place, new(kind="next", on_conflict=U.KEEP)))[0].payload_json == b"2"


# ---- many at once


@pytest.mark.slow
async def test_a_worker_gets_the_last_payload_that_was_answered_as_replaced(place):
    """Claims race with enqueues: a worker never has the payload of before one that was answered as replaced."""
    worker = await place.worker(slots=3)
    told: dict[str, int] = {}
    got: dict[str, int] = {}

    async def work() -> None:
        while True:
            leased = await worker.job()
            got[leased.id] = json.loads(leased.payload_json)
            await worker.succeed(leased)

    working = asyncio.create_task(work())
    for number in range(400):
        job, action = await ask(place, new(number))
        assert action in (0, U.REPLACED)
        told[job.id] = number
    for job_id in told:
        await place.wait(job_id)
    working.cancel()
    assert {job_id: got[job_id] for job_id in told} == told
    assert len(told) > 10
