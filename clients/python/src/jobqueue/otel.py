"""Traces of handlers by OpenTelemetry, which is called for sampled jobs alone. Wants the extra `jobqueue[otel]`.

A worker or client has them where OTEL_EXPORTER_OTLP_ENDPOINT is set. A program that sets OpenTelemetry up by itself
gives them to it::

    Worker("127.0.0.1:50051", traces=OpenTelemetry())
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    ProxyTracerProvider,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
    format_span_id,
    format_trace_id,
    set_span_in_context,
)

import jobqueue
from jobqueue import trace_names as names
from jobqueue.traces import TRACEPARENT, is_sampled
from jobqueue.v1 import lease_pb2 as pb
from jobqueue.worker.context import JobContext, Stop
from jobqueue.worker.logs import current_trace

#: `parent`: a handler's span is a child of its producer's. Otherwise it begins a trace, and is linked to it.
PARENT_VARIABLE = "JOBQUEUE_TRACE_PARENT"
# Spans that the collector does not take within so many seconds are lost when a worker ends.
_LAST_SECONDS = 3.0


class OpenTelemetry:
    """Makes spans of handlers, and says what calls carry.

    Args:
        provider: Makes the tracer. None: the program's, if it has set one; otherwise one of our own, which sends spans
            to where OpenTelemetry's variables say.
        parent: Whether a handler's span is a child of its producer's span, beside the link to it. None: as
            JOBQUEUE_TRACE_PARENT says, `parent` or not. A job may run days after its producer has ended.
    """

    def __init__(self, provider: TracerProvider | None = None, *, parent: bool | None = None) -> None:
        self._provider = provider
        self._parent = os.environ.get(PARENT_VARIABLE) == "parent" if parent is None else parent
        self._tracer: Tracer | None = None
        self._own: Any = None

    def prepare(self) -> None:
        """Makes the tracer, when a worker begins: a client needs none.

        Raises:
            ImportError: The program has set no provider, and the SDK is not installed.
        """
        if self._tracer is None:
            provider = self._provider or trace.get_tracer_provider()
            if isinstance(provider, ProxyTracerProvider):
                provider = self._own = _exporting()
            self._tracer = provider.get_tracer("jobqueue", jobqueue.__version__)

    def begin(self, context: JobContext) -> _HandlerSpan | None:
        """The span of an attempt, which is current from now on; None where the job's producer was not sampled."""
        job = context.job
        given = job.headers.get(TRACEPARENT, "")
        if not is_sampled(given) or self._tracer is None:
            return None
        producer = _context_of(given)
        if producer is None:
            return None
        span = self._tracer.start_span(
            f"{names.PROCESS} {job.queue}",
            context=set_span_in_context(NonRecordingSpan(producer)) if self._parent else Context(),
            kind=SpanKind.CONSUMER,
            links=[Link(producer)],
            attributes={
                names.MESSAGING_SYSTEM: names.SYSTEM,
                names.MESSAGING_OPERATION: names.PROCESS,
                names.MESSAGING_OPERATION_TYPE: names.PROCESS,
                names.MESSAGING_DESTINATION: job.queue,
                names.MESSAGING_MESSAGE_ID: job.id,
                names.KIND: job.kind,
                names.ATTEMPT: job.attempt,
                names.LEASE: context.lease_id,
                names.WAIT: max(0, round((time.time() - job.created_at.timestamp()) * 1000)),
            },
        )
        made = _HandlerSpan(span, context)
        context.traceparent = made.traceparent
        return made

    def enter(self, traceparent: str) -> None:
        """In a process of its own: the handler of a span that another process has."""
        context = _context_of(traceparent)
        if context is not None:
            attach(set_span_in_context(NonRecordingSpan(context), Context()))
            current_trace.set(_ids_of(context))

    def traceparent(self) -> str:
        """That of the current span. Empty: there is none."""
        context = trace.get_current_span().get_span_context()
        return _text_of(context) if context.is_valid else ""

    def flush(self) -> None:
        """Sends what our own provider has not sent yet; a collector that does not answer holds nothing up for long."""
        if self._own is not None:
            last = threading.Thread(target=self._own.force_flush, name="jobqueue-traces", daemon=True)
            last.start()
            last.join(_LAST_SECONDS)


class _HandlerSpan:
    def __init__(self, span: Span, context: JobContext) -> None:
        self.traceparent = _text_of(span.get_span_context())
        self._span = span
        self._context = context
        self._token = attach(set_span_in_context(span))
        self._ids = current_trace.set(_ids_of(span.get_span_context()))

    def ended(self, outcome: pb.Outcome | None) -> None:
        """Says how it ended."""
        detach(self._token)
        current_trace.reset(self._ids)
        span = self._span
        how = "success" if outcome is None else outcome.WhichOneof("outcome") or "success"
        revoked = self._context.stop_reason is Stop.REVOKED
        span.set_attribute(names.OUTCOME, names.REVOKED if revoked else names.OUTCOMES[how])
        if outcome is not None and how == "failure":
            failure = outcome.failure
            event = {names.EXCEPTION_TYPE: failure.error_type, names.EXCEPTION_MESSAGE: failure.error}
            if failure.stack:
                event[names.EXCEPTION_STACK] = failure.stack
            span.add_event(names.EXCEPTION, event)
            span.set_attribute(names.ERROR_TYPE, failure.error_type)
            span.set_status(StatusCode.ERROR, failure.error)
        span.end()


def _context_of(traceparent: str) -> SpanContext | None:
    parts = traceparent.split("-")
    if len(parts) < 4 or [len(part) for part in parts[:4]] != [2, 32, 16, 2] or parts[0] == "ff":
        return None
    try:
        trace_id, span_id, flags = (int(part, 16) for part in parts[1:4])
    except ValueError:
        return None
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return context if context.is_valid else None


def _ids_of(context: SpanContext) -> dict[str, str]:
    return {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}


def _text_of(context: SpanContext) -> str:
    return (
        f"00-{format_trace_id(context.trace_id)}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
    )


def _exporting() -> TracerProvider:
    """Sends spans by the SDK. Its sampler takes all: it hears of sampled jobs alone."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    described = {} if _is_named() else {"service.name": "jobqueue-worker"}
    # Flushed when a worker ends: by itself it would hold the interpreter's end up while no collector answers.
    provider = SdkProvider(sampler=ALWAYS_ON, resource=Resource.create(described), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


def _is_named() -> bool:
    return bool(
        os.environ.get("OTEL_SERVICE_NAME")
        or "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    )
