"""What is too large: a frame ends its stream, an outcome harms itself only, the rest is passed over."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Value

from jobqueue.v1 import job_pb2, lease_pb2
from jobqueue_server.core.attempt.outcome import Answer
from jobqueue_server.model import (
    MAX_CHECKPOINT_BYTES,
    MAX_FOLLOW_UPS,
    MAX_OUTPUT_BYTES,
    MAX_PAYLOAD_BYTES,
    MAX_SETTLE_OUTCOMES,
)
from jobqueue_server.rpc.lease import MAX_HELD
from jobqueue_server.rpc.outcomes import result_message

from .hand_worker import HandWorker, span
from .place import Place, leaving_nothing_to_the_collector
from .test_unary_sessions import CallWorker, outcome

Verdict = lease_pb2.SettleResult.Verdict

TOO_LARGE = lease_pb2.Success(output_json=b"1" * (MAX_OUTPUT_BYTES + 1))


def follow_up(**fields: Any) -> lease_pb2.Success:
    """A success with one job behind it."""
    return lease_pb2.Success(follow_ups=[job_pb2.NewJob(**{"kind": "next", **fields})])


# Within a frame of 4 MiB, each over a bound of its own.
INVALID: dict[str, lease_pb2.Success] = {
    "output_json": TOO_LARGE,
    "output": lease_pb2.Success(output=Value(string_value="x" * MAX_OUTPUT_BYTES)),
    "follow_ups": lease_pb2.Success(follow_ups=[job_pb2.NewJob(kind="next")] * (MAX_FOLLOW_UPS + 1)),
    "a follow-up's payload": follow_up(payload_json=b"1" * (MAX_PAYLOAD_BYTES + 1)),
    "a follow-up's payload as a value": follow_up(payload=Value(string_value="x" * MAX_PAYLOAD_BYTES)),
    "a follow-up's kind": follow_up(kind="x" * MAX_PAYLOAD_BYTES),
    "a follow-up's labels": follow_up(labels={"name": "x" * MAX_PAYLOAD_BYTES}),
    "a follow-up's headers": follow_up(headers={"name": "x" * MAX_PAYLOAD_BYTES}),
    "a follow-up's key": follow_up(idempotency_key="x" * MAX_PAYLOAD_BYTES),
}
# They are cut.
APPLIED: dict[str, lease_pb2.Failure] = {
    "error": lease_pb2.Failure(error="x" * MAX_PAYLOAD_BYTES),
    "stack": lease_pb2.Failure(stack="\N{SNOWMAN}" * MAX_PAYLOAD_BYTES),
    "error_type": lease_pb2.Failure(error_type="x" * MAX_PAYLOAD_BYTES),
}


@pytest.mark.cases(3)
@pytest.mark.parametrize("success", INVALID.values(), ids=INVALID.keys())
async def test_an_outcome_that_is_too_large_is_invalid_by_itself(
    place: Place, success: lease_pb2.Success
) -> None:
    worker = await place.worker(slots=2)
    await place.batch(2)
    large, small = await worker.jobs(2)
    results = await worker.settle(
        [small.lease_id], [lease_pb2.Outcome(lease_id=large.lease_id, success=success)]
    )
    assert [(result.lease_id, result.verdict) for result in results] == [(large.lease_id, Verdict.INVALID)]
    assert 0 < len(results[0].message) <= 512
    assert await place.status(small.id) == "SUCCEEDED"
    # The lease goes on.
    await worker.capacity(0)
    await worker.fail(large, permanent=True)
    caller = await CallWorker(place.stub).open()
    await place.batch(2)
    jobs = await caller.claim(2)
    results = await caller.settle(outcome(jobs[0], success=success), outcome(jobs[1]))
    assert [result.verdict for result in results] == [Verdict.INVALID, Verdict.APPLIED]


@pytest.mark.parametrize("failure", APPLIED.values(), ids=APPLIED.keys())
async def test_texts_of_a_failure_that_are_too_long_are_cut(place: Place, failure: lease_pb2.Failure) -> None:
    worker = await place.worker()
    await place.enqueue()
    leased = await worker.job()
    result = await worker.outcome(leased, failure=failure)
    assert result is not None
    assert result.verdict == Verdict.APPLIED


def test_what_is_wrong_with_an_outcome_is_told_in_few_words() -> None:
    """A thousand of them go into one answer, which must be readable."""
    answer = Answer(1, None, 1, "INVALID", message="success.follow_ups[0].payload.name: " + "x" * 100_000)
    message = result_message(answer).message
    assert len(message) == 512
    assert message.startswith("success.follow_ups[0].payload.name: x")
    assert message.endswith("... (cut)")


async def test_a_frame_over_4_mib_ends_the_stream_and_its_session_goes_on(place: Place) -> None:
    """What a worker does then: it resumes, and sends the frame's outcomes one a frame."""
    worker = await place.worker(slots=5)
    await place.batch(5)
    jobs = await worker.jobs(5)
    outcomes = [lease_pb2.Outcome(lease_id=job.lease_id, success=TOO_LARGE) for job in jobs]
    await worker.report(outcomes=outcomes)
    ended = await worker.end()
    assert ended.reason == "BODY_TOO_LARGE"
    assert ended.error is not None
    assert ended.error.code() is grpc.StatusCode.INVALID_ARGUMENT
    again = await place.worker(slots=5, resume=worker.resume(unanswered=jobs))
    for each in outcomes:
        assert [result.verdict for result in await again.settle(outcomes=[each])] == [Verdict.INVALID]
    await again.succeed(*jobs)
    for job in jobs:
        assert await place.status(job.id) == "SUCCEEDED"


