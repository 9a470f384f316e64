"""The answers of EnqueueJob and BatchEnqueueJobs, on both of their paths."""

from __future__ import annotations

from typing import cast

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb

from ..chain import Call
from ..model import Enqueued
from . import convert
from .metadata import HTTP_CODE


def enqueued_message(enqueued: Enqueued, payload_format: int, call: Call) -> rpc_pb.EnqueueJobResponse:
    """The response of one job. What it says beside the message goes into the metadata of the call's answer."""
    (job_id,) = enqueued.ids
    action = enqueued.actions.get(0)
    replayed = bool(enqueued.replayed)
    call.answer_metadata[HTTP_CODE] = "200" if replayed or action else "201"
    if replayed:
        call.answer_metadata["idempotency-replayed"] = "true"
    if action:
        call.answer_metadata["unique-action"] = action.name.lower()
    if call.span is not None:
        call.span.stored(job_id)
    if enqueued.job is None:
        job = pb.Job(id=str(job_id))
    else:
        job = convert.job_message(enqueued.job, payload_format)
    return rpc_pb.EnqueueJobResponse(
        job=job, replayed=replayed, unique_action=cast("pb.Unique.Action.ValueType | None", action)
    )


def results_message(enqueued: Enqueued) -> rpc_pb.BatchEnqueueJobsResponse:
    """The response of a batch."""
    return rpc_pb.BatchEnqueueJobsResponse(
        results=[
            rpc_pb.EnqueueResult(
                id=str(job_id),
                replayed=index not in enqueued.actions and job_id in enqueued.replayed,
                unique_action=cast("pb.Unique.Action.ValueType | None", enqueued.actions.get(index)),
            )
            for index, job_id in enumerate(enqueued.ids)
        ]
    )
