"""A collector of traces over OTLP/HTTP, as protobuf."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WITHIN = 60.0


@dataclass(frozen=True)
class Seen:
    """A span; ids as text, `kind` as OTLP numbers it, links as (trace, span), events as (name, attributes)."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: list[tuple[str, str]]
    attributes: dict[str, Any]
    events: list[tuple[str, dict[str, Any]]]
    failed: bool

    @property
    def traceparent(self) -> str:
        return f"00-{self.trace}-{self.id}-01"


class Collector:
    """`with Collector() as collector`: OTEL_EXPORTER_OTLP_ENDPOINT is `collector.endpoint`."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = _body(self)
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    spans.extend(_spans(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def span(self, is_it: Callable[[Seen], bool]) -> Seen:
        """The one span of which it is true, once it came. For a thread: it waits."""
        ends = time.monotonic() + WITHIN
        while not (found := [span for span in list(self.spans) if is_it(span)]):
            assert time.monotonic() < ends, f"it did not come; there are {self.spans}"
            time.sleep(0.02)
        assert len(found) == 1, found
        return found[0]


def _body(request: BaseHTTPRequestHandler) -> bytes:
    """Of a length that is told, or in chunks, as Node sends it."""
    if (length := request.headers.get("content-length")) is not None:
        return request.rfile.read(int(length))
    body = b""
    while size := int(request.rfile.readline(), 16):
        body += request.rfile.read(size)
        request.rfile.readline()
    request.rfile.readline()
    return body


def _spans(request: ExportTraceServiceRequest) -> list[Seen]:
    return [
        Seen(
            _values(resource.resource.attributes)["service.name"],
            span.name,
            span.kind,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
            _values(span.attributes),
            [(event.name, _values(event.attributes)) for event in span.events],
            span.status.code == 2,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
