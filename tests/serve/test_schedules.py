"""Schedules as callers see them, and what they fire: on one server, over gRPC and REST."""

from __future__ import annotations

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc.aio
import pytest

from jobqueue.v1 import job_pb2, jobqueue_pb2, queue_admin_pb2, schedule_pb2
from jobqueue.v1.schedule_pb2 import Schedule, SchedulePolicy, ScheduleRun, ScheduleTick
from jobqueue_server.core.schedule.firing import Firing
from tests.lease.hand_worker import PATIENCE, reason_of, violations_of
from tests.lease.place import Place

from .schedules import (
    JSON,
    SELDOM,
    Outcome,
    create,
    decided,
    due_now,
    end_open,
    fired,
    get,
    minutely,
    moment,
    outcomes,
    pause,
    policy,
    refused,
    resume,
    run,
    runs,
    spec,
    update,
)

pytestmark = pytest.mark.any_engine

Allow, Skip, BufferOne = SchedulePolicy.ALLOW, SchedulePolicy.SKIP, SchedulePolicy.BUFFER_ONE


# ---- made, read, changed, deleted


async def test_a_schedule_is_answered_as_it_was_made(place: Place) -> None:
    made = await create(
        place,
        "nightly",
        spec("30 2 * * *", time_zone="Europe/Berlin", jitter=60),
        payload=b'{"digits": 12345678901234567890}',
        queue="reports",
        priority=3,
        labels={"team": "a"},
        headers={"h": "v"},
        key="k",
        unique=job_pb2.Unique(key="u", until=job_pb2.Unique.ENDS),
        policy=policy(120, overlap=Skip, keep_runs=7),
    )
    assert made == await get(place, "nightly")
    assert (made.name, made.paused, made.fired, bool(made.etag)) == ("nightly", False, 0, True)
    assert made.job.payload_json == b'{"digits": 12345678901234567890}'
    assert (made.job.queue, made.job.kind, made.job.priority, made.job.key) == ("reports", "work", 3, "k")
    assert (made.job.unique.key, made.job.unique.until) == ("u", job_pb2.Unique.ENDS)
    assert dict(made.labels) == {"team": "a"}
    assert dict(made.job.headers) == {"h": "v"}
    assert (made.policy.overlap, made.policy.catch_up_window.seconds, made.policy.keep_runs) == (Skip, 120, 7)
    assert made.policy.catch_up == SchedulePolicy.LATEST
    assert len(made.upcoming) == 5
    assert made.upcoming[0].tick_at == made.next_at
    assert made.upcoming[0].local_time[11:16] == "02:30"


async def test_a_name_is_taken_once(place: Place) -> None:
    await create(place)
    assert reason_of(await refused(create(place))) == "SCHEDULE_EXISTS"


async def test_what_a_schedule_lacks_is_said_field_by_field(place: Place) -> None:
    error = await refused(create(place, "No", spec("61 * * * *", every=0.5), idempotency_key="k"))
    assert reason_of(error) == "FIELD_INVALID"
    assert set(violations_of(error)) == {
        "schedule.name",
        "schedule.spec.every",
        "schedule.job.idempotency_key",
    }
    error = await refused(create(place, "s", spec("61 * * * *")))
    assert list(violations_of(error)) == ["schedule.spec.cron[0]"]
    await place.admin.PutKind(
        queue_admin_pb2.PutKindRequest(
            kind=queue_admin_pb2.Kind(name="strict", schema_json=b'{"type": "object"}')
        )
    )
    error = await refused(create(place, kind="strict", payload=b"1"))
    assert reason_of(error) == "PAYLOAD_INVALID"
    assert list(violations_of(error)) == ["schedule.job.payload"]


async def test_policies_that_need_what_is_not_there_yet_are_refused_with_what_to_use(place: Place) -> None:
    for overlap, instead in (
        (SchedulePolicy.BUFFER_ALL, "BUFFER_ONE"),
        (SchedulePolicy.CANCEL_RUNNING, "CancelJob"),
    ):
        error = await refused(create(place, policy=policy(overlap=overlap)))
        assert instead in violations_of(error)["schedule.policy.overlap"]
    error = await refused(create(place, policy=policy(overlap=Skip, catch_up=SchedulePolicy.ALL)))
    assert "LATEST" in violations_of(error)["schedule.policy.catch_up"]
    error = await refused(create(place, unique=job_pb2.Unique(cancel_running=True)))
    assert "until" in violations_of(error)["schedule.job.unique.cancel_running"]


