"""Reads outcomes. Each is checked alone, so that a malformed one does not affect the others."""

from __future__ import annotations

from datetime import timedelta

from jobqueue.v1 import lease_pb2

from ..core.attempt.outcome import Answer, Outcome
from ..core.intake.digest import check_json
from ..core.upkeep.clock import Clock
from ..errors import FieldInvalid, JobQueueError
from ..lifecycle import Event
from ..model import (
    MAX_AHEAD,
    MAX_ERROR_CHARS,
    MAX_ERROR_TYPE_CHARS,
    MAX_FOLLOW_UPS,
    MAX_KEY_PAUSE,
    MAX_OUTPUT_BYTES,
    MAX_STACK_CHARS,
    NewJob,
)
from . import checks, convert
from .checks import Problems
from .convert import set_moment
from .hello import lease_job_id
from .values import ValueInvalid, text_of

_VERDICTS = lease_pb2.SettleResult.Verdict
_CUT = "... (cut)"
# An answer may have a thousand messages. A worker could not read one over 4 MiB, and would send the outcomes again.
_MAX_MESSAGE_CHARS = 512
_FOLLOW_UPS = "success.follow_ups"

Reading = tuple[Outcome | None, Answer | None]


def read_outcome(message: lease_pb2.Outcome, clock: Clock) -> Reading:
    """The outcome, or the answer INVALID with what is wrong. `clock` gives the time for follow-ups."""
    try:
        outcome = _outcome(message, clock)
    except JobQueueError as error:
        return None, Answer(message.lease_id, None, message.attempt, "INVALID", message=error.message)
    return outcome, None


def _outcome(message: lease_pb2.Outcome, clock: Clock) -> Outcome:
    which = message.WhichOneof("outcome")
    if which is None:
        raise FieldInvalid.of("outcome", "is required: success, failure, cancellation, snooze or release")
    outcome = Outcome(Event.SUCCEED, message.lease_id)
    if message.job_id:
        outcome.job_id = lease_job_id(message.job_id)
        outcome.attempt = message.attempt
        if message.attempt < 1:
            raise FieldInvalid.of("attempt", "must be at least 1: the attempt in the delivery")
    elif not message.lease_id:
        raise FieldInvalid.of(
            "lease_id", "is required, or job_id and attempt instead of it: they name the lease"
        )
    if which == "success":
        outcome.output = _output(message.success)
        if message.success.follow_ups:
            outcome.follow_ups = _follow_ups(message.success, clock)
    elif which == "failure":
        failure = message.failure
        outcome.event = Event.FAIL
        outcome.permanent = failure.permanent
        outcome.error_type = _text(failure.error_type, MAX_ERROR_TYPE_CHARS) or None
        outcome.message = _text(failure.error, MAX_ERROR_CHARS)
        outcome.stack = _text(failure.stack, MAX_STACK_CHARS) or None
        if failure.HasField("retry_after"):
            outcome.after = _span(failure.retry_after, "failure.retry_after")
    elif which == "cancellation":
        outcome.event = Event.CANCELLED
    elif which == "snooze":
        outcome.event = Event.SNOOZE
        if not message.snooze.HasField("delay"):
            raise FieldInvalid.of("snooze.delay", "is required")
        outcome.after = _span(message.snooze.delay, "snooze.delay")
    else:
        outcome.event = Event.RELEASE
    if message.HasField("pause_key"):
        if which not in ("failure", "snooze"):
            raise FieldInvalid.of("pause_key", f"is of a failure or a snooze, and this is a {which}")
        outcome.pause_key = _span(message.pause_key, "pause_key", MAX_KEY_PAUSE) or None
    return outcome


def _follow_ups(success: lease_pb2.Success, clock: Clock) -> list[NewJob]:
    """Checks and reads the follow-ups, as BatchEnqueueJobs does."""
    if len(success.follow_ups) > MAX_FOLLOW_UPS:
        raise FieldInvalid.of(
            _FOLLOW_UPS, f"has {len(success.follow_ups)} jobs; at most {MAX_FOLLOW_UPS} are allowed"
        )
    problems = Problems()
    now = clock.now()
    new = [
        convert.new_job(job, f"{_FOLLOW_UPS}[{index}].", now, problems)
        for index, job in enumerate(success.follow_ups)
    ]
    checks.distinct_keys(new, _FOLLOW_UPS, problems)
    problems.raise_if_any()
    return new


def _span(value: object, field: str, most: timedelta = MAX_AHEAD) -> timedelta:
    problems = Problems()
    checks.duration(value, field, timedelta(), most, problems)  # type: ignore[arg-type]
    problems.raise_if_any()
    return convert.span(value)  # type: ignore[arg-type]


def _text(text: str, limit: int) -> str:
    """The text cut to `limit` characters, with a mark that it was cut. NUL is replaced: PostgreSQL stores none."""
    text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if len(text) <= limit else text[: limit - len(_CUT)] + _CUT


def _output(success: lease_pb2.Success) -> bytes | None:
    which = success.WhichOneof("result")
    if which is None:
        return None
    if which == "output_json":
        text = success.output_json
        if len(text) <= MAX_OUTPUT_BYTES:
            check_json(text, "success.output_json")
    else:
        try:
            text = text_of(success.output)
        except ValueInvalid as error:
            raise FieldInvalid.of("success.output", str(error)) from None
    if len(text) > MAX_OUTPUT_BYTES:
        raise FieldInvalid.of(
            f"success.{which}", f"has {len(text)} bytes; at most {MAX_OUTPUT_BYTES} are allowed"
        )
    return text


def result_message(answer: Answer) -> lease_pb2.SettleResult:
    """The message of the answer to an outcome."""
    result = lease_pb2.SettleResult(
        lease_id=answer.lease_id,
        job_id="" if answer.job_id is None else str(answer.job_id),
        attempt=answer.attempt,
        verdict=_VERDICTS.Value(answer.verdict),
        message=_text(answer.message, _MAX_MESSAGE_CHARS),
    )
    if answer.verdict in ("APPLIED", "ALREADY_APPLIED"):
        result.status = answer.status  # type: ignore[assignment]
        if answer.run_at is not None:
            set_moment(result.run_at, answer.run_at)
    return result
