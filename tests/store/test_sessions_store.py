"""Sessions and servers: epochs won by compare and set, tokens that survive a lost answer, and who counts as lost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue_server.lifecycle import Event, State, Status
from jobqueue_server.store.attempt.attempts import AttemptEnd
from jobqueue_server.store.session.sessions import Told

from .factories import enqueue, everything, lease, new_row
from .stored import SCOPE

TTL = timedelta(seconds=30)


def token(letter: str) -> bytes:
    return letter.encode() * 32


async def opened(s, letter="a", ttl=TTL):
    server = (await s.sessions.register_server("server", 1))["id"]
    return server, await s.sessions.open(SCOPE, server, Told("worker-1", {"zone": "b"}), ttl, token(letter))


async def session_row(s, session_id):
    return await s.sql.fetchrow("select * from worker_session where id = $1", session_id)


def lost(row):
    return AttemptEnd(row["id"], row["attempts"], row["session_id"], Event.LOST)


def released(row):
    return AttemptEnd(row["id"], row["attempts"], row["session_id"], Event.RELEASE)


# ---- opening, resuming


async def test_a_session_starts_in_its_first_epoch(s):
    server, (session_id, epoch) = await opened(s)
    row = await session_row(s, session_id)
    assert (row["epoch"], row["server_id"], row["name"], row["ttl"]) == (epoch, server, "worker-1", TTL)
    assert (row["labels"], row["silent_since"], row["ended_at"]) == ('{"zone": "b"}', None, None)
    assert epoch == 1


async def test_a_resume_with_its_token_is_the_next_epoch_on_any_server(s):
    _, (session_id, _) = await opened(s)
    elsewhere = (await s.sessions.register_server("another", 1))["id"]
    row = await s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token("b"), elsewhere)
    assert tuple(row) == (session_id, 2, "worker-1", TTL, False)
    assert (await session_row(s, session_id))["server_id"] == elsewhere


async def test_a_wrong_token_resumes_nothing(s):
    server, (session_id, _) = await opened(s)
    before = await session_row(s, session_id)
    assert await s.sessions.resume(SCOPE, Told("worker"), session_id, token("x"), token("b"), server) is None
    assert (
        await s.sessions.resume(SCOPE, Told("worker"), session_id + 1, token("a"), token("b"), server) is None
    )
    assert await session_row(s, session_id) == before


async def test_the_previous_token_is_good_until_a_frame_arrived(s):
    """A lost Welcome costs nothing: the worker never saw token b, and comes again with a."""
    server, (session_id, _) = await opened(s)
    await s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token("b"), server)
    row = await s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token("c"), server)
    assert row["epoch"] == 3
    await s.sessions.confirm(session_id, 3)
    assert await s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token("d"), server) is None
    assert (
        await s.sessions.resume(SCOPE, Told("worker"), session_id, token("b"), token("d"), server) is None
    ), "nobody ever saw it"
    assert (await s.sessions.resume(SCOPE, Told("worker"), session_id, token("c"), token("d"), server))[
        "epoch"
    ] == 4


async def test_a_frame_of_an_earlier_epoch_confirms_nothing(s):
    server, (session_id, _) = await opened(s)
    await s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token("b"), server)
    await s.sessions.confirm(session_id, 1)
    assert (
        await s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token("c"), server) is not None
    )


async def test_resumes_at_once_have_epochs_of_their_own(s):
    server, (session_id, _) = await opened(s)
    rows = await asyncio.gather(
        *[
            s.sessions.resume(SCOPE, Told("worker"), session_id, token("a"), token(letter), server)
            for letter in "bcdef"
        ]
    )
    assert sorted(row["epoch"] for row in rows) == [2, 3, 4, 5, 6]


async def test_a_session_that_ended_is_not_resumed(s):
    server, session = await opened(s)
    assert await s.sessions.end(*session, released) == []
    assert await s.sessions.resume(SCOPE, Told("worker"), session[0], token("a"), token("b"), server) is None


# ---- ending


async def test_a_session_that_ends_gives_its_leases_back_in_the_same_transaction(s):
    lane, session, other = await s.lane(), await s.session("leaving"), await s.session("staying")
    mine, theirs = await lease(s, lane, 5, session), await lease(s, lane, 2, other)
    rows = await s.sessions.end(*session, released)
    assert {row["id"] for row in rows} == {job_id for job_id, _, _ in mine}
    assert {row["status"] for row in rows} == {Status.QUEUED}
    assert await s.sessions.held([session[0]]) == []
    assert {row["id"] for row in await s.sessions.held([other[0]])} == {job_id for job_id, _, _ in theirs}


async def test_a_session_ends_once_and_only_in_its_epoch(s):
    lane, (server, session) = await s.lane(), await opened(s)
    (held,) = await lease(s, lane, 1, session)
    row = await s.sessions.resume(SCOPE, Told("worker"), session[0], token("a"), token("b"), server)
    before = await everything(s.sql, held[0])
    assert await s.sessions.end(*session, released) is None, "an earlier epoch"
    assert await s.sessions.reap(dict([session]), lost) == (frozenset(), [])
    assert await everything(s.sql, held[0]) == before
    assert len(await s.sessions.end(session[0], row["epoch"], released)) == 1
    assert await s.sessions.end(session[0], row["epoch"], released) is None, "it has ended"


async def test_an_end_that_fails_leaves_session_and_leases_as_they_were(s):
    lane, session = await s.lane(), await s.session()
    (held,) = await lease(s, lane, 1, session)

    def fails(row):
        raise RuntimeError("no decision")

    before = await everything(s.sql, held[0])
    with pytest.raises(RuntimeError):
        await s.sessions.end(*session, fails)
    assert await everything(s.sql, held[0]) == before
    assert (await session_row(s, session[0]))["ended_at"] is None


# ---- who counts as lost


async def silent_for(s, session, ago):
    await s.sessions.silence([(*session, ago)])


async def heard_ago(s, seconds, server=None):
    """As if this server, or every one, had beaten last so long ago."""
    await s.sql.execute(
        "update server set heartbeat_at = now() - $1 * interval '1 s' where $2::int8 is null or id = $2",
        seconds,
        server,
    )


async def expired(s, server=0):
    """As a server sees it; 0 is one that none of the sessions hung on."""
    return [(row["id"], row["epoch"]) for row in await s.sessions.expired(server, 100)]


async def reaped(s, *sessions):
    """What becomes of leases where these sessions are reaped; None: none of them was."""
    ended, rows = await s.sessions.reap(dict(sessions), lost)
    assert ended in (frozenset(), frozenset(id for id, _ in sessions))
    return rows if ended else None


async def test_a_session_is_lost_when_silent_past_its_ttl_and_not_before(s):
    server, session = await opened(s)
    await silent_for(s, session, TTL - timedelta(seconds=5))
    assert await expired(s, server) == []
    await silent_for(s, session, TTL)
    assert await expired(s, server) == [session]


async def test_the_server_that_a_session_hung_on_reaps_it_before_another_may(s):
    """It alone knows which leases its worker never saw, and these are not charged."""
    server, session = await opened(s)
    other = (await s.sessions.register_server("another", 1))["id"]
    await silent_for(s, session, TTL)
    assert await expired(s, other) == []
    assert await expired(s, server) == [session]
    await silent_for(s, session, TTL + timedelta(seconds=1))
    assert await expired(s, other) == [session], "a second later it is anybody's"


async def test_nobody_waits_for_a_server_that_is_gone(s):
    server, session = await opened(s)
    other = (await s.sessions.register_server("another", 1))["id"]
    await silent_for(s, session, TTL)
    await heard_ago(s, 5, server)
    assert await expired(s, other) == [session]


async def test_each_session_has_its_own_ttl(s):
    _, short = await opened(s, ttl=timedelta(seconds=5))
    _, long = await opened(s, ttl=timedelta(hours=1))
    for session in (short, long):
        await silent_for(s, session, timedelta(minutes=1))
    assert await expired(s) == [short]


async def test_a_session_that_is_heard_is_never_lost(s):
    await opened(s, ttl=timedelta(seconds=5))
    await s.sql.execute("update worker_session set opened_at = now() - interval '1 day'")
    assert await expired(s) == []


async def test_silence_is_written_by_its_own_epoch_alone(s):
    server, session = await opened(s)
    await s.sessions.resume(SCOPE, Told("worker"), session[0], token("a"), token("b"), server)
    await silent_for(s, session, TTL)
    assert (await session_row(s, session[0]))["silent_since"] is None


async def test_those_of_many_that_go_on_elsewhere_or_have_ended_are_not_silenced(s):
    server, mine = await opened(s)
    _, moved = await opened(s)
    _, ended = await opened(s)
    await s.sessions.resume(SCOPE, Told("worker"), moved[0], token("a"), token("b"), server)
    await s.sessions.end(*ended, released)
    written = await s.sessions.silence([(*each, TTL) for each in (mine, moved, ended)])
    assert written == {mine[0]}
    assert await expired(s, server) == [mine]


async def test_a_resume_ends_the_silence(s):
    server, session = await opened(s)
    await silent_for(s, session, TTL)
    row = await s.sessions.resume(SCOPE, Told("worker"), session[0], token("a"), token("b"), server)
    assert await expired(s, server) == []
    assert await reaped(s, (session[0], row["epoch"])) is None, "it is not silent"
    assert await reaped(s, session) is None, "and what was found before is another epoch"


@pytest.mark.parametrize(("ttl", "dead_after"), [(5, 12), (12, 12), (40, 40)])
async def test_the_sessions_of_a_dead_server_are_lost_after_its_ttl_or_12_s(s, ttl, dead_after):
    server, session = await opened(s, ttl=timedelta(seconds=ttl))
    await s.sessions.register_server("another", 1)
    await heard_ago(s, dead_after - 4, server)
    assert await expired(s) == []
    await heard_ago(s, dead_after, server)
    assert await expired(s) == [session]


async def test_a_server_that_beats_again_keeps_its_sessions(s):
    """The reaper of another server saw it dead; before it reaped, the server was back."""
    lane, (server, session) = await s.lane(), await opened(s)
    await lease(s, lane, 1, session)
    await s.sessions.register_server("another", 1)
    await heard_ago(s, 60, server)
    assert await expired(s) == [session]
    assert await s.sessions.server_heartbeat(server) is not None
    assert await expired(s) == []
    assert await reaped(s, session) is None
    assert len(await s.sessions.held([session[0]])) == 1


async def test_a_server_that_signs_off_leaves_its_sessions_silent_to_resume_elsewhere(s):
    server, session = await opened(s)
    await s.sessions.retire_server(server)
    row = await session_row(s, session[0])
    assert row["silent_since"] is not None
    assert row["ended_at"] is None
    assert await s.sessions.server_heartbeat(server) is None, "it must register again"
    elsewhere = (await s.sessions.register_server("another", 1))["id"]
    assert (
        await s.sessions.resume(SCOPE, Told("worker"), session[0], token("a"), token("b"), elsewhere)
        is not None
    )


async def test_signing_off_does_not_start_a_silence_anew(s):
    server, session = await opened(s)
    await silent_for(s, session, timedelta(seconds=20))
    before = (await session_row(s, session[0]))["silent_since"]
    await s.sessions.retire_server(server)
    assert (await session_row(s, session[0]))["silent_since"] == before


async def test_the_leases_of_a_lost_session_are_charged_a_loss_and_wait_in_their_line(s):
    lane, (_, session) = await s.lane(), await opened(s)
    leases = await lease(s, lane, 3, session)
    await silent_for(s, session, TTL)
    rows = await reaped(s, session)
    assert {(row["id"], row["status"], row["losses"], row["failures"]) for row in rows} == {
        (job_id, Status.RETRYING, 1, 0) for job_id, _, _ in leases
    }
    assert await reaped(s, session) is None
    assert await s.sql.fetchval("select count(*) from live_job where state = 1") == 3


async def test_expired_sessions_are_bounded(s):
    for _ in range(5):
        server, session = await opened(s)
        await silent_for(s, session, 2 * TTL)
    assert len(await s.sessions.expired(server, 3)) == 3


async def late(s, server=0):
    (row,) = await s.sessions.expired(server, 100)
    return row["late"]


async def test_a_lost_session_says_for_how_long_it_could_have_been_reaped(s):
    server, session = await opened(s, ttl=timedelta(seconds=5))
    other = (await s.sessions.register_server("another", 1))["id"]
    await heard_ago(s, 16, server)
    assert 2 < await late(s, other) < 8, "from 12 s after the last beat of its server on"
    await silent_for(s, session, timedelta(seconds=65))
    assert 58 < await late(s, other) < 64, "from its ttl on"
    await s.sql.execute("update amnesty set granted_at = now() - interval '42 s'")
    assert 28 < await late(s, other) < 34, "after an amnesty from 12 s after that on"


# ---- leases that no receipt came for


async def given_back(s, session, leases, *, silent=True):
    """The jobs of these leases that went back."""
    ends = [AttemptEnd(id, attempt, session_id, Event.UNSEEN) for id, attempt, session_id in leases]
    return {row["id"] for row in await s.sessions.give_back([(*session, silent)], ends)}


async def test_what_has_no_receipt_goes_back_15_s_after_the_last_frame_and_not_before(s):
    lane, (_, session) = await s.lane(), await opened(s, ttl=timedelta(hours=1))
    leases = await lease(s, lane, 2, session)
    assert await given_back(s, session, leases) == set(), "its stream is open"
    # The statement may come to the database some seconds later.
    await silent_for(s, session, timedelta(seconds=11))
    assert await given_back(s, session, leases) == set()
    await silent_for(s, session, timedelta(seconds=15))
    assert await given_back(s, session, leases) == {job_id for job_id, _, _ in leases}
    assert await s.sql.fetchval("select sum(unseen) from live_job where state = 1") == 2
    assert (await session_row(s, session[0]))["ended_at"] is None


async def test_what_a_worker_does_not_read_goes_back_while_its_stream_is_open(s):
    lane, (_, session) = await s.lane(), await opened(s)
    leases = await lease(s, lane, 2, session)
    assert await given_back(s, session, leases, silent=False) == {job_id for job_id, _, _ in leases}


async def test_a_resume_keeps_what_no_receipt_came_for(s):
    """The next epoch's server decides by what the worker names."""
    lane, (server, session) = await s.lane(), await opened(s)
    leases = await lease(s, lane, 2, session)
    row = await s.sessions.resume(SCOPE, Told("worker"), session[0], token("a"), token("b"), server)
    assert await given_back(s, session, leases, silent=False) == set()
    await silent_for(s, (session[0], row["epoch"]), TTL)
    assert await given_back(s, session, leases) == set()


