"""Batches with keys or names go several at once, and single jobs with both share inserts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from jobqueue.v1 import job_pb2, jobqueue_pb2, lease_pb2, queue_admin_pb2
from jobqueue_server.core.intake.digest import key_digest
from jobqueue_server.core.intake.slow_lane import groups_of
from jobqueue_server.store.intake.intake import IntakeStore
from tests.access.house import ALL, House, grant
from tests.lease.hand_worker import PATIENCE
from tests.lease.place import Caller, Place, eventually

WAITING = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


async def batch(caller: Caller, key: str) -> None:
    """Two jobs of a key, each with an idempotency key."""
    jobs = [
        job_pb2.NewJob(kind="work", queue="mail", key=key, payload_json=b"{}", idempotency_key=str(uuid4()))
        for _ in range(2)
    ]
    await caller.stub.BatchEnqueueJobs(jobqueue_pb2.BatchEnqueueJobsRequest(jobs=jobs), timeout=PATIENCE)


@asynccontextmanager
async def locked(place: Place, dsn: str, key: str) -> AsyncIterator[None]:
    """Another transaction has the row of a key, of which jobs are counted."""
    await place.admin.UpdateQueue(
        queue_admin_pb2.UpdateQueueRequest(
            queue=queue_admin_pb2.Queue(name="mail", key_policy=queue_admin_pb2.KeyPolicy(max_running=1)),
            update_mask=FieldMask(paths=["key_policy"]),
            allow_missing=True,
        )
    )
    await batch(place, key)
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            # The only one that there is.
            assert len(await connection.fetch("select from semaphore for update")) == 1
            yield
    finally:
        await connection.close()


async def test_a_locked_key_of_one_principal_keeps_no_batch_of_another_waiting(dsn: str) -> None:
    async with House(dsn) as house:
        greedy, modest = await house.caller(grant(ALL)), await house.caller(grant(ALL))
        async with locked(house, dsn, "locked"):
            stuck = [asyncio.create_task(batch(greedy, "locked")) for _ in range(8)]
            await eventually(lambda: house.value(WAITING))
            for number in range(3):
                await batch(modest, f"free {number}")
            assert not any(each.done() for each in stuck)
        await asyncio.gather(*stuck)


async def test_a_locked_key_keeps_no_batch_of_its_own_principal_waiting(dsn: str) -> None:
    async with House(dsn) as house:
        caller = await house.caller(grant(ALL))
        async with locked(house, dsn, "locked"):
            stuck = asyncio.create_task(batch(caller, "locked"))
            await eventually(lambda: house.value(WAITING))
            await batch(caller, "free")
            assert not stuck.done()
        await stuck


@asynccontextmanager
async def locked_key(place: Place, dsn: str) -> AsyncIterator[None]:
    """Another server is just storing the idempotency key `locked`."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(
                "insert into idempotency_key (namespace_id, key_digest, owner, job_id, request_digest, expires_at) "
                "values (1, $1, '', gen_random_uuid(), '', now())",
                key_digest(1, "locked"),
            )
            yield
    finally:
        await connection.close()


async def test_a_locked_key_keeps_no_single_job_of_another_key_waiting(dsn: str) -> None:
    async with Place(dsn) as place:
        async with locked(place, dsn, "locked"):
            stuck = asyncio.create_task(place.enqueue(queue="mail", key="locked"))
            await eventually(lambda: place.value(WAITING))
            for number in range(3):
                await place.enqueue(queue="mail", key=f"free {number}")
            assert not stuck.done()
        await stuck


async def test_a_locked_idempotency_key_keeps_no_single_job_of_another_waiting(dsn: str) -> None:
    async with Place(dsn) as place:
        async with locked_key(place, dsn):
            stuck = asyncio.create_task(place.enqueue(idempotency_key="locked"))
            await eventually(lambda: place.value(WAITING))
            for number in range(3):
                await place.enqueue(idempotency_key=f"free {number}")
            assert not stuck.done()
        await stuck


async def test_a_locked_name_keeps_no_unique_job_of_another_name_waiting(dsn: str) -> None:
    async with Place(dsn) as place:
        await unique(place, "locked", "first")
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            assert len(await connection.fetch("select from unique_hold for update")) == 1
            stuck = asyncio.create_task(unique(place, "locked", "second"))
            await eventually(lambda: place.value(WAITING))
            for number in range(3):
                await unique(place, f"free {number}", f"key {number}")
            assert not stuck.done()
        await connection.close()
        await stuck