async def test_schedules_are_listed_by_name_and_by_what_they_are(place: Place) -> None:
    for name, queue in (("c", "x"), ("a", "x"), ("b", "y")):
        await create(place, name, queue=queue, labels={"n": name}, payload=b'"secret"')
    await pause(place, name="b")

    async def names(**fields: Any) -> list[str]:
        request, found = schedule_pb2.ListSchedulesRequest(page_size=1, **fields), []
        while True:
            answer = await place.schedules.ListSchedules(request, timeout=PATIENCE)
            assert not any(each.job.HasField("payload") or each.job.payload_json for each in answer.schedules)
            found += [each.name for each in answer.schedules]
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    assert await names() == ["a", "b", "c"]
    assert await names(queue="x") == ["a", "c"]
    assert await names(paused=True) == ["b"]
    assert await names(paused=False) == ["a", "c"]
    assert await names(labels=["n=c"]) == ["c"]
    assert await names(kind="other") == []


async def test_a_schedule_that_was_listed_and_is_written_back_keeps_its_payload(place: Place) -> None:
    await create(place, payload=b'{"a": 1}', headers={"h": "v"})
    (listed,) = (await place.schedules.ListSchedules(schedule_pb2.ListSchedulesRequest())).schedules
    listed.labels["team"] = "a"
    request = schedule_pb2.UpdateScheduleRequest(schedule=listed)
    error = await refused(place.schedules.UpdateSchedule(request))
    assert reason_of(error) == "FIELD_INVALID"
    assert "headers" in violations_of(error)["schedule.job.payload"]
    # So it is with each mask that names the job, and where a missing one would be made.
    error = await refused(update(place, "job", job=listed.job, allow_missing=True))
    assert list(violations_of(error)) == ["schedule.job.payload"]
    kept = await get(place)
    assert (kept.job.payload_json, dict(kept.job.headers), dict(kept.labels)) == (b'{"a": 1}', {"h": "v"}, {})
    whole = await get(place)
    whole.labels["team"] = "a"
    await place.schedules.UpdateSchedule(schedule_pb2.UpdateScheduleRequest(schedule=whole))
    written = await get(place)
    assert (written.job, dict(written.labels)) == (kept.job, {"team": "a"})
    null = job_pb2.NewJob(kind="work", payload_json=b"null")
    assert (await update(place, "job", job=null)).job.payload_json == b"null"


async def test_a_schedule_of_a_job_without_a_payload_is_made_and_changed_by_the_same_request(
    place: Place,
) -> None:
    job = job_pb2.NewJob(kind="work")
    # Whoever applies what is written in a file does so again and again.
    for labels in ({}, {"team": "a"}):
        applied = await update(place, name="t", spec=SELDOM, job=job, labels=labels, allow_missing=True)
        assert (applied.job.payload_json, dict(applied.labels)) == (b"null", labels)
    # What was set meanwhile is not lost.
    given = job_pb2.NewJob(kind="work", payload_json=b"1")
    await update(place, "job", name="t", job=given)
    for mask in ((), ("job",)):
        error = await refused(update(place, *mask, name="t", spec=SELDOM, job=job, allow_missing=True))
        assert list(violations_of(error)) == ["schedule.job.payload"]
    headers = job_pb2.NewJob(kind="work", payload_json=b"null", headers={"h": "v"})
    await update(place, "job", name="t", job=headers)
    assert list(violations_of(await refused(update(place, "job", name="t", job=job)))) == [
        "schedule.job.payload"
    ]
    assert dict((await get(place, "t")).job.headers) == {"h": "v"}


async def test_of_two_changes_with_one_etag_one_is_refused(place: Place) -> None:
    made = await create(place)
    answers = await asyncio.gather(
        *(update(place, labels={"n": str(number)}, etag=made.etag) for number in range(2)),
        return_exceptions=True,
    )
    (error,) = [each for each in answers if isinstance(each, grpc.aio.AioRpcError)]
    (changed,) = [each for each in answers if isinstance(each, Schedule)]
    assert reason_of(error) == "ETAG_MISMATCH"
    assert (await get(place)).etag == changed.etag != made.etag
    assert reason_of(await refused(update(place, labels={}, etag=made.etag))) == "FIELD_INVALID"
    request = schedule_pb2.DeleteScheduleRequest(name="s", etag=made.etag)
    assert reason_of(await refused(place.schedules.DeleteSchedule(request))) == "ETAG_MISMATCH"