async def test_without_a_server_that_is_heard_and_during_an_amnesty_nothing_goes_back(s):
    lane, (server, session) = await s.lane(), await opened(s)
    leases = await lease(s, lane, 1, session)
    await silent_for(s, session, TTL)
    await heard_ago(s, 11)
    assert await given_back(s, session, leases) == set()
    assert (await s.sessions.server_heartbeat(server))["amnesty"] is True
    # The statement may come to the database some seconds later.
    await s.sql.execute("update amnesty set granted_at = now() - interval '12 s'")
    assert await given_back(s, session, leases) == set()
    await s.sql.execute("update amnesty set granted_at = now() - interval '15 s'")
    assert await given_back(s, session, leases) == {leases[0][0]}


async def test_by_a_clock_that_was_just_set_nothing_goes_back(s):
    lane, (_, session) = await s.lane(), await opened(s, ttl=timedelta(hours=1))
    leases = await lease(s, lane, 1, session)
    await silent_for(s, session, timedelta(seconds=15))
    s.expected = lambda: datetime.now(UTC) - timedelta(hours=1)
    assert await given_back(s, session, leases) == set()
    s.expected = lambda: datetime.now(UTC)
    assert await given_back(s, session, leases) == {leases[0][0]}


# ---- amnesty


async def granted(s):
    return await s.sql.fetchval("select granted_at > now() - interval '1 minute' from amnesty")


