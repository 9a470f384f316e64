"""Keys that take turns: the policy, who starts when, and what is said of who waits."""

from __future__ import annotations

import aiohttp
import pytest

from jobqueue.v1 import insight_pb2
from jobqueue.v1.queue_admin_pb2 import KeyPolicy
from jobqueue_server.core.tuning import Tuning
from tests.lease.place import Place, eventually

from .test_key_order import explained, put, takes
from .test_key_policy import read, update

pytestmark = pytest.mark.any_engine


@pytest.fixture
async def fair(place: Place) -> Place:
    """A server with a queue `mail` whose keys take turns."""
    await update(place, fair=True, make=True)
    return place


async def in_line(place: Place) -> int:
    return int(await place.value("select count(*) from live_job where state = 1"))


async def test_turns_are_set_shown_and_taken_back(fair: Place) -> None:
    assert (await read(fair)).key_policy == KeyPolicy(fair=True)
    both = await update(fair, max_running=3)
    assert both.key_policy == KeyPolicy(fair=True, max_running=3)
    assert (await update(fair, fair=False)).key_policy == KeyPolicy(max_running=3)
    again = await update(fair, "key_policy", fair=True)
    assert again.key_policy == KeyPolicy(fair=True)
    assert not (await update(fair, "key_policy.fair")).HasField("key_policy")


async def test_over_rest_what_is_not_fair_says_nothing_of_it(dsn: str) -> None:
    async with Place(dsn, http_addr="127.0.0.1:0") as place, aiohttp.ClientSession() as http:
        url = f"http://127.0.0.1:{place.app.http_port}/v1/queues/mail?allow_missing=true"
        for said, shown in ((True, True), (False, None)):
            body = {"key_policy": {"fair": said, "max_running": 2}}
            async with http.patch(url, json=body) as answer:
                assert (await answer.json())["key_policy"].get("fair") is shown
        async with http.patch(url, json={"key_policy": {"fair": 1}}) as answer:
            assert answer.status == 400
            assert "fair" in await answer.text()


async def test_a_key_that_came_later_has_its_turn_before_those_that_wait(fair: Place) -> None:
    first = [await put(fair, key="a") for _ in range(4)]
    late = await put(fair, key="b")
    worker = await takes(fair, slots=1)
    started = []
    for _ in range(3):
        leased = await worker.job()
        started.append(leased.id)
        if leased.id == first[0]:
            # The next one of its key stands behind the other key.
            await eventually(lambda: two_in_line(fair))
        await worker.succeed(leased)
    assert started == [first[0], late, first[1]]


async def two_in_line(place: Place) -> bool:
    return await in_line(place) == 2


async def test_one_key_alone_gets_all_slots(fair: Place) -> None:
    ids = {await put(fair, key="a") for _ in range(12)}
    worker = await takes(fair, slots=10)
    assert {(await worker.job()).id for _ in range(10)} < ids
    await worker.no_job()


async def test_a_job_that_starts_gives_its_place_to_the_next_one_of_its_key_and_no_sweep_is_waited_for(
    dsn: str,
) -> None:
    async with Place(dsn, tuning=Tuning(keys_sweep_every=3600, keys_audit_every=3600)) as place:
        await update(place, fair=True, make=True)
        ids = [await put(place, key="a") for _ in range(6)]
        worker = await takes(place, slots=8)
        # None of them ends, which would let the next one in as well.
        assert [(await worker.job()).id for _ in ids] == ids


async def test_a_job_without_a_key_goes_as_ever(fair: Place) -> None:
    await put(fair, key="a")
    await put(fair, key="a")
    without = (await fair.enqueue(queue="mail")).id
    worker = await takes(fair, slots=2)
    await worker.job()
    assert (await worker.job()).id == without


async def test_who_waits_for_the_turn_of_its_key_is_told_so(fair: Place) -> None:
    await put(fair, key="a")
    await put(fair, key="a")
    waits = await put(fair, key="a")
    answer = await explained(fair, waits)
    codes = [insight_pb2.Reason.Code.Name(reason.code) for reason in answer.reasons]
    assert codes == ["KEY_TURN", "NO_WORKER"]
    assert answer.reasons[0].message == "other jobs of its key a have the turn; 1 of the key go before it"
    assert list(answer.reasons[0].unblocked_by) == ["turns of its key", "UpdateQueue mail"]
    assert answer.reasons[0].key.ahead == 1


async def test_jobs_that_wait_for_their_turn_want_slots(fair: Place) -> None:
    for _ in range(5):
        await put(fair, key="a")
    request = insight_pb2.GetQueueDemandRequest(queue="mail")
    demand = await fair.insight.GetQueueDemand(request)
    assert (demand.runnable, demand.wanted_slots, demand.held_by_key) == (5, 5, 0)


async def test_jobs_that_wait_for_a_limit_and_a_turn_want_none(fair: Place) -> None:
    await update(fair, max_running=1)
    for _ in range(5):
        await put(fair, key="a")
    request = insight_pb2.GetQueueDemandRequest(queue="mail")
    demand = await fair.insight.GetQueueDemand(request)
    assert (demand.runnable, demand.held_by_key) == (1, 4)
