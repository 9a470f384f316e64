"""The backoff is even over [base, min(cap, 3 * previous)], by job, else kind, else default.

What a worker asks for instead is spread by a tenth; a snooze is exact.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from statistics import fmean

import pytest

from jobqueue_server.lifecycle import Event
from jobqueue_server.model import MAX_AHEAD, Kind, RetryPolicy
from jobqueue_server.store.attempt.attempts import AttemptEnd

from .factories import enqueue, everything, lease, make_due
from .stored import SCOPE

DRAWS = 2000


async def draws(s, previous, low, high, count=DRAWS):
    rows = await s.sql.fetch(
        "select next_backoff_ms($1::int4, $2::int4, $3::int4) as ms from generate_series(1, $4)",
        previous, low, high, count,
    )  # fmt: skip
    return [row["ms"] for row in rows]


async def live(s, job_id):
    (row,) = (await everything(s.sql, job_id))["live_job"]
    return row


def waited(row):
    return round((row["run_at"] - row["changed_at"]).total_seconds() * 1000)


async def fail(s, job_id, **more):
    """Fails the job once more, when it is due."""
    await make_due(s.sql)
    await s.end_attempt(job_id, *await s.claim(job_id), Event.FAIL, **more)
    return await live(s, job_id)


@pytest.mark.parametrize("previous", [None, 1000, 4000, 15_000])
async def test_a_draw_lies_evenly_between_the_base_and_three_times_the_previous(s, previous):
    found = await draws(s, previous, 1000, 60_000)
    top = 3 * (previous or 1000)
    assert 1000 <= min(found) <= 1000 + (top - 1000) * 0.02
    assert top - (top - 1000) * 0.02 <= max(found) <= top
    # The mean of 2,000 even draws is within 4 of its standard deviations in all but 1 of 16,000 runs.
    spread = (top - 1000) / 12**0.5 / DRAWS**0.5
    assert abs(fmean(found) - (1000 + top) / 2) < 6 * spread


async def test_no_draw_passes_the_cap_and_none_gather_there(s):
    found = await draws(s, 50_000, 1000, 60_000)
    assert min(found) >= 1000
    assert 59_000 <= max(found) <= 60_000
    # Even over 59 s: 34 of 2,000 to each second.
    assert max(Counter(ms // 1000 for ms in found).values()) < 80
    assert abs(fmean(found) - 30_500) < 6 * 59_000 / 12**0.5 / DRAWS**0.5


@pytest.mark.parametrize("previous", [None, 6000, 9000, 12_000])
async def test_of_2000_retries_of_6_to_12_seconds_no_second_has_more_than_a_quarter(s, previous):
    found = await draws(s, previous, 6000, 12_000)
    assert 6000 <= min(found) <= 6100
    assert 11_900 <= max(found) <= 12_000
    assert max(Counter(ms // 1000 for ms in found).values()) <= 0.25 * DRAWS


async def test_a_backoff_without_a_range_is_exact(s):
    assert set(await draws(s, None, 500, 500)) == {500}
    assert set(await draws(s, 500, 500, 500)) == {500}
    assert set(await draws(s, 604_800_000, 604_800_000, 604_800_000)) == {604_800_000}, "7 days, the most"


@pytest.mark.parametrize("previous", [715_827_882, 715_827_883, 2**31 - 1])
async def test_three_times_a_large_wait_does_not_overflow(s, previous):
    """Three times 715,827,883 is the first that an int4 can't hold."""
    found = await draws(s, previous, 1, 2**31 - 1)
    assert 1 <= min(found) < 0.02 * 2**31
    assert 0.98 * 2**31 < max(found) < 2**31
    assert set(await draws(s, previous, 2**31 - 1, 2**31 - 1, 10)) == {2**31 - 1}


async def test_a_cap_below_the_base_is_kept(s):
    """No policy is so; the cap would be the stronger promise."""
    for previous in (None, 1, 60_000):
        assert set(await draws(s, previous, 9000, 5000)) == {5000}


async def test_a_base_above_three_times_the_previous_is_the_floor(s):
    """The policy may have changed since the last draw, or a draw come from the kind's."""
    assert set(await draws(s, 1, 5000, 60_000)) == {5000}


async def test_each_job_of_a_batch_draws_for_itself(s):
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 200, session)
    await s.attempts.end_attempt([AttemptEnd(*triple, Event.FAIL) for triple in leases])
    rows = await s.sql.fetch("select backoff_ms from live_job")
    found = [row["backoff_ms"] for row in rows]
    assert len(set(found)) > 100, "else they would come back as one herd"
    assert min(found) >= 1000
    assert max(found) <= 3000


async def test_the_backoff_drawn_is_the_time_waited_and_is_kept_for_the_next(s):
    job_id = await s.queued(max_attempts=100)
    previous = None
    for _ in range(15):
        row = await fail(s, job_id)
        top = min(60_000, 3 * (previous or 1000))
        assert 1000 <= row["backoff_ms"] <= top
        assert waited(row) == row["backoff_ms"]
        previous = row["backoff_ms"]


