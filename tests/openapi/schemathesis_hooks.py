"""What schemathesis may not draw freely: how long a call waits, and whose session it is. Loaded by its run."""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis

from tools.openapi.responses import REASONS_OF

from .checked import reason_of

#: Names the token of a session that is open for as long as the run.
TOKEN = "SCHEMATHESIS_SESSION_TOKEN"
_TIMEOUTS = ("grpc-timeout", "x-server-timeout")
_is_wait = re.compile(r"[0-9.]+s").fullmatch
_SHORT = "0.01s"


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Lets no call give up by itself, which is a 504 as it should be, nor wait for what nobody does."""
    case.headers = {
        name: value for name, value in (case.headers or {}).items() if name.lower() not in _TIMEOUTS
    }
    path = case.operation.path
    if path.endswith(":wait"):
        query = case.query or {}
        if _is_wait(str(query.get("timeout", "30s"))):
            case.query = {**query, "timeout": _SHORT}
    body = case.body
    if isinstance(body, dict) and isinstance(body.get("session_token"), str) and not path.endswith(":close"):
        # Of a session that nobody has there is nothing but 404.
        case.body = {**body, "session_token": os.environ[TOKEN]}
        if path.endswith(":claim") and _is_wait(str(body.get("wait") or "30s")):
            case.body["wait"] = _SHORT


@schemathesis.check
def reason_conformance(context: Any, response: Any, case: Any) -> None:
    """An error has one of the reasons that the document lists for its status."""
    said = case.operation.definition.raw["responses"].get(str(response.status_code), {})
    if REASONS_OF in said:
        assert reason_of(response.json()) in said[REASONS_OF], response.text
