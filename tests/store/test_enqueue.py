"""Jobs are stored all or none, never in the past, once a key; a hand-off holds only while its slot does."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from jobqueue_server.core.intake import digest
from jobqueue_server.lifecycle import State
from jobqueue_server.model import RetryPolicy
from jobqueue_server.store.session.sessions import Told

from .factories import Slot, enqueue, everything, key_digest, keyed_row, new_row, until_waiting_for_a_lock
from .stored import SCOPE


async def live(s, job_id):
    (row,) = (await everything(s.sql, job_id))["live_job"]
    return row


async def body(s, job_id):
    (row,) = (await everything(s.sql, job_id))["job"]
    return row


async def counts(s):
    return tuple(
        [await s.sql.fetchval(f"select count(*) from {t}") for t in ("job", "live_job", "idempotency_key")]
    )


# ---- all or none


async def test_a_batch_is_stored_whole_with_what_was_asked(s):
    lane = await s.lane()
    ids = await enqueue(s, lane, 1000, payload=b'{"width":100}', priority=3)
    rows = await s.sql.fetch(
        "select l.state, l.attempts, l.failures, l.losses, l.priority, l.max_attempts, j.payload, "
        "l.run_at = j.run_at as same from live_job l join job j using (id) where id = any($1)",
        ids,
    )
    assert len(rows) == 1000
    assert {tuple(row) for row in rows} == {(State.READY, 0, 0, 0, 3, 3, b'{"width":100}', True)}


@pytest.mark.parametrize(
    "bad",
    [
        {"labels_text": '{"a": '},
        {"labels_text": '"\\u0000"'},
        {"max_attempts": 0},
        {"idempotency_key": "\x00"},
        {"key": "\x00"},
    ],
    ids=[
        "labels that are no JSON",
        "a zero in labels",
        "no attempt allowed",
        "a zero in an idempotency key",
        "a zero in a key",
    ],
)
async def test_one_row_that_is_refused_keeps_the_whole_batch_out(s, bad):
    lane = await s.lane()
    rows = [new_row(s, lane) for _ in range(10)]
    rows.insert(5, new_row(s, lane, **bad))
    with pytest.raises((asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)):
        await s.intake.enqueue(rows)
    assert await counts(s) == (0, 0, 0)


async def test_an_id_that_is_there_keeps_the_whole_batch_out(s):
    lane = await s.lane()
    (taken,) = await enqueue(s, lane)
    rows = [new_row(s, lane), replace(new_row(s, lane), ids=[taken])]
    with pytest.raises(asyncpg.UniqueViolationError):
        await s.intake.enqueue(rows)
    assert await counts(s) == (1, 1, 0)


async def test_columns_that_only_some_rows_use_stay_with_their_rows(s):
    lane = await s.lane()
    run_at = datetime.now(UTC) + timedelta(hours=2)
    fields: list[dict[str, Any]] = [
        {},
        {"priority": -10},
        {"timeout": timedelta(milliseconds=1500)},
        {"max_attempts": 7},
        {"retry_policy": RetryPolicy(timedelta(seconds=2), timedelta(minutes=3))},
        {"labels_text": json.dumps({"team": "blue"})},
        {"headers": b'{"trace":"1"}'},
        {"key": "customer 42"},
        {"run_at": run_at},
        {"delay": timedelta(hours=1)},
        {},
    ]
    rows = [new_row(s, lane, payload=str(index).encode(), **given) for index, given in enumerate(fields)]
    stored_at = (await s.intake.enqueue(rows)).at
    plain: dict[str, Any] = {
        "priority": 0, "timeout_ms": None, "max_attempts": 3, "min_backoff_ms": None, "max_backoff_ms": None,
        "labels": None, "headers": None, "run_at": stored_at, "idempotency_key": None, "content_type": None,
        "key": None, "unique_name": None,
    }  # fmt: skip
    wanted: list[dict[str, Any]] = [
        {},
        {"priority": -10},
        {"timeout_ms": 1500},
        {"max_attempts": 7},
        {"min_backoff_ms": 2000, "max_backoff_ms": 180_000},
        {"labels": '{"team": "blue"}'},
        {"headers": b'{"trace":"1"}'},
        {"key": "customer 42"},
        {"run_at": run_at},
        {"run_at": stored_at + timedelta(hours=1)},
        {},
    ]
    for index, (row, own) in enumerate(zip(rows, wanted, strict=True)):
        expected = plain | own | {"id": row.id, "lane_id": lane.id, "payload": str(index).encode()}
        assert await body(s, row.id) == expected
        waits = await live(s, row.id)
        same = ("run_at", "priority", "max_attempts", "timeout_ms", "lane_id")
        assert {name: waits[name] for name in same} == {name: expected[name] for name in same}


# ---- time


@pytest.mark.parametrize(
    "fields",
    [
        {"run_at": datetime(1999, 1, 1, tzinfo=UTC)},
        {"delay": timedelta(seconds=-5)},
        {"delay": timedelta()},
        {},
    ],
    ids=["run_at", "negative delay", "no delay", "nothing said"],
)
async def test_run_at_is_never_stored_in_the_past(s, fields):
    row = new_row(s, await s.lane(), **fields)
    at = (await s.intake.enqueue([row])).at
    assert (await live(s, row.id))["run_at"] == at
    assert (await body(s, row.id))["run_at"] == at


async def test_the_time_is_the_database_s(s):
    before = await s.sql.fetchval("select clock_timestamp()")
    stored_at = (await s.intake.enqueue([new_row(s, await s.lane())])).at
    assert before <= stored_at <= await s.sql.fetchval("select clock_timestamp()")


# ---- hand-off


async def hand_off(s, lane, session, **fields):
    row = new_row(s, lane, slot=session, **fields)
    answer = await s.intake.enqueue([row])
    return row.id, answer


async def assert_waits(s, job_id, answer):
    assert answer.refused == {job_id}
    row = await live(s, job_id)
    assert (row["state"], row["attempts"], row["session_id"], row["deadline"]) == (State.READY, 0, None, None)


async def test_a_job_handed_off_is_stored_leased_as_its_first_attempt(s):
    lane, session = await s.lane(), await s.session()
    job_id, answer = await hand_off(s, lane, session, timeout=timedelta(seconds=5))
    assert answer.refused == frozenset()
    row = await live(s, job_id)
    assert (row["state"], row["attempts"], row["session_id"]) == (State.LEASED, 1, session[0])
    assert row["deadline"] == answer.at + timedelta(seconds=5)
    assert row["changed_at"] == answer.at
    assert await s.succeed(job_id, 1, session[0])


async def test_a_slot_of_an_earlier_epoch_is_refused_and_the_job_waits(s):
    lane = await s.lane()
    server = (await s.sessions.register_server("server", 1))["id"]
    old = await s.sessions.open(SCOPE, server, Told("worker"), timedelta(seconds=30), b"a" * 32)
    resumed = await s.sessions.resume(SCOPE, Told("worker"), old[0], b"a" * 32, b"b" * 32, server)
    assert resumed is not None
    job_id, answer = await hand_off(s, lane, old)
    await assert_waits(s, job_id, answer)
    job_id, answer = await hand_off(s, lane, (resumed["id"], resumed["epoch"]))
    assert not answer.refused


async def test_a_slot_of_a_session_that_ended_is_refused(s):
    lane, session = await s.lane(), await s.session()
    await s.sessions.end(*session, lambda row: pytest.fail("it held nothing"))
    await assert_waits(s, *await hand_off(s, lane, session))


async def test_a_slot_of_a_session_that_never_was_is_refused(s):
    await assert_waits(s, *await hand_off(s, await s.lane(), (1 << 40, 1)))


async def test_a_gate_keeps_a_hand_off_out(s):
    lane, session = await s.lane(), await s.session()
    await s.sql.execute("update lane set closed = true where id = $1", lane.id)
    await assert_waits(s, *await hand_off(s, lane, session))


async def test_a_refused_slot_does_not_harm_its_neighbours(s):
    lane, good, ended = await s.lane(), await s.session("good"), await s.session("ended")
    await s.sessions.end(*ended, lambda row: pytest.fail("it held nothing"))
    rows = [
        new_row(s, lane, slot=good),
        new_row(s, lane, slot=ended),
        new_row(s, lane),
    ]
    answer = await s.intake.enqueue(rows)
    assert answer.refused == {rows[1].id}
    assert [(await live(s, row.id))["session_id"] for row in rows] == [good[0], None, None]


async def test_epochs_are_not_mixed_up_between_sessions(s):
    """Both numbers are somebody's: session 1 is in epoch 1, session 2 in epoch 2."""
    lane, one = await s.lane(), await s.session("one")
    server = (await s.sessions.register_server("server", 1))["id"]
    two = await s.sessions.open(SCOPE, server, Told("two"), timedelta(seconds=30), b"a" * 32)
    await s.sessions.resume(SCOPE, Told("worker"), two[0], b"a" * 32, b"b" * 32, server)
    rows = [
        new_row(s, lane, slot=(one[0], 2)),
        new_row(s, lane, slot=(two[0], 1)),
        new_row(s, lane, slot=(two[0], 2)),
    ]
    assert (await s.intake.enqueue(rows)).refused == {rows[0].id, rows[1].id}


