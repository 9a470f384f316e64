"""EnqueueJob over gRPC for a job of which little is said, as most are: without what only others need.

Its checks and steps are those of the general way, to which all goes that it is not sure of. What is left is gRPC's own.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from functools import lru_cache
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ..chain import Call, Chain, time_is_up
from ..model import MAX_MESSAGE_BYTES
from .convert import set_moment
from .wire import length_of, tag

_JOB = tag(rpc_pb.EnqueueJobResponse.DESCRIPTOR.fields_by_name["job"])
_ID = tag(pb.Job.DESCRIPTOR.fields_by_name["id"]) + length_of(36)
_PAYLOAD = tag(pb.Job.DESCRIPTOR.fields_by_name["payload_json"])
# The fields of an answer that are a job's own.
_OWN = ("id", "payload_json", "headers", "created_at", "updated_at", "run_at")
_MOST_TEMPLATES = 10_000


class QuickEnqueue:
    """The short way of EnqueueJob.

    Args:
        chain: What every call passes.
        servicer: The service's; one that does not have this way goes the general one.
    """

    METHOD = "/jobqueue.v1.JobQueue/EnqueueJob"

    def __init__(self, chain: Chain, servicer: object) -> None:
        self._chain = chain
        self._start = getattr(servicer, "start_message", None)
        self._started: Any = getattr(servicer, "started", None)
        self._alike: dict[tuple[object, ...], bytes] = {}

    async def run(self, raw: bytes, call: Call) -> bytes | None:
        """The answer to a request, both on the wire; None where it goes the general way.

        Raises:
            JobQueueError: What the chain lets out.
        """
        if self._start is None or len(raw) > MAX_MESSAGE_BYTES:
            return None
        try:
            request = rpc_pb.EnqueueJobRequest.FromString(raw)
        except DecodeError:
            return None
        if request.payload_format != pb.PAYLOAD_FORMAT_JSON:
            return None
        begun = self._chain.begin(call)
        if begun is None:
            return None
        job = self._start(request.job, call)
        if job is None:
            begun.cancel()
            return None
        error: BaseException
        try:
            at = (await _until(job.done, call)).at
            response = self._answer(job, at, call)
        except asyncio.CancelledError as cancelled:
            job.give_up()
            begun.end(cancelled)
            raise
        except BaseException as raised:
            error = raised
            job.give_up()
        else:
            begun.end()
            return response
        told = begun.end(error)
        assert told is not None, "whoever is there is told"
        raise told

    def _answer(self, job: Any, at: datetime, call: Call) -> bytes:
        """EnqueueJobResponse, put together as `leased.delivery_bytes` puts a Delivery together."""
        row = job.rows[0]
        new = row.new
        key = (job.lanes[0], new.priority, row.max_attempts, row.timeout_ms)
        alike = self._alike.get(key)
        if alike is None:
            message = self._started(job, at).job
            for name in _OWN:
                message.ClearField(name)
            if len(self._alike) >= _MOST_TEMPLATES:
                self._alike.clear()
            alike = self._alike[key] = message.SerializeToString()
        message = b"".join(
            (
                _ID, str(row.id).encode(), _PAYLOAD, length_of(len(new.payload)), new.payload,
                _created_at(row.id.int >> 80), _stored_at(at), pb.Job(headers=new.headers).SerializeToString(), alike,
            )
        )  # fmt: skip
        return _JOB + length_of(len(message)) + message


async def _until(done: asyncio.Future[Any], call: Call) -> Any:
    """What comes of it before the call's time is up.

    Raises:
        DeadlineExceeded: It is.
    """
    loop = asyncio.get_running_loop()
    timer = loop.call_later(call.remaining() or 0, done.cancel)
    try:
        return await done
    except asyncio.CancelledError:
        task = asyncio.current_task()
        cancelled = task is not None and task.cancelling()
        if not cancelled and (call.remaining() or 0) <= _EARLY:
            raise time_is_up() from None
        raise
    finally:
        timer.cancel()


# The loop's clock and ours tick apart.
_EARLY = 0.01


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
