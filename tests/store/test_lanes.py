"""Lanes: servers read those that changed, a namespace has so many at most, and those without jobs are forgotten."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from jobqueue_server.core.catalog.catalog import Catalog, Lane
from jobqueue_server.core.catalog.depths import Depths
from jobqueue_server.core.upkeep.forgetting import Forgetting
from jobqueue_server.core.upkeep.retention import Retention
from jobqueue_server.errors import DatabaseAway, QueuesFull
from jobqueue_server.lifecycle import Status
from jobqueue_server.model import Kind, NewJob, Rate
from jobqueue_server.store.catalog.catalog import CatalogStore
from jobqueue_server.store.policy.queue_keys import QueueKeyStore
from jobqueue_server.store.statements import statement
from jobqueue_server.store.upkeep.forgetting import ForgettingStore
from jobqueue_server.store.upkeep.retention import RetentionStore

from .past import RETENTION, WIDTH, ago, id_at
from .stored import SCOPE, Stored, right


class Counting(CatalogStore):
    """Counts what is asked, and the rows of lanes and kinds that come."""

    def __init__(self, store: CatalogStore) -> None:
        super().__init__(store._database)
        self.asked: Counter[str] = Counter()
        self.rows: list[int] = []

    async def changes(self, since: str | None) -> Any:
        self.asked["changes"] += 1
        return await super().changes(since)

    async def lanes(self, ids: Any = (), *, after: int = 0, most: int = 0) -> Any:
        self.asked["lanes"] += 1
        found = await super().lanes(ids, after=after, most=most)
        self.rows += [row.id for row in found]
        return found

    async def kinds(self, ids: Any = (), *, after: int = 0, most: int = 0) -> Any:
        self.asked["kinds"] += 1
        return await super().kinds(ids, after=after, most=most)


async def many(s: Stored, lanes: int) -> None:
    """So many queues, each with a lane of the kind hello."""
    if s.catalog.kind(SCOPE, "hello") is None:
        await s.catalog.put_kind(SCOPE, Kind("hello"))
    await s.sql.execute(
        "with made as (insert into queue (namespace_id, name)"
        " select 1, 'many-' || i from generate_series(1, $1::int4) i returning id)"
        " insert into lane (namespace_id, queue_id, kind_id)"
        " select 1, made.id, k.id from made, kind k where k.name = 'hello'",
        lanes,
    )


async def reader(s: Stored, **more: Any) -> tuple[Catalog, Counting]:
    """Another server's catalog, which has read everything."""
    store = Counting(s.catalog_store)
    catalog = Catalog(store, open_kinds=False, **more)
    await catalog.load()
    store.asked.clear()
    store.rows.clear()
    return catalog, store


# ---- servers read what changed


async def test_where_nothing_changed_a_refresh_is_one_statement_and_reads_no_lane(s: Stored) -> None:
    await many(s, 3_000)
    catalog, store = await reader(s)
    told: list[Any] = []
    catalog.on_change.append(told.append)
    assert len(catalog.lanes()) == 3_000
    for _ in range(3):
        await catalog.refresh()
    assert (store.asked, store.rows, told) == ({"changes": 3}, [], [])


async def test_to_read_one_lane_goes_through_no_other(s: Stored) -> None:
    """A join of the tables went through all lanes up to the one that was wanted."""
    await many(s, 3_000)
    last = await s.lane("last")
    await s.sql.execute("analyze lane, queue, kind, namespace, catalog_change")
    since = (await s.catalog_store.changes(None)).snapshot
    await s.queues.pause_queue(SCOPE, "last")
    for name, arguments in (("catalog_lanes", ([last.id], 0, 0)), ("catalog_changes", (since,))):
        async with s.database.session() as session:
            connection = session._connection
            for _ in range(7):
                plan = json.loads(
                    await connection.fetchval(f"explain (analyze, format json) {statement(name)}", *arguments)
                )
        assert max(_rows(plan[0]["Plan"])) <= 10


