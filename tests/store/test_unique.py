"""A name is held by one job: it is locked, then judged by what the job does now; an enqueue alone changes it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from jobqueue_server.core.intake.names import UniqueNames, name_of
from jobqueue_server.model import REPLACED, OnConflict, Unique, UniqueField, Until
from jobqueue_server.store.intake.intake import Name, NameHolder, NewRows
from jobqueue_server.store.upkeep.retention import RetentionStore

from .factories import key_digest, look, new_row, store_named, until_waiting_for_a_lock
from .stored import SCOPE, Stored, right
from .test_fields import views


def named(
    s: Stored,
    lane: Any,
    name: str = "user-7",
    until: Until = Until.STARTS,
    period: timedelta | None = None,
    **fields: Any,
) -> NewRows:
    row = new_row(s, lane, **fields)
    row.of_name(Name(key_digest(name), Unique(name, until=until, period=period)))
    return row


def wants(row: NewRows) -> dict[bytes, NewRows]:
    return {name_of(row).digest: row}


@pytest.fixture(params=[False, True], ids=["free", "read"])
def read_first(request: pytest.FixtureRequest) -> bool:
    """Whether names are read first, or taken first where they are free."""
    return bool(request.param)


@pytest.fixture
def s(s: Stored, read_first: bool) -> Stored:
    """The stores, and names of which most were held by the call before, or not."""
    s.names = UniqueNames(s.intake)  # type: ignore[attr-defined]
    s.names._mostly_held = read_first  # type: ignore[attr-defined]
    return s


async def enqueue(s: Any, *rows: NewRows) -> list[UUID]:
    """The job that stands for each of the rows afterwards."""
    read_first = s.names._mostly_held
    stored = await store_named(s.names, rows)
    s.names._mostly_held = read_first
    assert set(stored.conflicts) == stored.lost_keys
    return [stored.conflicts[row.id].job_id if row.id in stored.conflicts else row.id for row in rows]


async def jobs(s: Stored) -> int:
    count: int = await s.sql.fetchval("select count(*) from job")
    return count


async def claim(s: Stored, lane: Any, session: Any) -> list[UUID]:
    rows = await s.claims.claim([look(lane)], [session[0]], dict([session]))
    return [row["id"] for row in rows]


async def age(s: Stored, seconds: float) -> None:
    """As if so much time had passed for every name."""
    await s.sql.execute(
        "update unique_hold set holds_until = holds_until - $1::interval", timedelta(seconds=seconds)
    )


async def test_a_second_job_of_a_name_is_not_stored_and_told_who_holds_it(s):
    lane = await s.lane()
    (first,) = await enqueue(s, named(s, lane))
    (second,) = await enqueue(s, named(s, lane))
    (other,) = await enqueue(s, named(s, lane, "user-8"))
    assert second == first != other
    assert await jobs(s) == 2


async def test_a_job_keeps_its_name_and_another_one_keeps_nothing(s):
    lane, key = await s.lane(), 'user "7"'
    row = named(s, lane, key, Until.ENDS)
    await enqueue(s, row)
    assert {job.unique_key for job, _ in (await views(s, row.id)).values()} == {key}
    name = {"digest": name_of(row).digest.hex(), "until": 2, "scope": 1, "key": key}
    assert json.loads(await s.sql.fetchval("select unique_name::text from job")) == name
    plain = new_row(s, lane)
    await s.intake.enqueue([plain])
    assert {job.unique_key for job, _ in (await views(s, plain.id)).values()} == {None}
    assert await s.sql.fetchval("select count(unique_name) from job") == 1


async def test_where_names_were_held_before_no_lock_is_waited_for(s):
    lane, names = await s.lane(), UniqueNames(s.intake)
    rows = [named(s, lane) for _ in range(3)]
    await store_named(names, rows[:1])
    await store_named(names, rows[1:2])  # which is refused, so that the next call looks first
    async with s.intake.transaction() as session:
        await s.intake.take_names(wants(rows[0]), session)
        stored = await asyncio.wait_for(store_named(names, rows[2:]), 30)
    assert stored.conflicts[rows[2].id].job_id == rows[0].id
    assert stored.lost_keys == {rows[2].id}
    assert abs(stored.at - right()) < timedelta(minutes=1)
    assert await jobs(s) == 1


async def test_of_two_of_a_name_in_one_insert_the_first_is_stored(s):
    lane = await s.lane()
    rows = [named(s, lane), named(s, lane, "user-8"), named(s, lane)]
    assert await enqueue(s, *rows) == [rows[0].id, rows[1].id, rows[0].id]
    assert await jobs(s) == 2


async def test_until_it_starts_one_waits_beside_one_that_runs(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane))
    assert await claim(s, lane, session) == [first]
    (second,) = await enqueue(s, named(s, lane))
    (third,) = await enqueue(s, named(s, lane))
    assert second == third != first


async def test_until_it_ends_a_running_job_holds_its_name_and_an_ended_one_does_not(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane, until=Until.ENDS))
    assert await claim(s, lane, session) == [first]
    assert await enqueue(s, named(s, lane, until=Until.ENDS)) == [first]
    await s.sql.execute("delete from live_job where id = $1", first)
    assert await enqueue(s, named(s, lane, until=Until.ENDS)) != [first]


async def test_for_a_period_a_name_is_held_whatever_became_of_the_job(s):
    lane, minutes = await s.lane(), timedelta(minutes=10)
    (first,) = await enqueue(s, named(s, lane, until=Until.PERIOD, period=minutes))
    await s.sql.execute("delete from live_job")
    await age(s, 599)
    assert await enqueue(s, named(s, lane, until=Until.PERIOD, period=minutes)) == [first]
    await age(s, 1.01)
    (second,) = await enqueue(s, named(s, lane, until=Until.PERIOD, period=minutes))
    assert second != first
    # A whole period anew, although the job of the first one is not over.
    await age(s, 599)
    assert await enqueue(s, named(s, lane, until=Until.PERIOD, period=minutes)) == [second]


async def test_a_period_alone_lets_go_of_a_name_while_its_job_still_waits(s):
    lane = await s.lane()
    (first,) = await enqueue(s, named(s, lane, until=Until.PERIOD, period=timedelta(seconds=1)))
    await age(s, 1.01)
    assert await enqueue(s, named(s, lane, until=Until.PERIOD, period=timedelta(seconds=1))) != [first]


async def test_a_period_lengthens_a_hold_and_never_shortens_it(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane, period=timedelta(seconds=60)))
    assert await claim(s, lane, session) == [first]
    assert await enqueue(s, named(s, lane)) == [first]
    await age(s, 61)
    (second,) = await enqueue(s, named(s, lane, period=timedelta(seconds=60)))
    assert second != first
    await age(s, 61)
    assert await enqueue(s, named(s, lane)) == [second]


@pytest.mark.parametrize("later", [timedelta(hours=1), None], ids=["delayed", "now"])
async def test_a_job_that_waits_for_its_time_holds_its_name(s, later):
    lane = await s.lane()
    (first,) = await enqueue(s, named(s, lane, delay=later))
    assert await enqueue(s, named(s, lane)) == [first]


async def test_a_job_that_runs_and_waits_again_does_not_jam_and_the_newest_is_kept(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane))
    await claim(s, lane, session)
    (second,) = await enqueue(s, named(s, lane))
    await s.sql.execute(
        "update live_job set state = 1, session_id = null, deadline = null where id = $1", first
    )
    assert await enqueue(s, named(s, lane)) == [second]
    assert sorted(await claim(s, lane, session) + await claim(s, lane, session)) == sorted([first, second])


async def test_who_waits_for_a_winner_sees_the_job_that_it_stored(s):
    """The upsert's own snapshot is older than that job: judged by it, the name would look free."""
    lane = await s.lane()
    first, second = named(s, lane), named(s, lane)
    async with s.intake.transaction() as session:
        await s.intake.take_names(wants(first), session)
        await s.intake.enqueue([first], session)
        waits = asyncio.create_task(enqueue(s, second))
        await until_waiting_for_a_lock(s.sql)
    assert await waits == [first.id]
    assert await jobs(s) == 1


