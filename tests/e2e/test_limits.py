"""Limits by key: over several servers, with workers and servers that die, and while the limit changes."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import accumulate
from typing import Any

import asyncpg
import pytest

from jobqueue import (
    Client,
    KeyOrder,
    KeyPolicy,
    NewJob,
    OnKeyFailure,
    Overloaded,
    Rate,
    RetryPolicy,
    Status,
)

from .conftest import Bench, ends, select
from .journals import Entry

pytestmark = pytest.mark.slow

TTL = 5.0
# Of workers some of which live on: long enough that none of these is taken for dead where the machine stands still.
LONG_TTL = 10.0
#: Semaphores that do not count their live rows: $1 is the queue.
DRIFTED = """
with live as (
    select l.semaphore_id, count(*) filter (where hold is null) as taken, count(*) filter (where hold = 1) as waiting
    from live_job l join lane n on n.id = l.lane_id join queue q on q.id = n.queue_id
    where q.name = $1 and l.semaphore_id is not null group by l.semaphore_id
),
told as (select t.* from semaphore t join queue q on q.id = t.queue_id where q.name = $1)
select coalesce(t.id, l.semaphore_id) as id, t.taken, t.waiting, l.taken as taken_there, l.waiting as waiting_there
from told t full join live l on l.semaphore_id = t.id
where coalesce(t.taken, 0) <> coalesce(l.taken, 0) or coalesce(t.waiting, 0) <> coalesce(l.waiting, 0)
"""


@asynccontextmanager
async def sql(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def limit(client: Client, queue: str, policy: KeyPolicy | None) -> None:
    """Sets what the queue allows of the jobs of one key. All servers know it then."""
    await client.update_queue(queue, policy, allow_missing=True)


def overlaps(
    entries: Sequence[Entry], key_of: Mapping[str, str], killed: Mapping[str, float], most: int
) -> list[str]:
    """Keys of which more attempts ran at once. What a killed worker ran ended with it."""
    times: dict[str, list[tuple[float, int]]] = defaultdict(list)
    open_in: dict[tuple[str, int], Entry] = {}
    for entry in entries:
        key = key_of[entry.id]
        times[key].append((entry.at, 1 if entry.event == "started" else -1))
        if entry.event == "started":
            open_in[entry.id, entry.attempt] = entry
        else:
            del open_in[entry.id, entry.attempt]
    for entry in open_in.values():
        times[key_of[entry.id]].append((killed[entry.worker], -1))
    return [
        key
        for key, changes in times.items()
        if max(accumulate(change for _, change in sorted(changes))) > most
    ]


async def test_no_two_jobs_of_a_key_run_at_once_on_two_servers_while_workers_and_a_server_are_killed(
    bench: Bench, dsn: str
):
    queue, keys = "limited", [f"tenant-{number}" for number in range(200)]
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    async with sql(dsn) as connection, Client(servers[0].address) as client:
        await limit(client, queue, KeyPolicy(max_running=1))
        workers = [bench.worker(addresses, f"w{n}", queue=queue, slots=20, ttl=LONG_TTL) for n in range(4)]
        key_of: dict[str, str] = {}
        for _ in range(4):
            batch = [random.choice(keys) for _ in range(200)]
            jobs = await client.enqueue_many(
                [NewJob("step", random.uniform(0.005, 0.05), queue=queue, key=key) for key in batch]
            )
            key_of |= {job.id: key for job, key in zip(jobs, batch, strict=True)}
        await bench.journals.until(100, "ended")
        killed = {"w0": workers[0].kill()}
        bench.worker(addresses, "w4", queue=queue, slots=20, ttl=LONG_TTL)
        await bench.journals.until(250, "ended")
        killed["w1"] = workers[1].kill()
        servers[1].kill()
        bench.worker(addresses, "w5", queue=queue, slots=20, ttl=LONG_TTL)
        done = await ends(client, *key_of, within=60)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        assert not overlaps(bench.journals.read(), key_of, killed, 1)
        assert (
            await connection.fetchval("select count(*) from semaphore where taken <> 0 or waiting <> 0") == 0
        )


@pytest.mark.alone
async def test_the_token_of_a_killed_worker_comes_back_within_its_ttl_and_two_seconds(
    bench: Bench, shared: tuple[str, str], client: Client, address: str, queue: str
):
    async with sql(shared[1]) as connection:
        await limit(client, queue, KeyPolicy(max_running=1))
        [victim] = await bench.workers(address, "victim", queue=queue, ttl=TTL)
        first = await client.enqueue("hold_first", queue=queue, key="one")
        second = await client.enqueue("count", queue=queue, key="one")
        await bench.journals.until(1, "started")
        await bench.workers(address, "heir", queue=queue)
        killed_at = victim.kill()
        await ends(client, first.id, second.id)
        [ran] = bench.journals.read("ran")
        assert ran.at - killed_at <= TTL + 2
        assert not await connection.fetch(DRIFTED, queue)


async def test_a_key_waits_for_its_turn_while_other_keys_go_on(
    bench: Bench, client: Client, address: str, queue: str
):
    await limit(client, queue, KeyPolicy(max_running=1))
    await bench.workers(address, "w", queue=queue, slots=10)
    held = await client.enqueue("hold", {"gate": str(bench.folder / "open")}, queue=queue, key="busy")
    await bench.journals.until(1, "started")
    waits = await client.enqueue("count", queue=queue, key="busy")
    others = await client.enqueue_many([NewJob("count", queue=queue, key=f"k{n}") for n in range(20)])
    await ends(client, *(job.id for job in others))
    assert (await client.get(waits.id)).status is Status.QUEUED
    (bench.folder / "open").touch()
    await ends(client, held.id, waits.id)


async def test_what_a_server_freed_before_it_died_is_let_in_by_another_ones_sweep(
    bench: Bench, shared: tuple[str, str], client: Client, address: str, queue: str
):
    async with sql(shared[1]) as connection:
        await limit(client, queue, KeyPolicy(max_running=1))
        [job] = await client.enqueue_many([NewJob("count", queue=queue, key="one")])
        waits = await client.enqueue("count", queue=queue, key="one")
        # As a server does that dies before it can tell of it: the token comes back with the row.
        await connection.execute(
            "with gone as (delete from live_job where id = $1 returning semaphore_id) "
            "update semaphore t set taken = taken - 1, admit_at = now() from gone where t.id = gone.semaphore_id",
            job.id,
        )
        await bench.workers(address, "w", queue=queue)
        await ends(client, waits.id, within=10)


@pytest.mark.parametrize("limits", [(5, 50, 1), (1, None, 3)], ids=["changed", "removed"])
async def test_a_limit_that_changes_under_load_leaves_no_token_and_no_job_behind(
    bench: Bench,
    shared: tuple[str, str],
    client: Client,
    address: str,
    queue: str,
    limits: tuple[int | None, ...],
):
    async with sql(shared[1]) as connection:
        await limit(client, queue, KeyPolicy(max_running=limits[-1] or 0))
        await bench.workers(address, "w", queue=queue, slots=100)
        jobs = []
        for turn in range(9):
            new = [NewJob("step", 0.01, queue=queue, key=f"k{n % 3}") for n in range(60)]
            jobs += await client.enqueue_many(new)
            await connection.execute(
                "update queue set key_max_running = $2, revision = revision + 1 where name = $1",
                queue,
                limits[turn % len(limits)],
            )
            for _ in range(10):
                assert not await connection.fetch(DRIFTED, queue)
                await asyncio.sleep(0.05)
        done = await ends(client, *(job.id for job in jobs), within=60)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        assert not await connection.fetch(DRIFTED, queue)


async def test_a_raised_limit_lets_in_what_waits_without_an_end(
    bench: Bench, client: Client, address: str, queue: str
):
    await limit(client, queue, KeyPolicy(max_running=1))
    await bench.workers(address, "w", queue=queue, slots=10)
    gate = {"gate": str(bench.folder / "open")}
    jobs = await client.enqueue_many([NewJob("hold", gate, queue=queue, key="one") for _ in range(5)])
    await bench.journals.until(1, "started")
    await limit(client, queue, KeyPolicy(max_running=3))
    await bench.journals.until(3, "started")
    await limit(client, queue, None)
    await bench.journals.until(5, "started")
    (bench.folder / "open").touch()
    await ends(client, *(job.id for job in jobs))


async def test_retries_delays_releases_and_follow_ups_pass_their_key(
    bench: Bench, shared: tuple[str, str], client: Client, address: str, queue: str
):
    async with sql(shared[1]) as connection:
        await limit(client, queue, KeyPolicy(max_running=1))
        await bench.workers(address, "w", queue=queue, slots=10)
        fails = await client.enqueue("fail_once", queue=queue, key="one")
        later = await client.enqueue("count", queue=queue, key="one", delay=timedelta(seconds=0.3))
        by_hand = await client.enqueue("count", queue=queue, key="one", hold=True)
        replayed = [
            await client.enqueue("count", queue=queue, key="one", idempotency_key=f"{queue}-1")
            for _ in range(2)
        ]
        assert replayed[0].id == replayed[1].id
        await client.release(by_hand.id)
        done = await ends(client, fails.id, later.id, by_hand.id, replayed[0].id)
        assert {job.status for job in done} == {Status.SUCCEEDED}
        await client.retry(later.id)
        [again] = await ends(client, later.id)
        assert (again.status, again.attempts) == (Status.SUCCEEDED, 2)
        assert not await connection.fetch(DRIFTED, queue)


async def test_a_rate_of_a_key_is_kept_also_after_workers_were_away(
    bench: Bench, client: Client, shared: tuple[str, str], queue: str
):
    address, dsn = shared
    await limit(client, queue, KeyPolicy(max_running=100, rate=Rate(10, timedelta(seconds=1), burst=1)))
    jobs = await client.enqueue_many([NewJob("count", queue=queue, key="one") for _ in range(40)])
    # Meanwhile a line without the bound of the burst would gather two seconds' worth.
    await asyncio.sleep(2)
    await bench.workers(address, "w", queue=queue, slots=50)
    await ends(client, *(job.id for job in jobs))
    assert len(bench.journals.read("ran")) == 40
    # When they were let in, and not when a worker came to them: that gathers what a machine that is busy held up.
    starts = "select started_at from finished_job where id = any($1) order by started_at"
    started = [at for (at,) in await select(dsn, starts, [job.id for job in jobs])]
    assert len(started) == 40
    second = timedelta(seconds=1)
    most = max(sum(at <= other < at + second for other in started) for at in started)
    assert most <= 12, most
    assert started[-1] - started[0] <= 10 * second, "it lets jobs in, too"


async def test_a_call_beyond_the_backlog_of_a_key_is_refused_whole_and_others_are_not(
    client: Client, queue: str
):
    await limit(client, queue, KeyPolicy(max_running=1, max_waiting=2))
    await client.enqueue_many([NewJob("count", queue=queue, key="one") for _ in range(3)])
    soon = timedelta(seconds=4)
    calls = [client.enqueue("count", queue=queue, key=f"other-{number}") for number in range(20)]
    full = [client.enqueue("count", queue=queue, key="one", deadline=soon) for _ in range(5)]
    keyed = client.enqueue("count", queue=queue, key="one", idempotency_key=f"{queue}-full", deadline=soon)
    answers = await asyncio.gather(*calls, *full, keyed, return_exceptions=True)
    assert not any(isinstance(answer, BaseException) for answer in answers[:20])
    for error in answers[20:]:
        assert isinstance(error, Overloaded)
        assert error.reason == "KEY_BACKLOG_FULL"
    mixed = [NewJob("count", queue=queue, key=key) for key in ("more", "one")]
    with pytest.raises(Overloaded, match="wait for the key one") as refused:
        await client.enqueue_many(mixed, deadline=soon)
    assert [each.field for each in refused.value.violations] == ["jobs[1].key"]


@pytest.mark.long
async def test_jobs_of_a_key_start_in_the_order_of_their_enqueues_while_some_fail_and_workers_are_killed(
    bench: Bench, dsn: str
):
    queue, keys = "ordered", [f"account-{number}" for number in range(50)]
    servers = [await bench.server(dsn), await bench.server(dsn)]
    addresses = ",".join(server.address for server in servers)
    async with Client(servers[0].address) as client, Client(servers[1].address) as other:
        await limit(client, queue, KeyPolicy(order=KeyOrder.STRICT, on_failure=OnKeyFailure.CONTINUE))
        workers = [bench.worker(addresses, f"w{n}", queue=queue, slots=20, ttl=LONG_TTL) for n in range(3)]
        order: dict[str, list[str]] = defaultdict(list)
        for number in range(16):
            # Producers hand over from one server to the other: each waits for its answer.
            producer = (client, other)[number % 2]
            batch = random.sample(keys, len(keys))
            policy = RetryPolicy(
                min_backoff=timedelta(milliseconds=20), max_backoff=timedelta(milliseconds=50)
            )
            jobs = await producer.enqueue_many(
                [
                    NewJob("step_or_fail", number, queue=queue, key=key, max_attempts=2, retry_policy=policy)
                    for key in batch
                ]
            )
            for job, key in zip(jobs, batch, strict=True):
                order[key].append(job.id)
            if number in (6, 11):
                workers[number % 3].kill()
                workers.append(bench.worker(addresses, f"w{number}", queue=queue, slots=20, ttl=LONG_TTL))
        done = await ends(client, *(job_id for jobs in order.values() for job_id in jobs), within=120)
        assert {job.status for job in done} == {Status.SUCCEEDED, Status.FAILED_PERMANENT}
    first: dict[str, float] = {}
    for entry in bench.journals.read("started"):
        first[entry.id] = min(entry.at, first.get(entry.id, entry.at))
    for key in keys:
        # One that was lost before its handler began is not in the journal until it came again.
        assert sorted(order[key], key=lambda job_id: first[job_id]) == order[key], key
