"""The calls about schedules, of both clients, against a real server."""

from __future__ import annotations

import asyncio
import inspect
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobqueue import (
    Applied,
    BulkState,
    CatchUp,
    Client,
    EtagMismatch,
    InvalidRequest,
    Kind,
    NewJob,
    NewSchedule,
    OnConflict,
    Overlap,
    PayloadInvalid,
    RequestIdReused,
    RetryPolicy,
    RunCause,
    RunOutcome,
    ScheduleExists,
    ScheduleNotFound,
    SchedulePolicy,
    Schedules,
    ScheduleSpec,
    SyncClient,
    SyncSchedules,
    TickRule,
    Unique,
    UniqueField,
    UniqueScope,
    Until,
)
from jobqueue.schedules import run, schedule, tick
from jobqueue.v1 import schedule_pb2 as pb

#: Due far from now, so that nothing fires by itself.
SELDOM = ScheduleSpec(cron="0 0 1 1 *")
JOB = NewJob("work", {"a": 1})
NIGHTLY = ScheduleSpec(
    cron=("30 2 * * *", "0 12 * * MON"),
    time_zone="Europe/Berlin",
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
    ends_at=datetime(2090, 1, 1, tzinfo=UTC),
    jitter=timedelta(seconds=90),
)
POLICY = SchedulePolicy(
    overlap=Overlap.ALLOW,
    catch_up_window=timedelta(hours=2),
    catch_up=CatchUp.ALL,
    pause_after_failures=7,
    keep_runs=9,
)
FULL_JOB = NewJob(
    "report",
    payload_json=b'{"digits": 12345678901234567890}',
    queue="reports",
    priority=3,
    max_attempts=5,
    timeout=timedelta(seconds=90),
    retry_policy=RetryPolicy(min_backoff=timedelta(seconds=2), max_backoff=timedelta(seconds=30)),
    labels={"team": "a"},
    headers={"x-request-id": "r-1"},
    hold=True,
    key="customer 42",
    unique=Unique(
        "u",
        scope=UniqueScope.QUEUE_AND_KIND,
        until=Until.ENDS,
        period=timedelta(minutes=5),
        on_conflict=OnConflict.REPLACE,
        replace=(UniqueField.PAYLOAD, UniqueField.LABELS),
    ),
)


async def runs(client: Client, name: str = "s") -> list[RunOutcome]:
    """The outcomes, the newest first; read one by one, so that there are pages."""
    return [each.outcome async for each in client.schedules.runs(name, page_size=1)]


async def test_a_schedule_is_read_as_it_was_made_and_can_be_written_back(client: Client):
    made = await client.schedules.create(
        "nightly", NIGHTLY, FULL_JOB, policy=POLICY, labels={"of": "us"}, paused=True
    )
    assert made == await client.schedules.get("nightly")
    assert (made.spec, made.policy, made.job) == (NIGHTLY, POLICY, FULL_JOB)
    assert (made.name, made.labels, made.paused, made.next_at) == ("nightly", {"of": "us"}, True, None)
    assert (made.fired, made.last_run, len(made.upcoming)) == (0, None, 5)
    changed = await client.schedules.update("nightly", spec=made.spec, job=made.job, policy=made.policy)
    assert (changed.spec, changed.job, changed.policy) == (made.spec, made.job, made.policy)
    every = ScheduleSpec(every=timedelta(minutes=10), phase=timedelta(minutes=1))
    assert (await client.schedules.create("every", every, JOB)).spec == replace(
        every, cron=(), time_zone="Etc/UTC"
    )


async def test_a_schedule_that_was_listed_and_is_written_back_keeps_its_payload(client: Client):
    made = await client.schedules.create("s", SELDOM, NewJob("work", {"a": 1}, headers={"h": "v"}))
    (listed,) = [each async for each in client.schedules.list()]
    with pytest.raises(InvalidRequest) as wrong:
        await client.schedules.update("s", job=replace(listed.job, priority=3), etag=listed.etag)
    assert [each.field for each in wrong.value.violations] == ["schedule.job.payload"]
    assert (await client.schedules.get("s")).job == made.job
    # One without a payload says so.
    with pytest.raises(InvalidRequest):
        await client.schedules.update("s", job=NewJob("work"))
    assert (
        await client.schedules.update("s", job=NewJob("work", payload_json=b"null"))
    ).job.payload_json == b"null"


