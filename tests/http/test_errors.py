"""Errors in the form of Google's APIs, for those who ask for it by the setting; test_calls.py has the usual form."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from jobqueue_server.errors import FieldInvalid, FieldViolation, PayloadInvalid, QueueFull, registry
from jobqueue_server.http.errors import STATUS_OF, ErrorForm

from .conftest import Served, serving


@pytest.mark.parametrize("reason", sorted(registry()))
async def test_each_reason_is_within_an_error_with_its_http_status_and_the_name_of_its_code(
    reason: str,
) -> None:
    error = registry()[reason]
    async with serving(errors=ErrorForm(aip193=True)) as served:
        served.core.error = error("what was wrong", metadata={"a": "b"})
        answer = await served.call("GET", f"/v1/jobs/{uuid4()}")
    status = error.http_status or STATUS_OF[error.code]
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "jobqueue"}
    assert answer.status == status
    assert answer.json == {
        "error": {
            "code": status,
            "message": "what was wrong",
            "status": error.code,
            "details": [{**info, "metadata": {"a": "b"}}],
        }
    }


async def test_a_request_that_reaches_no_method_is_answered_in_the_same_form() -> None:
    async with serving(errors=ErrorForm(aip193=True)) as served:
        answer = await served.call("PUT", "/v1/jobs", {})
    assert answer.status == 405
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"
    assert (answer.json["error"]["code"], answer.json["error"]["status"]) == (405, "UNIMPLEMENTED")


@pytest.mark.parametrize(
    "error",
    [
        QueueFull("too many", retry_after=timedelta(milliseconds=1500)),
        PayloadInvalid("x", violations=[FieldViolation("job.payload.to", "is missing")]),
        FieldInvalid("x", metadata={"name": "ä"}),
    ],
)
async def test_the_usual_form_is_a_status_that_protobuf_reads_with_all_details(
    served: Served, error: FieldInvalid
) -> None:
    served.core.error = error
    answer = await served.call("GET", f"/v1/jobs/{uuid4()}")
    status = json_format.Parse(answer.text, status_pb2.Status())
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    found = {
        message.DESCRIPTOR.name
        for detail in status.details
        for message in (info, bad, retry)
        if detail.Unpack(message)
    }
    assert status.message == error.message
    assert (info.reason, dict(info.metadata)) == (error.reason, error.metadata)
    assert ("RetryInfo" in found) == (error.retry_after is not None)
    assert [(one.field, one.description) for one in bad.field_violations] == [
        (one.field, one.description) for one in error.violations
    ]
    if error.retry_after is not None:
        assert retry.retry_delay.ToTimedelta() == error.retry_after
