"""The service google.longrunning.Operations: convert, call the core, render."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from google.longrunning import operations_pb2 as lro_pb
from google.protobuf.empty_pb2 import Empty

from ..chain import Call
from ..core.bulk.operations import Operations
from ..model import DEFAULT_WAIT
from . import checks, convert
from .checks import Problems
from .operation_messages import operation_message

_COLLECTION = "operations"
# A wait ends this long before the caller's deadline, so that the answer arrives in time.
_ANSWERING = timedelta(milliseconds=250)


class OperationsServicer:
    """Reads, waits for, cancels and deletes operations. The core raises the errors, which the service Bulk lists."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def GetOperation(self, request: lro_pb.GetOperationRequest, call: Call) -> lro_pb.Operation:
        """Reads one operation."""
        return operation_message(await self._operations.get(call.scope, _checked(request.name)))

    async def ListOperations(
        self, request: lro_pb.ListOperationsRequest, call: Call
    ) -> lro_pb.ListOperationsResponse:
        """Reads a page of operations, newest first."""
        problems = Problems()
        if request.name not in ("", _COLLECTION):
            problems.add("name", f"must be `{_COLLECTION}`")
        if request.filter:
            problems.add("filter", "must be empty: operations are listed without a filter")
        checks.page_size(request.page_size, problems)
        checks.text(request.page_token, "page_token", checks.MAX_PAGE_TOKEN_CHARS, problems)
        problems.raise_if_any()
        found, token = await self._operations.list(call.scope, request.page_size, request.page_token)
        return lro_pb.ListOperationsResponse(
            operations=[operation_message(operation) for operation in found], next_page_token=token
        )

    async def WaitOperation(self, request: lro_pb.WaitOperationRequest, call: Call) -> lro_pb.Operation:
        """Waits until an operation is done, the timeout is over, or the caller's deadline is near, and answers it."""
        problems = Problems()
        wait = DEFAULT_WAIT
        if request.HasField("timeout"):
            checks.wait(request.timeout, "timeout", problems)
        operation_id = _checked(request.name, problems)
        if request.HasField("timeout"):
            wait = convert.span(request.timeout)
        remaining = call.remaining()
        if remaining is not None:
            wait = min(wait, timedelta(seconds=remaining) - _ANSWERING)
        return operation_message(await self._operations.wait(call.scope, operation_id, wait))

    async def CancelOperation(self, request: lro_pb.CancelOperationRequest, call: Call) -> Empty:
        """Asks an operation to stop after the step that it is in."""
        await self._operations.cancel(call.scope, _checked(request.name))
        return Empty()

    async def DeleteOperation(self, request: lro_pb.DeleteOperationRequest, call: Call) -> Empty:
        """Deletes an operation that is done."""
        await self._operations.delete(call.scope, _checked(request.name))
        return Empty()


def _checked(name: str, problems: Problems | None = None) -> UUID:
    """Checks and reads a name, and raises for all problems that were found."""
    problems = Problems() if problems is None else problems
    collection, _, text = name.partition("/")
    ignored = Problems()
    operation_id = checks.uuid(text, "name", ignored)
    if collection != _COLLECTION or ignored:
        problems.add("name", f"must be `{_COLLECTION}/` and a UUID, as an operation's name is")
    problems.raise_if_any()
    return operation_id
