"""What the metadata of a call say of the jobs that it enqueues."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..chain import Call

#: The idempotency key of the one job of a call.
KEY = "idempotency-key"
_is_traceparent = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{0,200})?").fullmatch


def job_headers(call: Call) -> Mapping[str, str]:
    """What the handler is to see of the call: one id from here to its log, and the trace."""
    headers = {"x-request-id": call.request_id}
    traceparent = call.text("traceparent")
    if traceparent and _is_traceparent(traceparent):
        headers["traceparent"] = traceparent
    return headers
