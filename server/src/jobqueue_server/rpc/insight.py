"""The service Insight: convert, call the core, render."""

from __future__ import annotations

from typing import cast

from jobqueue.v1 import insight_pb2 as insight_pb
from jobqueue.v1 import job_pb2 as pb

from ..chain import Call
from ..core.insight.demand import Demands
from ..core.insight.explain import Explain
from ..core.insight.names import NameOf
from ..core.insight.reasons import Attempt, Due, End, KeyOf, Line, Pause, Reason, Total, WorkersOf
from . import checks, convert
from .checks import Problems

#: A worker that does not bound its slots has as many as the contract allows.
_MOST_SLOTS = 10_000


class InsightServicer:
    """Explains jobs and queues. The contract lists the errors; `checks` and the core raise them."""

    def __init__(self, explain: Explain, demands: Demands) -> None:
        self._explain = explain
        self._demands = demands

    async def ExplainJob(
        self, request: insight_pb.ExplainJobRequest, call: Call
    ) -> insight_pb.ExplainJobResponse:
        """Says why a job waits."""
        problems = Problems()
        job_id = checks.uuid(request.id, "id", problems)
        problems.raise_if_any()
        found = await self._explain.explain(call.scope, job_id)
        answer = insight_pb.ExplainJobResponse(
            job_id=str(found.job_id),
            status=convert.status_number(found.status),
            summary=found.summary,
            reasons=[_reason(reason) for reason in found.reasons],
            unknown=found.unknown,
        )
        convert.set_moment(answer.read_at, found.read_at)
        if found.could_start_at is not None:
            convert.set_moment(answer.could_start_at, found.could_start_at)
        if (estimate := found.estimate) is not None:
            answer.estimate.ahead, answer.estimate.capped = estimate.ahead, estimate.capped
            answer.estimate.ends_per_second = estimate.ends_per_second
            convert.set_moment(answer.estimate.earliest_at, estimate.earliest_at)
            if estimate.latest_at is not None:
                convert.set_moment(answer.estimate.latest_at, estimate.latest_at)
        if found.name is not None:
            answer.name.CopyFrom(_name(found.name))
        return answer

    async def GetQueueDemand(
        self, request: insight_pb.GetQueueDemandRequest, call: Call
    ) -> insight_pb.GetQueueDemandResponse:
        """Says how many slots a queue wants."""
        problems = Problems()
        checks.name(request.queue, "queue", problems)
        problems.raise_if_any()
        found = await self._demands.of_queue(call.scope, request.queue)
        answer = insight_pb.GetQueueDemandResponse(
            runnable=found.runnable,
            capped=found.capped,
            running=found.running,
            held=found.held,
            held_by_key=found.held_by_key,
            later=found.later,
            paused=found.paused,
            beyond_limit=found.beyond_limit,
            workers=found.workers.sessions,
            slots=found.workers.slots,
            free_slots=found.workers.free,
            wanted_slots=found.wanted_slots,
            more_workers_would_help=found.more_workers_would_help,
            why=found.why,
            unknown=found.unknown,
            arrivals_per_second=found.arrivals_per_second,
            ends_per_second=found.ends_per_second,
        )
        convert.set_moment(answer.read_at, found.read_at)
        if found.oldest_runnable_age is not None:
            convert.set_span(answer.oldest_runnable_age, found.oldest_runnable_age)
        return answer


def _reason(reason: Reason) -> insight_pb.Reason:
    message = insight_pb.Reason(
        code=cast("insight_pb.Reason.Code.ValueType", int(reason.code)),
        message=reason.message,
        unblocked_by=reason.unblocked_by,
    )
    match reason.detail:
        case End() as end:
            message.end.reason = end.reason
            convert.set_moment(message.end.finished_at, end.finished_at)
        case Attempt() as attempt:
            message.attempt.attempt = attempt.attempt
            message.attempt.worker = attempt.worker
            message.attempt.cancel_requested = attempt.cancel_requested
            convert.set_moment(message.attempt.since, attempt.since)
            if attempt.deadline_at is not None:
                convert.set_moment(message.attempt.deadline_at, attempt.deadline_at)
        case Due() as due:
            convert.set_moment(message.due.run_at, due.run_at)
            message.due.failures = due.failures
            message.due.max_attempts = due.max_attempts
            message.due.last_reason = due.last_reason
            message.due.last_error = due.last_error
        case Pause() as pause:
            convert.set_moment(message.pause.since, pause.since)
            message.pause.by = pause.by
            message.pause.reason = pause.reason
        case WorkersOf() as of:
            message.workers.CopyFrom(_workers(of))
        case Line() as line:
            message.line.ahead = line.ahead
            message.line.capped = line.capped
        case Total() as total:
            message.total.max_running = total.max_running or 0
            message.total.running = total.running
            if total.next_at is not None:
                convert.set_moment(message.total.next_at, total.next_at)
        case KeyOf() as key:
            message.key.key = key.key
            message.key.max_running = key.max_running or 0
            message.key.taken = key.taken
            message.key.ahead = key.ahead
            message.key.capped = key.capped
            for holder in key.holders:
                shown = message.key.holders.add(job_id=str(holder.job_id), worker=holder.worker)
                convert.set_moment(shown.since, holder.since)
            if key.blocked and key.blocked_by is not None:
                message.key.blocked_by = str(key.blocked_by)
            if (next_at := key.paused_until or key.next_at) is not None:
                convert.set_moment(message.key.next_at, next_at)
            if key.pause is not None:
                convert.set_moment(message.key.pause.since, key.pause.since)
                message.key.pause.by = key.pause.by
    return message


def _name(of: NameOf) -> insight_pb.NameDetail:
    message = insight_pb.NameDetail(
        key=of.key or "",
        held_by="" if of.held_by is None else str(of.held_by),
        until=cast("pb.Unique.Until.ValueType", int(of.until or 0)),
        message=of.message,
    )
    if of.period_ends_at is not None:
        convert.set_moment(message.period_ends_at, of.period_ends_at)
    return message


def _workers(of: WorkersOf) -> insight_pb.WorkersDetail:
    workers = of.workers
    return insight_pb.WorkersDetail(
        sessions=workers.sessions,
        slots=workers.slots,
        free_slots=workers.free,
        full_by_kind=workers.full_by_kind,
        full_by_bytes=workers.full_by_bytes,
        draining=workers.draining,
        isolating=workers.isolating,
        slot_weight=of.weight if of.weight > 1 else 0,
        most_slots=min(workers.most_slots, _MOST_SLOTS) if of.weight > 1 else 0,
        most_free_slots=min(workers.most_free, _MOST_SLOTS) if of.weight > 1 else 0,
        nearest=[
            insight_pb.WorkerSubscription(queue=near.queue, kind=near.kind, sessions=near.sessions)
            for near in of.nearest
        ],
    )
