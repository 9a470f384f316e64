"""Puts enqueues in line without waiting for them. Without this there is no fast path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ...chain import Call
from ...core.intake.enqueuer import Enqueuer
from ...core.upkeep.clock import Clock
from ...fields import names
from ...model import MAX_BATCH_JOBS, Enqueued, NewJob, NewJobs, Ticket
from .. import checks, convert
from ..enqueued import enqueued_message
from ..metadata import KEY, job_headers
from .batch_decoder import decode_batch

# Of a job that says no time of its own.
_NO_TIME = datetime.min.replace(tzinfo=UTC)
_SIMPLE = {name.replace("payload", "payload_json") for name in names(lambda field: field.simple)}


class FastPathServicer:
    """The two halves of EnqueueJob and BatchEnqueueJobs: jobs are put in line, and answered once they are stored.

    Each method that puts jobs in line answers None where anything of the request is unusual or wrong. The general path
    then takes it from the beginning, and says what is wrong. What is refused once it was read is told by the ticket.
    """

    def __init__(self, enqueuer: Enqueuer, clock: Clock) -> None:
        self._enqueuer = enqueuer
        self._clock = clock

    def fast_enqueue(self, message: pb.NewJob, call: Call) -> Ticket | None:
        """Puts a job in line."""
        own = message.idempotency_key
        key = call.text(KEY) if KEY in call.metadata else own or None
        if key is not None and not checks.is_simple_key(key):
            return None
        new = self._read(message, job_headers(call), key, convert.size_of(len(own)) if own else 0)
        return None if new is None else self._put([NewJobs.of(new)], call, "job")

    def fast_enqueue_fields(self, given: dict[str, Any], call: Call) -> Ticket | None:
        """Puts a job in line of which these fields are given, as the constructor of its message takes them."""
        if _SIMPLE.issuperset(given):
            key = call.text(KEY) if KEY in call.metadata else None
            if key is not None and not checks.is_simple_key(key):
                return None
            new = convert.simple_job(
                given.get("kind", ""),
                given.get("payload_json", b""),
                given.get("queue", ""),
                given.get("priority", 0),
                given.get("key", ""),
                job_headers(call),
                key,
            )
            if new is not None:
                return self._put([NewJobs.of(new)], call, "job")
        try:
            message = pb.NewJob(**given)
        except (ValueError, TypeError):
            # Half of a surrogate pair, or a number out of its range.
            return None
        return self.fast_enqueue(message, call)

    def _read(
        self, message: pb.NewJob, headers: Mapping[str, str], key: str | None, beside: int
    ) -> NewJob | None:
        """The job; None where something is wrong with it."""
        # To look for a name costs as much as to see that there is none but the plain thing.
        new = convert.decode_simple(message, headers, key, beside=beside)
        if new is None and message.HasField("unique"):
            unique = convert.decode_simple_unique(message)
            if unique is not None:
                beside += convert.size_of(message.unique.ByteSize())
                new = convert.decode_simple(message, headers, key, unique, beside=beside)
        if new is None:
            # To ask for the time costs as much as to check a field.
            now = self._clock.now() if message.HasField("run_at") else _NO_TIME
            new = convert.decode(message, headers, now, key)
        return new

    def fast_batch(self, messages: Sequence[bytes], call: Call) -> Ticket | None:
        """Puts a batch in line, whose jobs are messages on the wire.

        Raises:
            DecodeError: One of them is malformed.
            QueueFull: Too many enqueues wait; said before more is read of them, so that it costs little.
        """
        if KEY in call.metadata or not 1 <= len(messages) <= MAX_BATCH_JOBS:
            return None
        self._enqueuer.check_room(call.scope, len(messages))
        jobs = decode_batch(messages, job_headers(call), self._clock.now())
        return None if jobs is None else self._put(jobs, call, "jobs[]")

    def _put(self, jobs: Sequence[NewJobs], call: Call, path: str) -> Ticket:
        if call.span is not None:
            call.span.sends(jobs)
        return self._enqueuer.put(call.scope, jobs, path, call.peer)

    def fast_response(self, ticket: Ticket, at: datetime) -> rpc_pb.EnqueueJobResponse:
        """What EnqueueJob answers of a job that was stored at that time."""
        message = convert.job_message(ticket.job(at), pb.PAYLOAD_FORMAT_JSON)
        return rpc_pb.EnqueueJobResponse(job=message)

    def fast_response_instead(self, enqueued: Enqueued, call: Call) -> rpc_pb.EnqueueJobResponse:
        """What EnqueueJob answers where the ticket says more than that its job was stored."""
        return enqueued_message(enqueued, pb.PAYLOAD_FORMAT_JSON, call)