@asynccontextmanager
async def one_insert(place: Place, monkeypatch: pytest.MonkeyPatch, jobs: int) -> AsyncIterator[None]:
    """What is enqueued within it goes in one insert, once all of it is in line."""
    hand_off = place.app.claim.hand_off
    room, all_came = hand_off.room_for_insert, asyncio.Event()

    async def waits() -> int:
        await all_came.wait()
        most: int = await room()
        return most

    monkeypatch.setattr(hand_off, "room_for_insert", waits)
    yield
    await eventually(lambda: asyncio.sleep(0, place.app.intake.waiting.jobs == jobs))
    all_came.set()


@pytest.mark.parametrize("form", ["key", "idempotency key", "name"])
async def test_calls_that_share_an_insert_with_a_locked_row_do_not_wait_for_it(
    dsn: str, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    async with Place(dsn) as place:

        async def call(name: str) -> None:
            if form == "key":
                await place.enqueue(queue="mail", key=name)
            elif form == "name":
                await unique(place, name, f"of {name}")
            else:
                await place.enqueue(idempotency_key=name)

        await unique(place, "locked", "before")
        # Of the three rows each form meets its own.
        async with locked(place, dsn, "locked"), locked_key(place, dsn):
            connection = await asyncpg.connect(dsn)
            async with connection.transaction():
                await connection.fetch("select from unique_hold for update")
                async with one_insert(place, monkeypatch, 41):
                    others = [asyncio.create_task(call(f"free {number}")) for number in range(20)]
                    stuck = asyncio.create_task(call("locked"))
                    others += [asyncio.create_task(call(f"free {number + 20}")) for number in range(20)]
                await asyncio.gather(*others)
                assert not stuck.done()
            await connection.close()
        await stuck
        assert place.app.intake.waiting.jobs == 0


async def test_where_many_rows_are_locked_all_calls_are_answered_once_they_are_free(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Place(dsn) as place:
        keys = [str(number) for number in range(40)]
        await asyncio.gather(*(place.enqueue(idempotency_key=key) for key in keys))
        connection = await asyncpg.connect(dsn)
        async with connection.transaction():
            # Each of them is free again once this has ended.
            await connection.execute("update idempotency_key set expires_at = now()")
            async with one_insert(place, monkeypatch, 40):
                calls = [asyncio.create_task(place.enqueue(idempotency_key=key)) for key in keys]
            slow_lane = place.app.intake._slow_lane
            await eventually(lambda: asyncio.sleep(0, bool(slow_lane._tasks)))
            assert not any(call.done() for call in calls)
        await connection.close()
        await asyncio.gather(*calls)
        assert await place.value("select count(*) from job") == 80


def test_batches_that_want_the_same_rows_are_one_group() -> None:
    def of(*wants: int) -> Any:
        row = SimpleNamespace(key_digest=None, name=None, semaphore_ids=list(wants))
        return SimpleNamespace(rows=[row])

    one, two, three, four, free = of(1), of(2), of(3, 4), of(2, 3), of()
    groups = groups_of([one, two, three, free, four])
    assert [set(map(id, group)) for group in groups] == [
        {id(one)},
        {id(two), id(three), id(four)},
        {id(free)},
    ]


async def test_what_wants_a_locked_key_waits_for_it_once_and_is_stored_when_it_is_free(dsn: str) -> None:
    async with Place(dsn) as place:
        async with locked(place, dsn, "locked"):
            stuck = [asyncio.create_task(place.enqueue(queue="mail", key="locked"))]
            await eventually(lambda: place.value(WAITING))
            stuck += [asyncio.create_task(place.enqueue(queue="mail", key="locked")) for _ in range(20)]
            await place.enqueue(queue="mail", key="free")
            # None of them takes a connection.
            assert await place.value(WAITING) == 1
            assert not any(each.done() for each in stuck)
        await asyncio.gather(*stuck)
        assert place.app.intake.waiting.jobs == 0
        assert not place.app.intake._slow_lane.beside.slow


async def test_a_caller_that_gives_up_behind_a_locked_key_stores_nothing(dsn: str) -> None:
    async with Place(dsn) as place:
        async with locked(place, dsn, "locked"):
            stuck = asyncio.create_task(place.enqueue(queue="mail", key="locked"))
            await eventually(lambda: place.value(WAITING))
            behind = asyncio.create_task(place.enqueue("gone", queue="mail", key="locked"))
            await eventually(
                lambda: asyncio.sleep(0, any(each.behind for each in place.app.intake._slow_lane.beside.slow))
            )
            behind.cancel()
            await eventually(lambda: asyncio.sleep(0, place.app.intake.waiting.jobs == 1))
        await stuck
        await place.enqueue(queue="mail", key="locked")
        # The two of before, and those of the callers that waited for their answers.
        assert await place.value("select count(*) from job") == 4


async def test_a_follow_up_that_waits_for_a_locked_idempotency_key_keeps_no_other_waiting(dsn: str) -> None:
    async with Place(dsn) as place:
        slow_worker, worker = await place.worker(), await place.worker()
        await place.batch(2)
        first, second = await slow_worker.job(), await worker.job()
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                # Another server is just storing this key.
                await connection.execute(
                    "insert into idempotency_key (namespace_id, key_digest, owner, job_id, request_digest, expires_at) "
                    "values (1, $1, '', gen_random_uuid(), '', now())",
                    key_digest(1, "k"),
                )
                slow = asyncio.create_task(slow_worker.settle(outcomes=[outcome(first, "k")]))
                await eventually(lambda: place.value(WAITING))
                await worker.settle(outcomes=[outcome(second, "another")])
                assert (await place.get(second.id)).status == job_pb2.Job.SUCCEEDED
                assert not slow.done()
            await slow
        finally:
            await connection.close()


def outcome(leased: lease_pb2.LeasedJob, key: str) -> lease_pb2.Outcome:
    """A success with a job that follows, which has an idempotency key."""
    new = job_pb2.NewJob(kind="next", payload_json=b"{}", idempotency_key=key)
    return lease_pb2.Outcome(lease_id=leased.lease_id, success=lease_pb2.Success(follow_ups=[new]))


async def test_single_jobs_with_a_name_and_an_idempotency_key_share_an_insert(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inserts: list[int] = []
    take_names = IntakeStore.take_names

    async def counted(self: IntakeStore, wanted: Any, session: Any) -> Any:
        inserts.append(len(wanted))
        return await take_names(self, wanted, session)

    monkeypatch.setattr(IntakeStore, "take_names", counted)
    async with Place(dsn) as place:
        # Else they are tried in halves, where this takes long.
        place.app.intake._slow_lane.patience = timedelta(minutes=1)
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction():
                await connection.execute("lock table job in exclusive mode")
                first = asyncio.create_task(unique(place, "first", "first"))
                await eventually(lambda: place.value(WAITING))
                others = [
                    asyncio.create_task(unique(place, f"n{number % 25 % 20}", f"k{number % 25}"))
                    for number in range(50)
                ]
                # Of each key one is in line, and the others wait for what comes of it.
                await eventually(lambda: asyncio.sleep(0, place.app.intake.waiting.jobs == 26))
            answers = [await each for each in (first, *others)]
        finally:
            await connection.close()
        # The first one, two beside it, and what came after.
        assert len(inserts) <= 4
        assert len({answer.job.id for answer in answers}) == 21
        assert await place.value("select count(*) from job") == 21
        # A key whose job was not stored stands for the one that holds the name.
        again = await unique(place, "n3", "k23")
        assert again.replayed
        assert again.job.id == (await unique(place, "n3", "k3")).job.id


async def unique(caller: Caller, name: str, key: str) -> jobqueue_pb2.EnqueueJobResponse:
    """Enqueues a job with a name and an idempotency key."""
    job = job_pb2.NewJob(
        kind="work", payload_json=b"{}", idempotency_key=key, unique=job_pb2.Unique(key=name)
    )
    answer: jobqueue_pb2.EnqueueJobResponse = await caller.stub.EnqueueJob(
        jobqueue_pb2.EnqueueJobRequest(job=job), timeout=PATIENCE
    )
    return answer
