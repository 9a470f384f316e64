"""The metadata of a call that concern the jobs that it enqueues."""

from __future__ import annotations

from collections.abc import Mapping

from ..chain import Call
from ..traces.traceparent import TRACEPARENT, is_traceparent

#: The name in an answer of the HTTP status.
HTTP_CODE = "x-http-code"
#: The name of the idempotency key, for a call that enqueues one job.
KEY = "idempotency-key"


def job_headers(call: Call) -> Mapping[str, str]:
    """The headers that the call gives to its jobs: the request id and the trace."""
    headers = {"x-request-id": call.request_id}
    traceparent = call.metadata.get(TRACEPARENT)
    if isinstance(traceparent, str) and is_traceparent(traceparent):
        headers[TRACEPARENT] = traceparent
    return headers
