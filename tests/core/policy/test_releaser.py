"""Who is let in: what was told, what is called again, what a sweep finds; and the walk through all keys."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from jobqueue_server.core.events.wakes import Wakes
from jobqueue_server.core.policy.admitter import Admitter
from jobqueue_server.core.policy.keeper import Keeper
from jobqueue_server.core.policy.releaser import Releaser
from jobqueue_server.core.policy.turns import Turns
from jobqueue_server.core.tuning import Tuning
from jobqueue_server.metrics import Metrics
from jobqueue_server.store.policy.semaphores import SemaphoreStore, semaphore_of
from tests.core.brain import Brain
from tests.store.factories import new_row
from tests.store.stored import Stored, stored


class Told:
    """Lines that note where a job became ready, and ends that note what was told."""

    def __init__(self) -> None:
        self.ready_in: list[tuple[int, int]] = []
        self.ended: list[Any] = []

    def ready(self, lane_id: int, priority: int, *, isolated: bool = False) -> None:
        self.ready_in.append((lane_id, priority))

    def tell(self, ended: Any) -> None:
        self.ended += ended


@pytest.fixture
async def s(dsn: str) -> AsyncIterator[Stored]:
    async with stored(dsn) as made:
        yield made


async def at_limit(s: Stored, count: int, keys: int = 1) -> list[int]:
    """So many jobs of each key in a queue that lets one run; the keys."""
    lane = await s.lane()
    await s.sql.execute("update queue set key_max_running = 1, revision = revision + 1")
    await s.catalog.refresh()
    semaphore_ids = [semaphore_of(lane.queue_id, f"k{number}") for number in range(keys)]
    for semaphore_id in semaphore_ids:
        row = new_row(s, lane, payloads=[b"{}"] * count, key="k")
        row.of_keys(["k"] * count, [semaphore_id] * count)
        await s.intake.enqueue_limited([row])
    return semaphore_ids


async def freed(s: Stored) -> None:
    """As a server does that dies before it tells of it."""
    await s.sql.execute("delete from live_job where hold is null")
    await s.sql.execute("update semaphore set taken = 0, admit_at = now()")


def releaser(s: Stored, told: Any, wakes: Wakes, **tuning: Any) -> Releaser:
    values = Tuning(**tuning)
    store, turns = SemaphoreStore(s.database), Turns(Brain().takers, values)
    admitter = Admitter(store, s.catalog, wakes, told, turns, Metrics(), values)
    return Releaser(store, s.catalog, wakes, admitter, told, values)


async def waiting(s: Stored) -> int:
    return int(await s.sql.fetchval("select count(*) from live_job where hold is not null"))


async def test_a_sweep_lets_in_what_nobody_told_of_and_tells_the_line(s: Stored) -> None:
    await at_limit(s, 2)
    await freed(s)
    told = Told()
    await releaser(s, told, Wakes()).turn()
    assert await waiting(s) == 0
    assert told.ready_in == [((await s.lane()).id, 0)]


async def test_what_is_left_where_no_queue_limits_its_keys_is_swept_once_a_second(s: Stored) -> None:
    await at_limit(s, 2)
    await s.sql.execute("update queue set key_max_running = null, revision = revision + 1")
    await s.catalog.refresh()
    assert not s.catalog.limits
    await freed(s)
    wakes = Wakes()
    await releaser(s, Told(), wakes, keys_sweep_every=0.0).turn()
    assert await waiting(s) == 0
    assert not wakes.take_sweep(0.0), "the next sweep is not due yet"


async def test_more_than_a_statement_takes_is_let_in_by_the_next_ones(s: Stored) -> None:
    await at_limit(s, 4, keys=5)
    await s.sql.execute("update queue set key_max_running = null")
    await s.sql.execute("update semaphore set admit_at = now()")
    small = releaser(s, Told(), Wakes(), keys_admitted=4, keys_called=2)
    # Each sweep reads two keys, and the next one follows at once.
    for _ in range(3):
        await small.turn()
    assert await waiting(s) == 0


async def test_a_time_that_has_come_is_followed_in_the_same_turn(s: Stored) -> None:
    [semaphore_id] = await at_limit(s, 1)
    await s.sql.execute("update live_job set state = 3, hold = 2")
    await s.sql.execute("update semaphore set taken = 0")
    calls = Wakes()
    calls.due()
    await releaser(s, Told(), calls).turn()
    assert await s.sql.fetchval("select taken from semaphore where id = $1", semaphore_id) == 1


async def test_sweeps_cancel_the_rest_of_a_key_in_steps_and_tell_of_each(s: Stored) -> None:
    [semaphore_id] = await at_limit(s, 6)
    await s.sql.execute(
        "update semaphore set blocked_by = gen_random_uuid(), cancels_to = now() + interval '1 second'"
    )
    await freed(s)
    told = Told()
    small = releaser(s, told, Wakes(), keys_admitted=2)
    for _ in range(3):
        await small.turn()
    assert await waiting(s) == 0
    assert [len(each.job_ids) for each in told.ended] == [2, 2, 1]
    assert {each.kind for each in told.ended} == {"hello"}
    assert await s.sql.fetchval("select blocked_by from semaphore where id = $1", semaphore_id) is None


async def test_a_change_of_a_limit_is_followed_once_in_steps(s: Stored) -> None:
    semaphore_ids = await at_limit(s, 2, keys=5)
    calls, told = Wakes(), cast(Any, Told())
    keeper = Keeper(SemaphoreStore(s.database), s.catalog, calls, told, Metrics(), Tuning(keys_called=2))
    await keeper.follow()
    assert calls.take_keys(100) == []
    await s.sql.execute("update queue set key_max_running = 2, revision = revision + 1")
    await s.catalog.refresh()
    await keeper.follow()
    assert sorted(calls.take_keys(100)) == sorted(semaphore_ids)
    await keeper.follow()
    assert calls.take_keys(100) == []


async def test_the_audit_mends_and_counts_what_drifted_and_goes_round(s: Stored) -> None:
    await at_limit(s, 2, keys=5)
    metrics, some = Metrics(), cast(Any, Told())
    keeper = Keeper(SemaphoreStore(s.database), s.catalog, Wakes(), some, metrics, Tuning(keys_audited=2))
    await s.sql.execute("update semaphore set taken = 7")
    for _ in range(4):
        await keeper.audit()
    assert await s.sql.fetchval("select count(*) from semaphore where taken = 1 and waiting = 1") == 5
    text = metrics.exposition("")[0].decode()
    assert 'jobqueue_gate_drift_total{queue="default"} 5.0' in text
    assert 'jobqueue_queue_keys{queue="default",state="at_limit"} 5.0' in text
    # From the beginning again.
    await s.sql.execute("update semaphore set waiting = 9")
    for _ in range(4):
        await keeper.audit()
    assert await s.sql.fetchval("select count(*) from semaphore where waiting = 1") == 5


async def test_how_many_keys_there_are_is_told_once_all_were_looked_at_and_what_their_jobs_wait_for(
    s: Stored,
) -> None:
    semaphore_ids = await at_limit(s, 2, keys=5)
    metrics, some = Metrics(), cast(Any, Told())
    keeper = Keeper(SemaphoreStore(s.database), s.catalog, Wakes(), some, metrics, Tuning(keys_audited=2))

    async def told(steps: int) -> dict[str, float]:
        for _ in range(steps):
            await keeper.audit()
        return {
            sample.labels.get("state", "tokens"): sample.value
            for family in metrics.registry.collect()
            if family.name in {"jobqueue_queue_keys", "jobqueue_queue_key_tokens"}
            for sample in family.samples
        }

    assert await told(3) == {}
    assert await told(1) == {"at_limit": 5, "tokens": 5}
    states = (
        "blocked_by = gen_random_uuid(), cancels_to = now() + interval '1 hour'",
        "paused_until = now() + interval '1 hour'",
        "admit_at = now() + interval '1 hour'",
        "waiting = 0",
    )
    for semaphore_id, state in zip(semaphore_ids, states, strict=False):
        await s.sql.execute(f"update semaphore set {state} where id = $1", semaphore_id)
    await s.sql.execute("delete from live_job where semaphore_id = $1 and hold is not null", semaphore_ids[3])
    one_each = dict.fromkeys(("blocked", "paused", "rate", "open", "at_limit"), 1.0)
    assert await told(4) == {**one_each, "tokens": 5}
    await s.sql.execute("delete from semaphore")
    await s.sql.execute("delete from live_job")
    assert await told(1) == {}
