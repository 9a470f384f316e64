"""The operational paths, which are in no .proto file: health, version, metrics and documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobqueue_server.chain import DOCUMENTS, METRICS
from jobqueue_server.grants import EVERY
from jobqueue_server.http import ops

from . import headers, responses, security

Schema = dict[str, Any]

TAG: Schema = {
    "name": "ops",
    "description": "Health, readiness, version, metrics, and these documents.",
}

# What the access step refuses a call with.
_OF_ACCESS = frozenset(
    (
        "CREDENTIALS_MISSING", "CREDENTIALS_INVALID", "CREDENTIALS_EXPIRED", "CREDENTIALS_REVOKED", "NOT_ALLOWED",
        "NAMESPACE_DISABLED", "RATE_LIMITED",
    )
)  # fmt: skip
# By what stands for the path in the access step: the permissions of which one is enough, and the same for people.
_PERMISSIONS = {
    "": (["PUBLIC"], "none"),
    DOCUMENTS: ([str(each.name) for each in EVERY], "any"),
    METRICS: (["ADMIN"], "ADMIN, in the namespace `default`"),
}
_STATUSES = {
    400: "The namespace of the key is disabled.",
    401: "The server asks for a key, and this one is missing, wrong, or has ended.",
    403: "The key does not permit it, or a page of another site sent it.",
    421: "Another host.",
    429: "Too often.",
}
_JSON = "application/json"
_TEXT: Schema = {"type": "string"}


def _constant(text: str) -> Schema:
    return {"type": "string", "const": text}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _answer(description: str, content: Schema) -> Schema:
    return {
        "description": description,
        "headers": headers.answered("X-Request-Id"),
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
    }


class _Paths:
    """Makes the operations.

    Args:
        of_any_method: The errors of any method; those of the access step are answered here too.
    """

    def __init__(self, of_any_method: Iterable[responses.Reason]) -> None:
        of_http = responses.of_http(has_body=False, has_variables=False, is_stream=False)
        of_access = [each for each in of_any_method if each.reason in _OF_ACCESS]
        self._errors = {False: of_http, True: [*of_access, *of_http]}

    def get(self, path: str, operation: str, summary: str, answers: Schema) -> dict[str, Schema]:
        """GET of a path."""
        guarded = path in ops.GUARDED
        errors = {
            str(status): responses.response(
                _STATUSES[status], reasons, headers.answered(*responses.headers_of(status))
            )
            for status, reasons in responses.by_status(self._errors[guarded]).items()
        }
        permissions, told = _PERMISSIONS[ops.GUARDED.get(path, "")]
        made: Schema = {
            "operationId": operation,
            "tags": [TAG["name"]],
            "summary": summary,
            "description": f"Permission: {told}.",
            security.PERMISSIONS_OF: permissions,
            **({} if guarded else {"security": []}),
            "parameters": headers.parameters(["X-Request-Id"]),
            "responses": dict(sorted({**answers, **errors}.items())),
        }
        return {path: {"get": made}}


_ALIVE = {"200": _answer("The server runs.", {_JSON: _object(status=_constant("ok"))})}
_DOCUMENT: Schema = {"type": "object", "description": "An OpenAPI document."}


def _document(version: str) -> Schema:
    return {"200": _answer(f"OpenAPI {version}.", {_JSON: _DOCUMENT})}


def paths(of_any_method: Iterable[responses.Reason]) -> dict[str, Schema]:
    """Every operational path. `of_any_method`: the errors of any method."""
    ready = _answer("The server accepts work.", {_JSON: _object(status=_constant("ready"))})
    not_ready = _answer(
        "The server accepts no work now: it is starting or shutting down, or its database is away.",
        {_JSON: _object(status=_constant("not ready"), reason=_TEXT)},
    )
    metrics = _answer(
        "The metrics in the text format of Prometheus, or of OpenMetrics if the request accepts that.",
        {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
    )
    version = _answer(
        "The server's name and version.", {_JSON: _object(name=_constant("jobqueue-server"), version=_TEXT)}
    )
    page = {"200": _answer("Swagger UI.", {"text/html": _TEXT})}
    get = _Paths(of_any_method).get
    return {
        **get("/health", "Health", "Whether the server runs", _ALIVE),
        **get("/healthz", "Healthz", "The same", _ALIVE),
        **get("/readyz", "Ready", "Whether the server accepts work", {"200": ready, "503": not_ready}),
        **get("/version", "Version", "The server's version", {"200": version}),
        **get("/metrics", "Metrics", "The server's metrics", {"200": metrics}),
        **get("/openapi.json", "OpenApi", "This document", _document("3.1")),
        **get("/api-docs/openapi.json", "ApiDocs", "The same", _document("3.1")),
        **get("/swagger.json", "Swagger", "The same in OpenAPI 2, with the RPCs alone", _document("2")),
        **get("/docs", "Docs", "A page that shows this document and can call the server", page),
        **get("/", "Root", "The same", page),
    }
