"""Traces by OpenTelemetry's SDK, which is called for sampled calls alone.

A span that is recorded and sent costs 60 us, one that is not 13, and reading a context 5; a job costs the server 6. So
whether a call is sampled is decided before the SDK hears of it, and its own sampler takes all.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

from ..model import NewJobs
from . import names
from .calls import TracedCall
from .choice import Choice
from .traceparent import TRACEPARENT, ids_of, is_sampled

#: An insert is linked to at most so many calls.
MOST_LINKS = 8
#: Spans that the collector does not take within so many seconds are lost when a server ends.
_LAST_SECONDS = 3.0
# Faults of a server, by OpenTelemetry's table for gRPC. With any other code the call was answered as it should be.
_FAULTS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
_CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
    "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


class OtelSpan:
    """As `CallSpan`."""

    __slots__ = ("_old_names", "_request_id", "_traces", "ids", "span")

    def __init__(self, traces: OtelTraces, span: Span, request_id: str, *, old_names: bool) -> None:
        context = span.get_span_context()
        self.span = span
        self.ids: Mapping[str, str] = {
            "trace_id": format_trace_id(context.trace_id),
            "span_id": format_span_id(context.span_id),
        }
        self._traces = traces
        self._request_id = request_id
        self._old_names = old_names

    def sends(self, jobs: Sequence[NewJobs]) -> None:
        """Names queue and kind, where all have the same."""
        span = self.span
        span.set_attribute(names.MESSAGING_SYSTEM, names.SYSTEM)
        span.set_attribute(names.MESSAGING_OPERATION, names.ENQUEUE)
        span.set_attribute(names.MESSAGING_OPERATION_TYPE, names.SEND)
        queues, kinds = {some.new.queue for some in jobs}, {some.new.kind for some in jobs}
        if len(queues) == 1:
            span.set_attribute(names.MESSAGING_DESTINATION, queues.pop())
        if len(kinds) == 1:
            span.set_attribute(names.KIND, kinds.pop())
        count = sum(len(some.payloads) for some in jobs)
        if count > 1:
            span.set_attribute(names.MESSAGING_BATCH, count)

    def stored(self, job_id: UUID) -> None:
        """Names the job."""
        self.span.set_attribute(names.MESSAGING_MESSAGE_ID, str(job_id))

    def ended(self, code: str, reason: str) -> None:
        """Ends the span."""
        self.dropped()
        span = self.span
        span.set_attribute(names.RPC_STATUS, code)
        if self._old_names:
            span.set_attribute(names.OLD_RPC_STATUS, _CODES.index(code))
        if code != "OK":
            span.set_attribute(names.ERROR_TYPE, reason or code)
        if code in _FAULTS:
            span.set_status(StatusCode.ERROR)
        span.end()

    def dropped(self) -> None:
        """It is of no use any more. A span that is not ended is never sent."""
        if self._traces.live.get(self._request_id) is self:
            del self._traces.live[self._request_id]


class OtelTraces:
    """As `Traces`.

    Args:
        tracer: Makes spans; it samples all that it is asked for.
        choice: Which calls without a `traceparent` begin a trace, and how attributes are called.
        provider: Is ended by `stop`; None: it is another's.
    """

    def __init__(self, tracer: Tracer, choice: Choice, provider: TracerProvider | None = None) -> None:
        self.live: dict[str, OtelSpan] = {}
        self._tracer = tracer
        self._share = choice.share
        self._old_names = choice.old_names
        self._provider = provider

    @classmethod
    def exporting(
        cls, choice: Choice, environ: Mapping[str, str], *, server: str, version: str
    ) -> OtelTraces:
        """Sends spans to where OpenTelemetry's variables say, from a thread."""
        described = {"service.version": version, "service.instance.id": server}
        if not environ.get("OTEL_SERVICE_NAME") and "service.name=" not in environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        ):
            described["service.name"] = "jobqueue-server"
        # App ends it; by itself it would hold the interpreter's end up for as long as no collector answers.
        provider = TracerProvider(
            sampler=ALWAYS_ON, resource=Resource.create(described), shutdown_on_exit=False
        )
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider.get_tracer("jobqueue_server", version), choice, provider)

    def begin(self, call: TracedCall) -> OtelSpan | None:
        """The span of a call whose caller is sampled, or that was drawn where its caller says nothing."""
        given = call.metadata.get(TRACEPARENT)
        if given is None:
            if not self._share or random.random() >= self._share:
                return None
            return self._begin(call, None)
        if not is_sampled(given):
            return None
        ids = ids_of(str(given))
        if ids is None:
            return None
        return self._begin(
            call, SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        )

    def _begin(self, call: TracedCall, parent: SpanContext | None) -> OtelSpan:
        name = call.method[1:]
        attributes = {names.RPC_SYSTEM: names.RPC_SYSTEMS[call.transport], names.RPC_METHOD: name}
        if self._old_names:
            attributes[names.OLD_RPC_SYSTEM] = names.RPC_SYSTEMS[call.transport]
            attributes[names.OLD_RPC_SERVICE] = name.partition("/")[0]
        span = self._tracer.start_span(
            name,
            context=None if parent is None else set_span_in_context(NonRecordingSpan(parent)),
            kind=SpanKind.SERVER,
            attributes=attributes,
        )
        made = OtelSpan(self, span, call.request_id, old_names=self._old_names)
        if parent is None:
            # What the call enqueues belongs to the trace that begins here. A head's metadata may be another call's too.
            traceparent = f"00-{made.ids['trace_id']}-{made.ids['span_id']}-01"
            call.metadata = {**call.metadata, TRACEPARENT: traceparent}
        self.live[call.request_id] = made
        return made

    def now(self) -> int:
        """The time in nanoseconds, as the SDK has it."""
        return time.time_ns()

    def inserted(
        self, began: int, jobs: int, headers: Sequence[Mapping[str, str]], error: Exception | None = None
    ) -> None:
        """One span for all. It is in the trace of the first sampled call, and it and the others are linked."""
        calls = [
            call for each in headers if (call := self.live.get(each.get("x-request-id", ""))) is not None
        ]
        if not calls:
            return
        first, others = calls[0], calls[1 : 1 + MOST_LINKS]
        span = self._tracer.start_span(
            names.INSERT,
            context=set_span_in_context(first.span),
            kind=SpanKind.INTERNAL,
            links=[Link(call.span.get_span_context()) for call in others],
            start_time=began,
            attributes={
                names.DATABASE_SYSTEM: names.POSTGRESQL,
                names.MESSAGING_BATCH: jobs,
                names.SAMPLED_CALLS: len(calls),
            },
        )
        for call in others:
            call.span.add_link(span.get_span_context())
        if error is not None:
            span.set_attribute(names.ERROR_TYPE, type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
        span.end()

    async def stop(self) -> None:
        """Sends what is left; a collector that does not answer holds nothing up for long."""
        if self._provider is None:
            return
        # A daemon, unlike the threads of asyncio: the interpreter does not wait for it.
        last = threading.Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        last.start()
        await asyncio.to_thread(last.join, _LAST_SECONDS)