async def test_who_waits_to_take_over_a_name_sees_the_job_of_who_took_it_over_first(s):
    lane, session = await s.lane(), await s.session()
    await enqueue(s, named(s, lane))
    await claim(s, lane, session)
    first, second = named(s, lane), named(s, lane)
    async with s.intake.transaction() as transaction:
        wanted = wants(first)
        _, free = await s.intake.take_names(wanted, transaction)
        assert not free
        waits = asyncio.create_task(enqueue(s, second))
        await until_waiting_for_a_lock(s.sql)
        assert await s.intake.judge_names(wanted, [], transaction) == {}
        await s.intake.enqueue([first], transaction)
    assert await waits == [first.id]


async def test_the_winner_rolls_back_and_the_other_one_wins(s):
    lane = await s.lane()
    first, second = named(s, lane), named(s, lane)
    with pytest.raises(ZeroDivisionError):
        async with s.intake.transaction() as session:
            await s.intake.take_names(wants(first), session)
            await s.intake.enqueue([first], session)
            waits = asyncio.create_task(enqueue(s, second))
            await until_waiting_for_a_lock(s.sql)
            raise ZeroDivisionError
    assert await waits == [second.id]
    assert await jobs(s) == 1


async def test_names_in_opposite_orders_do_not_deadlock(s):
    lane = await s.lane()
    names = [f"user-{number}" for number in range(50)]

    async def some(order: list[str]) -> None:
        for _ in range(20):
            await enqueue(s, *[named(s, lane, name, Until.PERIOD, timedelta(hours=1)) for name in order])

    await asyncio.gather(some(names), some(names[::-1]), some(names[25:] + names[:25]))
    assert await jobs(s) == 50


