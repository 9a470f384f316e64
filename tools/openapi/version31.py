"""The OpenAPI 3.1 document: the OpenAPI 2 document, and what OpenAPI 2 can't express."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobqueue.v1 import (
    access_admin_pb2,
    bulk_pb2,
    insight_pb2,
    jobqueue_pb2,
    queue_admin_pb2,
    schedule_pb2,
)
from jobqueue_server.http import contract
from jobqueue_server.http.transcoding.transcoder import Transcoder
from tools import bindings, comments
from tools.generate import lay_out_googleapis

from . import headers, longrunning, operational, responses, security
from .operations import Operations, path
from .programs import ROOT
from .schemas import Schemas
from .texts import flowing, without_errors

DOCUMENT = ROOT / "server/src/jobqueue_server/http/openapi/openapi.json"

_DESCRIPTION = """\
Enqueue jobs, follow them and cancel them, or be a worker by plain calls. Every method is also a gRPC method, with the
same names, checks and errors: both are generated from the same `.proto` files.

- **Strict**: the server refuses an unknown field or query parameter, and names the most similar one that exists. It
  accepts field names in `lowerCamelCase` too, enum names in any case, and 64-bit integers as strings or numbers.
- **Payloads, outputs and schemas** keep the text that was sent: `12345678901234567890` keeps its digits.
- **Errors** are a google.rpc.Status. `details` has an ErrorInfo, whose `reason` is stable; each status lists its
  reasons. A server can be set to wrap errors as Google's APIs do, in `{"error": ...}`.
- **Paths**: a known path with another HTTP method is 405 with `Allow`. HEAD is answered as GET, without a body. An
  unknown path is 404, and the answer names the most similar one.
"""


def make(version2: Mapping[str, Any]) -> str:
    """The document, as text.

    Args:
        version2: The document of OpenAPI 2.
    """
    lay_out_googleapis()
    said = {each.name: each.comment for file in bindings.contract() for each in comments.elements(file)}
    said |= longrunning.COMMENTS
    served = routes().bindings
    foreign = {
        f"{each.http_method} {path(each)}": each
        for each in served
        if each.method.containing_service == longrunning.SERVICE
    }
    known = {
        **version2,
        "paths": {**version2["paths"], **longrunning.paths(version2, foreign)},
        "definitions": {**version2["definitions"], **longrunning.definitions()},
    }
    schemas = Schemas(known["definitions"], said)
    operations = Operations(known, said, schemas)
    paths: dict[str, Any] = {}
    for binding in served:
        made = paths.setdefault(path(binding), {})
        made[binding.http_method.lower()] = operations.operation(binding)
    document = {
        "openapi": "3.1.0",
        "info": {
            **version2["info"],
            "summary": "A job queue over HTTP/JSON and gRPC.",
            "description": flowing(_DESCRIPTION),
            "license": {"name": "Apache 2.0", "identifier": version2["info"]["license"]["name"]},
        },
        "servers": [{"url": "/", "description": "The server that this document came from."}],
        "security": security.REQUIREMENTS,
        "tags": [*map(_tag, version2["tags"]), longrunning.TAG, operational.TAG],
        "paths": paths | operational.paths(operations.of_any_method),
        "components": {
            "schemas": dict(sorted({**schemas.all(), **responses.SCHEMAS}.items())),
            **headers.components(),
            "securitySchemes": security.SCHEMES,
        },
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def routes() -> Transcoder:
    """The routes that the server has."""
    files = (
        jobqueue_pb2.DESCRIPTOR,
        queue_admin_pb2.DESCRIPTOR,
        access_admin_pb2.DESCRIPTOR,
        insight_pb2.DESCRIPTOR,
        bulk_pb2.DESCRIPTOR,
        schedule_pb2.DESCRIPTOR,
    )
    services = [service for file in files for service in file.services_by_name.values()]
    return Transcoder([*services, longrunning.SERVICE], contract.OPTIONS)


def _tag(tag: Mapping[str, Any]) -> dict[str, Any]:
    """A tag; the errors of any method stand at the operations."""
    text = flowing(tag["description"]).partition("\n\n")[0]
    return {"name": tag["name"], "description": without_errors(text)}
