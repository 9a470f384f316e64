"""One principal with much to do keeps no other waiting: steps of operations, and rounds of schedules.

Each test has a greedy principal, and a modest one whose own work is to be done within a time that is generous even on a
machine that is busy. Without turns it would take hours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.longrunning import operations_pb2 as lro_pb
from google.protobuf.duration_pb2 import Duration

from jobqueue.v1 import bulk_pb2, queue_admin_pb2
from jobqueue.v1.schedule_pb2 import ScheduleRun
from jobqueue_server.grants import Permission
from tests.access.house import House, grant
from tests.lease.hand_worker import PATIENCE
from tests.lease.place import Caller, eventually

from .schedules import create, get, policy, spec

SCHEDULER = Permission.READ | Permission.OPERATE | Permission.ENQUEUE


@pytest.fixture
async def house(dsn: str) -> AsyncIterator[House]:
    async with House(dsn) as house:
        yield house


async def cancel(caller: Caller, queue: str, **more: Any) -> str:
    request = bulk_pb2.CancelJobsRequest(filter=bulk_pb2.JobFilter(queue=queue), force=True, **more)
    name: str = (await caller.bulk.CancelJobs(request, timeout=PATIENCE)).operation.name
    return name


async def changed(caller: Caller, name: str) -> int:
    operation = await caller.operations.GetOperation(lro_pb.GetOperationRequest(name=name), timeout=PATIENCE)
    metadata = bulk_pb2.BulkMetadata()
    assert operation.metadata.Unpack(metadata)
    return metadata.changed


async def seconds_to_cancel(caller: Caller, queue: str, jobs: int) -> float:
    """From the request of a modest principal to the end of its operation."""
    began = time.monotonic()
    name = await cancel(caller, queue)
    request = lro_pb.WaitOperationRequest(name=name, timeout=Duration(seconds=20))
    ended = await caller.operations.WaitOperation(request, timeout=60)
    assert ended.done
    assert await changed(caller, name) == jobs
    return time.monotonic() - began


@pytest.mark.parametrize("per_second", [1, 0])
async def test_operations_of_one_principal_do_not_keep_that_of_another_waiting(
    house: House, per_second: int
) -> None:
    greedy = await house.caller(grant(SCHEDULER, "greedy"))
    modest = await house.caller(grant(SCHEDULER, "modest"))
    for _ in range(4):
        await house.batch(1000, queue="greedy")
    # None of them is done before the test is: a job a second, or a filter that finds what the one before it has left.
    begun = [await cancel(greedy, "greedy", per_second=per_second) for _ in range(12)]

    async def all_begun() -> bool:
        return sum([await changed(greedy, name) > 0 for name in begun]) >= (4 if per_second else 1)

    await eventually(all_begun)
    for number in range(3):
        await house.batch(20, queue="modest")
        assert await seconds_to_cancel(modest, "modest", 20) < 5, f"its operation {number}"
    if per_second:
        # All twelve have their steps in turn, also where they are more than there are places.
        async def each_goes_on() -> bool:
            return all([await changed(greedy, name) > 1 for name in begun])

        await eventually(each_goes_on)


async def test_an_operation_that_rests_for_its_pace_takes_no_place(house: House) -> None:
    await house.batch(500, queue="slow")
    await cancel(house, "slow", per_second=1)

    async def is_nobodys() -> bool:
        return bool(
            await house.value("select owner is null and state = 2 and next_at > now() from operation")
        )

    await eventually(is_nobodys)


async def full_key(house: House, queue: str) -> None:
    """A key of a queue that has as many waiting jobs as it may: one more is refused by the statement itself."""
    await house.enqueue(queue=queue)
    await house.admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(
                name=queue, key_policy=queue_admin_pb2.KeyPolicy(max_running=1, max_waiting=1)
            )
        )
    )
    for _ in range(2):
        await house.enqueue(queue=queue, key="full")


async def lags(house: House, name: str) -> list[float]:
    """How late the ticks of a schedule were decided, in seconds."""
    rows = await house.sql(
        "select extract(epoch from r.decided_at - r.tick)::float8 as late from schedule_run r"
        " join schedule s on s.id = r.schedule_id where s.name = $1 and r.outcome = 1 order by r.tick",
        name,
    )
    return [row["late"] for row in rows]


async def fired(house: House, name: str, times: int) -> list[float]:
    async def look() -> list[float] | None:
        found = await lags(house, name)
        return found if len(found) >= times else None

    found: list[float] = await eventually(look, 3 * PATIENCE)
    return found


async def test_two_hundred_schedules_that_fail_keep_a_good_one_from_none_of_its_times(house: House) -> None:
    greedy = await house.caller(grant(SCHEDULER))
    modest = await house.caller(grant(SCHEDULER, "modest"))
    await full_key(house, "greedy")
    for number in range(200):
        await create(
            greedy, f"bad-{number}", spec(every=1), queue="greedy", key="full", policy=policy(overlap="ALLOW")
        )
    await create(modest, "good", spec(every=1), queue="modest", policy=policy(overlap="ALLOW"))
    await fired(house, "good", 10)
    assert (await get(house, "good")).skipped_in_a_row == 0
    runs = await house.sql(
        "select distinct r.outcome from schedule_run r join schedule s on s.id = r.schedule_id where s.name = 'good'"
    )
    assert [row["outcome"] for row in runs] == [ScheduleRun.FIRED]
    late = sorted(await lags(house, "good"))
    assert late[len(late) // 2] < 1, f"it was late: {late}"
    # Those that failed say why.
    bad = (await get(house, "bad-7")).last_run
    assert bad.outcome == ScheduleRun.REFUSED
    assert "wait for its key" in bad.note


async def test_a_schedule_whose_job_the_database_refuses_is_set_aside_with_its_error(house: House) -> None:
    for name in ("bad", "good"):
        await create(house, name, spec(every=1), queue="q", policy=policy(overlap="ALLOW"))
    # As a bug would have it: the statement that stores the job fails, and with it all that it stores.
    await house.sql("update schedule set job = job || '{\"priority\": 40000}' where name = 'bad'")
    await fired(house, "good", 4)
    bad = await get(house, "bad")
    assert bad.last_run.outcome == ScheduleRun.REFUSED
    assert bad.last_run.note
    assert (bad.fired, bad.paused) == (0, False)
    assert (await get(house, "good")).skipped_in_a_row == 0
    await house.sql("update schedule set job = job - 'priority' where name = 'bad'")
    await fired(house, "bad", 1)


async def test_a_row_that_a_server_can_not_read_is_passed_over(house: House) -> None:
    for name in ("newer", "good"):
        await create(house, name, spec(every=1), queue="q", policy=policy(overlap="ALLOW"))
    await house.sql("update schedule set policy = policy || '{\"overlap\": 77}' where name = 'newer'")
    await fired(house, "good", 4)
    assert await house.value("select count(*) from schedule where paused_at is not null") == 0
    await house.sql("update schedule set policy = policy || '{\"overlap\": 1}' where name = 'newer'")
    await fired(house, "newer", 1)


FILL = """
insert into schedule (
    namespace_id, name, queue, kind, spec, job, payload, policy, time_zones, next_at, principal
)
select 1, 's' || i, 'greedy', 'work', '{"every_us": 3600000000}', '{}', '1',
    '{"overlap": 1, "catch_up_window_us": 86400000000, "catch_up": 1, "pause_after_failures": 0, "keep_runs": 100}',
    '2026a', now() - interval '1 hour', $2
from generate_series(1, $1::int4) i
"""


async def test_ten_thousand_schedules_that_are_due_do_not_delay_the_one_of_another(house: House) -> None:
    modest = await house.caller(grant(SCHEDULER, "modest"))
    greedy = await house.key(grant(SCHEDULER, "greedy"))
    await create(modest, "one", spec(every=3600), queue="modest")
    await house.sql(FILL, 10_000, f"key:{greedy.id}")
    await house.value("update schedule set next_at = now() where name = 'one'")
    house.app.schedule.firer.wake()
    await fired(house, "one", 1)
    assert await house.value("select count(*) from schedule_run") < 5_000