async def test_a_claim_under_way_does_not_wait_for_an_enqueue_of_the_name(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane))
    second = named(s, lane)
    async with s.intake.transaction() as transaction:
        await s.intake.take_names(wants(second), transaction)
        assert await s.intake.judge_names(wants(second), [], transaction) == {
            key_digest("user-7"): NameHolder(first)
        }
        assert await claim(s, lane, session) == [first]
    assert await s.sql.fetchval("select job_id from unique_hold") == first


# ---- changes


def replacing(row: NewRows) -> NewRows:
    name = name_of(row)
    unique = replace(name.unique, on_conflict=OnConflict.REPLACE, replace=REPLACED)
    row.of_name(replace(name, unique=unique))
    return row


async def payload(s: Stored, job_id: UUID) -> bytes:
    stored: bytes = await s.sql.fetchval("select payload from job where id = $1", job_id)
    return stored


async def test_a_claim_under_way_is_waited_for_and_then_the_job_runs_and_is_not_replaced(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane))
    before = await payload(s, first)
    second = replacing(named(s, lane))
    async with s.sql.transaction():
        await s.sql.execute("update live_job set state = 2, session_id = $2 where id = $1", first, session[0])
        waits = asyncio.create_task(enqueue(s, second))
        await until_waiting_for_a_lock(s.sql)
    # It runs, so it let go of its name.
    assert await waits == [second.id]
    assert await payload(s, first) == before


async def test_a_claim_leaves_a_job_that_is_being_replaced_and_the_next_one_has_the_new_payload(s):
    lane, session = await s.lane(), await s.session()
    (first,) = await enqueue(s, named(s, lane))
    second = replacing(named(s, lane))
    second.payloads = [b'"new"']
    async with s.intake.transaction() as transaction:
        await s.intake.take_names(wants(second), transaction)
        held = await s.intake.judge_names(wants(second), list(wants(second)), transaction)
        assert held == {name_of(second).digest: NameHolder(first, True, lane.id, None)}
        (changed,) = await s.intake.change_jobs({first: {UniqueField.PAYLOAD: second}}, transaction)
        assert (changed.lane_id, changed.hold, changed.isolated) == (lane.id, None, False)
        assert await claim(s, lane, session) == []
    assert await claim(s, lane, session) == [first]
    assert await payload(s, first) == b'"new"'


async def test_the_one_that_replaces_rolls_back_and_the_job_is_as_it_was(s):
    lane = await s.lane()
    (first,) = await enqueue(s, named(s, lane))
    before = await payload(s, first)
    second = replacing(named(s, lane))
    second.payloads = [b'"new"']
    with pytest.raises(ZeroDivisionError):
        async with s.intake.transaction() as transaction:
            await s.intake.take_names(wants(second), transaction)
            await s.intake.judge_names(wants(second), list(wants(second)), transaction)
            await s.intake.change_jobs({first: {UniqueField.PAYLOAD: second}}, transaction)
            raise ZeroDivisionError
    assert await payload(s, first) == before


# ---- the sweep