def _rows(plan: dict[str, Any]) -> Iterator[int]:
    """The rows that each step of a plan has read."""
    yield (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    for each in plan.get("Plans", ()):
        yield from _rows(each)


async def test_only_the_lanes_that_changed_are_read_and_told(s: Stored) -> None:
    await many(s, 1_500)
    lane, other = await s.lane("q"), await s.lane("other")
    catalog, store = await reader(s)
    told: list[Lane] = []
    catalog.on_change.append(told.extend)
    await s.queues.pause_queue(SCOPE, "q")
    await catalog.refresh()
    assert store.rows == [lane.id]
    assert [(each.queue, each.closed, each.paused) for each in told] == [("q", True, True)]
    born = await s.lane("born")
    await catalog.refresh()
    assert store.rows == [lane.id, born.id]
    assert [each.queue for each in told] == ["q", "born"]
    await s.catalog.put_kind(SCOPE, Kind("second"))
    await catalog.refresh()
    assert (store.asked["kinds"], store.rows) == (1, [lane.id, born.id])
    # Limits of a kind concern all of its lanes, its schema none.
    await s.catalog.put_kind(SCOPE, Kind("hello", '{"type": "object"}'))
    await catalog.refresh()
    assert store.rows == [lane.id, born.id]
    await s.catalog.put_kind(SCOPE, Kind("hello", rate=Rate(7, timedelta(seconds=1))))
    await catalog.refresh()
    assert len(store.rows) == 2 + 1_503
    at = catalog.lane_at(SCOPE.namespace, "other", "hello")
    assert at is not None
    assert (at.id, at.closed, at.kind_rate) == (other.id, True, Rate(7, timedelta(seconds=1)))


async def test_what_is_said_of_a_key_is_learnt(s: Stored) -> None:
    lane = await s.lane("q")
    catalog, _ = await reader(s)
    at = catalog.lane_by_id(lane.id)
    assert at is not None
    for limit, said in ((1, True), (None, False)):
        await QueueKeyStore(s.database).set(SCOPE, "q", "k", {"max_running": limit}, revision=None, most=10)
        await catalog.refresh()
        assert (at.limits, catalog.limits) == (said, said)


async def test_a_change_that_commits_late_is_read_though_later_ones_were_read_before(
    s: Stored, module_dsn: str
) -> None:
    """A number that grows would have passed it by: the transaction is older than all that was read meanwhile."""
    held, later = await s.lane("held"), await s.lane("later")
    catalog, store = await reader(s)
    other = await asyncpg.connect(module_dsn)
    try:
        change = other.transaction()
        await change.start()
        await other.execute("update queue set paused_at = now() where id = $1", held.queue_id)
        await other.execute("update lane set closed = true where id = $1", held.id)
        for _ in range(2):
            await s.queues.pause_queue(SCOPE, "later")
            await s.queues.resume_queue(SCOPE, "later")
            await catalog.refresh()
            assert set(store.rows) == {later.id}
            # Though the oldest transaction is older than these changes, they are read once.
            store.rows.clear()
            await catalog.refresh()
            assert store.rows == []
        await change.commit()
        await catalog.refresh()
        assert store.rows == [held.id]
        at = catalog.lane_by_id(held.id)
        assert at is not None
        assert at.paused
    finally:
        await other.close()


async def test_a_server_of_before_that_changes_a_queue_is_heard(s: Stored) -> None:
    """It knows no log: its own statements are these."""
    lane = await s.lane("q")
    catalog, _ = await reader(s)
    await s.sql.execute(
        "update queue set max_waiting = 5, revision = revision + 1 where id = $1", lane.queue_id
    )
    await s.sql.execute(
        "insert into lane (queue_id, kind_id, closed, namespace_id) select queue_id, k.id, false, 1 from lane, kind k "
        "where lane.id = $1 and k.name = 'send_email' on conflict (queue_id, kind_id) do nothing",
        lane.id,
    )
    await catalog.refresh()
    at = catalog.known_lane(SCOPE, "q", "hello")
    assert at is not None
    assert at.backlog is not None
    assert at.backlog.most == 5


async def test_after_an_absence_of_the_database_or_an_hour_everything_is_read(s: Stored) -> None:
    await many(s, 1_200)
    lane = await s.lane("q")
    catalog, store = await reader(s)
    await s.sql.execute("alter table lane disable trigger all; alter table queue disable trigger all")
    try:
        # As in a database that was restored: nothing says that anything changed.
        await s.sql.execute("update queue set paused_at = now() where id = $1", lane.queue_id)
        await s.sql.execute("delete from lane where queue_id = (select id from queue where name = 'many-7')")
    finally:
        await s.sql.execute("alter table lane enable trigger all; alter table queue enable trigger all")
    await catalog.refresh()
    assert store.rows == []
    catalog.read_all_again()
    await catalog.refresh()
    assert len(store.rows) == 1_200
    paused = catalog.lane_by_id(lane.id)
    assert paused is not None
    assert paused.paused
    assert catalog.lane_at(SCOPE.namespace, "many-7", "hello") is None
    store.rows.clear()
    catalog._now -= timedelta(hours=2)
    await catalog.refresh()
    assert len(store.rows) == 1_200


async def test_depths_cost_no_step_for_a_lane_without_jobs(s: Stored) -> None:
    await many(s, 2_500)
    await s.lane("q")
    await s.queued(queue="q")
    job = await s.queued(queue="other")
    await s.sql.execute("update live_job set state = 2, session_id = 1 where id = $1", job)
    asked: list[int] = []

    class Asked(CatalogStore):
        async def waiting_depths(self, lane_ids: Any, *, per_lane: int) -> Any:
            asked.extend(lane_ids)
            return await super().waiting_depths(lane_ids, per_lane=per_lane)

    store = Asked(s.database)
    catalog = Catalog(store, open_kinds=False)
    await catalog.load()
    read = await Depths(catalog, store).read()
    assert {(lane.queue, status, jobs) for lane, status, jobs, *_ in read.waiting} == {
        ("q", Status.QUEUED, 1),
        ("other", Status.RUNNING, 1),
    }
    assert asked == [(await s.lane("q")).id]


async def test_the_lanes_in_which_jobs_wait_are_found_page_by_page(s: Stored) -> None:
    ids = [(await s.lane(f"q{number}")).id for number in range(7)]
    for number in (1, 2, 4, 6):
        await s.queued(queue=f"q{number}")
    await s.sql.execute("update live_job set state = 4 where lane_id = $1", ids[4])
    wanted = [ids[number] for number in (1, 2, 4, 6)]
    assert await s.catalog_store.waiting_lanes(0, 10) == wanted
    assert await s.catalog_store.waiting_lanes(0, 3) == wanted[:3]
    assert await s.catalog_store.waiting_lanes(ids[2], 3) == wanted[2:]
    assert await s.catalog_store.waiting_lanes(ids[6], 3) == []


# ---- a namespace has so many at most


async def test_one_lane_too_many_is_refused_before_anything_is_stored_and_known_ones_go_on(s: Stored) -> None:
    await many(s, 3)
    catalog, _ = await reader(s, most_lanes=4)
    known = await catalog.lane(SCOPE, "fourth", "hello")
    with pytest.raises(QueuesFull, match="has 4 pairs of queue and kind, and may have 4: 'fifth'") as refused:
        await catalog.lane(SCOPE, "fifth", "hello")
    assert refused.value.metadata == {"queues": "4", "limit": "4"}
    assert refused.value.retry_after is None
    assert await s.sql.fetchval("select count(*) from queue") == 4
    assert await catalog.lane(SCOPE, "fourth", "hello") is known
    # Another server that has made some is heard within a second.
    other, _ = await reader(s, most_lanes=5)
    await other.lane(SCOPE, "fifth", "hello")
    with pytest.raises(QueuesFull):
        await catalog.lane(SCOPE, "sixth", "hello")


async def test_what_one_namespace_has_is_no_bound_of_another(s: Stored) -> None:
    await many(s, 3)
    await s.sql.execute("insert into namespace (id, name) values (2, 'second') on conflict do nothing")
    await s.sql.execute("insert into kind (namespace_id, name, declared_at) values (2, 'hello', now())")
    catalog, _ = await reader(s, most_lanes=3)
    theirs = type(SCOPE)(2, "tests")
    assert (await catalog.lane(theirs, "q", "hello")).namespace == 2
    with pytest.raises(QueuesFull):
        await catalog.lane(SCOPE, "q", "hello")


async def test_declarations_have_the_same_bound(s: Stored) -> None:
    await many(s, 3)
    catalog, store = await reader(s, most_lanes=3)
    queues = type(s.queues)(catalog, store)
    await queues.update_queue(SCOPE, "many-1", {}, own={"max_waiting": 7}, make=True)
    with pytest.raises(QueuesFull, match="has 3 queues"):
        await queues.update_queue(SCOPE, "more", {}, own={"max_waiting": 7}, make=True)
    assert await s.sql.fetchval("select count(*) from queue") == 3
    kinds = len(catalog.named(SCOPE))
    catalog.most_lanes = kinds
    await catalog.put_kind(SCOPE, Kind("hello", max_attempts=7))
    with pytest.raises(QueuesFull, match=f"has {kinds} kinds"):
        await catalog.put_kind(SCOPE, Kind("more"))


# ---- those without jobs are forgotten


class Past:
    """Lanes of long ago, and the sweep that forgets them."""

    def __init__(self, s: Stored) -> None:
        self.s = s
        self.store = ForgettingStore(s.database, expected=right, batch=10)
        self.partitions = RetentionStore(s.database, retention=RETENTION, expected=right)

    async def lane(self, queue: str, days: float, kind: str = "hello") -> Lane:
        """Of which somebody made sure so many days ago for the last time."""
        lane = await self.s.lane(queue, kind)
        at = ago(days=days)
        await self.s.sql.execute("update lane set used_at = $2 where id = $1", lane.id, at)
        await self.s.sql.execute("update queue set created_at = $2 where id = $1", lane.queue_id, at)
        return lane

    async def job(self, lane: Lane, days: float) -> UUID:
        """That was enqueued so many days ago, and has ended."""
        job = id_at(ago(days=days))
        await self.s.sql.execute(
            "insert into job (id, run_at, lane_id, priority, max_attempts, payload) values ($1, now(), $2, 0, 3, '{}')",
            job,
            lane.id,
        )
        return job

    async def ready(self) -> None:
        await self.partitions.ensure_partitions(WIDTH, behind=50, ahead=1)

    async def sweep(self) -> None:
        retention = Retention(
            self.partitions, retention=RETENTION, forgetting=Forgetting(self.store, timedelta())
        )
        forgetting = retention._forgetting
        assert forgetting is not None
        until = asyncio.get_running_loop().time() + 30
        await forgetting.sweep(
            await self.partitions.list_partitions(), RETENTION, lambda rows: retention._paced(rows, until)
        )

    async def left(self) -> set[str]:
        return {row["name"] for row in await self.s.sql.fetch("select name from queue")}


@pytest.fixture
async def past(s: Stored) -> Past:
    made = Past(s)
    await made.ready()
    return made


async def test_lanes_without_jobs_are_forgotten_and_all_others_stay(s: Stored, past: Past) -> None:
    for number in range(25):
        await past.lane(f"junk-{number}", 20)
    within = await past.lane("within", 8)
    # It lives, or is kept for longer than others: its partition is still there.
    outlives = await past.lane("outlives", 11)
    await past.job(outlives, 11)
    await past.lane("limited", 20)
    await s.queues.update_queue(SCOPE, "limited", {}, own={"max_waiting": 9})
    await past.lane("paused", 20)
    await s.queues.pause_queue(SCOPE, "paused")
    catalog, store = await reader(s)
    gone = catalog.lane_at(SCOPE.namespace, "junk-3", "hello")
    told: list[Lane] = []
    catalog.on_change.append(told.extend)
    await past.sweep()
    assert await past.left() == {"within", "outlives", "limited", "paused"}
    await catalog.refresh()
    assert {lane.queue for lane in catalog.lanes()} == {"within", "outlives", "limited", "paused"}
    assert len(told) == 25
    assert gone is not None
    assert gone.forgotten
    assert catalog.lane_by_id(gone.id) is None
    assert (catalog.queues_in(1), catalog.lanes_of(1, "junk-3")) == (4, ())
    assert store.rows == []
    assert within.id in {lane.id for lane in catalog.lanes()}


async def test_a_kind_that_was_only_seen_is_forgotten_and_a_declared_one_is_not(
    s: Stored, past: Past
) -> None:
    await s.catalog.put_kind(SCOPE, Kind("hello"))
    await s.sql.execute(
        "insert into kind (namespace_id, name, updated_at) values (1, 'seen', $1)", ago(days=20)
    )
    opened = Catalog(s.catalog_store, open_kinds=True)
    await opened.load()
    assert opened.kind(SCOPE, "seen") is not None
    await past.sweep()
    await opened.refresh()
    assert opened.kind(SCOPE, "seen") is None
    assert opened.kind(SCOPE, "hello") is not None


async def test_a_lane_that_is_forgotten_is_made_anew_by_the_next_enqueue(s: Stored, past: Past) -> None:
    before = await past.lane("q", 20)
    catalog, _ = await reader(s)
    assert catalog.known_lane(SCOPE, "q", "hello") is None
    await past.sweep()
    again = await catalog.lane(SCOPE, "q", "hello")
    assert again.id > before.id
    assert again.queue_id > before.queue_id


async def test_a_lane_that_was_long_not_used_is_made_sure_of_before_it_is_used(s: Stored, past: Past) -> None:
    lane = await past.lane("q", 20)
    catalog, _ = await reader(s)
    at = await catalog.lane(SCOPE, "q", "hello")
    assert at.id == lane.id
    assert at.in_use
    await past.sweep()
    assert await past.left() == {"q"}
    used_at = await s.sql.fetchval("select used_at from lane where id = $1", lane.id)
    assert datetime.now(UTC) - used_at < timedelta(minutes=5)
    # It falls due again before statements refuse it.
    catalog._now += timedelta(hours=22)
    catalog._mark_due()
    assert catalog.known_lane(SCOPE, "q", "hello") is None


async def test_no_statement_stores_a_job_in_a_lane_that_may_be_forgotten(s: Stored, past: Past) -> None:
    """As by a server that stood still for a day, and knows the lane still."""
    new = NewJob("hello", b"{}", queue="q")
    row = await s.row(new)
    for change in ("update lane set used_at = now() - interval '25 hours'", "delete from lane"):
        await s.sql.execute(change)
        for store in (s.intake.enqueue, s.intake.enqueue_limited):
            with pytest.raises(DatabaseAway, match="has not made sure of the queue for a day"):
                await store([row])
    assert await s.sql.fetchval("select count(*) from job") == 0
    assert await s.sql.fetchval("select count(*) from live_job") == 0


async def test_to_make_sure_of_a_lane_and_to_forget_it_at_the_same_time_loses_no_job(
    s: Stored, past: Past, module_dsn: str
) -> None:
    lanes = [await past.lane(f"q{number}", 20) for number in range(30)]
    catalog, _ = await reader(s)
    sweeping = asyncio.create_task(past.sweep())
    found = await asyncio.gather(*(catalog.lane(SCOPE, lane.queue, "hello") for lane in lanes))
    await sweeping
    await s.catalog.refresh()
    for lane in found:
        await s.queued(queue=lane.queue)
    rows = await s.sql.fetch(
        "select l.id from live_job j join lane l on l.id = j.lane_id join queue q on q.id = l.queue_id"
    )
    assert len(rows) == 30
    # One that is being made sure of is passed over.
    old = await past.lane("held", 20)
    other = await asyncpg.connect(module_dsn)
    try:
        async with other.transaction():
            await other.execute("update lane set used_at = now() where id = $1", old.id)
            await past.sweep()
            assert "held" in await past.left()
    finally:
        await other.close()
    await past.sweep()
    assert "held" in await past.left()


async def test_a_move_of_ended_jobs_makes_sure_of_the_lane_they_come_into(s: Stored, past: Past) -> None:
    job = await past.job(await s.lane("from"), 1)
    await past.lane("to", 20)
    await s.sql.fetch(statement("intern_lanes_of_jobs"), [job], job, job, 1, "to")
    await past.sweep()
    assert await past.left() == {"from", "to"}


async def test_changes_are_kept_for_a_day(s: Stored, past: Past) -> None:
    await s.lane("q")
    kept = await s.sql.fetchval("select count(*) from catalog_change")
    await s.sql.execute(
        "insert into catalog_change (at, lane_id) select now() - interval '25 hours', i from generate_series(1, 25) i"
    )
    await past.sweep()
    assert await s.sql.fetchval("select count(*) from catalog_change") == kept