async def test_what_is_wrong_is_told_by_its_own_error(client: Client):
    await client.schedules.create("s", SELDOM, JOB)
    with pytest.raises(ScheduleExists):
        await client.schedules.create("s", SELDOM, JOB)
    with pytest.raises(InvalidRequest) as wrong:
        await client.schedules.create("t", ScheduleSpec(cron=["0 0 * * *", "61 * * * *"]), JOB)
    assert [each.field for each in wrong.value.violations] == ["schedule.spec.cron[1]"]
    with pytest.raises(InvalidRequest, match=r"schedule\.spec\.cron"):
        await client.schedules.create("t", ScheduleSpec(), JOB)
    await client.put_kind(Kind(name="strict", schema={"type": "object"}))
    with pytest.raises(PayloadInvalid):
        await client.schedules.create("t", SELDOM, NewJob("strict", 1))
    for call in (
        client.schedules.get("no"),
        client.schedules.update("no", spec=SELDOM),
        client.schedules.delete("no"),
        client.schedules.pause("no"),
        client.schedules.resume("no"),
        client.schedules.run("no"),
        client.schedules.backfill("no", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
        anext(client.schedules.runs("no")),
    ):
        with pytest.raises(ScheduleNotFound) as missing:
            await call
        assert missing.value.metadata["schedule"] == "no"


async def test_what_can_only_be_wrong_is_refused_before_the_call(client: Client):
    with pytest.raises(ValueError, match=r"job\.run_at and job\.delay"):
        await client.schedules.create("s", SELDOM, NewJob("work", delay=timedelta(seconds=1)))
    with pytest.raises(ValueError, match=r"job\.idempotency_key"):
        await client.schedules.update("s", job=NewJob("work", idempotency_key="k"))
    with pytest.raises(ValueError, match=r"spec\.starts_at .*no time zone"):
        await client.schedules.preview(ScheduleSpec(cron="@daily", starts_at=datetime(2026, 1, 1)))
    with pytest.raises(TypeError, match=r"spec\.every"):
        await client.schedules.preview(ScheduleSpec(every=60))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="end_at"):
        await client.schedules.backfill("s", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2))
    with pytest.raises(ValueError, match="BUFFER_SOME"):
        await client.schedules.run("s", overlap="BUFFER_SOME")  # type: ignore[arg-type]


async def test_schedules_are_listed_by_name_over_all_pages_and_by_what_they_are(client: Client):
    for name, queue, labels in (("b", "q", {"of": "us"}), ("a", "", {}), ("c", "q", {})):
        await client.schedules.create(name, SELDOM, NewJob(f"kind-{name}", 1, queue=queue), labels=labels)
    await client.schedules.pause("a")

    async def names(**wanted) -> list[str]:
        return [each.name async for each in client.schedules.list(page_size=1, **wanted)]

    assert await names() == ["a", "b", "c"]
    assert await names(queue="q") == ["b", "c"]
    assert await names(kind="kind-c") == ["c"]
    assert await names(paused=True) == ["a"]
    assert await names(paused=False) == ["b", "c"]
    assert await names(labels={"of": "us"}) == ["b"]
    async for each in client.schedules.list():
        assert (each.job.payload_json, each.upcoming) == (None, ())