async def test_a_change_changes_what_it_names(place: Place) -> None:
    made = await create(place, labels={"a": "1"}, policy=policy(60, overlap=Allow))
    changed = await update(place, policy=policy(keep_runs=5))
    assert (changed.policy.keep_runs, changed.policy.overlap, changed.policy.catch_up_window.seconds) == (
        5,
        Allow,
        60,
    )
    assert changed.job == made.job
    changed = await update(place, "labels", "policy.overlap")
    assert (dict(changed.labels), changed.policy.overlap, changed.policy.keep_runs) == ({}, BufferOne, 5)
    for mask in ("paused", "spec.cron", "job.queue", "name", "spec"):
        assert reason_of(await refused(update(place, mask))) == "FIELD_INVALID"
    assert reason_of(await refused(update(place, name="t", labels={"a": "1"}))) == "SCHEDULE_NOT_FOUND"
    job = job_pb2.NewJob(kind="work", payload_json=b"null")
    upserted = await update(place, name="t", spec=SELDOM, job=job, allow_missing=True)
    assert upserted == await get(place, "t")
    error = await refused(update(place, name="u", spec=SELDOM, job=job, allow_missing=True, etag="MQ"))
    assert reason_of(error) == "ETAG_MISMATCH"


async def test_a_deleted_schedule_is_gone_with_its_runs_and_its_jobs_stay(place: Place) -> None:
    await create(place)
    job_id = (await run(place)).job_id
    await place.schedules.DeleteSchedule(schedule_pb2.DeleteScheduleRequest(name="s"))
    assert reason_of(await refused(get(place))) == "SCHEDULE_NOT_FOUND"
    assert not await place.sql("select from schedule_run")
    assert await place.status(job_id) == "QUEUED"
    assert (await create(place)).fired == 0


async def test_a_preview_tells_the_ticks_and_what_a_change_of_clocks_means(place: Place) -> None:
    request = schedule_pb2.PreviewScheduleRequest(
        spec=spec("30 2 * * *", time_zone="Europe/Berlin"),
        count=2,
        since=moment(datetime(2026, 10, 24, 12, tzinfo=UTC)),
    )
    ticks = (await place.schedules.PreviewSchedule(request)).ticks
    assert [tick.local_time for tick in ticks] == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]
    assert [tick.rule for tick in ticks] == [ScheduleTick.FIRST_OF_TWO, ScheduleTick.RULE_UNSPECIFIED]
    assert not await place.sql("select from schedule")


# ---- fired


@pytest.mark.slow
async def test_ticks_fire_at_their_time_and_say_which_tick_a_job_is_of(place: Place) -> None:
    worker = await place.worker(slots=10)
    # Who is held up for seconds fires them late, and leaves none out.
    each_tick = policy(overlap=Allow, catch_up=SchedulePolicy.ALL)
    await create(place, "beat", spec(every=1), policy=each_tick, headers={"mine": "1"})
    jobs = [await worker.job() for _ in range(3)]
    found = (await place.stub.ListJobs(jobqueue_pb2.ListJobsRequest(labels=["jobqueue/schedule=beat"]))).jobs
    assert {job.id for job in jobs} <= {each.id for each in found}
    headers = [dict((await place.get(job.id)).headers) for job in jobs]
    assert [each["x-schedule"] for each in headers] == ["beat"] * 3
    assert all(each["mine"] == "1" for each in headers)
    ticks = [datetime.fromisoformat(each["x-schedule-tick"]) for each in headers]
    assert [later - earlier for earlier, later in itertools.pairwise(ticks)] == [timedelta(seconds=1)] * 2
    late = [
        (await place.get(job.id)).created_at.ToDatetime(UTC) - tick
        for job, tick in zip(jobs, ticks, strict=True)
    ]
    assert all(timedelta() <= each < timedelta(seconds=5) for each in late)
    listed = [each for each in await runs(place, "beat") if each.job_id in {job.id for job in jobs}]
    assert [each.tick_at.ToDatetime(UTC) for each in reversed(listed)] == ticks


