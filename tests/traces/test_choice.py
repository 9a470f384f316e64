"""What OpenTelemetry's variables ask a server for, and which callers are sampled."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jobqueue import traces as of_client
from jobqueue_server.traces import traceparent
from jobqueue_server.traces.choice import Choice, choice_of

ON = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("more", "share"),
    [
        ({}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.001"}, 0.001),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio"}, 1.0),
        # No number, out of its range, and those that do not follow the caller.
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "few"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 0.0),
    ],
)
def test_the_share_of_calls_that_begin_a_trace_is_what_the_sampler_says(more, share):
    assert choice_of({**ON, **more}) == Choice(share, False)


@pytest.mark.unit
@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {**ON, "OTEL_SDK_DISABLED": "True"},
        {**ON, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_where_traces_are_turned_off_there_are_none(environ):
    assert choice_of(environ) is None
    assert not of_client.wanted(environ)


@pytest.mark.unit
def test_an_endpoint_of_traces_alone_is_enough():
    environ = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}
    assert choice_of(environ) is not None
    assert of_client.wanted(environ)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-ff", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-02", False),
        (f"01-{TRACE}-{SPAN}-00-more1", False),
        (f"01-{TRACE}-{SPAN}-01-more0", True),
        (f"00-{TRACE}-{SPAN}", False),
        ("", False),
    ],
)
def test_whether_a_caller_is_sampled_is_one_bit_of_its_traceparent(text, sampled):
    assert traceparent.is_sampled(text) == of_client.is_sampled(text) == sampled


@pytest.mark.unit
@pytest.mark.parametrize(
    "text",
    [
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_ids_that_are_none_are_no_parent(text):
    assert traceparent.ids_of(text) is None


@pytest.mark.parametrize("module", ["jobqueue_server.app", "jobqueue.worker", "jobqueue.sync"])
def test_nothing_of_opentelemetry_is_imported_while_traces_are_off(module):
    program = f"import sys, {module}; print([name for name in sys.modules if 'opentelemetry' in name])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stdout + done.stderr