async def test_after_a_time_in_which_no_server_was_heard_every_reaping_is_put_off_by_a_ttl(s):
    """The first beat grants it, for the sessions that were silent and for those of the servers that were away."""
    server, silent = await opened(s, ttl=timedelta(seconds=20))
    other, heard = await opened(s, ttl=timedelta(seconds=5))
    await silent_for(s, silent, timedelta(seconds=60))
    await heard_ago(s, 60)
    # Nobody was heard: whoever comes first must not reap before it has read.
    assert await expired(s) == []
    assert await reaped(s, silent) is None
    assert (await s.sessions.server_heartbeat(server))["amnesty"] is True
    assert await expired(s) == []
    assert await reaped(s, silent) is None
    assert await reaped(s, heard) is None
    # Once: the other server's first beat, and all that follow, find a fresh one.
    assert (await s.sessions.server_heartbeat(other))["amnesty"] is False
    await heard_ago(s, 60, other)
    await s.sql.execute("update amnesty set granted_at = now() - interval '12 s'")
    assert await expired(s) == [heard]
    await s.sql.execute("update amnesty set granted_at = now() - interval '20 s'")
    assert sorted(await expired(s, server)) == [silent, heard]
    assert await expired(s) == [heard], "the server of the other lives: it has a second"
    assert await reaped(s, silent) == []