def logged(caplog: pytest.LogCaptureFixture, event: str, field: str) -> list[object]:
    """The values of a field in every line of this event."""
    lines = (record for record in caplog.records if record.getMessage() == event)
    return [vars(line)["fields"][field] for line in lines]


async def test_a_checkpoint_that_is_too_large_is_passed_over_and_logged(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await place.worker()
    await place.enqueue()
    leased = await worker.job()
    for size in (MAX_CHECKPOINT_BYTES, MAX_CHECKPOINT_BYTES + 1, 3 << 20):
        progress = lease_pb2.Progress(lease_id=leased.lease_id, fraction=0.5, checkpoint=b"x" * size)
        await worker.send(progress=progress)
    await worker.heartbeat()
    await worker.fail(leased, retry_after=span(0))
    assert (await worker.job()).checkpoint == b"x" * MAX_CHECKPOINT_BYTES
    assert MAX_CHECKPOINT_BYTES + 1 in logged(caplog, "a checkpoint is too large, and is ignored", "bytes")


async def test_a_heartbeat_that_names_too_many_is_a_sign_of_life_all_the_same(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    worker = await place.worker(slots=2, heartbeats=False)
    await place.enqueue()
    leased = await worker.job()
    await worker.send(heartbeat=lease_pb2.Heartbeat(seq=1, held=range(1, MAX_HELD + 2)))
    assert (await worker.next("pong")).seq == 1
    assert not worker.has("control")
    assert logged(caplog, "a heartbeat names too many leases, which are ignored", "leases") == [MAX_HELD + 1]
    assert await worker.succeed(leased) == []


async def _of_bytes(worker: HandWorker, place: Place) -> None:
    """A frame over 4 MiB."""
    await worker.report(outcomes=[lease_pb2.Outcome(lease_id=1, success=TOO_LARGE)] * 5)


async def _of_outcomes(worker: HandWorker, place: Place) -> None:
    """A frame that can be read, with more outcomes than it may have."""
    await worker.report(outcomes=[lease_pb2.Outcome(lease_id=1)] * (MAX_SETTLE_OUTCOMES + 1))


async def _hello(worker: HandWorker, place: Place) -> None:
    """A frame that may not come."""
    await worker.send(hello=worker.hello)


async def _elsewhere(worker: HandWorker, place: Place) -> None:
    """Another stream."""
    await place.worker(resume=worker.resume())


@pytest.mark.parametrize("end", [_of_bytes, _of_outcomes, _hello, _elsewhere])
async def test_a_stream_that_an_error_ends_leaves_nothing_to_the_collector(place: Place, end: Any) -> None:
    """It would keep a frame of 4 MiB until the collector comes by."""
    await (await place.worker()).close()
    workers = [await place.worker() for _ in range(3)]
    with leaving_nothing_to_the_collector():
        for worker in workers:
            await end(worker, place)
            assert (await worker.end()).reason
