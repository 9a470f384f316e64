from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from jobqueue_server.core.catalog.catalog import Catalog
from jobqueue_server.core.catalog.depths import Depths, lane_depths
from jobqueue_server.errors import KindUnknown, PageTokenInvalid, QueueNotFound
from jobqueue_server.lifecycle import Hold, Status
from jobqueue_server.model import Kind, RetryPolicy
from jobqueue_server.store.catalog.catalog import CatalogStore
from jobqueue_server.store.database import COLD_SETTINGS
from jobqueue_server.store.statements import statement

from .stored import SCOPE, stored

BUILT_IN = {"resize_image", "send_email", "summarize_text", "webhook_delivery"}


async def test_the_four_built_in_kinds_are_declared_at_start_and_an_operators_change_stays(dsn):
    async with stored(dsn) as s:
        kinds, token = await s.catalog.list_kinds(SCOPE, 0, "")
        assert ({kind.name for kind in kinds}, token) == (BUILT_IN, "")
        assert all(kind.schema for kind in kinds)
        await s.catalog.put_kind(SCOPE, Kind("send_email", '{"type":"object"}'))
        again = Catalog(s.catalog_store, open_kinds=False)
        await again.load()
        kind = again.kind(SCOPE, "send_email")
        assert kind is not None
        assert kind.schema == '{"type":"object"}'


async def test_a_kind_is_kept_whole_and_replaced_whole(dsn):
    async with stored(dsn) as s:
        policy = RetryPolicy(timedelta(milliseconds=5), timedelta(days=7))
        kind = Kind("a.kind-1", '{"type":"object"}', policy, 1000, timedelta(days=7))
        await s.catalog.put_kind(SCOPE, kind)
        assert s.catalog.kind(SCOPE, "a.kind-1") == kind
        await s.catalog.put_kind(SCOPE, Kind("a.kind-1"))
        assert s.catalog.kind(SCOPE, "a.kind-1") == Kind("a.kind-1")


async def test_kinds_and_queues_come_in_pages_by_name(dsn):
    async with stored(dsn) as s:
        for name in ("b", "a", "c"):
            await s.lane(name)
        service = s.queues
        page, token = await service.list_queues(SCOPE, 2, "")
        assert [queue.name for queue in page] == ["a", "b"]
        page, last = await service.list_queues(SCOPE, 2, token)
        assert ([queue.name for queue in page], last) == (["c"], "")
        with pytest.raises(PageTokenInvalid):
            await s.catalog.list_kinds(SCOPE, 2, token)
        page_1, token = await s.catalog.list_kinds(SCOPE, 3, "")
        page_2, last = await s.catalog.list_kinds(SCOPE, 3, token)
        assert [kind.name for kind in page_1 + page_2] == sorted(BUILT_IN | {"hello"})
        assert last == ""


async def test_a_lane_is_made_once_however_many_ask_and_on_however_many_servers(dsn):
    async with stored(dsn) as s:
        await s.catalog.put_kind(SCOPE, Kind("hello"))
        other = Catalog(CatalogStore(s.database), open_kinds=False)
        await other.load()
        lanes = await asyncio.gather(
            *(c.lane(SCOPE, "q", "hello") for _ in range(20) for c in (s.catalog, other))
        )
        assert len({lane.id for lane in lanes}) == 1
        assert len({id(lane) for lane in lanes}) == 2
        assert s.catalog.known_lane(SCOPE, "q", "hello") is lanes[0]
        assert s.catalog.lane_by_id(lanes[0].id) is lanes[0]
        assert list(s.catalog.lanes()) == [lanes[0]]
        assert await s.sql.fetchval("select count(*) from queue") == 1


async def test_an_undeclared_kind_is_unknown_unless_kinds_are_open(dsn):
    async with stored(dsn) as s:
        with pytest.raises(
            KindUnknown, match=r"did you mean send_email\?.*jobqueue kinds put send_mail"
        ) as caught:
            await s.catalog.lane(SCOPE, "default", "send_mail", "jobs[3].kind")
        assert caught.value.violations[0].field == "jobs[3].kind"
        assert await s.sql.fetchval("select count(*) from queue") == 0
        opened = Catalog(s.catalog_store, open_kinds=True)
        await opened.load()
        lane = await opened.lane(SCOPE, "default", "anything")
        opened.check_payload(lane, b"{}")
        assert lane.kind == "anything"
        assert await s.sql.fetchval("select declared_at is null from kind where name = 'anything'")
        # A server where kinds are not open goes on refusing it.
        await s.catalog.refresh()
        assert s.catalog.known_lane(SCOPE, "default", "anything") is None
        with pytest.raises(KindUnknown):
            await s.catalog.lane(SCOPE, "default", "anything")
        # Declared, it keeps its lane.
        await s.catalog.put_kind(SCOPE, Kind("anything"))
        assert (await s.catalog.lane(SCOPE, "default", "anything")).id == lane.id