async def test_while_another_server_is_heard_there_is_no_amnesty(s):
    """A server that alone could not reach the database: its sessions are reaped by the others."""
    server, session = await opened(s)
    another = (await s.sessions.register_server("another", 1))["id"]
    await heard_ago(s, 6, another)
    await heard_ago(s, 60, server)
    assert await expired(s) == [session]
    row = await s.sessions.server_heartbeat(server)
    assert (row["amnesty"], row["peers"]) == (False, 1)
    assert await granted(s) is False


async def test_a_server_that_starts_after_all_were_gone_grants_it_too(s):
    """The host was down; its workers run on, and come back with their jobs."""
    _, session = await opened(s)
    await silent_for(s, session, TTL)
    await heard_ago(s, 11)
    assert (await s.sessions.register_server("next", 1))["amnesty"] is True
    assert await expired(s) == []


@pytest.mark.parametrize(("left_ago", "amnesty"), [(6, False), (11, True)])
async def test_the_last_server_notes_when_it_signs_off(s, left_ago, amnesty):
    """A restart is no time in which nobody was heard, unless it took 10 s."""
    server, session = await opened(s)
    await silent_for(s, session, TTL)
    await s.sessions.retire_server(server)
    await s.sql.execute("update amnesty set left_at = left_at - $1 * interval '1 s'", left_ago)
    assert (await s.sessions.register_server("next", 1))["amnesty"] is amnesty
    assert await expired(s) == ([] if amnesty else [session])


