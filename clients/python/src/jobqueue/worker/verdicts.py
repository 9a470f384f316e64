"""What the server's answer to an outcome means to metrics and logs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from jobqueue.observer import Attempt
from jobqueue.v1 import lease_pb2 as pb
from jobqueue.v1.job_pb2 import Job

from .lease import Lease
from .logs import JobLog

_LABELS = {
    Job.SUCCEEDED: "succeeded",
    Job.RETRYING: "retrying",
    Job.QUEUED: "retrying",
    Job.FAILED_PERMANENT: "failed_permanent",
    Job.CANCELLED: "cancelled",
}
# Of outcomes that the server did not remark on.
_BY_OUTCOME = {
    "success": "succeeded",
    "failure": "retrying",
    "cancellation": "cancelled",
    "snooze": "retrying",
    "release": "retrying",
}


def label_of(outcome: pb.Outcome | None, result: pb.SettleResult | None) -> str:
    """The outcome label of metrics, for an outcome that was applied."""
    if result is not None and result.status in _LABELS:
        return _LABELS[result.status]
    return "succeeded" if outcome is None else _BY_OUTCOME[outcome.WhichOneof("outcome") or "success"]


def error_of(outcome: pb.Outcome | None) -> str:
    """What a handler raised, in a line. Empty: nothing."""
    if outcome is None or outcome.WhichOneof("outcome") != "failure":
        return ""
    return f"{outcome.failure.error_type}: {outcome.failure.error}"


def attempt_of(message: pb.LeasedJob) -> Attempt:
    """What an observer is told of an attempt."""
    return Attempt(
        id=message.id,
        kind=message.kind,
        queue=message.queue,
        attempt=message.attempt,
        failures=message.failures,
        labels=dict(message.labels),
        request_id=message.headers.get("x-request-id", ""),
    )


def log_applied(lease: Lease, result: pb.SettleResult | None) -> None:
    """A line for what an operator wants to see: failures, with their stack."""
    outcome = lease.outcome
    if outcome is None or outcome.WhichOneof("outcome") != "failure":
        return
    in_context_of(lease, _log_failure)(lease, outcome, result)


def in_context_of(lease: Lease, function: Callable[..., None]) -> Callable[..., None]:
    """The function, with the context variables that middleware has set for an attempt. They last for one call."""
    ended_in = getattr(lease.context, "ended_in", None)
    return function if ended_in is None else partial(ended_in.copy().run, function)


def _log_failure(lease: Lease, outcome: pb.Outcome, result: pb.SettleResult | None) -> None:
    failure = outcome.failure
    what = f"{failure.error_type}: {failure.error.rstrip()}"
    # A handler may have put it into the words already, for those who read the job.
    stack = "" if failure.error.endswith(failure.stack) else f"\n{failure.stack.rstrip()}"
    job_log = JobLog(lease.context.job)
    if result is not None and result.status == Job.RETRYING:
        when = result.run_at.ToDatetime().isoformat(timespec="milliseconds")
        job_log.warning("failed, is tried again at %s UTC: %s%s", when, what, stack)
    elif result is not None and result.status == Job.CANCELLED:
        job_log.info("failed after its cancelling was asked for: %s", what)
    else:
        job_log.error("failed for good: %s%s", what, stack)
