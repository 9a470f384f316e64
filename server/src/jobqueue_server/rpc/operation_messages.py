"""Operations as messages of google.longrunning, with the metadata and the response of the contract."""

from __future__ import annotations

from typing import cast

from google.longrunning import operations_pb2 as lro_pb
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from jobqueue.v1 import bulk_pb2 as bulk_pb
from jobqueue.v1 import schedule_pb2 as schedule_pb

from ..core.bulk.operations import name_of
from ..core.bulk.preview import Preview
from ..core.schedule.runs import last_tick
from ..store.bulk.operations import Operation, State
from ..store.bulk.requests import Backfill, Request, Selection, Verb
from . import convert


def operation_message(operation: Operation) -> lro_pb.Operation:
    """The operation, with how far it is."""
    if operation.request.backfill is not None:
        return _backfill_message(operation, operation.request.backfill)
    metadata = _metadata(operation.verb, operation.request)
    metadata.state = cast("bulk_pb.BulkState.ValueType", int(operation.state))
    metadata.looked = operation.looked
    metadata.changed = operation.changed
    metadata.skipped = operation.skipped
    metadata.estimate = operation.estimate or 0
    metadata.estimate_capped = operation.estimate_capped
    metadata.sample_ids.extend(map(str, operation.sample_ids))
    metadata.rests_for = operation.rests_for or ""
    convert.set_moment(metadata.created_at, operation.created_at)
    convert.set_moment(metadata.updated_at, operation.updated_at)
    if operation.ended_at is not None:
        convert.set_moment(metadata.ended_at, operation.ended_at)
    return _message(
        operation, metadata, bulk_pb.BulkResult(changed=operation.changed, skipped=operation.skipped)
    )


def _message(operation: Operation, metadata: Message, result: Message) -> lro_pb.Operation:
    message = lro_pb.Operation(name=name_of(operation.id), done=operation.state.ended)
    message.metadata.Pack(metadata)
    match operation.state:
        case State.SUCCEEDED:
            message.response.Pack(result)
        case State.CANCELLED:
            message.error.CopyFrom(
                status_pb2.Status(code=code_pb2.CANCELLED, message="the operation was cancelled")
            )
        case State.FAILED:
            message.error.CopyFrom(status_pb2.Status(code=code_pb2.INTERNAL, message=operation.error or ""))
    return message


def _backfill_message(operation: Operation, backfill: Backfill) -> lro_pb.Operation:
    metadata = _backfill_metadata(backfill, operation.request)
    metadata.state = cast("bulk_pb.BulkState.ValueType", int(operation.state))
    metadata.looked = operation.looked
    metadata.fired = operation.changed
    metadata.skipped = operation.skipped
    metadata.estimate = operation.estimate or 0
    metadata.estimate_capped = operation.estimate_capped
    metadata.rests_for = operation.rests_for or ""
    if (last := last_tick(operation)) is not None:
        convert.set_moment(metadata.last_at, last)
    convert.set_moment(metadata.created_at, operation.created_at)
    convert.set_moment(metadata.updated_at, operation.updated_at)
    if operation.ended_at is not None:
        convert.set_moment(metadata.ended_at, operation.ended_at)
    result = schedule_pb.BackfillResult(fired=operation.changed, skipped=operation.skipped)
    return _message(operation, metadata, result)


def backfill_preview_message(
    backfill: Backfill, request: Request, ticks: int, capped: bool
) -> lro_pb.Operation:
    """What a backfill would do, as an operation that is done and has no name."""
    metadata = _backfill_metadata(backfill, request)
    metadata.state = bulk_pb.BULK_STATE_SUCCEEDED
    metadata.validate_only = True
    metadata.estimate = ticks
    metadata.estimate_capped = capped
    message = lro_pb.Operation(done=True)
    message.metadata.Pack(metadata)
    message.response.Pack(schedule_pb.BackfillResult())
    return message


def _backfill_metadata(backfill: Backfill, request: Request) -> schedule_pb.BackfillMetadata:
    metadata = schedule_pb.BackfillMetadata(
        schedule=backfill.schedule, per_second=request.per_second, max_ticks=request.max_jobs
    )
    convert.set_moment(metadata.start_at, backfill.start)
    convert.set_moment(metadata.end_at, backfill.end)
    return metadata


def preview_message(verb: Verb, request: Request, preview: Preview) -> lro_pb.Operation:
    """What an operation would do, as one that is done and has no name."""
    metadata = _metadata(verb, request)
    metadata.state = bulk_pb.BULK_STATE_SUCCEEDED
    metadata.dry_run = True
    metadata.looked = preview.looked
    metadata.estimate = preview.jobs
    metadata.estimate_capped = preview.capped
    metadata.sample_ids.extend(map(str, preview.sample))
    message = lro_pb.Operation(done=True)
    message.metadata.Pack(metadata)
    message.response.Pack(bulk_pb.BulkResult())
    return message


def _metadata(verb: Verb, request: Request) -> bulk_pb.BulkMetadata:
    return bulk_pb.BulkMetadata(
        verb=verb.method,
        filter=_filter(request.selection),
        per_second=request.per_second,
        max_jobs=request.max_jobs,
    )


def _filter(selection: Selection) -> bulk_pb.JobFilter:
    message = bulk_pb.JobFilter(
        ids=map(str, selection.ids or ()),
        queue=selection.queue or "",
        kind=selection.kind or "",
        status=[convert.status_number(status) for status in sorted(selection.statuses)],
        labels=[f"{name}={value}" for name, value in selection.labels.items()],
        reason=selection.reasons,
        error_type=selection.error_type or "",
        everything=selection.everything,
    )
    for field, moment in (
        (message.created_after, selection.created_after),
        (message.created_before, selection.created_before),
        (message.ended_after, selection.ended_after),
        (message.ended_before, selection.ended_before),
    ):
        if moment is not None:
            convert.set_moment(field, moment)
    return message