def retention(s: Stored, batch: int = 1000) -> RetentionStore:
    return RetentionStore(s.database, retention=timedelta(days=1), expected=right, batch=batch)


async def names(s: Stored) -> int:
    count: int = await s.sql.fetchval("select count(*) from unique_hold")
    return count


async def swept(store: RetentionStore) -> int:
    return sum([count async for count in store.sweep_names()])


async def test_names_of_jobs_that_are_over_are_swept_and_others_stay(s):
    lane = await s.lane()
    for number in range(5):
        await enqueue(s, named(s, lane, f"over-{number}"))
    await s.sql.execute("delete from live_job")
    await enqueue(s, named(s, lane, "waits"))
    await enqueue(s, named(s, lane, "in its period", period=timedelta(hours=1)))
    await s.sql.execute("delete from live_job where id <> (select min(id::text)::uuid from live_job)")
    # A batch of two, so that it has to go on.
    assert await swept(retention(s, batch=2)) == 5
    assert await names(s) == 2
    assert await swept(retention(s)) == 0


async def test_a_name_that_is_taken_over_meanwhile_is_not_swept(s):
    lane = await s.lane()
    await enqueue(s, named(s, lane))
    await s.sql.execute("delete from live_job")
    second = named(s, lane)
    async with s.intake.transaction() as session:
        wanted = wants(second)
        await s.intake.take_names(wanted, session)
        assert await swept(retention(s)) == 0
        await s.intake.judge_names(wanted, [], session)
        await s.intake.enqueue([second], session)
    assert await enqueue(s, named(s, lane)) == [second.id]


async def test_an_enqueue_comes_while_its_old_name_is_being_swept(s):
    lane = await s.lane()
    (first,) = await enqueue(s, named(s, lane))
    await s.sql.execute("delete from live_job")
    async with s.database.transaction() as session:
        row = await session.fetchrow("sweep_names", b"", 1000, datetime.now(UTC))
        assert row["swept"] == 1
        waits = asyncio.create_task(enqueue(s, named(s, lane)))
        await until_waiting_for_a_lock(s.sql)
    (second,) = await waits
    assert second != first
    assert await enqueue(s, named(s, lane)) == [second]


async def test_a_name_that_a_retry_takes_again_meanwhile_is_not_swept(s):
    lane = await s.lane()
    (job_id,) = await enqueue(s, named(s, lane))
    await s.changes.cancel(SCOPE, job_id, "")
    # The sweep locks these first. So the retry commits after its job was looked at, and before its name is locked.
    others = (
        "select decode(lpad(to_hex(n), 32, '0'), 'hex'), gen_random_uuid(), 1 from generate_series(1, 8000) n"
    )
    await s.sql.execute(f"insert into unique_hold (digest, job_id, until) {others}")
    # What autovacuum does a moment later: by the statistics of an empty table 8,000 names are joined one by one.
    await s.sql.execute("analyze unique_hold")
    sweeping = asyncio.create_task(swept(retention(s, batch=100_000)))
    running = (
        "select count(*) from pg_stat_activity where state = 'active' and query like '-- retention: names%'"
    )
    while not sweeping.done() and not await s.sql.fetchval(running):
        await asyncio.sleep(0)
    await s.changes.retry(SCOPE, job_id, respect_unique=True)
    assert await sweeping >= 8_000
    assert await enqueue(s, named(s, lane)) == [job_id]


# ---- keys


async def test_a_key_that_is_kept_stands_for_the_holder(s):
    lane = await s.lane()
    (first,) = await enqueue(s, named(s, lane))
    row = named(
        s,
        lane,
        idempotency_key="k",
        namespace=SCOPE.namespace,
        key_digest=key_digest("k"),
        request_digest=b"r" * 16,
    )
    async with s.intake.transaction() as session:
        assert await s.intake.keep_keys([row], [first], session)
    async with s.intake.transaction() as session:
        assert await s.intake.standing_keys(SCOPE, [key_digest("k")], session) == {
            key_digest("k"): (first, b"r" * 16, b"")
        }
        assert not await s.intake.keep_keys([row], [first], session)
    await s.sql.execute("update idempotency_key set expires_at = now() - interval '1 second'")
    async with s.intake.transaction() as session:
        assert await s.intake.standing_keys(SCOPE, [key_digest("k")], session) == {}
        assert await s.intake.keep_keys([row], [first], session)
