"""EnqueueJob and BatchEnqueueJobs over gRPC for jobs of which little is said: without what only others need.

Its checks and steps are those of the general way, to which all goes that it is not sure of. A call has no task: it is
begun where its last frame is read, and answered by the insert that stored its jobs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from functools import lru_cache
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ..chain import Begun, Call, Chain
from ..errors import JobQueueError
from ..fields import answer_key, names
from ..taskless import Deadlines, TasklessCall
from .convert import set_moment
from .said import refusal, trailing
from .transport import ImmediateContext
from .wire import entries_of, length_of, map_of, tag

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
_PAYLOAD, _HEADERS = (tag(pb.Job.DESCRIPTOR.fields_by_name[name]) for name in ("payload_json", "headers"))
# The fields of an answer that are a job's own; a payload is asked for as text.
_OWN = [name.replace("payload", "payload_json") for name in names(lambda field: field.shown and field.own)]
_MOST_TEMPLATES = 10_000


class Quick(ABC):
    """The short way of a method that enqueues.

    Args:
        chain: What every call passes.
        servicer: The service's; one that does not have this way goes the general one.
    """

    def __init__(self, chain: Chain, servicer: object) -> None:
        self.deadlines = Deadlines()
        self._chain = chain
        self._servicer: Any = servicer if hasattr(servicer, "start") else None

    def begin(self, raw: bytes, call: Call, context: ImmediateContext) -> bool:
        """Starts a call, or refuses it. False where it goes the general way, from the beginning."""
        if self._servicer is None:
            return False
        begun = self._chain.begin(call)
        if begun is None:
            return False
        try:
            job = self._started(raw, call)
        except DecodeError:
            job = None
        except Exception as error:
            # Under no other name: this frame, which the error's traceback holds, would hold the error.
            _refuse(context, call, begun.end(error))
            return True
        if job is None:
            begun.cancel()
            return False
        context.task = QuickCall(self, begun, job, context)
        return True

    @abstractmethod
    def _started(self, raw: bytes, call: Call) -> Any:
        """Its jobs in line; None where the request goes the general way."""

    @abstractmethod
    def answer(self, job: Any, at: datetime) -> bytes:
        """The response, when they were stored at that time."""


class QuickBatch(Quick):
    """The short way of BatchEnqueueJobs."""

    METHOD = "/jobqueue.v1.JobQueue/BatchEnqueueJobs"

    def _started(self, raw: bytes, call: Call) -> Any:
        return self._servicer.start_batch(_jobs_of(raw), call)

    def answer(self, job: Any, at: datetime) -> bytes:
        """The ids, in the order of the jobs."""
        ids = [str(job_id) for row in job.rows for job_id in row.ids]
        return (_RESULT + _RESULT.join(ids)).encode()


class QuickEnqueue(Quick):
    """The short way of EnqueueJob."""

    METHOD = "/jobqueue.v1.JobQueue/EnqueueJob"

    def __init__(self, chain: Chain, servicer: object) -> None:
        super().__init__(chain, servicer)
        self._alike: dict[tuple[object, ...], bytes] = {}

    def _started(self, raw: bytes, call: Call) -> Any:
        request = rpc_pb.EnqueueJobRequest.FromString(raw)
        if request.payload_format != pb.PAYLOAD_FORMAT_JSON:
            return None
        return self._servicer.start_message(request.job, call)

    def answer(self, job: Any, at: datetime) -> bytes:
        """EnqueueJobResponse, put together as `leased.delivery_bytes` puts a Delivery together."""
        row = job.rows[0]
        new = row.new
        key = answer_key(job.lanes[0], row)
        alike = self._alike.get(key)
        if alike is None:
            message = self._servicer.started(job, at).job
            for name in _OWN:
                message.ClearField(name)
            if len(self._alike) >= _MOST_TEMPLATES:
                self._alike.clear()
            alike = self._alike[key] = message.SerializeToString()
        message = b"".join(
            (
                _ID, str(row.id).encode(), _PAYLOAD, length_of(len(new.payload)), new.payload,
                _created_at(row.id.int >> 80), _stored_at(at), map_of(_HEADERS, new.headers), alike,
            )
        )  # fmt: skip
        return _JOB + length_of(len(message)) + message


class QuickCall(TasklessCall):
    """One such call: what stands for its task."""

    def __init__(self, quick: Quick, begun: Begun, job: Any, context: ImmediateContext) -> None:
        super().__init__(begun, job, quick.deadlines)
        self._quick = quick
        self._context = context

    def _answer(self, at: datetime) -> bytes:
        return self._quick.answer(self._job, at)

    def _end(self) -> None:
        super()._end()
        # Else it would be a ring.
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
def _stored_at(at: datetime) -> bytes:
    moment = Timestamp()
    set_moment(moment, at)
    return pb.Job(updated_at=moment, run_at=moment).SerializeToString()