async def test_backoff_grows_towards_the_cap_and_stays_under_it(s):
    """The draws wander upwards: by the eighth failure most of 200 jobs wait longer than after the first."""
    lane, session = await s.lane(), await s.session()
    await enqueue(s, lane, 200, max_attempts=100)
    means = []
    for _ in range(8):
        await make_due(s.sql)
        rows = await s.sql.fetch(
            "update live_job set state = 2, attempts = attempts + 1, session_id = $1 returning id, attempts",
            session[0],
        )
        await s.attempts.end_attempt(
            [AttemptEnd(row["id"], row["attempts"], session[0], Event.FAIL) for row in rows]
        )
        means.append(await s.sql.fetchval("select avg(backoff_ms)::float8 from live_job"))
    assert means[0] < 2500
    assert means[-1] > 3 * means[0]
    assert await s.sql.fetchval("select max(backoff_ms) from live_job") <= 60_000


@pytest.mark.parametrize("event", [Event.FAIL, Event.TIMEOUT], ids=lambda event: event.name)
@pytest.mark.parametrize(
    ("job", "kind", "low", "high"),
    [
        (None, None, 1000, 3000),
        (None, (10_000, 20_000), 10_000, 20_000),
        ((100_000, 100_500), None, 100_000, 100_500),
        ((100_000, 100_500), (10_000, 20_000), 100_000, 100_500),
    ],
    ids=["default", "the kind's", "the job's", "the job's before the kind's"],
)
async def test_the_policy_is_the_job_s_else_the_kind_s_else_the_default(s, event, job, kind, low, high):
    def policy(bounds):
        return bounds and RetryPolicy(*[timedelta(milliseconds=bound) for bound in bounds])

    await s.catalog.put_kind(SCOPE, Kind("hello", retry_policy=policy(kind)))
    job_id, attempt, session_id = await s.running(retry_policy=policy(job), timeout=timedelta(seconds=1))
    await s.sql.execute("update live_job set deadline = now()")
    await s.end_attempt(job_id, attempt, session_id, event)
    row = await live(s, job_id)
    assert low <= row["backoff_ms"] <= high
    assert waited(row) == row["backoff_ms"]


async def test_the_worker_s_word_goes_before_the_policy_and_leaves_the_previous_draw(s):
    job_id = await s.queued(max_attempts=100)
    drawn = (await fail(s, job_id))["backoff_ms"]
    row = await fail(s, job_id, after=timedelta(minutes=10))
    assert 600_000 <= waited(row) <= 660_000, "beyond the cap, if it says so"
    assert row["backoff_ms"] == drawn
    row = await fail(s, job_id)
    assert 1000 <= row["backoff_ms"] <= 3 * drawn


async def waits(s, event, after):
    """What 500 jobs wait that leave by this event and ask for this wait, in ms."""
    lane, session = await s.lane(), await s.session()
    leases = await lease(s, lane, 500, session)
    await s.attempts.end_attempt([AttemptEnd(*triple, event, after=after) for triple in leases])
    rows = await s.sql.fetch("select run_at, changed_at from live_job")
    assert len(rows) == len(leases)
    return [waited(row) for row in rows]


async def test_jobs_whose_workers_ask_for_the_same_wait_come_back_spread_over_a_tenth_more(s):
    found = await waits(s, Event.FAIL, timedelta(seconds=60))
    assert 60_000 <= min(found) < 60_300
    assert 65_700 < max(found) <= 66_000
    assert max(Counter(ms // 1000 for ms in found).values()) <= 0.25 * len(found)


async def test_a_wait_that_a_worker_asks_for_stays_within_400_days(s):
    found = await waits(s, Event.FAIL, MAX_AHEAD)
    assert set(found) == {400 * 86_400_000}
    await s.sql.execute("delete from live_job")
    found = await waits(s, Event.FAIL, timedelta(days=390))
    assert min(found) >= 390 * 86_400_000
    assert 399 * 86_400_000 < max(found) <= 400 * 86_400_000
    assert len(set(found)) > 400, "and none gather there"


@pytest.mark.parametrize(
    ("event", "after"),
    [
        (Event.FAIL, timedelta()),
        (Event.SNOOZE, timedelta()),
        (Event.SNOOZE, timedelta(seconds=60)),
        (Event.SNOOZE, MAX_AHEAD),
    ],
    ids=["a retry at once", "a snooze of nothing", "a snooze", "the longest snooze"],
)
async def test_a_snooze_and_a_retry_at_once_are_exact(s, event, after):
    assert set(await waits(s, event, after)) == {after / timedelta(milliseconds=1)}


@pytest.mark.parametrize(
    "event", [Event.SNOOZE, Event.RELEASE, Event.REVOKE, Event.UNDELIVERED, Event.LOST], ids=lambda e: e.name
)
async def test_what_is_no_failure_draws_nothing_and_keeps_the_previous(s, event):
    job_id = await s.queued(max_attempts=100)
    drawn = (await fail(s, job_id))["backoff_ms"]
    await make_due(s.sql)
    await s.end_attempt(job_id, *await s.claim(job_id), event)
    row = await live(s, job_id)
    assert (row["backoff_ms"], waited(row)) == (drawn, 0)


async def test_a_retry_by_an_operator_starts_the_backoff_anew(s):
    job_id = await s.queued(max_attempts=2)
    await fail(s, job_id)
    await make_due(s.sql)
    await s.end_attempt(job_id, *await s.claim(job_id), Event.FAIL)
    await s.changes.retry(SCOPE, job_id)
    assert (await live(s, job_id))["backoff_ms"] is None
