"""A lease that was claimed and could not be handed over goes back as soon as the database answers, uncharged."""

from __future__ import annotations

import time

import asyncpg

from .place import Place, Status, eventually

READING_BODIES = (
    "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    " and query like '-- read: what a delivery carries%'"
)


async def test_a_claim_whose_bodies_could_not_be_read_is_given_again_at_once(place: Place, dsn: str):
    job = await place.enqueue()
    # Not the connection that looks: a transaction sees the activity as it was at its first look.
    locking = await asyncpg.connect(dsn)
    try:
        async with locking.transaction():
            await locking.execute("lock table job in access exclusive mode")
            worker = await place.worker()
            stuck = await eventually(lambda: place.value(READING_BODIES))
            await place.sql("select pg_terminate_backend($1)", stuck)
    finally:
        await locking.close()
    freed = time.monotonic()
    leased = await worker.job()
    # The audit would take 10 s.
    assert time.monotonic() - freed < 8
    assert (leased.id, leased.attempt, leased.failures) == (job.id, 2, 0)
    assert await worker.succeed(leased) == []
    done = await place.wait(job.id)
    assert (Status.Name(done.status), done.losses) == ("SUCCEEDED", 0)