async def test_jobs_that_are_alike_are_stored_as_they_would_be_one_by_one(s):
    """What a run has in common stands once, its slots reach as far as they are, and its neighbours keep their own."""
    lane, other = await s.lane(), await s.lane("other")
    one, two, ended = [await s.session(name) for name in ("one", "two", "ended")]
    await s.sessions.end(*ended, lambda row: pytest.fail("it held nothing"))
    alike = new_row(s, lane, payloads=[b"%d" % n for n in range(9)], headers=b'{"a":"b"}', priority=3)
    alike.slots = [(Slot(*one), 2), (Slot(*ended), 3), (Slot(*two), 1)]
    waiting = new_row(s, other, payloads=[b"[]", b"{}"], timeout=timedelta(seconds=2))
    answer = await s.intake.enqueue([new_row(s, lane), alike, waiting])
    assert answer.refused == set(alike.ids[2:5])
    expected = [one[0], one[0], None, None, None, two[0], None, None, None]
    for number, (job_id, holder) in enumerate(zip(alike.ids, expected, strict=True)):
        row = await live(s, job_id)
        assert (row["session_id"], row["lane_id"], row["priority"]) == (holder, lane.id, 3)
        assert row["state"] == (State.READY if holder is None else State.LEASED)
        stored = await body(s, job_id)
        assert (stored["payload"], stored["headers"]) == (b"%d" % number, b'{"a":"b"}')
    for job_id, payload in zip(waiting.ids, waiting.payloads, strict=True):
        stored = await body(s, job_id)
        assert (stored["payload"], stored["headers"], stored["lane_id"]) == (payload, None, other.id)
        assert (stored["timeout_ms"], (await live(s, job_id))["session_id"]) == (2000, None)


