"""Schedules from messages and into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2 as job_pb
from jobqueue.v1 import schedule_pb2 as pb

from ..core.catalog.etags import etag_of
from ..core.schedule.ticks import FIRST_MOMENT, LAST_MOMENT, Tick
from ..model import MAX_AHEAD, NewJob
from ..store.schedule.values import UTC_NAME, CatchUp, Overlap, Policy, Run, Schedule, Spec
from . import checks, convert
from .checks import Problems

MAX_CRON_LINES, MAX_CRON_CHARS = 20, 255
MAX_ZONE_CHARS = 64
MIN_EVERY, MAX_EVERY = timedelta(seconds=1), timedelta(days=400)
MAX_JITTER = timedelta(hours=1)
MAX_FAILURES = 1000
MAX_KEEP_RUNS = 10_000
MAX_COUNT = 100
MAX_RUNS_TOKEN_CHARS = 64
_OF_POLICY = ("overlap", "catch_up_window", "catch_up", "pause_after_failures", "keep_runs")
#: What UpdateSchedule can change.
PATHS = ("spec", "job", "labels", "policy", *(f"policy.{name}" for name in _OF_POLICY))
_OVERLAPS = {name: number for name, number in pb.SchedulePolicy.Overlap.items() if number}
_CATCH_UPS = {name: number for name, number in pb.SchedulePolicy.CatchUp.items() if number}
_NOT_YET = {
    pb.SchedulePolicy.BUFFER_ALL: "can't be BUFFER_ALL: ticks can't yet wait for each other in a row; use BUFFER_ONE, "
    "with which the newest one waits, or ALLOW and a queue whose `key_policy` lets one job of a `key` run at a time",
    pb.SchedulePolicy.CANCEL_RUNNING: "can't be CANCEL_RUNNING: a job can't yet wait for the end of one that is being "
    "cancelled; use BUFFER_ONE, and CancelJob or a `timeout` of the job to end the one that runs",
}


def spec(message: pb.ScheduleSpec, at: str, problems: Problems) -> Spec:
    """Checks and reads a spec field by field; whether it has ticks is for the core to say.

    Args:
        message: The spec.
        at: Its path with a dot at the end, such as `spec.`.
        problems: Gets what is wrong; the answer must not be used then.
    """
    if len(message.cron) > MAX_CRON_LINES:
        problems.add(f"{at}cron", f"must be at most {MAX_CRON_LINES} lines, not {len(message.cron)}")
    for index, line in enumerate(message.cron[:MAX_CRON_LINES]):
        if not 1 <= len(line) <= MAX_CRON_CHARS:
            problems.add(
                f"{at}cron[{index}]", f"must be 1 to {MAX_CRON_CHARS} characters, such as 30 2 * * *"
            )
    every, phase = None, timedelta()
    if message.HasField("every"):
        every = _whole(message.every, f"{at}every", MIN_EVERY, MAX_EVERY, problems)
        if message.cron:
            problems.add(f"{at}every", "must be unset where `cron` is set: a schedule is due by one of them")
    elif not message.cron:
        problems.add(f"{at}cron", "must have a line such as 30 2 * * *, or `every` must be set, such as 600s")
    if message.HasField("phase"):
        most = MAX_EVERY - timedelta(seconds=1)
        phase = _whole(message.phase, f"{at}phase", timedelta(), most, problems) or phase
        if phase and message.cron:
            problems.add(f"{at}phase", "must be unset where `cron` is set: it shifts the ticks of `every`")
        elif every is not None and phase >= every:
            problems.add(f"{at}phase", "must be less than `every`")
    if len(message.time_zone) > MAX_ZONE_CHARS:
        problems.add(f"{at}time_zone", f"must be at most {MAX_ZONE_CHARS} characters, such as Europe/Berlin")
    starts_at = _moment(message, "starts_at", at, problems)
    ends_at = _moment(message, "ends_at", at, problems)
    if starts_at is not None and ends_at is not None and starts_at >= ends_at:
        problems.add(f"{at}ends_at", "must be later than starts_at")
    jitter = timedelta()
    if message.HasField("jitter") and checks.duration(
        message.jitter, f"{at}jitter", timedelta(), MAX_JITTER, problems
    ):
        jitter = convert.span(message.jitter)
    return Spec(tuple(message.cron), every, phase, message.time_zone or UTC_NAME, starts_at, ends_at, jitter)


def _whole(value: Any, field: str, low: timedelta, high: timedelta, problems: Problems) -> timedelta | None:
    if not checks.duration(value, field, low, high, problems):
        return None
    if value.nanos:
        problems.add(field, "must be whole seconds")
        return None
    return convert.span(value)


def _moment(message: pb.ScheduleSpec, name: str, at: str, problems: Problems) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    return moment(getattr(message, name), f"{at}{name}", problems)


def moment(value: Timestamp, field: str, problems: Problems) -> datetime | None:
    """Checks and reads a time to which ticks are told; None: it is wrong."""
    if not checks.timestamp(value, field, problems):
        return None
    found = convert.moment(value)
    if FIRST_MOMENT <= found <= LAST_MOMENT:
        return found
    problems.add(field, f"must be a time in the years {FIRST_MOMENT.year} to {LAST_MOMENT.year}")
    return None


def overlap(value: int, field: str, problems: Problems) -> Overlap | None:
    """Checks and reads what becomes of a tick beside a job that has not ended; None: the default."""
    if value in _NOT_YET:
        problems.add(field, _NOT_YET[value])  # type: ignore[index]
    elif value:
        checks.enum(value, _OVERLAPS, field, problems)
        if value in _OVERLAPS.values():
            return Overlap(value)
    return None


def policy(message: pb.SchedulePolicy, at: str, problems: Problems) -> Mapping[str, Any]:
    """Checks and reads a policy: the value of each of its fields, and the default of those that are not set."""
    found: dict[str, Any] = {
        "overlap": overlap(message.overlap, f"{at}overlap", problems) or Overlap.BUFFER_ONE,
        "catch_up": CatchUp.LATEST,
        "catch_up_window": Policy().catch_up_window,
        "pause_after_failures": message.pause_after_failures,
        "keep_runs": message.keep_runs or Policy().keep_runs,
    }
    if message.catch_up:
        checks.enum(message.catch_up, _CATCH_UPS, f"{at}catch_up", problems)
        if message.catch_up in _CATCH_UPS.values():
            found["catch_up"] = CatchUp(message.catch_up)
    if message.HasField("catch_up_window") and checks.duration(
        message.catch_up_window, f"{at}catch_up_window", timedelta(), MAX_AHEAD, problems
    ):
        found["catch_up_window"] = convert.span(message.catch_up_window)
    if not 0 <= message.pause_after_failures <= MAX_FAILURES:
        problems.add(f"{at}pause_after_failures", f"must be 1 to {MAX_FAILURES}, or 0 for never")
    if not 0 <= message.keep_runs <= MAX_KEEP_RUNS:
        problems.add(f"{at}keep_runs", f"must be 1 to {MAX_KEEP_RUNS}, or 0 for {Policy().keep_runs}")
    return found


def job(message: job_pb.NewJob, at: str, now: datetime, problems: Problems) -> NewJob:
    """Checks and reads the job of a schedule.

    Args:
        message: The job.
        at: Its path with a dot at the end, such as `schedule.job.`.
        now: The time of the database's clock.
        problems: Gets what is wrong; the answer must not be used then.
    """
    if (start := message.WhichOneof("start")) is not None:
        problems.add(
            f"{at}{start}", "must be unset: a tick is the time of its job; `spec.jitter` spreads starts"
        )
    if message.idempotency_key:
        problems.add(
            f"{at}idempotency_key",
            "must be empty: a tick enqueues one job in any case; for work that is to be done once use `unique`",
        )
    if message.HasField("unique") and message.unique.on_conflict == job_pb.Unique.DEBOUNCE:
        problems.add(
            f"{at}unique.on_conflict",
            "can't be DEBOUNCE: that wants a `delay` of the job, and a tick is its time; use KEEP or REPLACE",
        )
        return NewJob(message.kind, b"null")
    return convert.new_job(message, at, now, problems)


def changes(request: pb.UpdateScheduleRequest, now: datetime, problems: Problems) -> Mapping[str, Any]:
    """Checks and reads what is to be changed: new values of `spec`, `job`, `labels` and of attributes of the policy.

    If `problems` gets anything, the answer must not be used.
    """
    given = request.schedule
    paths: Sequence[str] = list(request.update_mask.paths)
    if not paths:
        paths = [name for name in ("spec", "job") if given.HasField(name)]
        paths += ["labels"] if given.labels else []
        paths += [f"policy.{field.name}" for field, _ in given.policy.ListFields()]
        if not paths and given.paused:
            problems.add(
                "schedule.paused", "can't be changed here; PauseSchedule and ResumeSchedule change it"
            )
        elif not paths:
            checks.no_change("schedule", PATHS, problems)
    found: dict[str, Any] = {}
    named: list[str] = []
    for path in paths:
        if path in ("spec", "job") and not given.HasField(path):  # type: ignore[arg-type]
            problems.add(f"schedule.{path}", "is required where `update_mask` names it: it has no default")
        elif path == "spec":
            found["spec"] = spec(given.spec, "schedule.spec.", problems)
        elif path == "job":
            found["job"] = job(given.job, "schedule.job.", now, problems)
        elif path == "labels":
            checks.labels(given.labels, "schedule.labels", problems)
            found["labels"] = dict(given.labels)
        elif path == "policy":
            named += _OF_POLICY
        elif path in PATHS:
            named.append(path.removeprefix("policy."))
        else:
            _add_unknown(path, problems)
    if named:
        read = policy(given.policy, "schedule.policy.", problems)
        found |= {name: read[name] for name in named}
    return found


def _add_unknown(path: str, problems: Problems) -> None:
    whole = path.partition(".")[0]
    if whole in ("spec", "job") and path != whole:
        problems.add("update_mask", f"names {path[:80]}, but `{whole}` is changed as a whole")
    elif path == "paused":
        problems.add("update_mask", "names paused, which PauseSchedule and ResumeSchedule change")
    else:
        checks.mask_path(path, PATHS, problems)


def schedule_message(
    schedule: Schedule, upcoming: Sequence[Tick], payload_format: int, *, shown: bool
) -> pb.Schedule:
    """The message of a schedule.

    Args:
        schedule: The schedule.
        upcoming: Its next ticks.
        payload_format: As asked for.
        shown: Whether the caller may see its payload.
    """
    message = pb.Schedule(
        name=schedule.name,
        labels=dict(schedule.labels),
        paused=schedule.paused,
        pause_note=schedule.pause_note,
        upcoming=map(tick_message, upcoming),
        fired=schedule.fired,
        skipped_in_a_row=schedule.skipped_in_a_row,
        failures_in_a_row=schedule.failures_in_a_row,
        etag=etag_of(schedule.revision),
        open_job_ids=map(str, schedule.open),
    )
    _set_spec(message.spec, schedule.spec)
    _set_policy(message.policy, schedule.policy)
    _set_job(message.job, schedule.job, payload_format, shown=shown)
    for target, value in (
        ("next_at", schedule.next_at),
        ("last_at", schedule.last_tick),
        ("created_at", schedule.created_at),
        ("updated_at", schedule.updated_at),
        ("buffered_at", schedule.buffered),
    ):
        if value is not None:
            convert.set_moment(getattr(message, target), value)
    if schedule.last_run is not None:
        message.last_run.CopyFrom(run_message(schedule.last_run))
    return message


def _set_spec(message: pb.ScheduleSpec, given: Spec) -> None:
    message.SetInParent()
    message.cron.extend(given.cron)
    message.time_zone = given.time_zone
    if given.every is not None:
        convert.set_span(message.every, given.every)
    if given.phase:
        convert.set_span(message.phase, given.phase)
    if given.starts_at is not None:
        convert.set_moment(message.starts_at, given.starts_at)
    if given.ends_at is not None:
        convert.set_moment(message.ends_at, given.ends_at)
    if given.jitter:
        convert.set_span(message.jitter, given.jitter)


def _set_policy(message: pb.SchedulePolicy, given: Policy) -> None:
    message.overlap = cast("pb.SchedulePolicy.Overlap.ValueType", int(given.overlap))
    message.catch_up = cast("pb.SchedulePolicy.CatchUp.ValueType", int(given.catch_up))
    convert.set_span(message.catch_up_window, given.catch_up_window)
    message.pause_after_failures = given.pause_after_failures
    message.keep_runs = given.keep_runs


def _set_job(message: job_pb.NewJob, given: NewJob, payload_format: int, *, shown: bool) -> None:
    message.kind = given.kind
    message.queue = given.queue
    message.priority = given.priority
    message.max_attempts = given.max_attempts or 0
    message.key = given.key or ""
    message.hold = given.hold is not None
    message.labels.update(given.labels)
    if shown:
        message.headers.update(given.headers)
        as_text = payload_format == job_pb.PAYLOAD_FORMAT_JSON
        if given.payload and (as_text or not convert.filled(message.payload, given.payload)):
            message.payload_json = given.payload
    if given.timeout is not None:
        convert.set_span(message.timeout, given.timeout)
    if given.retry_policy is not None:
        convert.set_span(message.retry_policy.min_backoff, given.retry_policy.min_backoff)
        convert.set_span(message.retry_policy.max_backoff, given.retry_policy.max_backoff)
    if given.unique is not None:
        _set_unique(message.unique, given)


def _set_unique(message: job_pb.Unique, given: NewJob) -> None:
    unique = given.unique
    assert unique is not None
    message.SetInParent()
    message.key = unique.key or ""
    message.payload_fields.extend(unique.payload_fields)
    message.scope = cast("job_pb.Unique.Scope.ValueType", int(unique.scope))
    message.until = cast("job_pb.Unique.Until.ValueType", int(unique.until))
    message.on_conflict = cast("job_pb.Unique.OnConflict.ValueType", int(unique.on_conflict))
    message.replace.extend(cast("job_pb.Unique.Field.ValueType", int(each)) for each in unique.replace)
    if unique.period is not None:
        convert.set_span(message.period, unique.period)
    if unique.max_delay is not None:
        convert.set_span(message.max_delay, unique.max_delay)


def tick_message(tick: Tick) -> pb.ScheduleTick:
    """The message of a tick."""
    message = pb.ScheduleTick(
        local_time=tick.local.isoformat(),
        rule=cast("pb.ScheduleTick.Rule.ValueType", int(tick.rule)),
    )
    convert.set_moment(message.tick_at, tick.at)
    return message


def run_message(run: Run) -> pb.ScheduleRun:
    """The message of a run."""
    message = pb.ScheduleRun(
        nth=run.nth,
        outcome=cast("pb.ScheduleRun.RunOutcome.ValueType", int(run.outcome)),
        job_id="" if run.job_id is None else str(run.job_id),
        note=run.note,
        ticks=run.ticks,
        cause=cast("pb.ScheduleRun.Cause.ValueType", int(run.cause)),
    )
    convert.set_moment(message.tick_at, run.tick)
    if run.at is not None:
        convert.set_moment(message.decided_at, run.at)
    return message
