"""docs/clocks.md is true: each stored time, and what a step of an hour either way makes early or late by it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobqueue_server.core.access import keys
from jobqueue_server.core.intake.names import UniqueNames
from jobqueue_server.core.upkeep.expected_clock import DELETE_AFTER_STEP, REAP_AFTER_STEP
from jobqueue_server.grants import NOTHING
from jobqueue_server.lifecycle import Event
from jobqueue_server.model import Unique, Until
from jobqueue_server.store.access.access import AccessStore, NewKey
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.intake.intake import Name, NewRows
from jobqueue_server.store.session.sessions import Told
from jobqueue_server.store.statements import names, statement
from jobqueue_server.store.upkeep.retention import Fate, RetentionStore
from tests.clock_step import make_settable, set_clock
from tests.conftest import Cluster, run_apart

from .factories import keyed_row, lease, look, new_row, store_named
from .past import RETENTION, WIDTH, ago, finished, id_at, partition_of
from .stored import SCOPE, Stored
from .test_bulk import MINE, OTHER, opened

DOCUMENT = Path(__file__).parents[2] / "docs" / "clocks.md"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
TTL = 30
#: What is later than a step of an hour would make it be over.
LATER = 3700
#: How exactly it is measured when something is over, in seconds.
GRAIN = 6


@dataclass
class Watched:
    """Something that is over so many seconds after it was made, if nobody sets the clock.

    `believed_after`: how long after a step the clock is believed by what makes it be over.
    """

    over: Callable[[], Awaitable[bool]]
    normally: int
    believed_after: timedelta = timedelta()


class Scene:
    """The stores over a database whose clock can be set, with a server that is heard."""

    def __init__(self, s: Stored) -> None:
        self.s = s
        self.server = 0
        self.retention = RetentionStore(s.database, retention=RETENTION, expected=lambda: s.expected())

    async def starts(self) -> int:
        """A server starts; its number. The last one that did is heard from then on."""
        self.server = (await self.s.sessions.register_server("server", 1))["id"]
        return self.server

    async def opens(self, server: int) -> tuple[int, int]:
        """A session of this server."""
        return await self.s.sessions.open(SCOPE, server, Told("worker"), TTL * SECOND, os.urandom(32))

    async def silent(self, session: tuple[int, int], seconds: int) -> None:
        """The session has been silent for so long."""
        await self.s.sessions.silence([(*session, seconds * SECOND)])

    def reaped(self, session: tuple[int, int], normally: int) -> Watched:
        """The session is found, and ended."""

        async def over() -> bool:
            rows = await self.s.sessions.expired(self.server, 10)
            if not any(row["id"] == session[0] for row in rows):
                return False
            ended, _ = await self.s.sessions.reap(
                dict([session]), lambda row: AttemptEnd(row["id"], row["attempts"], session[0], Event.LOST)
            )
            return bool(ended)

        return Watched(over, normally, REAP_AFTER_STEP)

    async def over_after(self, watched: Watched, step: timedelta) -> float:
        """Sets the clock, and lets time pass; how many seconds after the step it is over."""
        goes_on = (
            watched.normally + hours * 3600 + grain for hours in (-1, 0, 1) for grain in (-GRAIN, GRAIN)
        )
        soon = range(0, 2 * TTL + GRAIN, GRAIN)
        waits = int(watched.believed_after.total_seconds())
        for seconds in sorted({*soon, waits - GRAIN, waits + GRAIN, *goes_on}):
            if seconds < 0:
                continue
            passed = seconds * SECOND
            await set_clock(self.s.sql, step + passed)
            believed = step if passed >= watched.believed_after else timedelta()
            self.s.expected = lambda at=believed + passed: datetime.now(UTC) + at  # type: ignore[misc]
            if seconds > 0:
                # Stands for the heartbeats of the time that passed.
                await self.s.sql.execute("update server set heartbeat_at = now() where id = $1", self.server)
            elif await self.s.sessions.server_heartbeat(self.server) is None:
                await self.starts()
                await self.s.sessions.server_heartbeat(self.server)
            if await watched.over():
                return seconds
        raise AssertionError("it is never over")


@pytest.fixture(scope="module")
def module_dsn(cluster: Cluster, template: str) -> Iterator[str]:
    """A migrated database for this file, whose clock can be set."""
    name = cluster.create(template)
    run_apart(make_settable(cluster.dsn_of(name)))
    yield cluster.dsn_of(name)
    cluster.drop(name)


@pytest.fixture
async def scene(s: Stored) -> AsyncIterator[Scene]:
    await s.sql.execute("update retention_sweep set started_at = default")
    made = Scene(s)
    await made.starts()
    yield made
    await set_clock(s.sql, timedelta())


async def run_at(scene: Scene) -> Watched:
    s, lane, session = scene.s, await scene.s.lane(), await scene.opens(scene.server)
    await s.queued(delay=LATER * SECOND)

    async def over() -> bool:
        return bool(await s.claims.claim([look(lane)], [session[0]], dict([session])))

    return Watched(over, LATER)


async def deadline(scene: Scene) -> Watched:
    s = scene.s
    _, attempt, session = await s.running(timeout=LATER * SECOND)

    async def over() -> bool:
        found = [
            AttemptEnd(row["id"], row["attempts"], row["session_id"], Event.TIMEOUT)
            for row in await s.sessions.due(scene.server, 10)
        ]
        assert {(leaving.attempt, leaving.session_id) for leaving in found} <= {(attempt, session)}
        return bool(found and await s.attempts.end_attempt(found))

    return Watched(over, LATER, REAP_AFTER_STEP)


async def changed_at(scene: Scene) -> Watched:
    s, lane = scene.s, await scene.s.lane()
    ended, open = await scene.opens(scene.server), await scene.opens(scene.server)
    row = new_row(s, lane, slot=ended)
    await s.intake.enqueue([row])
    # As if the check of its epoch had passed in a snapshot from before the end.
    await s.sql.execute("update worker_session set ended_at = now() where id = $1", ended[0])
    await lease(s, lane, 1, open)

    async def over() -> bool:
        strays = await s.sessions.stray(2 * HOUR)
        (held,) = await s.sessions.held([open[0]])
        assert bool(strays) == held["older_than_flight"]
        return bool(strays)

    return Watched(over, 10, REAP_AFTER_STEP)


async def silent_since(scene: Scene) -> Watched:
    session = await scene.opens(scene.server)
    await scene.silent(session, 15)
    return scene.reaped(session, TTL - 15)


async def heartbeat_at(scene: Scene) -> Watched:
    dead = scene.server
    session = await scene.opens(dead)
    await scene.starts()
    await scene.s.sql.execute("update server set heartbeat_at = now() - interval '15 s' where id = $1", dead)
    return scene.reaped(session, TTL - 15)


async def opened_at(scene: Scene) -> Watched:
    session = await scene.opens(scene.server + 1000)
    await scene.s.sql.execute("update worker_session set opened_at = now() - interval '15 s'")
    return scene.reaped(session, TTL - 15)


async def granted_at(scene: Scene) -> Watched:
    session = await scene.opens(scene.server)
    await scene.silent(session, 2 * TTL)
    await scene.s.sql.execute("update amnesty set granted_at = now() - interval '15 s'")
    return scene.reaped(session, TTL - 15)


async def left_at(scene: Scene) -> Watched:
    session = await scene.opens(scene.server)
    await scene.silent(session, 15)
    await scene.s.sessions.retire_server(scene.server)
    return scene.reaped(session, TTL - 15)


async def ended_at(scene: Scene) -> Watched:
    session = await scene.opens(scene.server)
    await scene.s.sql.execute(
        "update worker_session set ended_at = now() - $1::interval where id = $2",
        RETENTION + timedelta(days=1) - LATER * SECOND,
        session[0],
    )

    async def over() -> bool:
        return sum([swept async for swept in scene.retention.sweep_sessions()]) == 1

    return Watched(over, LATER, DELETE_AFTER_STEP)


async def finished_at(scene: Scene) -> Watched:
    await scene.retention.ensure_partitions(WIDTH, behind=40, ahead=0)
    old = id_at(ago(days=9))
    await finished(scene.s.sql, [old], ago(days=7) + LATER * SECOND)
    partition = await partition_of(scene.retention, old)
    assert partition is not None

    async def over() -> bool:
        async for _ in scene.retention.sweep_progress(partition):
            pass
        return await scene.retention.drop_partition(partition.name) is Fate.DROPPED

    return Watched(over, LATER, DELETE_AFTER_STEP)


async def expires_at(scene: Scene) -> Watched:
    s, lane = scene.s, await scene.s.lane()
    await s.intake.enqueue([keyed_row(s, lane, "key")])
    await s.sql.execute("update idempotency_key set expires_at = now() + $1::interval", LATER * SECOND)

    async def over() -> bool:
        return not (await s.intake.enqueue([keyed_row(s, lane, "key", "another")])).lost_keys

    return Watched(over, LATER)


async def name_held_until(scene: Scene) -> Watched:
    s, lane, names = scene.s, await scene.s.lane(), UniqueNames(scene.s.intake)

    def row() -> NewRows:
        made = new_row(s, lane)
        made.of_name(Name(b"n" * 16, Unique("n", until=Until.PERIOD, period=LATER * SECOND)))
        return made

    await store_named(names, [row()])

    async def over() -> bool:
        return not (await store_named(names, [row()])).conflicts

    return Watched(over, LATER)


async def key_expires_at(scene: Scene) -> Watched:
    access, key = AccessStore(scene.s.database), keys.mint()
    new = NewKey(key.id, "key", key.secret_hash, NOTHING, "tests", LATER * SECOND)
    await access.insert_key(SCOPE, SCOPE.namespace, new)

    async def over() -> bool:
        found = await access.get_key(SCOPE.namespace, key.id)
        return found is not None and found.expired

    return Watched(over, LATER)


async def operation_ended_at(scene: Scene) -> Watched:
    operation = await opened(scene.s)
    await scene.s.sql.execute(
        "update operation set state = 3, ended_at = now() - $1::interval where id = $2",
        RETENTION - LATER * SECOND,
        operation.id,
    )

    async def over() -> bool:
        return sum([swept async for swept in scene.retention.sweep_operations()]) == 1

    return Watched(over, LATER, DELETE_AFTER_STEP)


async def operation_heard_at(scene: Scene) -> Watched:
    await opened(scene.s)

    async def over() -> bool:
        return bool(await scene.s.operations.claim(OTHER, 1))

    return Watched(over, 10)


async def operation_next_at(scene: Scene) -> Watched:
    operation = await opened(scene.s)
    await scene.s.operations.release(operation.id, MINE, timedelta(hours=2))

    async def over() -> bool:
        return bool(await scene.s.operations.claim(OTHER, 1))

    return Watched(over, 7200)


async def started_at(scene: Scene) -> Watched:
    assert await scene.retention.claim_sweep(55 * SECOND)

    async def over() -> bool:
        return await scene.retention.claim_sweep(55 * SECOND)

    return Watched(over, 55)


SCENES = {
    "live_job.run_at": run_at,
    "live_job.deadline": deadline,
    "live_job.changed_at": changed_at,
    "worker_session.silent_since": silent_since,
    "worker_session.opened_at": opened_at,
    "worker_session.ended_at": ended_at,
    "server.heartbeat_at": heartbeat_at,
    "amnesty.granted_at": granted_at,
    "amnesty.left_at": left_at,
    "finished_job.finished_at": finished_at,
    "idempotency_key.expires_at": expires_at,
    "unique_hold.holds_until": name_held_until,
    "api_key.expires_at": key_expires_at,
    "operation.ended_at": operation_ended_at,
    "operation.heard_at": operation_heard_at,
    "operation.next_at": operation_next_at,
    "retention_sweep.started_at": started_at,
}
#: What comes by these does not wait until the clock is believed.
BELIEVE_AT_ONCE = {
    "live_job.run_at", "idempotency_key.expires_at", "unique_hold.holds_until", "api_key.expires_at",
    "operation.heard_at", "operation.next_at", "retention_sweep.started_at",
}  # fmt: skip
#: What the table says: by how many seconds it may be late at least and at most; early where that is negative.
COSTS = {
    "nothing": (-GRAIN, GRAIN),
    "a minute early": (-60, -GRAIN),
    "10 s early": (-10, -GRAIN),
    "an hour early": (-3600 - GRAIN, -1800),
    "an hour late": (3600 - GRAIN, 3600 + GRAIN),
    "the ttl anew": (GRAIN, TTL),
}
ROWS = {
    name: (forwards, back)
    for name, forwards, back in re.findall(
        r"^\| `(\w+\.\w+)` \| ([^|]+) \| ([^|]+) \|", DOCUMENT.read_text(), re.MULTILINE
    )
}


@pytest.mark.cases(8)
@pytest.mark.parametrize(("way", "hours"), [("forwards", 1), ("back", -1)])
@pytest.mark.parametrize("name", SCENES)
async def test_a_step_of_an_hour_costs_what_the_table_says(scene: Scene, name: str, way: str, hours: int):
    watched = await SCENES[name](scene)
    late_by = await scene.over_after(watched, hours * HOUR) - watched.normally
    least, most = COSTS[ROWS[name][way == "back"]]
    assert least <= late_by <= most, f"{late_by} s late"


@pytest.mark.parametrize("name", SCENES)
async def test_a_clock_that_nobody_sets_costs_nothing(scene: Scene, name: str):
    watched = await SCENES[name](scene)
    watched.believed_after = timedelta()
    assert abs(await scene.over_after(watched, timedelta()) - watched.normally) <= GRAIN


@pytest.mark.parametrize("name", sorted(SCENES.keys() - BELIEVE_AT_ONCE))
async def test_nothing_is_taken_away_while_the_clock_is_in_doubt(scene: Scene, name: str):
    s, watched = scene.s, await SCENES[name](scene)
    passed = (watched.normally + GRAIN) * SECOND
    await set_clock(s.sql, passed)
    if await s.sessions.server_heartbeat(scene.server) is None:
        await scene.starts()
    await s.sql.execute("update server set heartbeat_at = now() where id = $1", scene.server)
    await s.sql.execute("update amnesty set granted_at = now() - interval '1 day'")
    s.expected = lambda: None
    assert not await watched.over(), "nothing is known of the clock"
    # Statements may come to the database some seconds after what is expected was read.
    for off in (-6, 9):
        s.expected = lambda off=off: datetime.now(UTC) + passed + off * SECOND  # type: ignore[misc]
        assert not await watched.over(), f"the clock is {off} s off"
    s.expected = lambda: datetime.now(UTC) + passed + 4 * SECOND
    assert await watched.over()


async def test_after_a_clock_was_wrong_for_seconds_a_lost_session_is_reaped_a_ttl_later(scene: Scene):
    s, session = scene.s, await scene.opens(scene.server)
    await scene.silent(session, TTL - 5)
    await set_clock(s.sql, HOUR)
    row = await s.sessions.server_heartbeat(scene.server)
    assert row is not None
    assert row["amnesty"], "it looks as if no server had been heard for an hour"
    late_by = await scene.over_after(scene.reaped(session, 5), timedelta()) - 5
    assert late_by <= TTL


async def test_servers_that_set_times_back_at_once_do_not_wait_for_each_other(scene: Scene):
    """Each writes the row of every other one; none is ended for a deadlock, and each is heard."""
    s = scene.s
    servers = [await scene.starts() for _ in range(6)]
    for server in servers:
        await scene.opens(server)
    for _ in range(10):
        await s.sql.execute("update server set heartbeat_at = now() + interval '1 hour'")
        await s.sql.execute("update worker_session set silent_since = now() + interval '1 hour'")
        await s.sql.execute("update amnesty set granted_at = now() + interval '1 hour', left_at = granted_at")
        rows = await asyncio.gather(
            *(s.database.fetchrow("server_heartbeat", server, None) for server in servers for _ in range(3))
        )
        assert all(row is not None and not row["amnesty"] for row in rows)
        for table, column in (("server", "heartbeat_at"), ("worker_session", "silent_since")):
            ahead = f"select count(*) from {table} where {column} > now() + interval '1 second'"
            assert await s.sql.fetchval(ahead) == 0
        assert await s.sql.fetchval("select greatest(granted_at, left_at) <= now() from amnesty")


async def test_a_row_that_another_heartbeat_has_locked_is_left_to_it(scene: Scene):
    """As two wait for each other where each has its own row: here one of them waits for nothing."""
    s = scene.s
    mine, other = [await scene.starts() for _ in range(2)]
    for server in (mine, other):
        await scene.opens(server)
    await s.sql.execute("update server set heartbeat_at = now() + interval '1 hour'")
    await s.sql.execute("update worker_session set silent_since = now() + interval '1 hour'")
    async with s.sql.transaction():
        await s.sql.execute("select from server where id = $1 for update", other)
        await s.sql.execute("select from worker_session for update")
        # Else it would be ended by the time limit of its statement.
        assert await s.database.fetchrow("server_heartbeat", mine, None) is not None
    assert await s.database.fetchrow("server_heartbeat", mine, None) is not None
    for table, column in (("server", "heartbeat_at"), ("worker_session", "silent_since")):
        ahead = f"select count(*) from {table} where {column} > now() + interval '1 second'"
        assert await s.sql.fetchval(ahead) == 0


async def test_a_heartbeat_leaves_alone_what_does_not_lie_in_the_future(scene: Scene):
    s, session, other = scene.s, await scene.opens(scene.server), await scene.starts()
    before = [
        await s.sql.fetch("select * from worker_session"),
        await s.sql.fetch("select * from server where id <> $1", other),
        await s.sql.fetch("select * from amnesty"),
    ]
    assert await s.sessions.server_heartbeat(other) is not None
    assert before == [
        await s.sql.fetch("select * from worker_session"),
        await s.sql.fetch("select * from server where id <> $1", other),
        await s.sql.fetch("select * from amnesty"),
    ]
    await s.sql.execute("update worker_session set opened_at = now() + interval '1 hour'")
    assert await s.sessions.server_heartbeat(other) is not None
    row = await s.sql.fetchrow("select silent_since, opened_at <= now() as opened from worker_session")
    assert tuple(row) == (None, True), f"session {session} is heard"


async def test_each_time_that_is_stored_is_in_the_document(s: Stored):
    rows = await s.sql.fetch(
        "select c.table_name || '.' || c.column_name as name from information_schema.columns c "
        "join information_schema.tables t using (table_schema, table_name) "
        "where c.table_schema = 'public' and c.data_type like 'timestamp%' and t.table_type = 'BASE TABLE' "
        "and c.table_name !~ '_[0-9]{12}$'"
    )
    stored_times = {row["name"] for row in rows}
    assert ROWS.keys() == SCENES.keys()
    shown = set(re.findall(r"`(\w+\.\w+)`", DOCUMENT.read_text())) - ROWS.keys()
    assert shown | ROWS.keys() == stored_times


#: What takes something away for good because a time is over, and waits while the clock is in doubt.
GUARDED = {
    "drop_audit_partition", "drop_partition", "due", "end_attempt", "expired_sessions", "forget_kinds", "forget_lanes",
    "forget_queues", "held", "lock_sessions", "mark_swept", "merge_partitions", "reap_sessions", "roll_up", "stray",
    "sweep_catalog_changes", "sweep_finished", "sweep_keys",
    "sweep_names", "sweep_operations", "sweep_progress", "sweep_servers", "sweep_sessions", "sweep_slices",
}  # fmt: skip


def test_what_takes_away_because_a_time_is_over_compares_now_with_the_expected_time():
    guard = re.compile(
        r"now\(\) between (\$\d+)::timestamptz - interval '5 seconds' "
        r"and \1::timestamptz \+ interval '5 seconds'"
    )
    assert {name for name in names() if guard.search(statement(name))} == GUARDED