async def test_the_tick_of_a_job_is_told_in_the_zone_of_its_schedule(place: Place) -> None:
    await create(place, when=spec("30 2 * * *", time_zone="Asia/Kolkata"))
    job = await place.get((await run(place)).job_id)
    assert job.headers["x-schedule-tick"].endswith("+05:30")


async def test_jitter_starts_a_job_later_within_its_span(place: Place) -> None:
    await create(place, when=spec("0 0 1 * *", jitter=3600))
    tick = await due_now(place)
    found = await fired(place, 1)
    job = await place.get(found.last_run.job_id)
    assert timedelta(0) <= job.run_at.ToDatetime(UTC) - tick <= timedelta(hours=1)


async def test_one_tick_waits_and_fires_at_once_when_the_job_ends(place: Place) -> None:
    worker = await place.worker(slots=1)
    await create(place)
    tick = await due_now(place)
    first = await worker.job()
    later = await due_now(place)
    assert await decided(place, 2) == ["FIRED", "BUFFERED"]
    last = await due_now(place)
    assert await decided(place, 3) == ["FIRED", "REPLACED_IN_BUFFER", "BUFFERED"]
    assert tick < later < last
    waiting = await get(place)
    assert waiting.buffered_at.ToDatetime(UTC) == last
    assert list(waiting.open_job_ids) == [first.id]
    assert waiting.skipped_in_a_row == 1
    await worker.succeed(first)
    second = await worker.job()
    assert (await place.get(second.id)).headers["x-schedule-tick"] == last.isoformat()
    assert await outcomes(place) == ["FIRED", "REPLACED_IN_BUFFER", "FIRED"]


@pytest.mark.slow
async def test_a_tick_that_waits_fires_soon_where_another_server_ends_the_job(place: Place) -> None:
    await create(place)
    await run(place)
    await run(place)
    assert await outcomes(place) == ["FIRED", "BUFFERED"]
    await end_open(place)
    loop = asyncio.get_running_loop()
    ended = loop.time()
    await fired(place, 2)
    assert loop.time() - ended < 5


async def test_skip_leaves_out_what_meets_a_job(place: Place) -> None:
    await create(place, policy=policy(overlap=Skip))
    await due_now(place)
    await fired(place, 1)
    await due_now(place)
    assert await decided(place, 2) == ["FIRED", "SKIPPED_OVERLAP"]
    assert (await get(place)).skipped_in_a_row == 1
    await end_open(place)
    await due_now(place)
    assert (await fired(place, 2)).skipped_in_a_row == 0


async def test_a_job_that_no_longer_fits_is_refused_and_the_schedule_goes_on(place: Place) -> None:
    await create(place, payload=b"1")
    kind = queue_admin_pb2.Kind(name="work", schema_json=b'{"type": "object"}')
    await place.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
    for count in (1, 2):
        await due_now(place)
        assert await decided(place, count) == ["REFUSED"] * count
        shown = await get(place)
        assert "object" in shown.last_run.note
        assert (shown.skipped_in_a_row, shown.fired) == (count, 0)
    assert Outcome.Name((await run(place)).outcome) == "REFUSED"
    assert (await get(place)).skipped_in_a_row == 2
    await place.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=queue_admin_pb2.Kind(name="work")))
    await due_now(place)
    assert await decided(place, 4) == ["REFUSED", "REFUSED", "REFUSED", "FIRED"]
    assert (await get(place)).skipped_in_a_row == 0


async def test_a_schedule_that_is_refused_keeps_no_other_from_firing(place: Place) -> None:
    policies = queue_admin_pb2.KeyPolicy(max_running=1, max_waiting=1)
    queue = queue_admin_pb2.Queue(name="mail", key_policy=policies)
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    for _ in range(2):
        await place.enqueue(queue="mail", key="k")
    await create(place, "full", queue="mail", key="k")
    for name in ("a", "b"):
        await create(place, name)
    await place.sql("update schedule set next_at = now()")
    place.app.schedule.firer.wake()
    await fired(place, 1, "a")
    await fired(place, 1, "b")
    assert await decided(place, 1, "full") == ["REFUSED"]