async def test_what_is_not_given_to_an_update_stays(client: Client):
    made = await client.schedules.create("s", SELDOM, FULL_JOB, policy=POLICY, labels={"a": "b"})
    changed = await client.schedules.update(
        "s", policy=SchedulePolicy(overlap=Overlap.BUFFER_ONE, keep_runs=3), policy_fields=["keep_runs"]
    )
    assert changed.policy == replace(POLICY, keep_runs=3)
    assert (changed.spec, changed.job, changed.labels) == (made.spec, made.job, made.labels)
    assert changed.etag != made.etag
    assert (await client.schedules.update("s", labels={})).labels == {}
    defaults = (await client.schedules.update("s", policy=SchedulePolicy())).policy
    assert (defaults.overlap, defaults.catch_up, defaults.keep_runs) == (
        Overlap.BUFFER_ONE,
        CatchUp.LATEST,
        100,
    )
    with pytest.raises(InvalidRequest, match="update_mask"):
        await client.schedules.update("s")


async def test_of_two_changes_of_one_etag_the_second_is_refused(client: Client):
    made = await client.schedules.create("s", SELDOM, JOB)
    changed = await client.schedules.update("s", labels={"n": "1"}, etag=made.etag)
    with pytest.raises(EtagMismatch) as late:
        await client.schedules.update("s", labels={"n": "2"}, etag=made.etag)
    assert late.value.metadata["etag"] == changed.etag
    with pytest.raises(EtagMismatch):
        await client.schedules.delete("s", etag=made.etag)
    await client.schedules.delete("s", etag=changed.etag)
    again = await client.schedules.update("s", spec=SELDOM, job=JOB, allow_missing=True)
    assert (again.name, again.labels) == ("s", {})


async def test_a_paused_schedule_has_no_next_tick_and_runs_by_hand(client: Client):
    made = await client.schedules.create("s", SELDOM, JOB, policy=SchedulePolicy(overlap=Overlap.SKIP))
    paused = await client.schedules.pause("s", note="maintenance")
    assert (paused.paused, paused.pause_note, paused.next_at) == (True, "maintenance", None)
    first = await client.schedules.run("s", request_id="r")
    assert (first.outcome, first.nth, first.ticks, first.cause) == (RunOutcome.FIRED, 1, 1, RunCause.BY_HAND)
    job = await client.get(first.job_id)
    assert (job.payload, job.headers["x-schedule"]) == ({"a": 1}, "s")
    assert await client.schedules.run("s", request_id="r") == first
    skipped = await client.schedules.run("s")
    assert (skipped.outcome, skipped.job_id) == (RunOutcome.SKIPPED_OVERLAP, "")
    assert (await client.schedules.run("s", overlap=Overlap.ALLOW)).outcome is RunOutcome.FIRED
    assert await runs(client) == [RunOutcome.FIRED, RunOutcome.SKIPPED_OVERLAP, RunOutcome.FIRED]
    resumed = await client.schedules.resume("s")
    assert (resumed.paused, resumed.next_at, resumed.fired) == (False, made.next_at, 2)
    assert resumed.last_run is not None
    assert resumed.last_run.outcome is RunOutcome.FIRED


async def test_a_backfill_is_an_operation_that_is_counted_first_and_waited_for(client: Client):
    spec = ScheduleSpec(every=timedelta(days=1))
    await client.schedules.create("s", spec, JOB, paused=True)
    span = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 11, tzinfo=UTC))
    counted = await client.schedules.backfill("s", *span, validate_only=True)
    assert (counted.name, counted.done, counted.dry_run, counted.estimate) == ("", True, True, 10)
    assert await runs(client) == []
    begun = await client.schedules.backfill("s", *span, max_ticks=4, request_id="r")
    assert (begun.verb, begun.schedule, begun.start_at, begun.end_at) == ("BackfillSchedule", "s", *span)
    again = await client.schedules.backfill("s", *span, max_ticks=4, request_id="r")
    assert again.name == begun.name
    with pytest.raises(RequestIdReused):
        await client.schedules.backfill("s", *span, max_ticks=5, request_id="r")
    done = await client.wait_operation(begun.name, timeout=timedelta(seconds=60))
    assert (done.state, done.changed, done.skipped, done.error) == (BulkState.SUCCEEDED, 4, 0, "")
    assert done.last_at == datetime(2026, 1, 4, tzinfo=UTC)
    assert await runs(client) == [RunOutcome.FIRED] * 4
    skipping = await client.schedules.backfill("s", *span, overlap=Overlap.SKIP)
    done = await client.wait_operation(skipping.name, timeout=timedelta(seconds=60))
    assert (done.changed, done.skipped) == (0, 10)
    assert {each.schedule for each in await client.list_operations()} == {"s"}