async def test_a_kind_declared_on_another_server_is_known_at_its_first_use(dsn):
    async with stored(dsn) as s:
        other = Catalog(s.catalog_store, open_kinds=False)
        await other.load()
        await other.put_kind(SCOPE, Kind("fresh", '{"type":"object"}'))
        assert (await s.catalog.lane(SCOPE, "default", "fresh")).kind == "fresh"
        assert s.catalog.kind(SCOPE, "fresh") == Kind("fresh", '{"type":"object"}')


async def test_a_schema_changed_on_another_server_is_taken_over_by_a_refresh(dsn):
    async with stored(dsn) as s:
        other = Catalog(s.catalog_store, open_kinds=False)
        await other.load()
        lane = await s.lane(kind="fresh")
        for number in range(3):
            await other.put_kind(SCOPE, Kind("fresh", f'{{"const":{number}}}'))
            await s.catalog.refresh()
            s.catalog.check_payload(lane, str(number).encode())


async def test_pausing_gates_the_lanes_and_those_born_later_and_tells_the_listeners(dsn):
    async with stored(dsn) as s:
        lane, elsewhere = await s.lane("q"), await s.lane("other")
        told = []
        s.catalog.on_change.append(lambda _: told.append(lane.closed))
        service = s.queues
        assert (await service.pause_queue(SCOPE, "q")).paused
        assert (lane.closed, elsewhere.closed, told) == (True, False, [True])
        paused_at = await s.sql.fetchval("select paused_at from queue where name = 'q'")
        assert (await service.pause_queue(SCOPE, "q")).paused
        assert await s.sql.fetchval("select paused_at from queue where name = 'q'") == paused_at
        assert told == [True]
        born = await s.lane("q", "second")
        assert born.closed
        assert not (await service.resume_queue(SCOPE, "q")).paused
        assert (lane.closed, born.closed) == (False, False)
        assert not (await service.resume_queue(SCOPE, "q")).paused
        for call in (service.get_queue, service.pause_queue, service.resume_queue):
            with pytest.raises(QueueNotFound):
                await call(SCOPE, "nowhere")
            with pytest.raises(QueueNotFound):
                await call(SCOPE, "no\x00where")


async def test_no_lane_is_born_open_in_a_queue_that_is_being_paused(dsn):
    async with stored(dsn) as s:
        await s.lane("q")
        for number in range(20):
            name = f"kind{number}"
            await s.catalog.put_kind(SCOPE, Kind(name))
            await asyncio.gather(
                s.catalog_store.set_queue_paused(SCOPE, "q", paused=True),
                s.catalog_store.intern_lane(SCOPE, "q", name, make_kind=False),
            )
            assert await s.sql.fetchval("select bool_and(closed) from lane")
            await s.catalog_store.set_queue_paused(SCOPE, "q", paused=False)


async def test_a_queue_tells_its_depths_and_ages_by_status(dsn):
    async with stored(dsn) as s:
        waiting = [await s.queued(queue="q") for _ in range(2)]
        await s.lane("q", "second")
        await s.queued(queue="q", kind="second", priority=-10)
        await s.queued(queue="q", delay=timedelta(hours=1), priority=5)
        await s.running(queue="q", priority=9)
        await s.retrying(queue="q", priority=10)
        await s.queued(queue="other")
        await s.sql.execute(
            "update live_job set run_at = now() - interval '1 hour' where id = $1", waiting[0]
        )
        queue = await s.queues.get_queue(SCOPE, "q")
        depths = {depth.status: depth for depth in queue.depths}
        assert {status: (depth.jobs, depth.capped) for status, depth in depths.items()} == {
            Status.QUEUED: (4, False),
            Status.RETRYING: (1, False),
            Status.RUNNING: (1, False),
        }
        assert queue.running == 1
        oldest = depths[Status.QUEUED].oldest_age
        assert oldest is not None
        assert timedelta(hours=1) <= oldest < timedelta(hours=1, minutes=2)
        rows = {
            (lane.queue, lane.kind, status): tuple(counted)
            for lane, status, *counted in (await Depths(s.catalog, s.catalog_store).read()).waiting
        }
        assert rows["q", "second", Status.QUEUED][0] == 1
        assert ("q", "second", Status.RUNNING) not in rows
        assert rows["other", "hello", Status.QUEUED][0] == 1
        assert rows["q", "hello", Status.QUEUED][2] >= 3600


