"""The operational paths, which stand in no .proto file: whether the server lives, what it is, and its documents."""

from __future__ import annotations

from typing import Any

from . import headers, responses

Schema = dict[str, Any]

TAG: Schema = {
    "name": "ops",
    "description": "Whether the server lives and takes work, what it is, its metrics, and these documents.",
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
    host = responses.response("Not this server.", found[421], {})
    return {
        "get": {
            "operationId": operation,
            "tags": [TAG["name"]],
            "summary": summary,
            "parameters": headers.parameters(["X-Request-Id"]),
            "responses": {**answers, "421": host},
        }
    }


_ALIVE = {"200": _answer("It lives.", {_JSON: _object(status=_constant("ok"))})}
_DOCUMENT: Schema = {"type": "object", "description": "An OpenAPI document."}


def _document(version: str) -> Schema:
    return {"200": _answer(f"OpenAPI {version}.", {_JSON: _DOCUMENT})}


def paths() -> dict[str, Schema]:
    """Every operational path."""
    ready = _answer("It takes work.", {_JSON: _object(status=_constant("ready"))})
    not_ready = _answer(
        "It takes no work now: it starts, it leaves, or its database is away.",
        {_JSON: _object(status=_constant("not ready"), reason=_TEXT)},
    )
    metrics = _answer(
        "Prometheus' text, or that of OpenMetrics to who accepts it.",
        {"text/plain": _TEXT, "application/openmetrics-text": _TEXT},
    )
    page = {"200": _answer("Swagger UI.", {"text/html": _TEXT})}
    return {
        "/health": _get("Health", "Whether the server lives", _ALIVE),
        "/healthz": _get("Healthz", "The same", _ALIVE),
        "/readyz": _get("Ready", "Whether the server takes work", {"200": ready, "503": not_ready}),
        "/version": _get(
            "Version",
            "What the server is",
            {
                "200": _answer(
                    "Its name and version.",
                    {_JSON: _object(name=_constant("jobqueue-server"), version=_TEXT)},
                )
            },
        ),
        "/metrics": _get("Metrics", "Its metrics", {"200": metrics}),
        "/openapi.json": _get("OpenApi", "This document", _document("3.1")),
        "/api-docs/openapi.json": _get("ApiDocs", "The same", _document("3.1")),
        "/swagger.json": _get("Swagger", "The same in OpenAPI 2, of the RPCs alone", _document("2")),
        "/docs": _get("Docs", "A page to read this document and to try it out", page),
        "/": _get("Root", "The same", page),
    }
