"""EnqueueJob and BatchEnqueueJobs on the fast path: begun where the last frame is read, answered after the insert."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from datetime import datetime
from functools import lru_cache
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ...chain import Begun, Call, Chain
from ...errors import JobQueueError
from ...fast_path import Deadlines, FastCall
from ...fields import names
from ...model import Enqueued, Ticket
from ..convert import set_moment
from ..enqueued import results_message
from ..trailers import refusal, trailing
from ..transport import ImmediateContext
from ..wire import entries_of, length_of, map_of, tag, text_of
from .servicer import FastPathServicer

_jobs_of = entries_of(rpc_pb.BatchEnqueueJobsRequest.DESCRIPTOR.fields_by_name["jobs"])
# What stands before each id of a batch's answer: the result and its length, and the id's own.
_RESULT = (
    tag(rpc_pb.BatchEnqueueJobsResponse.DESCRIPTOR.fields_by_name["results"])
    + length_of(38)
    + tag(rpc_pb.EnqueueResult.DESCRIPTOR.fields_by_name["id"])
    + length_of(36)
).decode()
_JOB = tag(rpc_pb.EnqueueJobResponse.DESCRIPTOR.fields_by_name["job"])
_ID = tag(pb.Job.DESCRIPTOR.fields_by_name["id"]) + length_of(36)
_PAYLOAD, _IDEMPOTENCY_KEY, _KEY, _UNIQUE_KEY, _HEADERS, _LABELS = (
    tag(pb.Job.DESCRIPTOR.fields_by_name[name])
    for name in ("payload_json", "idempotency_key", "key", "unique_key", "headers", "labels")
)
# The fields of an answer that are a job's own; a payload is asked for as text.
_OWN = [name.replace("payload", "payload_json") for name in names(lambda field: field.shown and field.own)]
_MOST_TEMPLATES = 10_000


class FastMethod(ABC):
    """The fast path of a method that enqueues.

    Args:
        chain: What every call passes.
        servicer: The part of the service's that has the fast path.
    """

    #: The full name.
    METHOD: str

    def __init__(self, chain: Chain, servicer: FastPathServicer) -> None:
        self.deadlines = Deadlines()
        self._chain = chain
        self._servicer = servicer

    def begin(self, raw: bytes, call: Call, context: ImmediateContext) -> bool:
        """Starts a call, or refuses it. False where the general path takes it from the beginning."""
        begun = self._chain.begin(call)
        if begun is None:
            return False
        try:
            ticket = self._start(raw, call)
        except DecodeError:
            ticket = None
        except Exception as error:
            _refuse(context, call, begun.end(error))
            return True
        if ticket is None:
            begun.cancel()
            return False
        context.task = GrpcFastCall(self, begun, ticket, context)
        return True

    @abstractmethod
    def _start(self, raw: bytes, call: Call) -> Ticket | None:
        """Puts its jobs in line; None where the general path takes the request."""

    @abstractmethod
    def answer(self, ticket: Ticket, at: datetime) -> bytes:
        """The response, when they were stored at that time."""

    @abstractmethod
    def answer_instead(self, enqueued: Enqueued, call: Call) -> bytes:
        """The response, where a ticket says more than that."""


class FastBatchEnqueueJobs(FastMethod):
    """The fast path of BatchEnqueueJobs."""

    METHOD = "/jobqueue.v1.JobQueue/BatchEnqueueJobs"

    def _start(self, raw: bytes, call: Call) -> Ticket | None:
        return self._servicer.fast_batch(_jobs_of(raw), call)

    def answer(self, ticket: Ticket, at: datetime) -> bytes:
        """The ids, in the order of the jobs."""
        ids = [str(job_id) for job_id in ticket.ids]
        return (_RESULT + _RESULT.join(ids)).encode()

    def answer_instead(self, enqueued: Enqueued, call: Call) -> bytes:
        """As the general path has it."""
        return results_message(enqueued).SerializeToString()


class FastEnqueueJob(FastMethod):
    """The fast path of EnqueueJob."""

    METHOD = "/jobqueue.v1.JobQueue/EnqueueJob"

    def __init__(self, chain: Chain, servicer: FastPathServicer) -> None:
        super().__init__(chain, servicer)
        # The fields that answers share, on the wire.
        self._shared: dict[Hashable, bytes] = {}

    def _start(self, raw: bytes, call: Call) -> Ticket | None:
        request = rpc_pb.EnqueueJobRequest.FromString(raw)
        if request.payload_format != pb.PAYLOAD_FORMAT_JSON:
            return None
        return self._servicer.fast_enqueue(request.job, call)

    def answer(self, ticket: Ticket, at: datetime) -> bytes:
        """EnqueueJobResponse, put together as `leased.delivery_bytes` puts a Delivery together."""
        job_id, payload, idempotency_key, key, unique_key, headers, labels, run_at, alike = ticket.first(at)
        shared = self._shared.get(alike)
        if shared is None:
            message: Any = self._servicer.fast_response(ticket, at).job
            for name in _OWN:
                message.ClearField(name)
            if len(self._shared) >= _MOST_TEMPLATES:
                self._shared.clear()
            shared = self._shared[alike] = message.SerializeToString()
        job = b"".join(
            (
                _ID, str(job_id).encode(), _PAYLOAD, length_of(len(payload)), payload,
                b"" if idempotency_key is None else text_of(_IDEMPOTENCY_KEY, idempotency_key),
                b"" if key is None else text_of(_KEY, key),
                b"" if unique_key is None else text_of(_UNIQUE_KEY, unique_key),
                _created_at(job_id.int >> 80), _times(at, run_at), map_of(_HEADERS, headers),
                map_of(_LABELS, labels) if labels else b"", shared,
            )
        )  # fmt: skip
        return _JOB + length_of(len(job)) + job

    def answer_instead(self, enqueued: Enqueued, call: Call) -> bytes:
        """As the general path has it."""
        return self._servicer.fast_response_instead(enqueued, call).SerializeToString()


class GrpcFastCall(FastCall[bytes]):
    """One such call: what stands for its task."""

    def __init__(self, method: FastMethod, begun: Begun, ticket: Ticket, context: ImmediateContext) -> None:
        super().__init__(begun, ticket, method.deadlines)
        self._method = method
        self._context = context

    def _answer(self, at: datetime) -> bytes:
        ticket = self._ticket
        if ticket.instead is not None:
            return self._method.answer_instead(ticket.instead, self._begun.call)
        return self._method.answer(ticket, at)

    def _end(self) -> None:
        super()._end()
        # Else it would be a reference cycle.
        self._context.task = None

    def _send(self, answer: bytes) -> None:
        self._context.set_trailing_metadata(trailing(self._begun.call))
        self._context.answer(answer)

    def _tell(self, error: JobQueueError | None) -> None:
        _refuse(self._context, self._begun.call, error)


def _refuse(context: ImmediateContext, call: Call, error: JobQueueError | None) -> None:
    """Says why a call failed; None: it was cancelled."""
    if error is None:
        context.finish(grpc.StatusCode.CANCELLED.value[0], "the call was cancelled")
        return
    code, text, metadata = refusal(call, error)
    context.finish(code.value[0], text, metadata)


@lru_cache(maxsize=1024)
def _created_at(milliseconds: int) -> bytes:
    created = Timestamp()
    created.FromMilliseconds(milliseconds)
    return pb.Job(created_at=created).SerializeToString()


@lru_cache(maxsize=256)
def _times(updated_at: datetime, run_at: datetime) -> bytes:
    job = pb.Job()
    set_moment(job.updated_at, updated_at)
    set_moment(job.run_at, run_at)
    return job.SerializeToString()


#: By the full name of the method.
FAST_METHODS: dict[str, type[FastMethod]] = {
    each.METHOD: each for each in (FastEnqueueJob, FastBatchEnqueueJobs)
}


def fast_method(name: str, chain: Chain, servicer: object) -> FastMethod | None:
    """The fast path of a method; None where it or the servicer has none.

    Args:
        name: The full name of the method.
        chain: What every call passes.
        servicer: The service's.
    """
    method = FAST_METHODS.get(name)
    if method is None or not hasattr(servicer, "fast_enqueue"):
        return None
    # A union has the methods of its parts.
    fast: Any = servicer
    return method(chain, fast)
