"""What a caller is told of how it is going: of queues and kinds that it may read, and of its own namespace."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobqueue.v1 import overview_pb2, stats_pb2
from jobqueue_server.core.events.tallies import COUNTS
from jobqueue_server.grants import Permission
from tests.lease.place import Caller, eventually
from tests.lease.statistics import stats

from .house import ALL, House, grant

READ = Permission.READ


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


async def overview(caller: Caller) -> overview_pb2.Overview:
    answer = await caller.insight.GetOverview(overview_pb2.GetOverviewRequest())
    found: overview_pb2.Overview = answer.overview
    return found


async def full(house: House) -> overview_pb2.Overview:
    """The overview of who sees all, once the depths are in it."""

    async def look() -> overview_pb2.Overview | None:
        found = await overview(house)
        return found if found.depth.queued == 4 and found.flow.enqueued else None

    found: overview_pb2.Overview = await eventually(look, timeout=40)
    return found


@pytest.mark.slow
async def test_queues_kinds_counts_and_warnings_that_a_caller_may_not_read_are_not_there(
    house: House,
) -> None:
    for kind, queue in (("scale", "images"), ("crop", "images"), ("send", "mail"), ("send", "secret")):
        await house.enqueue(kind, queue=queue)
    await house.app.stats.slices.stop()
    everything = await full(house)
    assert {queue.queue for queue in everything.queues} == {"images", "mail", "secret"}
    assert {warning.queue for warning in everything.warnings} == {"images", "mail", "secret"}
    few = await house.caller(grant(READ, "images", "scale"), grant(READ, "mail"))
    found = await overview(few)
    assert {queue.queue: queue.depth.queued for queue in found.queues} == {"images": 1, "mail": 1}
    assert (found.depth.queued, found.flow.enqueued) == (2, 2 / 20)
    assert "secret" not in str(found)
    assert "crop" not in str(found)

    series = (await stats(few, group_by=stats_pb2.GROUP_BY_QUEUE_AND_KIND)).series
    assert {(each.queue, each.kind) for each in series} == {("images", "scale"), ("mail", "send")}
    (whole,) = (await stats(few)).series
    assert whole.totals.enqueued == 2
    assert not (await stats(few, queue="secret")).series
    assert (await few.insight.CountJobs(stats_pb2.CountJobsRequest())).count == 2
    assert (await house.insight.CountJobs(stats_pb2.CountJobsRequest())).count == 4


async def test_what_is_counted_together_of_many_lanes_is_for_those_who_may_read_all_of_them(
    house: House,
) -> None:
    await house.enqueue("send", queue="mail")
    zeros = ", ".join("5" if name == "enqueued" else "0" for name in COUNTS)
    await house.sql(
        f"insert into lane_stat (width_s, at, lane_id, server_id, {', '.join(COUNTS)})"
        f" values (10, date_bin('10 s', now() - interval '1 min', 'epoch'), -1, 1, {zeros})"
    )
    (series,) = (await stats(house)).series
    assert series.totals.enqueued == 5
    most = await house.caller(grant(READ, "mail"), grant(READ, "images*"))
    assert not (await stats(most)).series
    reader = await house.caller(grant(READ))
    assert (await stats(reader)).series[0].totals.enqueued == 5
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    assert not (await stats(them)).series


async def test_workers_of_another_namespace_are_in_no_number(house: House) -> None:
    them = await house.caller(grant(ALL), namespace=await house.namespace("beta"))
    await them.worker(queues={"images": ["scale"]}, slots=7)

    async def look() -> bool:
        return (await overview(them)).workers.slots == 7

    await eventually(look)
    found = await overview(house)
    assert (found.workers.slots, found.servers[0].slots) == (0, 0)
    assert (await overview(them)).servers[0].slots == 7


async def test_a_caller_that_may_read_some_kinds_is_told_of_no_worker_of_the_others(house: House) -> None:
    await house.enqueue("scale", queue="images")
    await house.enqueue("crop", queue="images")
    await house.worker(queues={"images": ["scale"]}, slots=2)
    await house.worker(queues={"images": ["crop"], "secret": ["send"]}, slots=5)

    async def look() -> overview_pb2.Overview | None:
        found = await overview(house)
        return found if found.workers.slots == 7 and found.queues else None

    found = await eventually(look)
    assert [(each.workers, each.slots) for each in found.queues] == [(2, 7)]
    whole = await overview(await house.caller(grant(READ, "images")))
    assert [(each.workers, each.slots) for each in whole.queues] == [(2, 7)]
    few = await house.caller(grant(READ, "images", "scale"))
    found = await overview(few)
    assert [(each.workers, each.slots) for each in found.queues] == [(1, 2)]
    assert (found.workers.sessions, found.workers.slots) == (1, 2)
    # Nor how many there are in all, of which queue ever.
    listed = (await few.insight.ListServers(overview_pb2.ListServersRequest())).servers
    for servers in (found.servers, listed):
        assert [(each.sessions, each.slots, each.free_slots) for each in servers] == [(0, 0, 0)]
    (server,) = (await house.insight.ListServers(overview_pb2.ListServersRequest())).servers
    assert (server.sessions, server.slots) == (2, 7)
