"""EnqueueJob with `unique` on the fast path: the answers and the promises of the general path."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from jobqueue.v1 import job_pb2
from jobqueue_server.rpc.errors import DETAILS_KEY
from tests.lease.place import Place, eventually

from .test_fast_keys import told
from .test_fast_path import alike, ask, fast, general, place

__all__ = ["fast", "general", "place"]

pytestmark = pytest.mark.http2
U = job_pb2.Unique


def named(
    key: str = "n", payload: bytes = b"1", on_conflict: Any = U.KEEP, **fields: Any
) -> tuple[Any, dict]:
    unique = job_pb2.Unique(key=key, on_conflict=on_conflict, **fields.pop("unique", {}))
    return ask(unique=unique, payload_json=payload, **fields), {}


async def test_a_new_job_is_answered_as_by_the_general_path_with_the_key_of_its_name(
    fast: list[Any], place: Place, general: Place
) -> None:
    await place.stub.EnqueueJob(named("first")[0])  # makes the lane and raises the level, by the general path
    fast.clear()
    for key in ("user-7", "order 4711 \u00fc", ""):
        # Without a key the payload is the name.
        code, _, trailers, new = await told(place, named(key, payload=b'"a%d"' % len(key)))
        other = (await told(general, named(key and f"{key}b", payload=b'"b%d"' % len(key))))[3]
        assert (code, trailers, new.unique_action) == (grpc.StatusCode.OK, {}, 0)
        assert new.job.unique_key == key
        assert await place.get(new.job.id) == new.job
        other.job.unique_key, other.job.payload_json = key, new.job.payload_json
        assert alike(new) == alike(other)
    assert len(fast) == 3


@pytest.mark.parametrize(
    ("on_conflict", "action"), [(U.KEEP, U.KEPT), (U.REPLACE, U.REPLACED)], ids=["keep", "replace"]
)
async def test_where_the_name_is_held_its_holder_is_answered(
    fast: list[Any], place: Place, general: Place, on_conflict: Any, action: Any
) -> None:
    first = await place.stub.EnqueueJob(named()[0])
    fast.clear()
    code, _, trailers, answer = await told(place, named(payload=b"2", on_conflict=on_conflict))
    assert len(fast) == 1
    assert (code, answer.job.id, answer.unique_action) == (grpc.StatusCode.OK, first.job.id, action)
    assert trailers == {"unique-action": U.Action.Name(action).lower()}
    assert answer.job.payload_json == (b"1" if action == U.KEPT else b"2")
    other = await told(general, named(payload=answer.job.payload_json, on_conflict=on_conflict))
    other[3].job.updated_at.CopyFrom(answer.job.updated_at)
    answer.job.headers.pop("x-request-id", None)
    other[3].job.headers.pop("x-request-id", None)
    assert (code, trailers, answer) == (other[0], other[2], other[3])


async def test_a_job_that_asks_to_be_refused_then_is_refused_as_by_the_general_path(
    fast: list[Any], place: Place, general: Place
) -> None:
    await place.stub.EnqueueJob(named()[0])
    fast.clear()
    refused = await told(place, named(on_conflict=U.REJECT))
    assert len(fast) == 1
    assert refused == await told(general, named(on_conflict=U.REJECT))
    assert refused[0] is grpc.StatusCode.ALREADY_EXISTS
    assert b"DUPLICATE" in refused[2][DETAILS_KEY]


async def test_a_job_with_a_name_and_a_key_is_answered_as_by_the_general_path(
    fast: list[Any], place: Place, general: Place
) -> None:
    await place.stub.EnqueueJob(named("first")[0])
    fast.clear()
    code, _, trailers, new = await told(place, named(idempotency_key="i"))
    assert (code, trailers, new.unique_action, new.replayed) == (grpc.StatusCode.OK, {}, 0, False)
    assert await place.get(new.job.id) == new.job
    assert (new.job.unique_key, new.job.idempotency_key) == ("n", "i")
    # Its key stands for it; another key finds that it holds the name, and stands for it from then on.
    for key in ("i", "j", "j"):
        told_fast = await told(place, named(idempotency_key=key))
        assert told_fast[3].job.id == new.job.id
        if key == "j" and not told_fast[3].replayed:
            assert told_fast[3].unique_action == U.KEPT
            continue
        assert told_fast[2] == {"idempotency-replayed": "true"}
        assert told_fast == await told(general, named(idempotency_key=key))
    reused = await told(place, named(payload=b"2", idempotency_key="i"))
    assert b"IDEMPOTENCY_KEY_REUSED" in reused[2][DETAILS_KEY]
    assert reused == await told(general, named(payload=b"2", idempotency_key="i"))
    assert len(fast) == 5
    assert await place.value("select count(*) from live_job") == 2


async def test_what_is_wrong_or_unusual_takes_the_general_path(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(named()[0])
    fast.clear()
    wrong = await told(place, named(unique={"until": U.PERIOD}))
    assert wrong[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await told(place, named("k", idempotency_key="\u00fc")))[0] is grpc.StatusCode.OK
    assert fast == []


async def test_of_calls_that_come_at_once_one_is_stored(fast: list[Any], place: Place) -> None:
    await place.stub.EnqueueJob(named("first")[0])
    fast.clear()
    answers = await asyncio.gather(*(place.stub.EnqueueJob(named("same", b"%d" % at)[0]) for at in range(50)))
    assert len({answer.job.id for answer in answers}) == 1
    assert sorted(answer.unique_action for answer in answers) == [0, *[int(U.KEPT)] * 49]
    assert len(fast) == 50


async def test_a_caller_that_has_gone_stores_nothing_or_one_job_and_leaves_nothing_behind(
    fast: list[Any], place: Place
) -> None:
    first = await place.stub.EnqueueJob(named()[0])
    calls = [place.stub.EnqueueJob(named()[0]) for _ in range(20)]
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (await place.stub.EnqueueJob(named()[0])).job.id == first.job.id
    assert await place.value("select count(*) from live_job") == 1


async def test_its_worker_gets_it(place: Place) -> None:
    worker = await place.worker()
    await place.stub.EnqueueJob(named("first")[0])
    await worker.succeed(await worker.job())
    job = (await place.stub.EnqueueJob(named("second", b"2")[0])).job
    leased = await worker.job()
    assert (leased.id, leased.payload_json) == (job.id, b"2")
    await worker.succeed(leased)

    async def ended() -> bool:
        return (await place.get(job.id)).status == job_pb2.Job.SUCCEEDED

    await eventually(ended)
