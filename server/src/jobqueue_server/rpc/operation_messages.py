"""Operations as messages of google.longrunning, with the metadata and the response of the contract."""

from __future__ import annotations

from typing import cast

from google.longrunning import operations_pb2 as lro_pb
from google.rpc import code_pb2, status_pb2

from jobqueue.v1 import bulk_pb2 as bulk_pb

from ..core.bulk.operations import name_of
from ..core.bulk.preview import Preview
from ..store.bulk.operations import Operation, State
from ..store.bulk.requests import Request, Selection, Verb
from . import convert


def operation_message(operation: Operation) -> lro_pb.Operation:
    """The operation, with how far it is."""
    metadata = _metadata(operation.verb, operation.request)
    metadata.state = cast("bulk_pb.BulkState.ValueType", int(operation.state))
    metadata.looked = operation.looked
    metadata.changed = operation.changed
    metadata.skipped = operation.skipped
    metadata.estimate = operation.estimate or 0
    metadata.estimate_capped = operation.estimate_capped
    metadata.sample_ids.extend(map(str, operation.sample_ids))
    convert.set_moment(metadata.created_at, operation.created_at)
    convert.set_moment(metadata.updated_at, operation.updated_at)
    if operation.ended_at is not None:
        convert.set_moment(metadata.ended_at, operation.ended_at)
    message = lro_pb.Operation(name=name_of(operation.id), done=operation.state.ended)
    message.metadata.Pack(metadata)
    match operation.state:
        case State.SUCCEEDED:
            message.response.Pack(bulk_pb.BulkResult(changed=operation.changed, skipped=operation.skipped))
        case State.CANCELLED:
            message.error.CopyFrom(
                status_pb2.Status(code=code_pb2.CANCELLED, message="the operation was cancelled")
            )
        case State.FAILED:
            message.error.CopyFrom(status_pb2.Status(code=code_pb2.INTERNAL, message=operation.error or ""))
    return message


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