async def test_a_unique_job_is_enqueued_once_and_the_run_says_which_job_holds_its_name(place: Place) -> None:
    held = await place.enqueue(unique=job_pb2.Unique(key="u", until=job_pb2.Unique.ENDS))
    await create(place, "keeps", unique=job_pb2.Unique(key="u"))
    await create(place, "rejects", unique=job_pb2.Unique(key="u", on_conflict=job_pb2.Unique.REJECT))
    for name, outcome in (("keeps", "FIRED"), ("rejects", "REFUSED")):
        await due_now(place, name)
        assert await decided(place, 1, name) == [outcome]
        last = (await get(place, name)).last_run
        assert held.id in (last.job_id or last.note)
        assert (await get(place, name)).fired == 0
    assert await place.value("select count(*) from job") == 1


async def missed(place: Place, hours: int) -> None:
    """The last ticks of a schedule that is due each hour are due again, as after an outage."""
    await place.sql(f"update schedule set next_at = next_at - interval '{hours} hours'")
    place.app.schedule.firer.wake()


HOURLY, ALL = spec(every=3600), SchedulePolicy.ALL
REJECTED = job_pb2.Unique(key="u", until=job_pb2.Unique.ENDS, on_conflict=job_pb2.Unique.REJECT)


async def test_of_ticks_due_together_whose_jobs_have_one_name_the_first_fires(place: Place) -> None:
    late = policy(86400, overlap=Allow, catch_up=ALL)
    await create(place, when=HOURLY, policy=late, unique=REJECTED)
    await missed(place, 3)
    assert await decided(place, 3) == ["FIRED", "REFUSED", "REFUSED"]
    last, _, first = await runs(place)
    assert first.job_id in last.note
    shown = await get(place)
    assert (list(shown.open_job_ids), shown.fired, shown.skipped_in_a_row) == ([first.job_id], 1, 2)
    assert await place.value("select count(*) from job") == 1


async def test_of_ticks_due_together_as_many_fire_as_their_key_has_room_for(place: Place) -> None:
    policies = queue_admin_pb2.KeyPolicy(max_running=1, max_waiting=2)
    queue = queue_admin_pb2.Queue(name="mail", key_policy=policies)
    await place.admin.UpdateQueue(queue_admin_pb2.UpdateQueueRequest(queue=queue, allow_missing=True))
    late = policy(86400, overlap=Allow, catch_up=ALL)
    await create(place, when=HOURLY, policy=late, queue="mail", key="k")
    await missed(place, 5)
    assert await decided(place, 5) == ["FIRED", "FIRED", "FIRED", "REFUSED", "REFUSED"]
    assert (await get(place)).skipped_in_a_row == 2


async def test_a_refused_tick_has_no_job_for_whose_end_a_later_one_waits(place: Place) -> None:
    held = await place.enqueue(unique=job_pb2.Unique(key="u", until=job_pb2.Unique.ENDS))
    await create(place, when=HOURLY, policy=policy(86400, catch_up=ALL), unique=REJECTED)
    await missed(place, 3)
    assert await decided(place, 3) == ["REFUSED"] * 3
    assert all(held.id in each.note for each in await runs(place))


async def test_after_failures_in_a_row_a_schedule_is_paused_and_says_why(place: Place) -> None:
    await create(place, policy=policy(overlap=Allow, pause_after_failures=2))
    for count in (1, 2):
        await due_now(place)
        await fired(place, count)
        await end_open(place, 5)
    await due_now(place)
    assert (await decided(place, 3))[-1] == "SKIPPED_PAUSED_BY_FAILURES"
    paused = await get(place)
    assert (paused.paused, paused.failures_in_a_row) == (True, 2)
    assert "2 of its jobs in a row have failed" in paused.pause_note
    resumed = await resume(place)
    assert (resumed.paused, resumed.failures_in_a_row, resumed.pause_note) == (False, 0, "")


@pytest.mark.slow
async def test_while_it_is_paused_nothing_fires_and_nothing_is_caught_up(place: Place) -> None:
    await create(place, when=spec(every=1), policy=policy(overlap=Allow, catch_up=SchedulePolicy.ALL))
    await fired(place, 1, or_more=True)
    paused = await pause(place, "maintenance")
    assert (paused.paused, paused.pause_note, paused.HasField("next_at")) == (True, "maintenance", False)
    before = (await get(place)).fired
    await asyncio.sleep(2.5)
    assert (await get(place)).fired == before
    since = await place.value("select now() - interval '1 second'")
    resumed = await resume(place)
    assert resumed.next_at.ToDatetime(UTC) > since
    await fired(place, before + 1, or_more=True)
    assert set(await outcomes(place)) == {"FIRED"}


