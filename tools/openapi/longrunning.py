"""google.longrunning.Operations, whose .proto file is not ours: what the document of OpenAPI 2 would say of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.longrunning import operations_pb2

from jobqueue_server.http.transcoding.binding import Binding

Schema = dict[str, Any]

SERVICE = operations_pb2.DESCRIPTOR.services_by_name["Operations"]
TAG: Schema = {
    "name": SERVICE.name,
    "description": "Reads, waits for, cancels and deletes the operations of Bulk, as google.longrunning.Operations.",
}
# An operation that answers no more errors than any call does.
_ANY_CALL = ("/v1/queues", "get")

_MALFORMED = "- INVALID_ARGUMENT, FIELD_INVALID: the name is not `operations/` and a UUID"
_ABSENT = (
    "- NOT_FOUND, OPERATION_NOT_FOUND: no operation has this name; "
    "it never existed, was deleted, or its retention ended."
)
_NOT_DONE = "- FAILED_PRECONDITION, OPERATION_NOT_DONE: it is not done; cancel it first. HTTP 409."
_OF_TOKEN = "- INVALID_ARGUMENT, PAGE_TOKEN_INVALID: page_token was not answered by this method."

#: By the method: its summary, what else is said, its answer, and its errors.
SAID: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "ListOperations": (
        "Lists the operations that the caller made, newest first.",
        "Who has ADMIN gets those of the namespace.",
        "One page of operations.",
        ("- INVALID_ARGUMENT, FIELD_INVALID: page_size is negative, or filter is not empty.", _OF_TOKEN),
    ),
    "GetOperation": (
        "Reads one operation.",
        "",
        "The operation as it is now.",
        (f"{_MALFORMED}.", _ABSENT),
    ),
    "WaitOperation": (
        "Waits until an operation is done or the timeout has passed, and answers the operation as it then is.",
        "",
        "The operation once it is done, or after the timeout.",
        (f"{_MALFORMED}, or timeout is out of its range.", _ABSENT),
    ),
    "CancelOperation": (
        "Asks an operation to stop after the step that it is in.",
        "What it has done stays done. One that is done stays as it is.",
        "It was asked.",
        (f"{_MALFORMED}.", _ABSENT),
    ),
    "DeleteOperation": (
        "Deletes an operation that is done.",
        "",
        "It is gone.",
        (f"{_MALFORMED}.", _ABSENT, _NOT_DONE),
    ),
}
#: Comments for fields and messages, of which the document shows what fits here.
COMMENTS = {
    "Operation": "What is done to many jobs.",
    "Operation.name": "`operations/` and a UUID. Empty in a dry run.",
    "Operation.metadata": "A BulkMetadata.",
    "Operation.done": "Whether it is done: then it has an error or a response.",
    "Operation.error": "Why it ended early: it was cancelled (code 1), or failed.",
    "Operation.response": "A BulkResult.",
    "ListOperationsRequest.name": "`operations`.",
    "ListOperationsRequest.filter": "Must be empty.",
    "ListOperationsRequest.page_size": "The number of operations in the page, at most 1000. Default 50.",
    "ListOperationsRequest.page_token": "The next_page_token of the page before.",
    "ListOperationsRequest.return_partial_success": "Changes nothing: the answer is always whole.",
    "ListOperationsResponse": "A page of operations.",
    "ListOperationsResponse.operations": "The operations, newest first.",
    "ListOperationsResponse.next_page_token": "For the next page. Empty: there is none.",
    "ListOperationsResponse.unreachable": "Always empty.",
    "GetOperationRequest.name": "The part of its name after `operations/`.",
    "WaitOperationRequest.name": "The part of its name after `operations/`.",
    "WaitOperationRequest.timeout": "0s..60s. Default 30s.",
    "CancelOperationRequest": "The operation to cancel.",
    "CancelOperationRequest.name": "The part of its name after `operations/`.",
    "DeleteOperationRequest.name": "The part of its name after `operations/`.",
    "Empty": "Nothing.",
}


def definitions() -> dict[str, Schema]:
    """The messages, as OpenAPI 2 would have them."""
    names = ("Operation", "ListOperationsReply", "CancelOperationRequest", "Empty")
    return {name: {"description": COMMENTS.get(name.replace("Reply", "Response"), "")} for name in names}


def paths(version2: Mapping[str, Any], bindings: Mapping[str, Binding]) -> dict[str, Schema]:
    """The operations by path, as OpenAPI 2 would have them.

    Args:
        version2: The document of OpenAPI 2.
        bindings: By path, those of the service.
    """
    path, verb = _ANY_CALL
    said: Mapping[str, Any] = version2["paths"][path][verb]["responses"]
    errors = {status: each for status, each in said.items() if not status.startswith("2")}
    made: dict[str, Schema] = {}
    for place, binding in bindings.items():
        name = binding.method.name
        summary, more, answer, listed = SAID[name]
        responses = {"200": {"description": answer}, **errors}
        if _ABSENT in listed:
            responses["404"] = {"description": "No operation has this name."}
        if _NOT_DONE in listed:
            responses["409"] = {"description": "It is not done."}
        where = place.rpartition(" ")[2]
        made.setdefault(where, {})[binding.http_method.lower()] = {
            "operationId": name,
            "tags": [TAG["name"]],
            "summary": summary,
            "description": "\n".join([more, "", "Errors:", *listed]).strip(),
            "responses": responses,
        }
    return made
