"""EnqueueJob with an idempotency key on the fast path: the answers and the promises of the general path."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2
from jobqueue_server.rpc.errors import DETAILS_KEY
from jobqueue_server.store.intake.intake import IntakeStore
from tests.lease.place import Held, Place, eventually, leaving_nothing_to_the_collector

from .test_fast_path import PATIENCE, alike, ask, fast, general, place

__all__ = ["fast", "general", "place"]

pytestmark = pytest.mark.http2


def in_metadata(key: str, **fields: Any) -> tuple[Any, dict[str, Any]]:
    return ask(**fields), {"metadata": (("idempotency-key", key),)}


def in_message(key: str, **fields: Any) -> tuple[Any, dict[str, Any]]:
    return ask(idempotency_key=key, **fields), {}


async def told(place: Place, asked: tuple[Any, dict[str, Any]]) -> tuple[Any, ...]:
    """The answer as its caller sees it: code, text, trailers, message.

    Without the request id, and without how near the server is to refusing jobs, which an insert that took long tells.
    """
    call = place.stub.EnqueueJob(asked[0], **asked[1])
    code, text = await call.code(), await call.details()
    left_out = ("x-request-id", "jobqueue-pressure")
    trailers = {key: value for key, value in await call.trailing_metadata() if key not in left_out}
    return code, text, trailers, await call if code is grpc.StatusCode.OK else None


@pytest.mark.cases(3)
@pytest.mark.parametrize("given", [in_metadata, in_message])
@pytest.mark.parametrize("key", ["k", "order 4711", '"quoted \\ key"', "x" * 255])
async def test_a_new_job_its_replay_and_another_request_are_answered_alike(
    fast: list[Any], place: Place, general: Place, given: Any, key: str
) -> None:
    await place.stub.EnqueueJob(ask())
    for fields in ({}, {"priority": 7, "payload_json": b'"' + b"x" * 70_000 + b'"'}):
        ours, theirs = (key[:-1] + mark + str(len(fields)) for mark in "fg")
        ours, theirs = ours[-255:], theirs[-255:]
        fast.clear()
        code, _, trailers, new = await told(place, given(ours, **fields))
        assert len(fast) == 1
        assert (code, trailers, new.replayed) == (grpc.StatusCode.OK, {}, False)
        assert new.job.idempotency_key == ours
        assert (await place.get(new.job.id)) == new.job
        other = (await told(general, given(theirs, **fields)))[3]
        other.job.idempotency_key = ours
        replay = await told(place, given(ours, **fields))
        assert replay == await told(general, given(ours, **fields))
        assert (replay[2], replay[3].replayed) == ({"idempotency-replayed": "true"}, True)
        assert replay[3].job == new.job
        conflict = await told(place, given(ours, **{**fields, "payload_json": b"2"}))
        assert conflict == await told(general, given(ours, **{**fields, "payload_json": b"2"}))
        assert conflict[0] is grpc.StatusCode.ALREADY_EXISTS
        assert b"IDEMPOTENCY_KEY_REUSED" in conflict[2][DETAILS_KEY]
        assert alike(new) == alike(other)
        assert len(fast) == 3


async def test_a_server_without_the_fast_path_answers_the_same(
    fast: list[Any], place: Place, dsn: str
) -> None:
    await place.stub.EnqueueJob(ask())
    fast.clear()
    async with Place(dsn, fast_path="off") as other:
        for given in (in_metadata, in_message):
            ours, theirs = f"f {given.__name__}", f"g {given.__name__}"
            new, general = await told(place, given(ours)), await told(other, given(theirs))
            general[3].job.idempotency_key = ours
            assert new[:3] == general[:3]
            assert alike(new[3]) == alike(general[3])
            for payload in (b'{"n": 1}', b"2"):
                for key in (ours, theirs):
                    asked = given(key, payload_json=payload)
                    assert await told(place, asked) == await told(other, asked)
    assert len(fast) == 10


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_is_refused_takes_the_general_path(fast: list[Any], place: Place, key: str) -> None:
    await place.stub.EnqueueJob(ask())
    fast.clear()
    asked = in_message(key) if "\t" in key else in_metadata(key)
    code, text, _, _ = await told(place, asked)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "must be 1 to 255 characters" in text
    assert fast == []


async def test_the_key_in_the_metadata_wins(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(ask())
    request, more = in_metadata("metadata")
    request.job.idempotency_key = "field"
    assert (await place.stub.EnqueueJob(request, **more)).job.idempotency_key == "metadata"


async def test_jobs_of_a_batch_keep_their_keys(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(ask())
    jobs = [ask(idempotency_key=f"k{number}").job for number in range(3)]
    batch = jobqueue_pb2.BatchEnqueueJobsRequest(jobs=[ask().job, *jobs])
    first = await place.stub.BatchEnqueueJobs(batch)
    again = await place.stub.BatchEnqueueJobs(batch)
    assert [result.replayed for result in again.results] == [False, True, True, True]
    assert [one.id for one in again.results[1:]] == [one.id for one in first.results[1:]]


@pytest.mark.parametrize("generally", [False, True])
async def test_two_calls_at_once_with_one_key_make_one_job(
    fast: list[Any], place: Place, generally: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.stub.EnqueueJob(ask())
    held = Held(monkeypatch, IntakeStore, "enqueue")
    fast.clear()
    payload_format = "PAYLOAD_FORMAT_VALUE" if generally else "PAYLOAD_FORMAT_JSON"
    calls = [place.stub.EnqueueJob(ask(payload_format, idempotency_key="k"))]
    await held.one_waits()
    calls += [place.stub.EnqueueJob(ask(idempotency_key="k")) for _ in range(5)]
    await eventually(lambda: under_way(place, 6))
    held.go_on.set()
    answers = await asyncio.gather(*calls)
    assert [answer.replayed for answer in answers] == [False] + [True] * 5
    assert len({answer.job.id for answer in answers}) == 1
    assert len(fast) == (5 if generally else 6)
    assert await place.value("select count(*) from job where idempotency_key = 'k'") == 1


async def under_way(place: Place, calls: int) -> bool:
    return place.app.chain.in_flight == calls


async def test_a_retry_after_a_cancelled_call_finds_its_job(
    fast: list[Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.stub.EnqueueJob(ask())
    held = Held(monkeypatch, IntakeStore, "enqueue")
    fast.clear()
    first = place.stub.EnqueueJob(ask(idempotency_key="k"))
    await held.one_waits()
    first.cancel()
    await eventually(lambda: under_way(place, 0))
    # It is being stored still: the retry waits for that.
    again = place.stub.EnqueueJob(ask(idempotency_key="k"))
    await eventually(lambda: under_way(place, 1))
    held.go_on.set()
    answer = await again
    assert answer.replayed
    assert answer.job.id == str(fast[0].ids[0])
    assert await place.value("select count(*) from job where idempotency_key = 'k'") == 1


async def test_a_call_that_is_cancelled_in_line_leaves_its_key_to_the_next(
    fast: list[Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.stub.EnqueueJob(ask())
    # The second one is to be in line.
    place.app.intake._slow_lane.beside.slow_after = 60.0
    held = Held(monkeypatch, IntakeStore, "enqueue")
    first = place.stub.EnqueueJob(ask(idempotency_key="other"))
    await held.one_waits()
    fast.clear()
    second = place.stub.EnqueueJob(ask(idempotency_key="k"))
    await eventually(lambda: under_way(place, 2))
    third = place.stub.EnqueueJob(ask(idempotency_key="k"))
    await eventually(lambda: under_way(place, 3))
    assert len(fast) == 2
    second.cancel()
    await eventually(lambda: under_way(place, 2))
    fourth = place.stub.EnqueueJob(ask(idempotency_key="k"))
    held.go_on.set()
    await first
    answers = await asyncio.gather(third, fourth)
    assert sorted(answer.replayed for answer in answers) == [False, True]
    assert len({answer.job.id for answer in answers}) == 1
    assert place.app.intake.waiting.jobs == 0


@pytest.mark.slow
@pytest.mark.parametrize("method", ["enqueue", "find_keys"])
async def test_it_ends_within_its_time(
    fast: list[Any], place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await place.stub.EnqueueJob(ask(idempotency_key="k"))
    held = Held(monkeypatch, IntakeStore, method)
    fast.clear()
    call = place.stub.EnqueueJob(ask(idempotency_key="k"), timeout=5)
    # Or its time could be over before the server has read it.
    await held.one_waits()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(fast) == 1
    await eventually(lambda: under_way(place, 0))
    held.go_on.set()
    assert (await asyncio.wait_for(place.stub.EnqueueJob(ask(idempotency_key="k")), PATIENCE)).replayed


async def test_calls_leave_nothing_to_the_collector(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(ask(idempotency_key="k"))
    for payload in (b"2", b'{"n":  1}'):
        await told(place, in_message("k", payload_json=payload))
    fast.clear()
    with leaving_nothing_to_the_collector():
        for number in range(3):
            await place.stub.EnqueueJob(ask(idempotency_key=f"k{number}"))
            await place.stub.EnqueueJob(ask(idempotency_key=f"k{number}"))
            with pytest.raises(grpc.aio.AioRpcError):
                await place.stub.EnqueueJob(ask(idempotency_key=f"k{number}", payload_json=b"2"))
        await asyncio.sleep(0.1)
    assert len(fast) == 9
    fast.clear()


async def test_the_value_format_takes_the_general_path(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(ask())
    fast.clear()
    answer = await place.stub.EnqueueJob(ask("PAYLOAD_FORMAT_VALUE", idempotency_key="k"))
    assert answer.job.WhichOneof("content") == "payload"
    read = await place.stub.EnqueueJob(ask(idempotency_key="k"))
    assert (read.replayed, read.job.id) == (True, answer.job.id)
    assert isinstance(read.job, job_pb2.Job)
    assert len(fast) == 1