@pytest.mark.slow
async def test_a_change_fires_nothing_and_catches_nothing_up(place: Place) -> None:
    await create(place)
    await place.sql(
        "update schedule set next_at = now() + interval '1 hour', last_tick = now() - interval '9 hours'"
    )
    # By the new spec there were eight ticks or nine since the last one.
    changed = await update(place, spec=spec(every=3600, phase=1800))
    assert changed.next_at.ToDatetime(UTC) > await place.value("select now()") - timedelta(minutes=1)
    await asyncio.sleep(1.5)
    assert await outcomes(place) == []
    assert (await get(place)).etag != ""


async def test_a_tick_that_is_due_when_its_schedule_is_changed_fires_first(place: Place) -> None:
    """By the new spec it is no tick, and it would be lost without a run."""
    await create(place, policy=policy(overlap=Allow))
    tick = await place.value("update schedule set next_at = now() returning next_at")
    changed = await update(place, spec=spec(every=3600))
    assert [each.tick_at.ToDatetime(UTC) for each in await runs(place)] == [tick]
    assert changed.next_at.ToDatetime(UTC) > tick
    assert changed.fired == 1


async def test_ticks_that_are_due_when_their_schedule_is_paused_are_left_out_and_a_run_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an outage: what was missed would be lost without a run, since a resume goes on after now."""
    monkeypatch.setattr(Firing, "round", fires_nothing)
    await create(place, when=spec(every=3600), policy=policy(overlap=Allow, catch_up=SchedulePolicy.ALL))
    tick = await place.value(
        "update schedule set next_at = next_at - interval '5 hours' returning next_at + interval '4 hours'"
    )
    await pause(place, "first look what happened")
    left_out = (await get(place)).last_run
    assert (Outcome.Name(left_out.outcome), left_out.ticks, left_out.job_id) == ("SKIPPED_CATCH_UP", 5, "")
    assert left_out.tick_at.ToDatetime(UTC) == tick
    assert "was paused" in left_out.note
    # Once more changes the note alone, and a resume has nothing to say.
    await pause(place, "looked")
    await resume(place)
    assert await outcomes(place) == ["SKIPPED_CATCH_UP"]


async def test_a_change_leaves_out_what_can_not_fire_before_it_and_a_run_says_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With catch_up ALL and a long outage: each time fires a hundred of them."""
    monkeypatch.setattr(Firing, "round", fires_nothing)
    monkeypatch.setattr("jobqueue_server.core.schedule.schedules._TRIES", 3)
    await create(place, when=spec(every=1), policy=policy(overlap=Allow, catch_up=SchedulePolicy.ALL))
    await place.sql("update schedule set next_at = next_at - interval '5 minutes'")
    await update(place, spec=spec(every=3600))
    assert (await get(place)).fired == 100
    (left_out,) = [each for each in await runs(place) if each.outcome == Outcome.SKIPPED_CATCH_UP]
    assert 195 <= left_out.ticks <= 220
    assert "was changed" in left_out.note


async def fires_nothing(*_: object, **__: object) -> int:
    return 0


async def test_a_fire_leaves_the_etag(place: Place) -> None:
    made = await create(place)
    await due_now(place)
    assert (await fired(place, 1)).etag == made.etag


async def test_what_was_missed_is_written_down(place: Place) -> None:
    await create(place, when=minutely())
    tick = await due_now(place, ago=3 * 3600)
    found = await fired(place, 1)
    rows = await runs(place)
    assert [Outcome.Name(each.outcome) for each in reversed(rows)] == [
        "SKIPPED_CATCH_UP",
        "SKIPPED_CATCH_UP",
        "FIRED",
    ]
    assert sum(each.ticks for each in rows) in (180, 181)
    assert tick < found.last_at.ToDatetime(UTC)


async def test_as_many_runs_are_kept_as_the_policy_says(place: Place) -> None:
    await create(place, policy=policy(overlap=Allow, keep_runs=3))
    made = [(await run(place)).job_id for _ in range(5)]
    assert [each.job_id for each in await runs(place, size=2)] == made[:1:-1]
    assert (await get(place)).fired == 5


