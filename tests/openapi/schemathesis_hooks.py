"""What schemathesis may not draw freely: how long a call waits. Loaded by the run of test_schemathesis."""

from __future__ import annotations

import re
from typing import Any

import schemathesis

_TIMEOUTS = ("grpc-timeout", "x-server-timeout")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Lets no call give up by itself, which is a 504 as it should be, nor wait for a job that nobody runs."""
    case.headers = {
        name: value for name, value in (case.headers or {}).items() if name.lower() not in _TIMEOUTS
    }
    if case.operation.path.endswith(":wait"):
        query = case.query or {}
        if re.fullmatch(r"[0-9.]+s", str(query.get("timeout", "30s"))):
            case.query = {**query, "timeout": "0.01s"}