# ---- idempotency keys


async def test_a_hundred_at_once_with_one_key_make_one_job(s):
    lane = await s.lane()
    rows = [keyed_row(s, lane, "same") for _ in range(100)]
    answers = await asyncio.gather(*[s.intake.enqueue([row]) for row in rows])
    (winner,) = [row for row, answer in zip(rows, answers, strict=True) if not answer.lost_keys]
    assert all(
        answer.lost_keys == {row.id} for row, answer in zip(rows, answers, strict=True) if row is not winner
    )
    assert await counts(s) == (1, 1, 1)
    found = await s.intake.find_keys(SCOPE, [winner.key_digest])
    assert found == {winner.key_digest: (winner.id, winner.request_digest, b"")}


async def test_the_losers_of_a_batch_are_named_and_the_others_stored(s):
    lane = await s.lane()
    first = keyed_row(s, lane, "b")
    await s.intake.enqueue([first])
    rows = [keyed_row(s, lane, key, "two") for key in "abc"]
    answer = await s.intake.enqueue(rows)
    assert answer.lost_keys == {rows[1].id}
    assert await counts(s) == (3, 3, 3)
    found = await s.intake.find_keys(SCOPE, [row.key_digest for row in rows])
    assert [found[row.key_digest][0] for row in rows] == [rows[0].id, first.id, rows[2].id]
    assert found[rows[1].key_digest][1] == first.request_digest, "by which another request is told"