async def test_depths_stop_counting_and_say_so_and_still_find_the_oldest(dsn):
    async with stored(dsn) as s:
        ids = [await s.queued(priority=number % 3) for number in range(9)]
        await s.sql.execute("update live_job set run_at = now() - interval '1 hour' where id = $1", ids[2])
        lane = await s.lane()
        (depth,) = await s.catalog_store.waiting_depths([lane.id], per_lane=4)
        assert (depth.jobs, depth.capped) == (4, True)
        assert depth.oldest_age is not None
        assert depth.oldest_age >= timedelta(hours=1)
        (exact,) = await s.catalog_store.waiting_depths([lane.id], per_lane=9)
        assert (exact.jobs, exact.capped) == (9, False)


async def test_a_deep_queue_is_counted_along_its_partial_index(dsn):
    async with stored(dsn) as s:
        lane = await s.lane()
        await s.sql.execute(
            """insert into live_job (id, run_at, lane_id, priority, max_attempts, state)
               select id, now(), $2, 0, 3, 1 from unnest($1::uuid[]) id""",
            s.mint.mint_many(30_000),
            lane.id,
        )
        await s.running(priority=9)
        counted = {depth.status: depth for depth in await lane_depths(s.catalog_store, [lane.id])}
        assert (counted[Status.QUEUED].jobs, counted[Status.QUEUED].capped) == (10_000, True)
        assert (counted[Status.RUNNING].jobs, counted[Status.RUNNING].capped) == (1, False)


async def test_what_waits_in_a_queue_is_counted_to_its_bound_along_the_partial_indexes(dsn):
    async with stored(dsn) as s:
        lane, other = await s.lane(), await s.lane(queue="other")
        most = {lane.queue_id: 500, other.queue_id: 500}
        # Prepared while the table is empty.
        assert await s.catalog_store.waiting_counts(most) == {lane.queue_id: 0, other.queue_id: 0}
        await s.sql.execute(
            """insert into live_job (id, run_at, lane_id, priority, max_attempts, state)
               select id, now(), $2, 0, 3, 1 from unnest($1::uuid[]) id""",
            s.mint.mint_many(30_000),
            lane.id,
        )
        await s.queued(queue="other")
        await s.queued(queue="other", kind="another")
        await s.queued(queue="other", hold=Hold.HAND)
        await s.queued(queue="other", delay=timedelta(days=1))
        await s.running(queue="other", priority=9)
        assert await s.catalog_store.waiting_counts(most) == {lane.queue_id: 500, other.queue_id: 4}
        for name, value in COLD_SETTINGS.items():
            await s.sql.execute(f"set {name} = {value}")
        await s.sql.execute("set plan_cache_mode = force_generic_plan")
        plan = await s.sql.fetch(
            f"explain (analyze, format text) {statement('waiting_counts')}", list(most), list(most.values())
        )
        lines = [row[0] for row in plan]
        reads = [line for line in lines if " on live_job " in line]
        assert len(reads) == 3, lines
        assert all("Index" in line for line in reads), lines
        rows = [float(found) for line in reads for found in re.findall(r"actual .*rows=([0-9.]+)", line)]
        assert max(rows) <= 500, lines


async def test_a_kind_whose_stored_schema_is_broken_refuses_and_says_how_to_mend_it(dsn):
    async with stored(dsn) as s:
        lane = await s.lane()
        await s.sql.execute(
            "update kind set schema = '{', updated_at = clock_timestamp() where name = 'hello'"
        )
        await s.catalog.refresh()
        with pytest.raises(Exception, match=r"jobs\[0\].kind: .*put the kind again"):
            s.catalog.check_payload(lane, b"{}", "jobs[0].payload")
        await s.catalog.put_kind(SCOPE, Kind("hello", "true"))
        s.catalog.check_payload(lane, b"{}")