async def test_a_preview_says_which_rule_a_change_of_clocks_applied(client: Client):
    async def told(cron: str, since: datetime, count: int = 2):
        spec = ScheduleSpec(cron=cron, time_zone="Europe/Berlin")
        ticks = await client.schedules.preview(spec, since=since, count=count)
        return [(each.local_time, each.rule) for each in ticks]

    assert await told("30 2 * * *", datetime(2027, 3, 28, tzinfo=UTC)) == [
        ("2027-03-28T03:00:00+02:00", TickRule.AFTER_GAP),
        ("2027-03-29T02:30:00+02:00", TickRule.UNSPECIFIED),
    ]
    assert await told("30 * * * *", datetime(2027, 10, 31, tzinfo=UTC)) == [
        ("2027-10-31T02:30:00+02:00", TickRule.FIRST_OF_TWO),
        ("2027-10-31T02:30:00+01:00", TickRule.SECOND_OF_TWO),
    ]
    assert len(await client.schedules.preview(ScheduleSpec(cron="@daily"))) == 10
    with pytest.raises(InvalidRequest, match="count"):
        await client.schedules.preview(ScheduleSpec(cron="@daily"), count=101)


def test_what_a_newer_server_says_is_unspecified():
    told = pb.Schedule(policy={"overlap": 99, "catch_up": 99}, job={"unique": {"scope": 99, "replace": [99]}})  # type: ignore[arg-type]
    read = schedule(told)
    assert (read.policy.overlap, read.policy.catch_up) == (Overlap.UNSPECIFIED, CatchUp.UNSPECIFIED)
    assert read.job.unique == Unique()
    assert run(pb.ScheduleRun(outcome=99)).outcome is RunOutcome.UNSPECIFIED  # type: ignore[arg-type]
    assert tick(pb.ScheduleTick(rule=99)).rule is TickRule.UNSPECIFIED  # type: ignore[arg-type]
    kept = pb.SchedulePolicy(overlap=pb.SchedulePolicy.BUFFER_ALL)
    assert schedule(pb.Schedule(policy=kept)).policy.overlap is Overlap.UNSPECIFIED


def test_the_blocking_calls_are_the_same(server):
    def public(cls):
        return {name for name, value in vars(cls).items() if not name.startswith("_") and callable(value)}

    assert public(SyncSchedules) == public(Schedules)
    for name in public(Schedules):
        theirs, ours = getattr(Schedules, name), getattr(SyncSchedules, name)
        assert (inspect.signature(ours), ours.__doc__) == (inspect.signature(theirs), theirs.__doc__)
    with SyncClient(server.address) as client:
        for name in ("a", "b", "c"):
            client.schedules.create(name, SELDOM, JOB)
        assert [each.name for each in client.schedules.list(page_size=2)] == ["a", "b", "c"]
        job_id = client.schedules.run("a").job_id
        assert [each.job_id for each in client.schedules.runs("a")] == [job_id]
        with pytest.raises(ScheduleNotFound):
            client.schedules.get("d")
        client.close()
        assert client.schedules.get("a").fired == 1


# ---- schedules that a program declares


def declared(*names: str, **more: object) -> list[NewSchedule]:
    return [NewSchedule(name, SELDOM, JOB, **more) for name in names]  # type: ignore[arg-type]


async def applied(client: Client, schedules: list[NewSchedule], **more: object) -> list[tuple[str, str]]:
    done = await client.schedules.apply(schedules, **{"owner": "us", **more})  # type: ignore[arg-type]
    return [(each.schedule.name, str(each.done)) for each in done]


async def names(client: Client) -> list[str]:
    return [each.name async for each in client.schedules.list()]


