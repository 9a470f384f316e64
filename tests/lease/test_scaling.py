"""KEDA's external scaler: how many slots are wanted, whether there is anything to do, what a wrong trigger is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from jobqueue_server.core.insight.scaling import Scaling
from jobqueue_server.errors import DatabaseAway
from jobqueue_server.fair.share import Share
from jobqueue_server.rpc.keda import externalscaler_pb2 as pb
from jobqueue_server.store.insight.insight import InsightStore

from .hand_worker import PATIENCE, reason_of
from .keda import ask, ref, stream
from .place import Caller, Place, eventually


async def active(caller: Caller, **metadata: str) -> bool:
    answer: pb.IsActiveResponse = await ask(caller, "IsActive", ref(**metadata))
    return answer.result


async def wanted(caller: Caller, **metadata: str) -> int:
    request = pb.GetMetricsRequest(scaledObjectRef=ref(**metadata), metricName="wanted_slots")
    (value,) = (await ask(caller, "GetMetrics", request)).metricValues
    assert (value.metricName, value.metricValueFloat) == ("wanted_slots", value.metricValue)
    answer: int = value.metricValue
    return answer


@contextlib.asynccontextmanager
async def watching(caller: Caller, **metadata: str) -> AsyncIterator[Any]:
    """A StreamIsActive; call it for the next answer."""
    call = stream(caller, "StreamIsActive", ref(**metadata))

    async def following() -> bool:
        answer = await asyncio.wait_for(call.read(), PATIENCE)
        return bool(answer.result)

    try:
        yield following
    finally:
        call.cancel()


@pytest.mark.any_engine
async def test_what_runs_and_what_could_run_is_wanted(place: Place) -> None:
    worker = await place.worker(slots=1)
    await place.batch(3)
    leased = await worker.job()
    await place.enqueue(hold=True)
    await place.enqueue(delay=3600)

    async def all_counted() -> bool:
        return await wanted(place, queue="default") == 3

    await eventually(all_counted)
    assert await active(place, queue="default")
    await worker.succeed(leased)


@pytest.mark.any_engine
async def test_a_queue_that_was_never_used_wants_nothing_and_is_no_error(place: Place) -> None:
    assert await wanted(place, queue="never") == 0
    assert not await active(place, queue="never")


@pytest.mark.any_engine
async def test_queues_count_together_and_kinds_apart(place: Place) -> None:
    await place.batch(3, kind="resize", queue="images")
    await place.batch(2, kind="scan", queue="images")
    await place.batch(4, kind="resize", queue="uploads")
    assert await wanted(place, queues="images, uploads") == 9
    assert await wanted(place, queues="images,uploads,images", kinds="resize") == 7
    assert await wanted(place, queue="images", kinds="scan") == 2
    assert await wanted(place, queue="images", kinds="other") == 0


@pytest.mark.any_engine
async def test_there_is_something_to_do_above_the_activation_alone(place: Place) -> None:
    await place.batch(3)
    assert await active(place, queue="default", activationSlots="2")
    assert not await active(place, queue="default", activationSlots="3")


@pytest.mark.any_engine
async def test_a_running_job_alone_is_something_to_do(place: Place) -> None:
    worker = await place.worker()
    await place.enqueue()
    await worker.job()

    async def runs_alone() -> bool:
        return await wanted(place, queue="default") == 1

    await eventually(runs_alone)
    assert await active(place, queue="default")


async def test_a_stream_stays_while_the_database_is_away(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The queue is there.
    await place.cancel((await place.enqueue()).id)
    async with watching(place, queue="default") as following:
        assert not await following()
        with monkeypatch.context() as away:
            refused = asyncio.Event()

            async def no_answer(*_: object, **__: object) -> None:
                refused.set()
                raise DatabaseAway("it is away")

            away.setattr(InsightStore, "queue_demand_few", no_answer)
            await asyncio.wait_for(refused.wait(), PATIENCE)
        await place.enqueue()
        assert await following()


@pytest.mark.any_engine
async def test_what_waits_for_a_person_or_for_time_activates_nothing(place: Place) -> None:
    await place.enqueue(hold=True)
    await place.enqueue(delay=3600)
    await place.enqueue(queue="paused")
    await place.pause("paused")
    assert not await active(place, queues="default,paused")


@pytest.mark.any_engine
@pytest.mark.parametrize(("given", "size"), [({}, 10), ({"slotsPerReplica": "4"}, 4)])
async def test_the_metric_is_wanted_slots_and_its_target_the_slots_of_a_replica(
    place: Place, given: dict[str, str], size: int
) -> None:
    # What tells KEDA how to reach the server comes along.
    request = ref(queue="default", scalerAddress="jobqueue:50051", enableTLS="true", **given)
    (spec,) = (await ask(place, "GetMetricSpec", request)).metricSpecs
    assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("wanted_slots", size, size)
    following = stream(place, "StreamMetricSpec", request)
    assert (await asyncio.wait_for(following.read(), PATIENCE)).metricSpecs[0] == spec
    following.cancel()


async def test_the_first_job_is_pushed_within_a_second_and_the_last_end_too(place: Place) -> None:
    async with watching(place, queue="default") as following:
        assert not await following()
        began = time.monotonic()
        job = await place.enqueue()
        assert await following()
        # A second is promised; this machine may be busy.
        assert time.monotonic() - began < 2
        await place.cancel(job.id)
        assert not await following()


@pytest.mark.any_engine
async def test_the_first_job_is_pushed_where_another_server_took_it(dsn: str) -> None:
    async with Place(dsn) as one, Place(dsn) as other, watching(one, queue="default") as following:
        assert not await following()
        await other.enqueue()
        assert await following()


async def test_a_stream_ends_with_its_server_and_the_next_one_goes_elsewhere(dsn: str) -> None:
    async with Place(dsn) as place:
        call = stream(place, "StreamIsActive", ref(queue="default"))
        specs = stream(place, "StreamMetricSpec", ref(queue="default"))
        await call.read()
        await specs.read()
        assert len(place.app.insight.scaling) == 2
        await place.app.drain()
        for each in (call, specs):
            assert await asyncio.wait_for(each.read(), PATIENCE) is grpc.aio.EOF
        assert len(place.app.insight.scaling) == 0


async def test_so_many_streams_and_no_more(place: Place) -> None:
    scaling: Scaling = place.app.insight.scaling
    scaling._streams = Share(1)
    async with watching(place, queue="default") as following:
        await following()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stream(place, "StreamIsActive", ref(queue="default")).read()
        assert reason_of(refused.value) == "TOO_MANY_WATCHES"

    async def free() -> bool:
        return len(scaling) == 0

    await eventually(free)


@pytest.mark.cases(4)
@pytest.mark.parametrize(
    ("metadata", "field", "words"),
    [
        ({}, "queue", "must be there"),
        ({"queue": "a", "queues": "a,b"}, "queue", "not both"),
        ({"queue": ""}, "queue", "names none"),
        ({"queue": "a,b"}, "queue", "must be 1 to 128 of a-z"),
        ({"queues": "a,B"}, "queues", "must be 1 to 128 of a-z"),
        ({"queues": ","}, "queues", "names none"),
        ({"queues": ",".join(f"q{number}" for number in range(101))}, "queues", "at most 100"),
        ({"queue": "a", "kinds": "Resize"}, "kinds", "must be 1 to 128 of a-z"),
        ({"queue": "a", "kinds": ""}, "kinds", "names none"),
        ({"queue": "a", "slotsPerReplica": "0"}, "slotsPerReplica", "from 1 to 1000000"),
        ({"queue": "a", "slotsPerReplica": "ten"}, "slotsPerReplica", "from 1 to 1000000"),
        ({"queue": "a", "slotsPerReplica": "1_0"}, "slotsPerReplica", "from 1 to 1000000"),
        ({"queue": "a", "slotsPerReplica": "1" * 5000}, "slotsPerReplica", "from 1 to 1000000"),
        ({"queue": "a", "activationSlots": "-1"}, "activationSlots", "from 0 to 1000000"),
        ({"queue": "a", "slotPerReplica": "5"}, "slotPerReplica", "known are queue, queues, kinds"),
    ],
)
@pytest.mark.any_engine
async def test_a_wrong_trigger_is_told_which_field_is_wrong(
    place: Place, metadata: dict[str, str], field: str, words: str
) -> None:
    for method in ("IsActive", "GetMetricSpec"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await ask(place, method, ref(**metadata))
        assert reason_of(refused.value) == "FIELD_INVALID"
        details = refused.value.details() or ""
        assert f"scalerMetadata.{field}: " in details
        assert words in details
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await wanted(place, **metadata)
    assert f"scaledObjectRef.scalerMetadata.{field}: " in (refused.value.details() or "")


@pytest.mark.any_engine
async def test_another_metric_is_refused_by_its_name(place: Place) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(
            place, "GetMetrics", pb.GetMetricsRequest(scaledObjectRef=ref(queue="a"), metricName="depth")
        )
    assert refused.value.details() == "metricName: must be wanted_slots, the one metric that there is"


@pytest.mark.any_engine
async def test_a_value_from_the_environment_of_the_workers_counts(place: Place) -> None:
    await place.batch(2, queue="mail")
    assert await wanted(place, queueFromEnv="mail") == 2
