"""Each statement that ends jobs does all that an end owes, whichever of them a caller takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest

import jobqueue_server.store
from jobqueue_server.lifecycle import Event
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.policy.semaphores import SemaphoreStore
from jobqueue_server.store.statements import statement

from .stored import SCOPE, Stored
from .test_semaphore import Key

TEXTS = {
    path.stem: path.read_text() for path in Path(jobqueue_server.store.__file__).parent.rglob("sql/*.sql")
}
ENDING = {name for name, text in TEXTS.items() if "insert into finished_job" in text}

#: What a statement that does not give permits back by the fragment does instead.
OTHERWISE = {
    "end_plain": "and semaphore_id is null",
    "end_and_admit": "- ((select freed from done))",
    "cancel_rest": "where l.semaphore_id = s.id and l.hold = 1",
}

Lease = tuple[UUID, int, int]


@pytest.fixture
async def key(s: Stored) -> Key:
    made = Key(s, await s.lane(), await s.session(), SemaphoreStore(s.database))
    await made.policy(key_max_running=1)
    return made


async def _succeed(key: Key, lease: Lease) -> None:
    await key.s.attempts.end_succeeded([(*lease, None)])


async def _succeed_and_admit(key: Key, lease: Lease) -> None:
    await key.s.attempts.end_and_admit([(*lease, b"{}")], 1000)


async def _fail(key: Key, lease: Lease) -> None:
    await key.s.attempts.end_attempt([AttemptEnd(*lease, Event.FAIL, permanent=True)])


async def _cancel(key: Key, lease: Lease) -> None:
    """The job is in line again, with its permit, when it is cancelled."""
    await key.s.attempts.end_attempt([AttemptEnd(*lease, Event.UNDELIVERED)])
    await key.semaphores.release_due(1000)
    await key.admit(1)
    held = {job_id for job_id, hold in (await key.holds()).items() if hold is None}
    await key.s.changes.cancel(SCOPE, held.pop())


#: Statement: how it ends one of two jobs of a key with one permit, of which the first runs; and the counts after it.
ENDS: dict[str, tuple[Callable[[Key, Lease], Awaitable[None]], tuple[int, int]]] = {
    "end_succeeded": (_succeed, (0, 1)),
    "end_and_admit": (_succeed_and_admit, (1, 0)),
    "end_attempt": (_fail, (0, 1)),
    "cancel": (_cancel, (0, 1)),
}


@pytest.mark.unit
def test_six_statements_end_jobs_and_each_gives_back_what_they_held() -> None:
    assert ENDS.keys() | OTHERWISE.keys() == ENDING
    for name in ENDING:
        gives_back = "-- use give-back" in TEXTS[name]
        assert gives_back is (name not in OTHERWISE), name
        assert gives_back or OTHERWISE[name] in TEXTS[name], name


@pytest.mark.parametrize("name", ENDS)
async def test_an_end_is_written_once_and_gives_the_permit_back(key: Key, name: str) -> None:
    lease = await key.lease()
    await key.enqueue()
    assert await key.counts() == (1, 1)
    end, after = ENDS[name]
    await end(key, lease)
    assert await key.s.sql.fetchval("select count(*) from finished_job") == 1
    assert await key.counts() == after
    calls = await key.s.sql.fetchval(
        "select admit_at <= now() from semaphore where id = $1", key.semaphore_id
    )
    assert calls is (True if after[1] else None)


async def test_the_plain_end_leaves_a_job_that_holds_a_permit(key: Key) -> None:
    job_id, attempt, session = await key.lease()
    row = await key.s.sql.fetchrow(statement("end_plain"), [job_id], [1], [attempt], [session])
    assert row["settled"] == []
    assert await key.counts() == (1, 0)


async def test_jobs_that_are_cancelled_with_the_one_that_failed_leave_their_places(key: Key) -> None:
    await key.policy(key_order=1, key_on_failure=3)
    lease = await key.lease()
    await key.enqueue(3)
    await _fail(key, lease)
    assert len((await key.semaphores.cancel_rest(1000)).jobs) == 3
    assert await key.counts() == (0, 0)
    assert await key.s.sql.fetchval("select count(*) from finished_job") == 4