async def test_what_a_program_declares_is_created_changed_or_left_untouched(client: Client):
    new = declared("a", "b", policy=POLICY, labels={"of": "team"})
    assert await applied(client, new) == [("a", "CREATED"), ("b", "CREATED")]
    before = await client.schedules.get("a")
    assert (before.spec.cron, before.policy) == ((SELDOM.cron,), POLICY)
    assert before.labels == {"of": "team", "jobqueue.owner": "us"}
    other = replace(new[1], job=NewJob("work", {"a": 2}))
    assert await applied(client, [new[0], other]) == [("a", "UNCHANGED"), ("b", "CHANGED")]
    after = await client.schedules.get("a")
    assert (after.etag, after.updated_at) == (before.etag, before.updated_at)
    assert (await client.schedules.get("b")).job.payload_json == b'{"a":2}'


async def test_a_declared_job_may_have_no_payload(client: Client):
    new = [NewSchedule("a", SELDOM, NewJob("work", headers={"x": "1"}))]
    assert await applied(client, new) == [("a", "CREATED")]
    assert await applied(client, new) == [("a", "UNCHANGED")]
    await applied(client, declared("a"))
    assert await applied(client, new) == [("a", "CHANGED")]
    assert (await client.schedules.get("a")).job.payload_json == b"null"


async def test_a_schedule_that_is_declared_without_a_policy_gets_the_defaults_again(client: Client):
    await applied(client, declared("a", policy=POLICY, labels={"of": "team"}))
    assert await applied(client, declared("a")) == [("a", "CHANGED")]
    changed = await client.schedules.get("a")
    assert changed.policy.keep_runs == 100
    assert changed.labels == {"jobqueue.owner": "us"}


async def test_a_schedule_that_an_operator_has_paused_stays_paused(client: Client):
    await applied(client, declared("a"))
    await client.schedules.pause("a", note="flood")
    assert await applied(client, declared("a", labels={"of": "team"})) == [("a", "CHANGED")]
    paused = await client.schedules.get("a")
    assert (paused.paused, paused.pause_note) == (True, "flood")


async def test_only_schedules_of_its_owner_that_are_not_declared_are_deleted_and_only_if_asked(
    client: Client,
):
    await client.schedules.create("by-hand", SELDOM, JOB)
    await applied(client, declared("theirs"), owner="them")
    await applied(client, declared("a", "b", "c"))
    assert await applied(client, declared("b")) == [("b", "UNCHANGED")]
    assert await applied(client, declared("b"), prune=True) == [
        ("b", "UNCHANGED"), ("a", "DELETED"), ("c", "DELETED"),
    ]  # fmt: skip
    assert await names(client) == ["b", "by-hand", "theirs"]


async def test_a_schedule_of_another_owner_or_of_none_is_never_changed(client: Client):
    made = await client.schedules.create("by-hand", SELDOM, JOB)
    await applied(client, declared("theirs"), owner="them")
    for name, words in (("by-hand", "by-hand has no owner"), ("theirs", "theirs is of them")):
        with pytest.raises(ScheduleExists, match=words):
            await client.schedules.apply(declared("a", name, "z"), owner="us")
    assert (await client.schedules.get("by-hand")).etag == made.etag
    assert await names(client) == ["a", "by-hand", "theirs"]


async def test_programs_of_one_owner_that_start_at_once_agree(client: Client):
    async def start(number: int) -> list[tuple[str, str]]:
        return await applied(client, declared("a", "b", labels={"number": str(number % 2)}))

    done = [each for found in await asyncio.gather(*map(start, range(8))) for each in found]
    assert sorted(name for name, what in done if what == Applied.CREATED) == ["a", "b"]
    assert await names(client) == ["a", "b"]


async def test_what_is_declared_twice_or_without_an_owner_is_refused_before_anything_is_done(client: Client):
    with pytest.raises(ValueError, match="two schedules have one name"):
        await client.schedules.apply(declared("a", "a"), owner="us")
    with pytest.raises(ValueError, match="owner is empty"):
        await client.schedules.apply(declared("a"), owner="")
    assert await names(client) == []