async def test_the_job_of_each_tick_is_as_the_schedule_was_last_changed(place: Place) -> None:
    await create(place, policy=policy(overlap=Allow), payload=b'{"a": 1}', labels={"team": "a"})
    await due_now(place)
    await fired(place, 1)
    job = (await get(place)).job
    job.payload_json, job.priority = b'{"a": 2}', 7
    await update(place, "job", job=job)
    await due_now(place)
    await fired(place, 2)
    job.priority = 8
    await update(place, "job", job=job)
    await due_now(place)
    await fired(place, 3)
    rows = await place.sql("select convert_from(payload, 'UTF8') as payload, priority from job order by id")
    assert [tuple(row) for row in rows] == [('{"a": 1}', 0), ('{"a": 2}', 7), ('{"a": 2}', 8)]


# ---- by hand


async def test_a_run_by_hand_fires_now_and_leaves_the_ticks(place: Place) -> None:
    made = await create(place, policy=policy(overlap=Skip))
    await pause(place)
    first = await run(place)
    assert (Outcome.Name(first.outcome), first.nth) == ("FIRED", 1)
    assert await place.status(first.job_id) == "QUEUED"
    assert Outcome.Name((await run(place)).outcome) == "SKIPPED_OVERLAP"
    beside = await run(place, overlap=Allow)
    assert beside.job_id not in ("", first.job_id)
    assert (await resume(place)).next_at == made.next_at


async def test_a_run_says_whether_it_came_by_time_by_hand_or_of_a_backfill(place: Place) -> None:
    await create(place, when=spec("0 0 1 * *"))
    await due_now(place)
    await fired(place, 1)
    # It waits for the end of that job. What puts an end to the wait is a tick, and it is by hand still.
    assert (await run(place)).cause == ScheduleRun.BY_HAND
    await end_open(place)
    await fired(place, 2)
    end = datetime.now(UTC) - timedelta(days=1)
    request = schedule_pb2.BackfillScheduleRequest(
        name="s", start_at=moment(end - timedelta(days=60)), end_at=moment(end), per_second=9, max_ticks=1
    )
    begun = (await place.schedules.BackfillSchedule(request)).operation
    metadata = schedule_pb2.BackfillMetadata()
    assert begun.metadata.Unpack(metadata)
    assert (metadata.per_second, metadata.max_ticks) == (9, 1)
    request.validate_only = True
    assert (await place.schedules.BackfillSchedule(request)).operation.metadata.Unpack(metadata)
    assert (metadata.per_second, metadata.max_ticks, metadata.estimate) == (9, 1, 1)
    await fired(place, 3)
    causes = [each.cause for each in reversed(await runs(place))]
    assert [ScheduleRun.Cause.Name(each) for each in causes] == ["BY_TIME", "BY_HAND", "BY_BACKFILL"]
    assert (await get(place)).last_run.cause == ScheduleRun.BY_BACKFILL


async def test_a_run_that_is_asked_for_again_is_the_same_run(place: Place) -> None:
    await create(place, policy=policy(overlap=Allow))
    first, again = [await run(place, request_id="r") for _ in range(2)]
    assert first == again
    assert (await run(place, request_id="other")).job_id != first.job_id
    assert await place.value("select count(*) from job") == 2


async def test_a_run_by_hand_of_a_job_that_does_not_fit_says_so(place: Place) -> None:
    await create(place, payload=b"1")
    kind = queue_admin_pb2.Kind(name="work", schema_json=b'{"type": "object"}')
    await place.admin.PutKind(queue_admin_pb2.PutKindRequest(kind=kind))
    refusal = await run(place)
    assert Outcome.Name(refusal.outcome) == "REFUSED"
    assert "object" in refusal.note


async def test_answers_have_the_payload_in_the_form_that_was_asked_for(place: Place) -> None:
    await create(place, payload=b'{"a": [1, 2]}')
    request = schedule_pb2.GetScheduleRequest(name="s")
    as_value = (await place.schedules.GetSchedule(request)).schedule.job
    assert as_value.WhichOneof("content") == "payload"
    assert as_value.payload.struct_value["a"][1] == 2
    request.payload_format = JSON
    assert (await place.schedules.GetSchedule(request)).schedule.job.payload_json == b'{"a": [1, 2]}'
