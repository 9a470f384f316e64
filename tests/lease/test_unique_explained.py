"""ExplainJob says of a unique job which job holds its name, as the next enqueue of the name finds it."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2

from .hand_worker import span
from .place import Place
from .test_explain import codes, explain
from .test_unique import U, ask, new, unique

pytestmark = pytest.mark.any_engine


async def after(place: Place, what: str, job: job_pb2.NewJob) -> str:
    """The id of a job that has come so far."""
    worker = await place.worker(slots=1) if what in ("runs", "succeeded", "failed once") else None
    job_id = (await ask(place, job)).job.id
    if worker is not None:
        leased = await worker.job()
        if what == "succeeded":
            await worker.succeed(leased)
            await place.until(job_id, "SUCCEEDED")
        elif what == "failed once":
            await worker.fail(leased, retry_after=span(3600))
            await place.until(job_id, "RETRYING")
        if what != "runs":
            await worker.close()  # It would get the next job of the name.
    elif what != "waits":
        await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=job_id))
        if what == "retried":
            await place.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=job_id))
    return job_id


@pytest.mark.cases(5)
@pytest.mark.parametrize("what", ["waits", "runs", "failed once", "succeeded", "cancelled", "retried"])
@pytest.mark.parametrize("until", ["STARTS", "ENDS", "PERIOD"])
async def test_who_is_said_to_hold_a_name_is_who_the_next_enqueue_finds(
    place: Place, what: str, until: str
) -> None:
    period: dict[str, Any] = {"period": 600} if until == "PERIOD" else {}
    once = new(unique=unique(until=U.Until.Value(until), **period))
    job_id = await after(place, what, once)
    name = (await explain(place, job_id)).name
    assert name.key == "user-7"
    assert name.held_by in (job_id, "")
    assert U.Until.Name(name.until) == (until if name.held_by else "UNTIL_UNSPECIFIED")
    assert name.HasField("period_ends_at") == (until == "PERIOD")
    found = await ask(place, once)
    assert (found.job.id == job_id, found.unique_action == U.KEPT) == ((bool(name.held_by),) * 2)
    if not name.held_by:
        assert name.message == "no job holds its name user-7 now, so the next one of the name is stored"
        assert (await explain(place, job_id)).name.held_by == found.job.id


async def test_what_a_held_name_means_is_said_for_people(place: Place) -> None:
    first = (await ask(place, new())).job.id
    answer = await explain(place, first)
    assert answer.name.message == (
        "it holds its name user-7 until a worker gets it; other jobs of the name are not stored meanwhile"
    )
    assert codes(answer) == ["NO_WORKER"]
    await place.stub.CancelJob(jobqueue_pb2.CancelJobRequest(id=first))
    second = (await ask(place, new(unique=unique(until=U.ENDS, period=600)))).job.id
    held = rf"job {second} holds its name user-7 until it has ended, and until "
    said = (await explain(place, first)).name
    assert said.message.startswith(held)
    assert said.message.endswith("Z at least; RetryJob refuses this one meanwhile only with respect_unique")
    await place.stub.RetryJob(jobqueue_pb2.RetryJobRequest(id=first))
    said = (await explain(place, first)).name
    assert said.message.startswith(held.replace("holds", "has taken"))
    assert said.message.endswith("Z at least; this one goes on beside it")


async def test_the_payload_may_make_the_name_and_other_jobs_have_none(place: Place) -> None:
    of_payload = (await ask(place, new(unique=U()))).job.id
    said = (await explain(place, of_payload)).name
    assert (said.key, said.held_by) == ("", of_payload)
    assert said.message.startswith("it holds the name that its payload makes until a worker gets it; ")
    plain = (await ask(place, job_pb2.NewJob(kind="work"))).job.id
    assert not (await explain(place, plain)).HasField("name")
