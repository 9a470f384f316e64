"""From an enqueue to a worker's hands and back: deliveries, their payloads, and the settlements of success."""

from __future__ import annotations

import json

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2

from .place import Status

BIG = b'{"id": 12345678901234567890, "e": 1.50,  "k":"\xc3\xa9\\u00e9"}'


async def test_a_job_is_delivered_settled_in_the_packed_list_and_succeeded(place):
    worker = await place.worker()
    job = await place.enqueue(
        payload=BIG, labels={"team": "a"}, headers={"x-request-id": "r-1", "own": "é"}, timeout=90, priority=3
    )
    leased = await worker.job()
    assert (leased.id, leased.attempt, leased.kind, leased.queue) == (job.id, 1, "work", "default")
    assert leased.payload_json == BIG
    assert (leased.max_attempts, leased.failures, leased.priority) == (3, 0, 3)
    assert leased.timeout.seconds == 90
    assert dict(leased.labels) == {"team": "a"}
    assert (leased.headers["x-request-id"], leased.headers["own"]) == ("r-1", "é")
    assert leased.created_at == job.created_at
    running = await place.get(job.id)
    assert (Status.Name(running.status), running.attempts, running.locked_by) == ("RUNNING", 1, "hand")
    assert running.locked_at.seconds > 0
    assert await worker.succeed(leased) == []
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.attempts, done.failures) == ("SUCCEEDED", 1, 0)
    assert (done.payload_json, done.locked_by, done.reason) == (BIG, "", "")
    assert done.WhichOneof("result") is None


async def test_the_numbers_of_deliveries_and_leases_count_up_and_lease_ids_carry_the_epoch(place):
    worker = await place.worker(slots=3)
    for _ in range(3):
        await place.enqueue()
    jobs = await worker.jobs(3)
    assert [delivery.seq for delivery in worker.deliveries] == list(range(1, len(worker.deliveries) + 1))
    assert [job.lease_id for job in jobs] == [1 << 32 | 1, 1 << 32 | 2, 1 << 32 | 3]


async def test_an_output_is_kept_byte_for_byte(place):
    worker = await place.worker()
    for text in (BIG, b"null", b"7", b'""', b"[1.0, 1e300, 12345678901234567890]"):
        job = await place.enqueue()
        assert await worker.succeed(await worker.job(), output_json=text) == []
        assert (await place.wait(job.id)).output_json == text


async def test_an_output_as_a_value_keeps_its_integers(place):
    worker = await place.worker()
    job = await place.enqueue()
    success = lease_pb2.Success()
    success.output.struct_value.update({"width": 100, "ratio": 0.5, "big": 2**53, "none": None})
    assert await worker.outcome(await worker.job(), success=success) is None
    done = await place.wait(job.id)
    assert json.loads(done.output_json) == {"width": 100, "ratio": 0.5, "big": 2**53, "none": None}
    assert b"100," in done.output_json.replace(b"}", b",")
    assert b"100.0" not in done.output_json


async def test_a_payload_that_came_as_a_value_is_delivered_with_integers_as_integers(place):
    worker = await place.worker()
    new = job_pb2.NewJob(kind="work")
    new.payload.struct_value.update({"width": 100})
    await place.stub.EnqueueJob(jobqueue_pb2.EnqueueJobRequest(job=new))
    assert json.loads((await worker.job()).payload_json) == {"width": 100}
    assert b"100.0" not in worker.deliveries[0].jobs[0].payload_json


async def test_a_worker_that_wants_values_gets_values(place):
    worker = await place.worker(as_value=True)
    await place.enqueue(payload=b'{"width": 100, "list": [1, "x", null, true]}')
    leased = await worker.job()
    assert leased.WhichOneof("content") == "payload"
    fields = leased.payload.struct_value.fields
    assert fields["width"].number_value == 100
    assert [value.WhichOneof("kind") for value in fields["list"].list_value.values] == [
        "number_value",
        "string_value",
        "null_value",
        "bool_value",
    ]


async def test_a_thousand_jobs_settle_in_one_frame_with_one_answer(place):
    worker = await place.worker(slots=1000)
    ids = await place.batch(1000)
    jobs = await worker.jobs(1000)
    assert {job.id for job in jobs} == set(ids)
    assert await worker.succeed(*jobs) == []
    assert await place.value("select count(*) from finished_job where status = 3 and attempts = 1") == 1000
    assert await place.value("select count(*) from live_job") == 0


async def test_a_frame_with_more_outcomes_than_it_may_ends_the_stream_and_settles_nothing(place):
    worker = await place.worker()
    job = await place.enqueue()
    leased = await worker.job()
    await worker.report([leased.lease_id] * 1001)
    ended = await worker.end()
    assert ended.reason == "FIELD_INVALID"
    assert await place.status(job.id) == "RUNNING"


async def test_a_message_of_deliveries_stays_under_a_mebibyte_unless_it_is_one_job(place):
    worker = await place.worker(slots=10)
    await place.pause_until_stored(
        [b'"' + b"x" * size + b'"' for size in (300_000, 300_000, 300_000, 300_000, 1_048_570)]
    )
    await worker.jobs(5)
    sizes = [(len(delivery.jobs), delivery.ByteSize()) for delivery in worker.deliveries]
    assert all(size <= 1 << 20 or count == 1 for count, size in sizes), sizes
    assert len(sizes) <= 4


async def test_an_empty_settle_is_answered(place):
    worker = await place.worker()
    assert await worker.settle() == []
