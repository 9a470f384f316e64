"""The metadata of a call that concern the jobs that it enqueues."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..chain import Call

#: The name in an answer of the HTTP status.
HTTP_CODE = "x-http-code"
#: The name of the idempotency key, for a call that enqueues one job.
KEY = "idempotency-key"
_is_traceparent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?").fullmatch


def job_headers(call: Call) -> Mapping[str, str]:
    """The headers that the call gives to its jobs: the request id and the trace."""
    headers = {"x-request-id": call.request_id}
    traceparent = call.text("traceparent")
    if traceparent and _is_traceparent(traceparent):
        headers["traceparent"] = traceparent
    return headers
