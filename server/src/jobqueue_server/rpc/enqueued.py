"""The answer of EnqueueJob, on both of its paths."""

from __future__ import annotations

from typing import cast

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ..chain import Call
from ..model import Enqueued
from . import convert
from .metadata import HTTP_CODE


def enqueued_message(enqueued: Enqueued, payload_format: int, call: Call) -> rpc_pb.EnqueueJobResponse:
    """The response. What it says beside the message goes into the metadata of the call's answer."""
    call.answer_metadata[HTTP_CODE] = "200" if enqueued.replayed or enqueued.action else "201"
    if enqueued.replayed:
        call.answer_metadata["idempotency-replayed"] = "true"
    if enqueued.action:
        call.answer_metadata["unique-action"] = enqueued.action.name.lower()
    if call.span is not None:
        call.span.stored(enqueued.id)
    if enqueued.job is None:
        job = pb.Job(id=str(enqueued.id))
    else:
        job = convert.job_message(enqueued.job, payload_format)
    return rpc_pb.EnqueueJobResponse(
        job=job,
        replayed=enqueued.replayed,
        unique_action=cast("pb.Unique.Action.ValueType | None", enqueued.action),
    )
