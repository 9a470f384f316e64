"""The operational paths, which are in no .proto file: health, version, metrics and documents."""

from __future__ import annotations

from typing import Any

from . import headers, responses

Schema = dict[str, Any]

TAG: Schema = {
    "name": "ops",
    "description": "Health, readiness, version, metrics, and these documents.",
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


def _get(operation: str, summary: str, answers: Schema) -> Schema:
    found = dict(responses.by_status(responses.of_http(has_body=False, has_variables=False, is_stream=False)))
    host = responses.response("Another host.", found[421], {})
    return {
        "get": {
            "operationId": operation,
            "tags": [TAG["name"]],
            "summary": summary,
            "parameters": headers.parameters(["X-Request-Id"]),
            "responses": {**answers, "421": host},
        }
    }


_ALIVE = {"200": _answer("The server runs.", {_JSON: _object(status=_constant("ok"))})}
_DOCUMENT: Schema = {"type": "object", "description": "An OpenAPI document."}


def _document(version: str) -> Schema:
    return {"200": _answer(f"OpenAPI {version}.", {_JSON: _DOCUMENT})}


def paths() -> dict[str, Schema]:
    """Every operational path."""
    ready = _answer("The server accepts work.", {_JSON: _object(status=_constant("ready"))})
    not_ready = _answer(
        "The server accepts no work now: it is starting or shutting down, or its database is away.",
        {_JSON: _object(status=_constant("not ready"), reason=_TEXT)},
    )
    metrics = _answer(
        "The metrics in the text format of Prometheus, or of OpenMetrics if the request accepts that.",
        {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
    )
    page = {"200": _answer("Swagger UI.", {"text/html": _TEXT})}
    return {
        "/health": _get("Health", "Whether the server runs", _ALIVE),
        "/healthz": _get("Healthz", "The same", _ALIVE),
        "/readyz": _get("Ready", "Whether the server accepts work", {"200": ready, "503": not_ready}),
        "/version": _get(
            "Version",
            "The server's version",
            {
                "200": _answer(
                    "The server's name and version.",
                    {_JSON: _object(name=_constant("jobqueue-server"), version=_TEXT)},
                )
            },
        ),
        "/metrics": _get("Metrics", "The server's metrics", {"200": metrics}),
        "/openapi.json": _get("OpenApi", "This document", _document("3.1")),
        "/api-docs/openapi.json": _get("ApiDocs", "The same", _document("3.1")),
        "/swagger.json": _get("Swagger", "The same in OpenAPI 2, with the RPCs alone", _document("2")),
        "/docs": _get("Docs", "A page that shows this document and can call the server", page),
        "/": _get("Root", "The same", page),
    }
