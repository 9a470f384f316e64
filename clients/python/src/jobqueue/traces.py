"""Whether there are traces, by OpenTelemetry's own variables. Only where there are, OpenTelemetry is imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from jobqueue.v1 import lease_pb2 as pb
    from jobqueue.worker.context import JobContext

_log = logging.getLogger("jobqueue.traces")

TRACEPARENT = "traceparent"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
# The last bit of the flags says it, which stand behind version, trace and span.
_FLAGS_END, _SAMPLED = 55, frozenset("13579bdf")


class HandlerSpan(Protocol):
    """The span of one attempt. It is the current one in the code that began it."""

    #: What follow-ups and calls of the handler carry.
    traceparent: str

    def ended(self, outcome: pb.Outcome | None) -> None:
        """The handler has ended, in the same thread or task. None: it succeeded without an output."""


class Traces(Protocol):
    """What makes spans: `jobqueue.otel.OpenTelemetry`."""

    def prepare(self) -> None:
        """Makes what spans are made by, before the first `begin`.

        Raises:
            ImportError: It is not installed.
        """

    def begin(self, context: JobContext) -> HandlerSpan | None:
        """The span of an attempt; None where the job's producer was not sampled, as nearly all are not."""

    def enter(self, traceparent: str) -> None:
        """In a process of its own: the handler of a span that another process has."""

    def traceparent(self) -> str:
        """What a call made here carries. Empty: no span is current."""

    def flush(self) -> None:
        """Sends what was not sent yet, for a short while."""


def is_sampled(text: str) -> bool:
    """Whether who sent this is sampled: a look at one character, for each job of a worker with traces."""
    return len(text) >= _FLAGS_END and text[_FLAGS_END - 1] in _SAMPLED


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether these variables ask for traces."""
    return (
        any(environ.get(name) for name in _ENDPOINTS)
        and environ.get("OTEL_SDK_DISABLED", "").strip().lower() != "true"
        and environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() != "none"
    )


def traces_of_environment() -> Traces | None:
    """The traces that this process's variables ask for. None: none, or OpenTelemetry's API is not installed."""
    return _made() if wanted(os.environ) else None


def traces_of_worker(given: Traces | None) -> Traces | None:
    """Those that a worker was given, or that its variables ask for, prepared. None: none; it says what is missing."""
    traces = given or traces_of_environment()
    try:
        if traces is not None:
            traces.prepare()
            return traces
        if wanted(os.environ):
            raise ImportError(name="opentelemetry")
    except ImportError as error:
        _log.warning("traces are asked for, and %s is missing: install jobqueue[otel]", error.name)
    return None


@cache
def _made() -> Traces | None:
    try:
        from jobqueue.otel import OpenTelemetry
    except ImportError:
        return None  # a client goes on without
    return OpenTelemetry()