async def test_a_key_whose_time_is_over_is_taken_over(s):
    lane = await s.lane()
    first, second = keyed_row(s, lane, "k"), keyed_row(s, lane, "k", "another request")
    await s.intake.enqueue([first])
    at, expires = await s.sql.fetchrow("select now(), expires_at from idempotency_key")
    assert timedelta(hours=23, minutes=59) < expires - at <= timedelta(hours=24)
    await s.sql.execute("update idempotency_key set expires_at = now() - interval '1 microsecond'")
    assert not (await s.intake.enqueue([second])).lost_keys
    found = await s.intake.find_keys(SCOPE, [second.key_digest])
    assert found[second.key_digest] == (second.id, second.request_digest, b"")
    assert await s.sql.fetchval("select expires_at > now() + interval '23 hours' from idempotency_key")
    assert await counts(s) == (2, 2, 1)


async def test_a_key_outlives_the_end_and_the_delete_of_its_job(s):
    lane = await s.lane()
    first = keyed_row(s, lane, "k")
    await s.intake.enqueue([first])
    await s.changes.cancel(SCOPE, first.id)
    await s.changes.delete(SCOPE, first.id)
    assert (await s.intake.enqueue([keyed_row(s, lane, "k")])).lost_keys
    assert (await s.intake.find_keys(SCOPE, [first.key_digest]))[first.key_digest][0] == first.id


@pytest.mark.parametrize(
    "key",
    [
        "order-7",
        "1:order-7",
        " a  key\t\r\n",
        "'; drop table job; --",
        "\\x41 \\ %s {} $1",
        "\u00fc u\u0308 \u00df \u2028 \ufeff",
        "\U0001f600 \U0010ffff \uffff",
        "\x01\x7f\x80",
        "k" * 255,
    ],
)
async def test_postgresql_computes_the_same_digest_of_a_key(s, key):
    computed = await s.sql.fetchval(
        "select substring(sha256(convert_to($1::int4 || ':' || $2::text, 'UTF8')) for 16)", 7, key
    )
    assert computed == digest.key_digest(7, key)


async def test_a_vanished_key_is_missing_from_the_answer(s):
    row = keyed_row(s, await s.lane(), "never used")
    assert await s.intake.find_keys(SCOPE, [row.key_digest]) == {}


async def test_two_inserts_with_their_keys_in_opposite_order_do_not_deadlock(s):
    """The middle key is a third party's: who comes first waits there, and has taken smaller digests only."""
    lane = await s.lane()
    keys = sorted((str(number) for number in range(9)), key=key_digest)
    rows, again = [[keyed_row(s, lane, key) for key in order] for order in (keys, keys[::-1])]
    async with s.database.transaction() as third:
        await s.intake.enqueue([keyed_row(s, lane, keys[4])], third)
        one = asyncio.create_task(s.intake.enqueue(rows))
        await until_waiting_for_a_lock(s.sql)
        two = asyncio.create_task(s.intake.enqueue(again))
        await until_waiting_for_a_lock(s.sql, 2)
    answers = await asyncio.gather(one, two)
    assert sorted(len(answer.lost_keys) for answer in answers) == [1, 9]
    assert await counts(s) == (9, 9, 9)


async def test_keyed_inserts_at_once_in_any_order_store_each_key_once(s):
    lane = await s.lane()
    keys = [str(number) for number in range(100)]
    orders = [keys, keys[::-1], keys[50:] + keys[:50], keys[::2] + keys[1::2]] * 3
    answers = await asyncio.gather(
        *[s.intake.enqueue([keyed_row(s, lane, key) for key in order]) for order in orders]
    )
    assert sum(len(keys) - len(answer.lost_keys) for answer in answers) == len(keys)
    assert await counts(s) == (100, 100, 100)


async def test_a_keyed_job_may_be_handed_off_and_a_loser_takes_no_slot(s):
    lane, session = await s.lane(), await s.session()
    first, second = keyed_row(s, lane, "k", slot=session), keyed_row(s, lane, "k", slot=session)
    assert not (await s.intake.enqueue([first])).refused
    answer = await s.intake.enqueue([second])
    assert (answer.lost_keys, answer.refused) == ({second.id}, frozenset())
    assert [row["id"] for row in await s.sessions.held([session[0]])] == [first.id]


async def test_a_transaction_that_is_rolled_back_stores_neither_key_nor_job(s):
    lane = await s.lane()
    with pytest.raises(RuntimeError):
        async with s.intake.transaction() as transaction:
            await s.intake.enqueue([keyed_row(s, lane, "k")], transaction)
            await s.intake.enqueue([new_row(s, lane)], transaction)
            raise RuntimeError
    assert await counts(s) == (0, 0, 0)
