"""A worker pauses the key of its job: the whole key waits, on each server, and goes on by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from jobqueue.v1 import insight_pb2, lease_pb2
from jobqueue.v1.queue_admin_pb2 import KEY_ORDER_STRICT, ListQueueKeysRequest
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.store.attempt.attempts import AttemptStore
from tests.lease.hand_worker import HandWorker, span
from tests.lease.place import Place, Status
from tests.lease.test_unary_sessions import CallWorker

from .test_queue_keys import limit, listed, read, update, waits

pytestmark = pytest.mark.any_engine

Verdict = lease_pb2.SettleResult.Verdict
Code = insight_pb2.Reason.Code
MAIL = {"mail": ["work"]}


@pytest.fixture
async def mail(place: Place) -> Place:
    """A server with the queue `mail`, of which each key may run two jobs."""
    await limit(place, max_running=2)
    return place


async def too_many(
    worker: HandWorker, job: Any, pause: float, after: float = 0, **failure: Any
) -> lease_pb2.SettleResult:
    """The job fails, as a service that it called has had enough calls."""
    message = lease_pb2.Failure(error="429", retry_after=span(after), **failure)
    result = await worker.outcome(job, failure=message, pause_key=span(pause))
    assert result is not None
    return result


async def paused(worker: HandWorker, place: Place, pause: float, key: str = "ada") -> str:
    """A job of the key has run, and paused it: its id."""
    job = await waits(place, key)
    assert (await too_many(worker, await worker.job(), pause)).verdict == Verdict.APPLIED
    assert isinstance(job.id, str)
    return job.id


async def drift(place: Place) -> float:
    await place.app.policy.keeper.audit()
    return sum(
        sample.value
        for family in place.app.metrics.registry.collect()
        if family.name == "jobqueue_gate_drift"
        for sample in family.samples
        if sample.name.endswith("_total")
    )


async def test_the_whole_key_waits_while_other_keys_run_and_goes_on_by_itself(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    first = await paused(worker, mail, 3600)
    late = await waits(mail, "ada")
    other = await waits(mail, "bob")
    leased = await worker.job()
    assert leased.id == other.id
    assert mail.app.metrics.registry.get_sample_value("jobqueue_key_pauses_total", {"queue": "mail"}) == 1
    await worker.succeed(leased)
    # As if the hour were nearly over.
    until = await mail.value(
        "update semaphore set paused_until = now() + interval '0.5 s', admit_at = now() + interval '0.5 s' "
        "where paused_until is not null returning paused_until"
    )
    jobs = await worker.jobs(2)
    assert {job.id for job in jobs} == {first, late.id}
    assert await mail.value("select min(changed_at) from live_job") >= until
    assert await drift(mail) == 0


async def test_after_a_snooze_the_key_waits_too(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await waits(mail, "ada")
    job = await worker.job()
    result = await worker.outcome(job, snooze=lease_pb2.Snooze(delay=span(0)), pause_key=span(3600))
    assert result is None or result.verdict == Verdict.APPLIED
    late = await waits(mail, "ada")
    assert (await mail.get(late.id)).hold
    assert (await mail.get(job.id)).failures == 0


async def test_a_job_that_waits_says_until_when_and_an_operator_lets_it_go(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    first = await paused(worker, mail, 3600)
    job = await waits(mail, "ada")
    answer = await mail.insight.ExplainJob(insight_pb2.ExplainJobRequest(id=job.id))
    assert [Code.Name(reason.code) for reason in answer.reasons] == ["KEY_PAUSED"]
    [reason] = answer.reasons
    assert not reason.key.HasField("pause")
    until = reason.key.next_at.ToDatetime(UTC)
    assert timedelta(minutes=59) < until - datetime.now(UTC) <= timedelta(hours=1)
    assert list(reason.unblocked_by) == ["time alone", "UpdateQueueKey mail ada"]
    assert answer.summary.startswith("The job waits, since its key ada is paused until ")
    assert "as a worker said" in answer.summary
    key = await read(mail, "ada")
    assert key.paused_until == reason.key.next_at
    assert not key.paused
    assert [each.key for each in await listed(mail, only=ListQueueKeysRequest.PAUSED)] == ["ada"]
    changed = await update(mail, "ada", "paused")
    assert not changed.HasField("paused_until")
    assert {each.id for each in await worker.jobs(2)} == {first, job.id}
    assert not await listed(mail, only=ListQueueKeysRequest.PAUSED)


async def test_over_rest_a_key_says_until_when_it_is_paused(dsn: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as http:
        await limit(place, max_running=2)
        worker = await place.worker(queues=MAIL, slots=20)
        await paused(worker, place, 3600)
        url = f"http://127.0.0.1:{place.app.http_port}/v1/queues/mail/keys/ada"
        async with http.get(url) as answer:
            assert datetime.fromisoformat((await answer.json())["paused_until"]) > datetime.now(UTC)


@pytest.mark.slow
async def test_a_pause_outlives_its_server(dsn: str) -> None:
    async with Place(dsn) as place:
        await limit(place, max_running=2)
        worker = await place.worker(queues=MAIL, slots=20)
        first = await paused(worker, place, 5.0)
        late = await waits(place, "ada")
        until = await place.value("select paused_until from semaphore")
    async with Place(dsn) as place:
        worker = await place.worker(queues=MAIL, slots=20)
        assert {job.id for job in await worker.jobs(2)} == {first, late.id}
        assert await place.value("select min(changed_at) from live_job") >= until


@pytest.mark.slow
async def test_where_the_server_that_paused_the_key_does_not_sweep_another_one_lets_it_go_on(
    dsn: str,
) -> None:
    asleep = Tuning(keys_sweep_every=3600, keys_audit_every=3600)
    async with Place(dsn) as other:
        await limit(other, max_running=2)
        async with Place(dsn, tuning=asleep) as place:
            here = await place.worker(queues=MAIL, slots=20)
            first = await paused(here, place, 5.0)
            late = await waits(place, "ada")
        worker = await other.worker(queues=MAIL, slots=20)
        assert {job.id for job in await worker.jobs(2)} == {first, late.id}


@pytest.mark.slow
async def test_in_strict_order_the_job_goes_first_after_the_pause(mail: Place) -> None:
    await limit(mail, order=KEY_ORDER_STRICT)
    worker = await mail.worker(queues=MAIL, slots=20)
    job = await waits(mail, "ada")
    leased = await worker.job()
    behind = await waits(mail, "ada")
    result = await too_many(worker, leased, 4.0)
    until = await mail.value("select paused_until from semaphore")
    assert result.run_at.ToDatetime(UTC) == until
    again = await worker.job()
    assert again.id == job.id
    assert await mail.value("select changed_at from live_job where state = 2") >= until
    await worker.succeed(again)
    assert (await worker.job()).id == behind.id


@pytest.mark.parametrize("way", ["resume", "no limits"])
async def test_in_strict_order_the_job_starts_once_its_pause_is_ended(mail: Place, way: str) -> None:
    await limit(mail, order=KEY_ORDER_STRICT)
    worker = await mail.worker(queues=MAIL, slots=20)
    first = await paused(worker, mail, 86_400)
    if way == "resume":
        await update(mail, "ada", "paused")
    else:
        await limit(mail)
    assert (await worker.job()).id == first


async def test_limits_that_are_taken_back_end_it(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    first = await paused(worker, mail, 3600)
    late = await waits(mail, "ada")
    await limit(mail)
    assert {job.id for job in await worker.jobs(2)} == {first, late.id}


async def test_of_a_job_whose_key_nothing_limits_nothing_is_paused(place: Place) -> None:
    worker = await place.worker(queues=MAIL, slots=20)
    job = await place.enqueue(queue="mail", key="ada")
    result = await too_many(worker, await worker.job(), 3600)
    assert (result.verdict, Status.Name(result.status)) == (Verdict.APPLIED, "RETRYING")
    late = await place.enqueue(queue="mail", key="ada")
    assert {each.id for each in await worker.jobs(2)} == {job.id, late.id}


async def test_a_job_without_a_key_goes_back_alone(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    job = await mail.enqueue(queue="mail")
    await too_many(worker, await worker.job(), 3600)
    assert (await worker.job()).id == job.id


@pytest.mark.parametrize(
    ("outcome", "field"),
    [
        ({"failure": lease_pb2.Failure(), "pause_key": span(86_401)}, "pause_key"),
        ({"failure": lease_pb2.Failure(), "pause_key": span(-1)}, "pause_key"),
        ({"success": lease_pb2.Success(), "pause_key": span(1)}, "pause_key"),
        ({"release": lease_pb2.Release(), "pause_key": span(1)}, "pause_key"),
        ({"cancellation": lease_pb2.Cancellation(), "pause_key": span(0)}, "pause_key"),
    ],
)
async def test_a_pause_out_of_its_bounds_or_of_another_outcome_is_invalid(
    mail: Place, outcome: Any, field: str
) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await waits(mail, "ada")
    result = await worker.outcome(await worker.job(), **outcome)
    assert result is not None
    assert result.verdict == Verdict.INVALID
    assert field in result.message


async def test_a_day_is_taken_and_no_time_at_all_pauses_nothing(mail: Place) -> None:
    worker = await mail.worker(queues=MAIL, slots=20)
    await waits(mail, "ada")
    await too_many(worker, await worker.job(), 0)
    assert not (await read(mail, "ada")).HasField("paused_until")
    await too_many(worker, await worker.job(), 86_400)
    assert (await read(mail, "ada")).HasField("paused_until")


async def test_a_queue_that_nobody_pauses_runs_the_statements_that_it_ran_before(
    mail: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing is paused")

    monkeypatch.setattr(AttemptStore, "end_and_pause", never)
    worker = await mail.worker(queues=MAIL, slots=20)
    job = await waits(mail, "ada")
    await worker.fail(await worker.job(), retry_after=span(0))
    again = await worker.job()
    assert (again.id, again.attempt) == (job.id, 2)


async def test_a_worker_without_a_stream_pauses_the_key_too(mail: Place) -> None:
    job = await waits(mail, "ada")
    script = await CallWorker(mail.stub).open(queue="mail")
    (leased,) = await script.claim()
    outcome = lease_pb2.Outcome(
        job_id=job.id,
        attempt=leased.attempt,
        failure=lease_pb2.Failure(error="429", retry_after=span(0)),
        pause_key=span(3600),
    )
    (result,) = await script.settle(outcome)
    assert result.verdict == Verdict.APPLIED
    assert (await read(mail, "ada")).HasField("paused_until")
    await script.close()
