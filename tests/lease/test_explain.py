"""Why a job waits: each reason through a whole server, and that what it says would start the job does so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc.aio
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import insight_pb2, job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.store.claim.claims import ClaimStore

from .hand_worker import PATIENCE, reason_of, span
from .place import Caller, Held, Place, eventually

pytestmark = pytest.mark.any_engine

Code = insight_pb2.Reason.Code


async def explain(place: Caller, job_id: str) -> insight_pb2.ExplainJobResponse:
    request = insight_pb2.ExplainJobRequest(id=job_id)
    answer: insight_pb2.ExplainJobResponse = await place.insight.ExplainJob(request, timeout=PATIENCE)
    return answer


def codes(answer: insight_pb2.ExplainJobResponse) -> list[str]:
    return [Code.Name(reason.code) for reason in answer.reasons]


async def until_codes(place: Caller, job_id: str, *wanted: str) -> insight_pb2.ExplainJobResponse:
    """The answer once it has these codes."""

    async def look() -> insight_pb2.ExplainJobResponse | None:
        answer = await explain(place, job_id)
        return answer if codes(answer) == list(wanted) else None

    found: insight_pb2.ExplainJobResponse = await eventually(look)
    return found


def takes(kind: str = "work", queue: str = "default") -> str:
    return f"a worker that takes kind {kind} in queue {queue}"


# ---- one for each code


async def test_an_ended_job_says_how_and_a_retry_starts_it(place: Place) -> None:
    worker = await place.worker()
    job = await place.enqueue(max_attempts=1)
    await worker.fail(await worker.job())
    await place.until(job.id, "FAILED_PERMANENT")
    answer = await explain(place, job.id)
    assert codes(answer) == ["TERMINAL"]
    assert answer.status == job_pb2.Job.FAILED_PERMANENT
    reason = answer.reasons[0]
    assert reason.end.reason == "ATTEMPTS_EXHAUSTED"
    assert reason.end.HasField("finished_at")
    assert list(reason.unblocked_by) == [f"RetryJob {job.id}"]
    assert answer.summary.startswith("The job ended as FAILED_PERMANENT (ATTEMPTS_EXHAUSTED) at ")
    await place.retry(job.id)
    assert (await worker.job()).id == job.id


async def test_a_running_job_says_where_and_since_when(place: Place) -> None:
    worker = await place.worker(name="ada")
    job = await place.enqueue(timeout=60.0)
    leased = await worker.job()
    answer = await explain(place, job.id)
    assert codes(answer) == ["IS_RUNNING"]
    attempt = answer.reasons[0].attempt
    assert (attempt.worker, attempt.attempt, attempt.cancel_requested) == ("ada", leased.attempt, False)
    assert attempt.deadline_at.ToMilliseconds() - attempt.since.ToMilliseconds() == 60_000
    assert not answer.reasons[0].unblocked_by
    assert answer.summary.startswith("The job runs, attempt 1 on ada since ")


async def test_a_held_job_starts_by_release(place: Place) -> None:
    worker = await place.worker()
    job = await place.enqueue(hold=True)
    answer = await explain(place, job.id)
    assert codes(answer) == ["HELD_BY_HAND"]
    assert not answer.HasField("could_start_at")
    verb, job_id = answer.reasons[0].unblocked_by[0].split()
    assert answer.summary == f"The job waits, since it is held back by hand; {verb} {job_id} would start it."
    await getattr(place.stub, verb)(jobqueue_pb2.ReleaseJobRequest(id=job_id))
    assert (await worker.job()).id == job.id


async def limit(place: Place, **policy: Any) -> None:
    """What the queue `default` allows of the jobs of one key."""
    queue = queue_admin_pb2.Queue(name="default", key_policy=queue_admin_pb2.KeyPolicy(**policy))
    request = queue_admin_pb2.UpdateQueueRequest(
        queue=queue, update_mask=FieldMask(paths=["key_policy"]), allow_missing=True
    )
    await place.admin.UpdateQueue(request)


async def test_a_job_of_a_key_at_its_limit_says_who_holds_it_and_starts_by_an_end(place: Place) -> None:
    await limit(place, max_running=1)
    worker = await place.worker(name="ada")
    first = await place.enqueue(key="one")
    leased = await worker.job()
    before = await place.enqueue(key="one")
    job = await place.enqueue(key="one")
    answer = await explain(place, job.id)
    assert codes(answer) == ["KEY_AT_LIMIT"]
    of = answer.reasons[0].key
    assert (of.key, of.max_running, of.taken, of.ahead, of.capped) == ("one", 1, 1, 1, False)
    assert [(holder.job_id, holder.worker) for holder in of.holders] == [(first.id, "ada")]
    assert list(answer.reasons[0].unblocked_by) == ["the end of one of them", "UpdateQueue default"]
    assert answer.status == job_pb2.Job.QUEUED
    assert (await place.get(job.id)).hold == job_pb2.Job.KEY
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.held, demand.held_by_key, demand.wanted_slots) == (2, 2, 1)
    await worker.succeed(leased)
    again = await worker.job()
    assert again.id == before.id
    await worker.succeed(again)
    assert (await worker.job()).id == job.id


async def test_a_job_of_a_key_at_its_limit_starts_by_the_other_thing_that_is_said(place: Place) -> None:
    await limit(place, max_running=1)
    worker = await place.worker(slots=2)
    await place.enqueue(key="one")
    await worker.job()
    job = await place.enqueue(key="one")
    assert codes(await explain(place, job.id)) == ["KEY_AT_LIMIT"]
    await limit(place, max_running=2)
    assert (await worker.job()).id == job.id


@pytest.mark.slow
async def test_a_job_of_a_key_at_its_rate_says_when_and_starts_by_time_alone(place: Place) -> None:
    await limit(place, rate=queue_admin_pb2.Rate(count=1, period=span(6.0)))
    worker = await place.worker(slots=2)
    await place.enqueue(key="one")
    await worker.job()
    job = await place.enqueue(key="one")

    async def told() -> Any:
        # At first its key calls at the time of its enqueue.
        answer = await until_codes(place, job.id, "KEY_RATE")
        left = answer.reasons[0].key.next_at.ToMilliseconds() - answer.read_at.ToMilliseconds()
        return answer if 0 < left <= 6000 else None

    answer = await eventually(told)
    of = answer.reasons[0].key
    assert (of.max_running, of.ahead) == (0, 0)
    assert answer.reasons[0].unblocked_by[0] == "time alone"
    assert answer.could_start_at == of.next_at
    assert (await worker.job()).id == job.id


async def test_a_key_whose_rate_has_let_in_what_may_stand_in_line_tells_no_time_but_what_starts_first(
    place: Place,
) -> None:
    await limit(place, rate=queue_admin_pb2.Rate(count=1, period=span(0.5)))
    first = await place.enqueue(key="one", kind="odd")
    job = await place.enqueue(key="one")
    answer = await until_codes(place, job.id, "KEY_RATE", "NO_WORKER")
    reason = answer.reasons[0]
    assert reason.unblocked_by[0] == "the start of one of them"
    assert f"no worker takes job {first.id} of them, of kind odd" in reason.message
    assert takes("odd") in reason.unblocked_by
    assert not reason.key.HasField("next_at")
    assert not answer.HasField("could_start_at")
    # What is said starts it: the one in line first, and then by time alone.
    odd = await place.worker(kinds=["odd"])
    await odd.succeed(await odd.job())
    worker = await place.worker()
    assert (await worker.job()).id == job.id


async def test_a_job_in_line_that_no_worker_takes_is_named_as_what_holds_its_key(place: Place) -> None:
    await limit(place, max_running=1)
    first = await place.enqueue(key="one", kind="odd")
    await place.worker()
    job = await place.enqueue(key="one")
    reason = (await until_codes(place, job.id, "KEY_AT_LIMIT")).reasons[0]
    assert f"; no worker takes job {first.id} of them, of kind odd" in reason.message
    assert list(reason.unblocked_by) == ["the end of one of them", takes("odd"), "UpdateQueue default"]
    await place.worker(kinds=["odd"])
    reason = (await until_codes(place, job.id, "KEY_AT_LIMIT")).reasons[0]
    assert "no worker takes" not in reason.message


async def test_the_key_of_a_job_that_is_held_or_due_later_is_told_where_it_would_hold_it_then(
    place: Place,
) -> None:
    await limit(place, max_running=1)
    await place.worker()
    by_hand = await place.enqueue(key="one", hold=True)
    later = await place.enqueue(key="one", delay=3600.0)
    assert codes(await explain(place, by_hand.id)) == ["HELD_BY_HAND"]
    answer = await explain(place, later.id)
    assert (codes(answer), answer.could_start_at) == (["NOT_DUE"], later.run_at)
    key = queue_admin_pb2.QueueKey(queue="default", key="one", paused=True)
    await place.admin.UpdateQueueKey(queue_admin_pb2.UpdateQueueKeyRequest(queue_key=key))
    assert codes(await explain(place, by_hand.id)) == ["HELD_BY_HAND", "KEY_PAUSED"]
    answer = await explain(place, later.id)
    # Time alone does not start it.
    assert (codes(answer), answer.HasField("could_start_at")) == (["NOT_DUE", "KEY_PAUSED"], False)


async def test_a_held_job_whose_key_is_full_is_told_so_if_it_is_due(place: Place) -> None:
    await limit(place, max_running=1)
    worker = await place.worker()
    await place.enqueue(key="one")
    await worker.job()
    by_hand = await place.enqueue(key="one", hold=True)
    later = await place.enqueue(key="one", delay=3600.0)
    assert codes(await explain(place, by_hand.id)) == ["HELD_BY_HAND", "KEY_AT_LIMIT"]
    assert codes(await explain(place, later.id)) == ["NOT_DUE"]


async def total(place: Place, most: int) -> None:
    """How many jobs of the queue `default` may run."""
    queue = queue_admin_pb2.Queue(name="default", limits=queue_admin_pb2.Limits(max_running=most))
    request = queue_admin_pb2.UpdateQueueRequest(
        queue=queue, update_mask=FieldMask(paths=["limits"]), allow_missing=True
    )
    await place.admin.UpdateQueue(request)


async def test_a_job_of_a_queue_at_its_limit_says_how_many_run_and_starts_by_an_end(place: Place) -> None:
    await total(place, 1)
    worker = await place.worker(slots=3)
    await place.enqueue()
    leased = await worker.job()
    job = await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["QUEUE_AT_LIMIT"]
    of = answer.reasons[0].total
    assert (of.max_running, of.running) == (1, 1)
    assert answer.summary == (
        "The job waits, since 1 of 1 jobs of the queue default run; the end of one of them or UpdateQueue default "
        "would start it."
    )
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.runnable, demand.beyond_limit, demand.wanted_slots) == (0, 1, 1)
    assert not demand.more_workers_would_help
    assert (
        demand.why
        == "as many jobs run as the queue default lets run, and 1 is due: more workers would not help"
    )
    await worker.succeed(leased)
    assert (await worker.job()).id == job.id


async def test_a_job_of_a_queue_at_its_limit_starts_by_the_other_thing_that_is_said(place: Place) -> None:
    await total(place, 1)
    worker = await place.worker(slots=3)
    await place.enqueue()
    await worker.job()
    job = await place.enqueue()
    assert codes(await explain(place, job.id)) == ["QUEUE_AT_LIMIT"]
    await total(place, 2)
    assert (await worker.job()).id == job.id


async def rate(place: Place, count: int, seconds: float, burst: int = 1) -> None:
    """How many jobs of the queue `default` may start in a time."""
    starts = queue_admin_pb2.Rate(count=count, period=span(seconds), burst=burst)
    queue = queue_admin_pb2.Queue(name="default", limits=queue_admin_pb2.Limits(rate=starts))
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))


@pytest.mark.slow
async def test_a_job_of_a_queue_at_its_rate_says_when_and_starts_by_time_alone(place: Place) -> None:
    await rate(place, 1, 6.0)
    worker = await place.worker(slots=3)
    await place.enqueue()
    leased = await worker.job()
    job = await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["QUEUE_RATE"]
    of = answer.reasons[0].total
    assert 0 < of.next_at.ToMilliseconds() - answer.read_at.ToMilliseconds() <= 6000
    assert answer.could_start_at == of.next_at
    assert list(answer.reasons[0].unblocked_by) == ["time alone", "UpdateQueue default"]
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.runnable, demand.beyond_limit, demand.wanted_slots) == (0, 1, 1)
    assert (
        demand.why
        == "the rate of the queue default lets no job start now, and 1 is due: more workers would not help"
    )
    # An end does not let it start.
    await worker.succeed(leased)
    assert (await worker.job()).id == job.id
    row = await place.value("select changed_at from live_job")
    assert row.timestamp() * 1_000_000 >= of.next_at.ToMicroseconds()


@pytest.mark.slow
async def test_a_job_of_a_queue_at_its_rate_starts_by_the_other_thing_that_is_said(place: Place) -> None:
    await rate(place, 1, 3600.0)
    worker = await place.worker(slots=3)
    await place.enqueue()
    await worker.job()
    job = await place.enqueue()
    assert codes(await explain(place, job.id)) == ["QUEUE_RATE"]
    await rate(place, 1_000_000, 1.0)
    assert (await worker.job()).id == job.id


async def test_what_a_rate_lets_start_is_runnable_and_no_more(place: Place) -> None:
    await rate(place, 1, 3600.0, burst=3)
    for _ in range(5):
        await place.enqueue()
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.runnable, demand.beyond_limit, demand.wanted_slots) == (3, 2, 3)
    (wants,) = await place.app.insight.demands.of_all_queues()
    assert (wants.runnable, wants.wanted_slots) == (3, 3)


async def limit_kind(place: Place, most: int = 0, starts: queue_admin_pb2.Rate | None = None) -> None:
    """How many jobs of the kind `work` may run, and start in a time."""
    limits = queue_admin_pb2.Limits(max_running=most, rate=starts)
    await place.admin.PutKind(
        queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="work", limits=limits))
    )


async def test_a_job_of_a_kind_at_its_limit_says_how_many_run_in_all_queues_and_starts_by_an_end(
    place: Place,
) -> None:
    await limit_kind(place, 1)
    worker = await place.worker(queues={"default": ["work"], "other": ["work"]}, slots=3)
    await place.enqueue(queue="other")
    leased = await worker.job()
    job = await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["KIND_AT_LIMIT"]
    of = answer.reasons[0].total
    assert (of.max_running, of.running) == (1, 1)
    assert answer.summary == (
        "The job waits, since 1 of 1 jobs of the kind work run; the end of one of them or PutKind work would start it."
    )
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.runnable, demand.beyond_limit, demand.wanted_slots) == (0, 1, 0)
    assert not demand.more_workers_would_help
    assert (
        demand.why
        == "the limits of their kinds let no job start now, and 1 is due: more workers would not help"
    )
    await worker.succeed(leased)
    assert (await worker.job()).id == job.id


async def test_a_job_of_a_kind_at_its_limit_starts_by_the_other_thing_that_is_said(place: Place) -> None:
    await limit_kind(place, 1)
    worker = await place.worker(slots=3)
    await place.enqueue()
    await worker.job()
    job = await place.enqueue()
    assert codes(await explain(place, job.id)) == ["KIND_AT_LIMIT"]
    await limit_kind(place, 2)
    assert (await worker.job()).id == job.id


async def test_a_job_of_a_kind_at_its_rate_says_when_and_starts_by_the_other_thing_that_is_said(
    place: Place,
) -> None:
    await limit_kind(place, starts=queue_admin_pb2.Rate(count=1, period=span(3600.0)))
    worker = await place.worker(slots=3)
    await place.enqueue()
    await worker.job()
    job = await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["KIND_RATE"]
    of = answer.reasons[0].total
    assert answer.could_start_at == of.next_at
    assert 0 < of.next_at.seconds - answer.read_at.seconds <= 3600
    assert list(answer.reasons[0].unblocked_by) == ["time alone", "PutKind work"]
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.runnable, demand.beyond_limit, demand.wanted_slots) == (0, 1, 1)
    await limit_kind(place)
    assert (await worker.job()).id == job.id


async def test_what_the_limits_of_a_kind_let_start_is_runnable_and_no_more(place: Place) -> None:
    for most, starts in ((3, None), (0, queue_admin_pb2.Rate(count=1, period=span(3600.0), burst=3))):
        await limit_kind(place, most, starts)
        await place.enqueue()
        await place.enqueue()
    await place.enqueue()
    demand = await place.insight.GetQueueDemand(insight_pb2.GetQueueDemandRequest(queue="default"))
    assert (demand.runnable, demand.beyond_limit, demand.wanted_slots) == (3, 2, 3)
    (wants,) = await place.app.insight.demands.of_all_queues()
    assert (wants.runnable, wants.wanted_slots) == (3, 3)


@pytest.mark.slow
async def test_a_job_that_is_not_due_starts_by_time_alone(place: Place) -> None:
    worker = await place.worker()
    # Asked about before its time, also where the machine stands still for a while.
    job = await place.enqueue(delay=4.0)
    answer = await explain(place, job.id)
    assert codes(answer) == ["NOT_DUE"]
    assert answer.could_start_at == answer.reasons[0].due.run_at == job.run_at
    assert list(answer.reasons[0].unblocked_by) == ["time alone"]
    assert (await worker.job()).id == job.id
    row = await place.value("select changed_at from live_job")
    assert row.timestamp() >= job.run_at.ToDatetime().replace(tzinfo=row.tzinfo).timestamp()


@pytest.mark.slow
async def test_a_job_that_failed_waits_for_its_backoff_and_a_snoozed_one_does_not(place: Place) -> None:
    worker = await place.worker()
    # Long enough to ask about it meanwhile.
    policy = job_pb2.RetryPolicy(min_backoff=span(4.0), max_backoff=span(4.0))
    job = await place.enqueue(max_attempts=3, retry_policy=policy)
    await worker.fail(await worker.job(), "the disk is full")
    answer = await explain(place, job.id)
    assert codes(answer) == ["BACKOFF"]
    assert answer.status == job_pb2.Job.RETRYING
    due = answer.reasons[0].due
    assert (due.failures, due.max_attempts, due.last_error) == (1, 3, "the disk is full")
    assert due.last_reason == "HANDLER_FAILED"
    assert answer.could_start_at == due.run_at
    again = await worker.job()
    assert again.id == job.id
    await worker.snooze(again, 30.0)
    assert codes(await explain(place, job.id)) == ["NOT_DUE"]


async def test_a_paused_queue_says_who_paused_it_and_why_and_a_resume_starts_the_job(place: Place) -> None:
    worker = await place.worker()
    await place.enqueue(queue="default", hold=True)
    await place.pause("default", "the printer burns")
    # A second pause changes nothing.
    await place.pause("default", "me too")
    job = await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["QUEUE_PAUSED"]
    pause = answer.reasons[0].pause
    assert (pause.by, pause.reason) == ("anonymous", "the printer burns")
    assert pause.HasField("since")
    assert "paused since" in answer.summary
    assert "(the printer burns)" in answer.summary
    assert list(answer.reasons[0].unblocked_by) == ["ResumeQueue default"]
    await place.unpause("default")
    assert (await worker.job()).id == job.id
    assert await place.value("select paused_by is null and pause_reason is null from queue")


async def test_a_job_that_no_worker_takes_names_what_comes_near(place: Place) -> None:
    await place.worker(queues={"images": ["scale-image"], "mail": ["send"]})
    job = await place.enqueue("scale_image", queue="images")
    answer = await explain(place, job.id)
    assert codes(answer) == ["NO_WORKER"]
    (near,) = answer.reasons[0].workers.nearest
    assert (near.queue, near.kind, near.sessions) == ("images", "scale-image", 1)
    assert "1 worker takes kind scale-image in queue images" in answer.summary
    elsewhere = await place.enqueue("send", queue="letters")
    (near,) = (await explain(place, elsewhere.id)).reasons[0].workers.nearest
    assert (near.queue, near.kind) == ("mail", "send")
    assert list(answer.reasons[0].unblocked_by) == [takes("scale_image", "images")]
    worker = await place.worker(queues={"images": ["scale_image"]})
    assert (await worker.job()).id == job.id


async def test_a_job_whose_workers_are_full_starts_by_an_end_or_another_worker(place: Place) -> None:
    worker = await place.worker(slots=1)
    await place.enqueue()
    running = await worker.job()
    job, other = await place.enqueue(), await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["NO_CREDIT"]
    workers = answer.reasons[0].workers
    assert (workers.sessions, workers.slots, workers.free_slots) == (1, 1, 0)
    assert list(answer.reasons[0].unblocked_by) == ["the end of a job there", "another" + takes()[1:]]
    await worker.succeed(running)
    assert (await worker.job()).id == job.id
    assert codes(await explain(place, other.id)) == ["NO_CREDIT"]
    another = await place.worker()
    assert (await another.job()).id == other.id


async def test_slots_of_a_kind_and_bytes_count_as_taken_by_themselves(place: Place) -> None:
    worker = await place.worker(kinds=["work", "rare"], slots=5, slots_by_kind={"rare": 1}, bytes=1000)
    await place.enqueue("rare", b'"' + b"r" * 100 + b'"')
    rare = await worker.job()
    job = await place.enqueue("rare")
    workers = (await until_codes(place, job.id, "NO_CREDIT")).reasons[0].workers
    assert (workers.slots, workers.free_slots, workers.full_by_kind) == (1, 0, 1)
    large = await place.enqueue(payload=b'"' + b"w" * 950 + b'"')
    answer = await until_codes(place, large.id, "NO_CREDIT")
    assert answer.reasons[0].message.startswith("its payload of 952 bytes is more than")
    await worker.succeed(rare)
    assert {(await worker.job()).id, (await worker.job()).id} == {job.id, large.id}


async def test_a_job_whose_workers_all_drain_starts_with_another(place: Place) -> None:
    worker = await place.worker(slots=2)
    await place.enqueue()
    running = await worker.job()
    await worker.drain()
    job = await place.enqueue()
    answer = await until_codes(place, job.id, "WORKERS_DRAINING")
    assert answer.reasons[0].workers.draining == 1
    assert "the one worker that takes kind work in queue default takes no more jobs" in answer.summary
    assert list(answer.reasons[0].unblocked_by) == [takes()]
    other = await place.worker()
    assert (await other.job()).id == job.id
    await worker.succeed(running)


@pytest.mark.slow
async def test_a_job_that_lost_its_worker_twice_starts_when_the_other_such_job_ends(place: Place) -> None:
    first = await place.enqueue(hold=True)
    job = await place.enqueue(hold=True)
    await place.sql("update live_job set state = 4, hold = null, losses = 2 where id = $1", first.id)
    worker = await place.worker(slots=3)
    leased = await worker.job()
    assert leased.id == first.id
    await place.sql("update live_job set state = 4, hold = null, losses = 2 where id = $1", job.id)
    answer = await until_codes(place, job.id, "RUNS_ALONE")
    workers = answer.reasons[0].workers
    assert (workers.sessions, workers.isolating) == (1, 1)
    assert workers.free_slots == 2
    await worker.no_job(1.3)
    assert answer.reasons[0].unblocked_by[0] == "the end of that job"
    await worker.succeed(leased)
    assert (await worker.job()).id == job.id


async def test_a_job_behind_others_starts_after_just_those(place: Place) -> None:
    worker = await place.worker(kinds=["work", "also"], slots=1)
    await place.enqueue()
    running = await worker.job()
    before = await place.enqueue()
    job = await place.enqueue()
    urgent = [(await place.enqueue(kind, priority=5)).id for kind in ("work", "also")]
    # None of these goes first: due later, held back, of lower priority, later, or of a kind without a worker.
    await place.enqueue(priority=5, delay=60.0)
    await place.enqueue(priority=5, hold=True)
    await place.enqueue(priority=-1)
    await place.enqueue()
    await place.enqueue("never", priority=5)
    answer = await explain(place, job.id)
    assert codes(answer) == ["NO_CREDIT", "BEHIND"]
    assert (answer.reasons[1].line.ahead, answer.reasons[1].line.capped) == (3, False)
    assert answer.summary.endswith("would let it go on; then 3 jobs go first.")
    came = []
    for _ in range(3):
        await worker.succeed(running)
        running = await worker.job()
        came.append(running.id)
    assert sorted(came[:2]) == sorted(urgent)
    assert came[2] == before.id
    await worker.succeed(running)
    assert (await worker.job()).id == job.id


async def test_a_job_that_waits_for_its_turn_says_when_that_may_come(place: Place) -> None:
    worker = await place.worker(slots=1)
    await place.batch(9)
    job, held = await place.enqueue(), await place.enqueue(hold=True)
    assert not (await explain(place, job.id)).HasField("estimate"), "nothing has ended"
    for _ in range(6):
        await worker.succeed(await worker.job())

    async def estimated() -> Any:
        answer = await explain(place, job.id)
        # What has just ended is counted when its second is over.
        return answer if round(answer.estimate.ends_per_second * 60) == 6 else None

    answer = await eventually(estimated)
    assert codes(answer) == ["NO_CREDIT", "BEHIND"]
    estimate = answer.estimate
    assert (estimate.ahead, estimate.capped) == (2, False)
    read_at, earliest = answer.read_at.ToDatetime(), estimate.earliest_at.ToDatetime()
    # Three ends more, of 10.9 in a minute at most, and 1.1 at least.
    assert (earliest - read_at).total_seconds() == pytest.approx(16.5, abs=0.1)
    assert (estimate.latest_at.ToDatetime() - read_at).total_seconds() == pytest.approx(163.5, abs=0.5)
    assert not (await explain(place, held.id)).HasField("estimate")


async def test_the_count_of_jobs_before_one_ends_at_its_bound(place: Place) -> None:
    place.app.insight.explain._most_ahead = 10
    await place.worker(slots=1)
    await place.batch(30)
    job = await place.enqueue()

    async def look() -> insight_pb2.ExplainJobResponse | None:
        answer = await explain(place, job.id)
        return answer if "BEHIND" in codes(answer) else None

    line = (await eventually(look)).reasons[-1].line
    assert (line.ahead, line.capped) == (10, True)


async def test_nothing_holds_a_job_back_that_is_just_being_claimed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.enqueue(hold=True)
    await place.pause("default")
    job = await place.enqueue()
    held = Held(monkeypatch, ClaimStore, "claim")
    worker = await place.worker(slots=2)
    await place.unpause("default")
    await held.one_waits()
    answer = await explain(place, job.id)
    assert codes(answer) == ["ABOUT_TO_START"]
    assert answer.could_start_at == answer.read_at
    assert answer.summary == "The job is about to start: nothing holds it back."
    held.go_on.set()
    assert (await worker.job()).id == job.id


async def test_what_would_hold_it_next_is_told_too(place: Place) -> None:
    job = await place.enqueue(hold=True, delay=60.0)
    await place.pause("default")
    answer = await explain(place, job.id)
    assert codes(answer) == ["HELD_BY_HAND", "NOT_DUE", "QUEUE_PAUSED", "NO_WORKER"]
    assert not answer.HasField("could_start_at")
    assert "would let it go on; then it is due at " in answer.summary


# ---- all servers, and workers without a stream


@pytest.mark.slow
async def test_a_worker_of_the_other_server_is_known_and_so_is_its_going(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other:
        worker = await other.worker(slots=1)
        await one.enqueue()
        running = await worker.job()
        job = await one.enqueue()
        answer = await until_codes(one, job.id, "NO_CREDIT")
        assert (answer.reasons[0].workers.sessions, list(answer.unknown)) == (1, [])
        assert codes(await explain(other, job.id)) == ["NO_CREDIT"]
        await worker.succeed(running)
        assert (await worker.job()).id == job.id
        later = await one.enqueue()
        await worker.close()
        await until_codes(one, later.id, "NO_WORKER")
        back = await other.worker(slots=1)
        assert (await back.job()).id == later.id


async def test_a_server_that_is_silent_or_does_not_say_is_named(place: Place) -> None:
    await place.sql(
        "insert into server (name, load, heartbeat_at) values"
        " ('silent', '[[1, \"default\", \"work\", {\"sessions\": 1}]]', now() - interval '6 seconds'),"
        " ('older', null, now()), ('newest', '{\"form\": 2}', now()), ('newer', '[7]', now()),"
        ' (\'new\', \'[[1, "other", "work", {"sessions": 1, "tomorrow": 7}]]\', now())'
    )
    job = await place.enqueue()
    answer = await explain(place, job.id)
    assert codes(answer) == ["NO_WORKER"]
    assert list(answer.unknown) == ["silent", "older", "newest", "newer"]
    assert "4 of the servers were not heard" in answer.summary
    assert [near.queue for near in answer.reasons[0].workers.nearest] == ["other"]


@pytest.mark.slow
async def test_the_load_is_written_with_a_heartbeat_only_when_it_changed(place: Place) -> None:
    async def load() -> Any:
        return await place.value("select load::text from server")

    async def heartbeat() -> Any:
        return await place.value("select heartbeat_at from server")

    async def says(text: str) -> Callable[[], Any]:
        return await eventually(lambda: _contains(load, text))

    await says("[]")
    worker = await place.worker(slots=7)
    await says('"slots": 7')
    # Nothing has changed, so what was written there by another stays.
    await place.sql("update server set load = '[\"mine\"]'")
    before = await heartbeat()
    await eventually(lambda: _later(heartbeat, before))
    assert await load() == '["mine"]'
    await worker.capacity(slots=8)
    await says('"slots": 8')


async def _contains(read: Callable[[], Any], text: str) -> bool:
    return text in (await read() or "")


async def _later(read: Callable[[], Any], before: Any) -> bool:
    return bool(await read() > before)


@pytest.mark.slow
async def test_a_worker_that_makes_calls_counts_between_them(place: Place) -> None:
    hello = lease_pb2.Hello(
        worker="curl",
        subscriptions=[lease_pb2.Subscription(queue="default", kinds=["work"])],
        capacity=lease_pb2.Capacity(slots=1),
    )
    opened = await place.stub.OpenSession(lease_pb2.OpenSessionRequest(hello=hello))
    token = opened.welcome.session_token
    job, other = await place.enqueue(), await place.enqueue()
    await until_codes(place, job.id, "ABOUT_TO_START")
    request = lease_pb2.ClaimJobsRequest(session_token=token, max_jobs=1, wait=span(5.0))
    claimed = await place.stub.ClaimJobs(request)
    assert [each.id for each in claimed.jobs] == [job.id]
    await until_codes(place, other.id, "NO_CREDIT")


# ---- who may see what


async def test_a_job_that_never_was_is_not_found(place: Place) -> None:
    for job_id, reason in (("01a20efd-381b-735f-9d7d-e9595eedb31f", "JOB_NOT_FOUND"), ("7", "FIELD_INVALID")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await explain(place, job_id)
        assert reason_of(refused.value) == reason
