"""Puts enqueues in line of which little is said, without waiting for them. Without this there is no fast path."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ...chain import Call
from ...core.intake.enqueuer import Enqueuer
from ...model import MAX_BATCH_JOBS, NOTHING, Enqueued, NewJob, NewJobs, Ticket
from .. import checks, convert
from ..enqueued import enqueued_message
from ..metadata import KEY, job_headers
from .batch_decoder import decode_batch


class FastPathServicer:
    """The two halves of EnqueueJob and BatchEnqueueJobs: jobs are put in line, and answered once they are stored.

    Each method that puts jobs in line answers None where anything of the request is unusual or wrong. The general path
    then takes it from the beginning, and says what is wrong. What is refused once it was read is told by the ticket.
    """

    def __init__(self, enqueuer: Enqueuer) -> None:
        self._enqueuer = enqueuer

    def fast_enqueue(
        self, kind: str, queue: str, payload: bytes, call: Call, job_key: str | None = None
    ) -> Ticket | None:
        """Puts a job in line of which no more is said than this, and maybe an idempotency key in the metadata."""
        if not checks.is_name(kind) or not checks.is_name(queue) or not checks.is_simple_payload(payload):
            return None
        if job_key is not None and not checks.is_key(job_key):
            return None
        key = call.text(KEY) if KEY in call.metadata else None
        if key is not None and not checks.is_simple_key(key):
            return None
        headers = job_headers(call)
        new = NewJob(kind, payload, queue, idempotency_key=key, labels=NOTHING, headers=headers, key=job_key)
        return self._put([NewJobs.of(new)], call, "job")

    def fast_enqueue_message(self, message: pb.NewJob, call: Call) -> Ticket | None:
        """Puts a job in line that came as a message, which may be changed."""
        key = call.text(KEY) if KEY in call.metadata else None
        if key is None and message.idempotency_key:
            key = message.idempotency_key
            message.ClearField("idempotency_key")
        if key is not None and not checks.is_simple_key(key):
            return None
        # To look for a name costs as much as to see that there is none but the plain thing.
        new = convert.decode_simple(message, job_headers(call), key)
        if new is None:
            if not message.HasField("unique") or (unique := convert.decode_simple_unique(message)) is None:
                return None
            message.ClearField("unique")
            new = convert.decode_simple(message, job_headers(call), key, unique)
        return None if new is None else self._put([NewJobs.of(new)], call, "job")

    def fast_batch(self, messages: Sequence[bytes], call: Call) -> Ticket | None:
        """Puts a batch in line, whose jobs are messages on the wire.

        Raises:
            DecodeError: One of them is malformed.
            QueueFull: Too many enqueues wait; said before more is read of them, so that it costs little.
        """
        if KEY in call.metadata or not 1 <= len(messages) <= MAX_BATCH_JOBS:
            return None
        self._enqueuer.check_room(call.scope, len(messages))
        jobs = decode_batch(messages, job_headers(call))
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
