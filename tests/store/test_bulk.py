"""The steps of operations: what they change, what they leave, and that each is whole or nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.grants import EVERYTHING, Grant, Grants, Permission
from jobqueue_server.lifecycle import Event, Status
from jobqueue_server.scope import Scope
from jobqueue_server.store.bulk.jobs import FIRST_ID, Match, Step
from jobqueue_server.store.bulk.operations import Operation, OperationStore, State
from jobqueue_server.store.bulk.requests import Request, Selection, Verb, from_json, to_json

from .stored import SCOPE, Stored

LAST_ID = UUID(int=(1 << 128) - 1)
MINE, OTHER = 1, 2
#: What a request says beside which jobs.
MORE = (
    "per_second", "max_jobs", "spread", "reason", "run_at", "delay", "to_queue", "reset_checkpoint",
    "respect_unique",
)  # fmt: skip


async def opened(
    s: Stored, verb: Verb = Verb.RETRY, *, request_id: str | None = None, scope: Scope = SCOPE, **asked: Any
) -> Operation:
    """An operation that this server owns."""
    more = {name: asked.pop(name) for name in MORE if name in asked}
    request = Request(Selection(**asked) if asked else Selection(everything=True), **more)
    made = await s.operations.open(scope, s.mint.mint(), verb, request, request_id)
    assert made.operation is not None
    (owned,) = await s.operations.claim(MINE, 1)
    assert owned.operation.id == made.operation.id
    return owned.operation


async def step(
    s: Stored, operation: Operation, *, most: int = 500, window: int = 500, owner: int = MINE
) -> Step:
    done = await s.bulk.step(operation.id, owner, most=most, window=window)
    assert done is not None
    return done


async def match(s: Stored, verb: Verb, selection: Selection, **more: Any) -> Match:
    given: dict[str, Any] = {"after": FIRST_ID, "before": LAST_ID, "most": 500, "window": 500, **more}
    grants = given.pop("grants", EVERYTHING)
    return await s.bulk.match(SCOPE.namespace, grants, verb, selection, **given)


async def versions(s: Stored) -> set[tuple[Any, ...]]:
    """Each row of jobs, with the transaction that wrote it."""
    seen: set[tuple[Any, ...]] = set()
    for table in ("job", "live_job", "finished_job", "attempt", "job_progress"):
        rows = await s.sql.fetch(
            f"select tableoid::regclass::text, ctid::text, xmin::text, xmax::text from {table}"
        )
        seen |= {tuple(row) for row in rows}
    return seen


# ---- what matches


async def test_each_condition_lets_only_its_jobs_through(s: Stored) -> None:
    failed = await s.failed(labels={"team": "red"})
    cancelled = await s.cancelled(queue="mail")
    succeeded = await s.succeeded()
    queued = await s.queued()
    retrying = await s.retrying()

    async def found(verb: Verb, **asked: Any) -> set[UUID]:
        return set((await match(s, verb, Selection(**asked))).ids)

    assert await found(Verb.RETRY, everything=True) == {failed, cancelled}
    assert await found(Verb.RETRY, statuses=frozenset({Status.SUCCEEDED})) == {succeeded}
    assert await found(Verb.DELETE, everything=True) == {failed, cancelled, succeeded}
    assert await found(Verb.CANCEL, everything=True) == {queued, retrying}
    assert await found(Verb.CANCEL, statuses=frozenset({Status.RETRYING})) == {retrying}
    assert await found(Verb.RETRY, queue="mail") == {cancelled}
    assert await found(Verb.RETRY, kind="hello") == {failed, cancelled}
    assert await found(Verb.RETRY, kind="other") == set()
    assert await found(Verb.RETRY, labels={"team": "red"}) == {failed}
    assert await found(Verb.RETRY, labels={"team": "blue"}) == set()
    assert await found(Verb.RETRY, error_type="Oops") == {failed}
    assert await found(Verb.RETRY, error_type="Other") == set()
    assert await found(Verb.CANCEL, error_type="Oops") == {retrying}
    assert await found(Verb.RETRY, reasons=("CANCELLED_BY_CALLER",)) == {cancelled}
    assert await found(Verb.RETRY, ids=(failed, queued)) == {failed}
    now = await s.sql.fetchval("select now()")
    hour = timedelta(hours=1)
    assert await found(Verb.RETRY, created_after=now - hour, created_before=now + hour) == {failed, cancelled}
    assert await found(Verb.RETRY, created_before=now - hour) == set()
    assert await found(Verb.RETRY, created_after=now + hour) == set()
    assert await found(Verb.RETRY, ended_after=now - hour, ended_before=now + hour) == {failed, cancelled}
    assert await found(Verb.RETRY, ended_after=now + hour) == set()
    assert await found(Verb.RETRY, ended_before=now - hour) == set()


async def test_only_jobs_that_the_principal_may_read_and_operate_on_match(s: Stored) -> None:
    await s.failed()
    mail = await s.failed(queue="mail")
    both = Permission.READ | Permission.OPERATE
    selection = Selection(everything=True)
    assert (await match(s, Verb.RETRY, selection, grants=Grants([Grant(both, ("mail",))]))).ids == [mail]
    for half in (Permission.READ, Permission.OPERATE):
        assert not (await match(s, Verb.RETRY, selection, grants=Grants([Grant(half)]))).ids
    split = Grants([Grant(Permission.READ), Grant(Permission.OPERATE, ("mail",))])
    assert (await match(s, Verb.RETRY, selection, grants=split)).ids == [mail]


async def test_jobs_of_another_namespace_never_match(s: Stored) -> None:
    await s.failed()
    other = await s.bulk.match(
        2, EVERYTHING, Verb.RETRY, Selection(everything=True),
        after=FIRST_ID, before=LAST_ID, most=500, window=500,
    )  # fmt: skip
    assert other.ids == []


@pytest.mark.parametrize(
    "asked",
    [{"error_type": "Never"}, {"reasons": ("NEVER",)}, {"labels": {"no": "thing"}}, {"kind": "never"}],
    ids=str,
)
async def test_a_filter_that_no_index_serves_reads_no_more_than_its_window(
    s: Stored, asked: dict[str, Any]
) -> None:
    ids = sorted([await s.failed() for _ in range(7)])
    found = await match(s, Verb.RETRY, Selection(**asked), window=3)
    assert (found.ids, found.looked, found.position, found.more) == ([], 3, ids[2], True)
    found = await match(s, Verb.RETRY, Selection(**asked), window=3, after=ids[5])
    assert (found.ids, found.looked, found.position, found.more) == ([], 1, ids[6], False)
    found = await match(s, Verb.RETRY, Selection(**asked), window=3, after=ids[6])
    assert (found.ids, found.looked, found.position, found.more) == ([], 0, None, False)


async def test_a_match_changes_no_row(s: Stored) -> None:
    await s.failed()
    await s.queued()
    await s.running(queue="mail")
    before = await versions(s)
    for verb in (Verb.RETRY, Verb.CANCEL, Verb.DELETE):
        await match(s, verb, Selection(everything=True))
    assert await versions(s) == before


# ---- steps


async def test_steps_retry_each_job_once_and_end(s: Stored) -> None:
    ids = sorted([await s.failed() for _ in range(5)])
    operation = await opened(s)
    first = await step(s, operation, most=2)
    assert (first.changed, first.operation.position, first.operation.state) == (2, ids[1], State.RUNNING)
    assert {row["id"] for row in await s.sql.fetch("select id from live_job")} == set(ids[:2])
    # They fail again meanwhile, and are not retried again.
    for job_id in ids[:2]:
        attempt, session_id = await s.claim(job_id)
        await s.sql.execute("update live_job set failures = 0 where id = $1", job_id)
        await s.end_attempt(
            job_id, attempt, session_id, Event.FAIL, permanent=True, error_type="Oops", message="m"
        )
    second = await step(s, operation, most=2)
    last = await step(s, operation, most=2)
    assert (second.changed, last.changed, last.operation.state) == (2, 1, State.SUCCEEDED)
    assert (last.operation.changed, last.operation.skipped) == (5, 0)
    assert await s.sql.fetchval("select count(*) from finished_job") == 2
    assert await s.bulk.step(operation.id, MINE, most=2, window=2) is None


async def test_a_retry_of_many_leaves_what_a_retry_of_one_leaves(s: Stored) -> None:
    """The rows, but for ids and times."""
    queries = (
        "select state, attempts, failures, losses, priority, max_attempts, lane_id from live_job where id = $1",
        "select attempt, outcome, reason, error_type, message from attempt where job_id = $1 order by attempt",
        "select checkpoint, fraction from job_progress where job_id = $1",
        "select 1 from finished_job where id = $1",
    )
    makers = (s.failed, s.cancelled, s.succeeded)
    pairs = [(await make(priority=3), await make(priority=3)) for make in makers]
    for alone, _ in pairs:
        await s.changes.retry(SCOPE, alone)
    operation = await opened(s, ids=tuple(together for _, together in pairs), statuses=frozenset({3, 5, 6}))
    assert (await step(s, operation)).changed == 3
    for alone, together in pairs:
        for query in queries:
            one = await s.sql.fetch(query, alone)
            many = await s.sql.fetch(query, together)
            assert list(map(tuple, one)) == list(map(tuple, many))


async def test_a_cancel_of_many_leaves_what_a_cancel_of_one_leaves(s: Stored) -> None:
    queries = (
        "select state, attempts, cancel_reason, cancel_requested_at is null from live_job where id = $1",
        "select status, attempts, failures, losses, reason, output from finished_job where id = $1",
    )
    pairs = [(await make(), await make()) for make in (s.queued, s.retrying)]
    running = [await s.running(queue=f"q{number}") for number in range(2)]
    pairs.append((running[0][0], running[1][0]))
    for alone, _ in pairs:
        await s.changes.cancel(SCOPE, alone, "enough")
    operation = await opened(s, Verb.CANCEL, ids=tuple(together for _, together in pairs), reason="enough")
    done = await step(s, operation)
    assert done.changed == 3
    assert [each.session_id for each in done.cancelled if each.pending] == [running[1][2]]
    for alone, together in pairs:
        for query in queries:
            one = await s.sql.fetch(query, alone)
            many = await s.sql.fetch(query, together)
            assert list(map(tuple, one)) == list(map(tuple, many))


async def test_a_delete_of_many_leaves_nothing(s: Stored) -> None:
    await s.failed()
    await s.succeeded()
    kept = await s.queued()
    operation = await opened(s, Verb.DELETE)
    done = await step(s, operation)
    assert (done.changed, len(done.deleted), done.operation.state) == (2, 2, State.SUCCEEDED)
    assert [row["id"] for row in await s.sql.fetch("select id from job")] == [kept]
    for table in ("finished_job", "attempt"):
        assert await s.sql.fetchval(f"select count(*) from {table}") == 0


async def test_a_job_that_somebody_changes_first_is_skipped(s: Stored, module_dsn: str) -> None:
    taken, left = sorted([await s.failed(), await s.failed()])
    operation = await opened(s)
    other = await asyncpg.connect(module_dsn)
    try:
        async with other.transaction():
            await other.execute("select from finished_job where id = $1 for update", taken)
            stepping = asyncio.create_task(step(s, operation))
            while not await s.sql.fetchval("select count(*) from pg_locks where not granted"):
                await asyncio.sleep(0.01)
            await other.execute("delete from finished_job where id = $1", taken)
        done = await stepping
    finally:
        await other.close()
    assert (done.changed, done.skipped) == (1, 1)
    assert [row["id"] for row in await s.sql.fetch("select id from live_job")] == [left]


async def test_a_step_that_fails_changes_nothing_and_is_done_again(s: Stored) -> None:
    ids = [await s.failed() for _ in range(3)]
    operation = await opened(s)
    before = await versions(s)
    # The last statement of the step fails, when all jobs are changed.
    await s.sql.execute("alter table operation add constraint broken check (changed = 0) not valid")
    with pytest.raises(asyncpg.CheckViolationError):
        await step(s, operation)
    await s.sql.execute("alter table operation drop constraint broken")
    assert {row[:3] for row in await versions(s)} == {row[:3] for row in before}
    done = await step(s, operation)
    assert (done.changed, done.operation.changed) == (3, 3)
    assert {row["id"] for row in await s.sql.fetch("select id from live_job")} == set(ids)


async def test_jobs_that_are_made_later_are_left_alone(s: Stored) -> None:
    await s.queued()
    operation = await opened(s, Verb.CANCEL)
    later = await s.queued()
    done = await step(s, operation)
    assert (done.changed, done.operation.state) == (1, State.SUCCEEDED)
    assert [row["id"] for row in await s.sql.fetch("select id from live_job")] == [later]


async def test_max_jobs_ends_an_operation(s: Stored) -> None:
    for _ in range(5):
        await s.failed()
    operation = await opened(s, max_jobs=3)
    assert (await step(s, operation, most=2)).changed == 2
    last = await step(s, operation, most=2)
    assert (last.changed, last.operation.state, last.operation.changed) == (1, State.SUCCEEDED, 3)


async def test_a_spread_draws_starts_evenly_from_its_time(s: Stored) -> None:
    for _ in range(60):
        await s.cancelled()
    operation = await opened(s, spread=timedelta(minutes=10))
    done = await step(s, operation)
    now = await s.sql.fetchval("select min(changed_at) from live_job")
    ahead = sorted((each.run_at - now).total_seconds() for each in done.retried)
    assert ahead[0] >= 0
    assert ahead[-1] <= 600
    # Of 60 drawn evenly, each third has some: that one has none comes once in 10^10.
    for third in range(3):
        assert any(200 * third <= each < 200 * (third + 1) for each in ahead)


async def test_a_retry_at_a_time_starts_then_and_one_in_the_past_at_once(s: Stored) -> None:
    later, late, soon, spread = [await s.cancelled() for _ in range(4)]
    now = await s.sql.fetchval("select now()")
    hour = timedelta(hours=1)
    for job_id, asked in (
        (later, {"run_at": now + hour}),
        (late, {"run_at": now - hour}),
        (soon, {"delay": hour}),
        (spread, {"run_at": now + hour, "spread": hour}),
    ):
        (done,) = (await step(s, await opened(s, ids=(job_id,), **asked))).retried
        made = await s.sql.fetchrow("select run_at, changed_at from live_job where id = $1", job_id)
        assert made["run_at"] == done.run_at
        if job_id == later:
            assert done.run_at == now + hour
        elif job_id == late:
            assert done.run_at == made["changed_at"]
        elif job_id == soon:
            assert done.run_at == made["changed_at"] + hour
        else:
            assert now + hour <= done.run_at <= now + 2 * hour


async def test_a_retry_into_another_queue_moves_each_job_and_leaves_the_rest_of_it(s: Stored) -> None:
    """Also where the queue never had a job of their kind, and where it is paused."""
    first, second = sorted([await s.failed(labels={"a": "b"}, priority=3), await s.failed(queue="spare2")])
    there = await s.failed(kind="bye", queue="spare")
    assert await s.catalog_store.set_queue_paused(SCOPE, "spare", paused=True, reason="")
    left = await s.failed()
    whole = "select to_jsonb(j) - 'lane_id' from job j order by id"
    before = await s.sql.fetch(whole)
    done = await step(s, await opened(s, ids=(first, second, there), to_queue="spare"))
    assert done.changed == 3
    rows = await s.sql.fetch(
        """
        select l.id, q.name as queue, k.name as kind, n.closed, n.id = j.lane_id as same
        from live_job l join lane n on n.id = l.lane_id join job j on j.id = l.id
        join queue q on q.id = n.queue_id join kind k on k.id = n.kind_id order by l.id
        """
    )
    assert [tuple(row) for row in rows] == [
        (first, "spare", "hello", True, True),
        (second, "spare", "hello", True, True),
        (there, "spare", "bye", True, True),
    ]
    assert {each.lane_id for each in done.retried} == {
        row["id"]
        for row in await s.sql.fetch(
            "select n.id from lane n join queue q on q.id = n.queue_id where q.name = 'spare'"
        )
    }
    assert await s.sql.fetch(whole) == before
    of_left = "select q.name from job j join lane n on n.id = j.lane_id join queue q on q.id = n.queue_id where j.id"
    assert await s.sql.fetchval(f"{of_left} = $1", left) == "default"


async def test_a_retry_into_a_queue_that_limits_how_many_run_brings_no_kind_that_may_start_without_it(
    s: Stored,
) -> None:
    await s.catalog_store.set_key_policy(SCOPE, "spare", {}, own={"max_running": 1}, make=True)
    failed = await s.failed()
    assert (await step(s, await opened(s, ids=(failed,), to_queue="spare"))).changed == 1
    closed = "select n.closed from live_job l join lane n on n.id = l.lane_id where l.id = $1"
    assert await s.sql.fetchval(closed, failed) is True


async def test_a_retry_into_another_queue_keeps_to_its_limits_by_key_and_not_to_those_left(s: Stored) -> None:
    lane = await s.lane("spare")
    await s.lane("mail")
    into = await s.failed(key="ada")
    out = await s.failed(key="ada", queue="spare")
    await s.sql.execute("update queue set key_max_running = 1 where id = $1", lane.queue_id)
    (held,) = (await step(s, await opened(s, ids=(into,), to_queue="spare"))).retried
    (free,) = (await step(s, await opened(s, ids=(out,), to_queue="mail"))).retried
    assert (held.held, free.held) == (True, False)
    semaphore_ids = await s.sql.fetch("select id, semaphore_id is null as free from live_job")
    assert {row["id"]: row["free"] for row in semaphore_ids} == {into: False, out: True}


async def test_a_retry_that_resets_forgets_the_checkpoints_of_its_jobs_alone(s: Stored) -> None:
    kept, reset = await s.failed(), await s.failed()
    await s.sql.execute(
        "insert into job_progress (job_id, attempt, fraction, checkpoint) values ($1, 1, 0.5, 'c'), ($2, 1, 0.5, 'c')",
        kept,
        reset,
    )
    await step(s, await opened(s, ids=(kept,)))
    await step(s, await opened(s, ids=(reset,), reset_checkpoint=True))
    rows = await s.sql.fetch("select job_id, checkpoint from job_progress")
    assert {row["job_id"]: row["checkpoint"] for row in rows} == {kept: b"c", reset: None}


async def test_a_cancelled_operation_stops_before_its_next_step(s: Stored) -> None:
    for _ in range(4):
        await s.failed()
    operation = await opened(s)
    await step(s, operation, most=2)
    assert await s.operations.cancel(SCOPE, operation.id)
    done = await step(s, operation, most=2)
    assert (done.changed, done.operation.state, done.operation.changed) == (0, State.CANCELLED, 2)
    assert await s.sql.fetchval("select count(*) from live_job") == 2
    assert not await s.operations.cancel(SCOPE, operation.id)


# ---- who works on it


async def test_only_its_owner_moves_an_operation_on(s: Stored) -> None:
    await s.failed()
    operation = await opened(s)
    assert await s.bulk.step(operation.id, OTHER, most=5, window=5) is None
    assert await s.sql.fetchval("select count(*) from live_job") == 0
    await s.operations.release(operation.id, OTHER, timedelta())
    assert await s.sql.fetchval("select owner from operation") == MINE


async def test_an_operation_is_taken_over_once_its_owner_is_silent_for_10_s(s: Stored) -> None:
    await s.failed()
    operation = await opened(s)
    # The claim may come to the database some seconds later.
    await s.sql.execute("update operation set heard_at = now() - interval '6.5 seconds'")
    assert not await s.operations.claim(OTHER, 4)
    await s.sql.execute("update operation set heard_at = now() - interval '10.5 seconds'")
    (taken,) = await s.operations.claim(OTHER, 4)
    assert (taken.operation.id, taken.taken_over) == (operation.id, True)
    assert await s.bulk.step(operation.id, MINE, most=5, window=5) is None
    assert (await step(s, operation, owner=OTHER)).changed == 1


async def many(s: Stored, principal: str, count: int) -> list[UUID]:
    request = Request(Selection(everything=True))
    ids = []
    for _ in range(count):
        made = await s.operations.open(Scope(1, principal), s.mint.mint(), Verb.RETRY, request, None)
        assert made.operation is not None
        ids.append(made.operation.id)
    return ids


async def test_principals_take_turns_at_the_places_of_a_server(s: Stored) -> None:
    greedy = await many(s, "greedy", 6)
    alone = [each.operation.id for each in await s.operations.claim(MINE, 4, of_one=(2, 3))]
    assert sorted(alone) == greedy[:3], "the last place is kept"
    (modest,) = await many(s, "modest", 1)
    (next_one,) = await s.operations.claim(MINE, 1, alone, of_one=(2, 3))
    assert next_one.operation.id == modest
    # One place is free again: who has fewer steps under way comes first.
    await s.operations.release(alone[0], MINE, timedelta())
    (other,) = await many(s, "modest", 1)
    at_work = [*alone[1:], modest]
    (next_one,) = await s.operations.claim(MINE, 1, at_work, of_one=(2, 3))
    assert next_one.operation.id == other
    assert not await s.operations.claim(OTHER, 0, of_one=(2, 3))


async def test_one_that_was_given_back_is_taken_by_any_server_once_its_time_has_come(s: Stored) -> None:
    (operation,) = await many(s, "greedy", 1)
    await s.operations.claim(MINE, 1)
    await s.operations.release(operation, MINE, timedelta(hours=1))
    assert not await s.operations.claim(OTHER, 4)
    await s.sql.execute("update operation set next_at = now() - interval '3 seconds'")
    (taken,) = await s.operations.claim(OTHER, 4)
    assert (taken.operation.id, taken.taken_over) == (operation, False)
    assert timedelta(seconds=3) <= taken.late < timedelta(seconds=60)
    # A server that lost the answer to its claim finds the operation again.
    (again,) = await s.operations.claim(OTHER, 4)
    assert again.operation.id == operation
    assert not await s.operations.claim(OTHER, 4, [operation])


async def test_one_that_rests_has_no_step_of_any_server_but_is_cancelled(s: Stored) -> None:
    await s.failed()
    operation = await opened(s, scope=Scope(1, "gone"))
    (rested,) = await s.operations.rest_all([operation.maker], "PRINCIPAL_ENDED", "", 10)
    assert rested.object == f"operation:{operation.id}"
    assert await s.bulk.step(operation.id, MINE, most=5, window=5) is None
    assert not await s.operations.claim(OTHER, 4)
    assert not await s.operations.rest_all([operation.maker], "PRINCIPAL_ENDED", "", 10)
    assert await s.sql.fetchval("select count(*) from audit where action = 'RestOperation'") == 1
    await s.operations.cancel(SCOPE, operation.id)
    (taken,) = await s.operations.claim(OTHER, 4)
    done = await step(s, taken.operation, owner=OTHER)
    assert (done.operation.state, done.changed) == (State.CANCELLED, 0)


async def test_a_namespace_has_so_many_open_operations_at_most(s: Stored) -> None:
    store = OperationStore(s.database, most_open=2)
    request = Request(Selection(everything=True))
    made = [await store.open(SCOPE, s.mint.mint(), Verb.RETRY, request, None) for _ in range(3)]
    assert [each.operation is None for each in made] == [False, False, True]
    await s.sql.execute(
        "update operation set state = 3, ended_at = now() where id = any(array(select id from operation limit 1))"
    )
    assert (await store.open(SCOPE, s.mint.mint(), Verb.RETRY, request, None)).operation is not None


async def test_a_request_id_names_one_operation(s: Stored) -> None:
    request = Request(Selection(queue="mail"))
    first = await s.operations.open(SCOPE, s.mint.mint(), Verb.RETRY, request, "r")
    again = await s.operations.open(SCOPE, s.mint.mint(), Verb.RETRY, request, "r")
    assert (first.again, again.again) == (False, True)
    assert first.operation is not None
    assert again.operation is not None
    assert first.operation.id == again.operation.id
    assert await s.sql.fetchval("select count(*) from operation") == 1


def test_a_request_is_read_as_it_was_written() -> None:
    moment = datetime(2026, 5, 4, 3, 2, 1, 5, tzinfo=UTC)
    whole = Request(
        Selection(
            (UUID(int=5),), "q", "k", frozenset({Status.CANCELLED}), {"a": "b"},
            moment, moment, moment, moment, ("R",), "E", False,
        ),
        5, 6, timedelta(seconds=7.5), "why", moment, timedelta(microseconds=3), "other", True,
    )  # fmt: skip
    assert from_json(to_json(whole)) == whole
    empty = Request(Selection(everything=True))
    assert from_json(to_json(empty)) == empty