async def test_the_first_server_ever_grants_none(s):
    assert (await s.sessions.register_server("first", 1))["amnesty"] is False


# ---- what slips past a race


async def test_a_lease_of_a_session_that_ended_is_found_as_a_stray_after_10_s(s):
    lane, session = await s.lane(), await s.session()
    row = new_row(s, lane, slot=session)
    await s.sessions.end(*session, released)
    await s.intake.enqueue([row])
    assert await s.sessions.stray(timedelta(hours=1)) == []
    # As if the check of its epoch had passed in a snapshot from before the end.
    await s.sql.execute("update live_job set state = 2, attempts = 1, session_id = $1", session[0])
    assert await s.sessions.stray(timedelta(hours=1)) == [], "it may be under way"
    await s.sql.execute("update live_job set changed_at = now() - interval '11 s'")
    (found,) = await s.sessions.stray(timedelta(hours=1))
    assert tuple(found) == (row.id, 1, session[0])
    await s.end_attempt(*found, Event.UNDELIVERED)
    assert (await everything(s.sql, row.id))["live_job"][0]["state"] == State.READY


async def test_the_leases_of_sessions_that_live_are_no_strays(s):
    lane, session = await s.lane(), await s.session()
    await lease(s, lane, 2, session)
    await s.sql.execute("update live_job set changed_at = now() - interval '1 hour'")
    assert await s.sessions.stray(timedelta(hours=1)) == []


async def test_what_a_session_holds_is_told_with_all_that_a_resume_needs(s):
    lane, session = await s.lane(), await s.session()
    (job_id,) = await enqueue(s, lane, priority=4, timeout=timedelta(seconds=8))
    await s.claim(job_id, session)
    await s.changes.cancel(SCOPE, job_id)
    (row,) = await s.sessions.held([session[0]])
    told = (
        "id",
        "attempts",
        "session_id",
        "lane_id",
        "priority",
        "timeout_ms",
        "isolated",
        "cancel_requested",
    )
    assert [row[name] for name in told] == [job_id, 1, session[0], lane.id, 4, 8000, False, True]
    assert not row["older_than_flight"]
