"""Spans of a server: of which calls there are some, and what they say. The SDK is the real one, into a list."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from jobqueue.v1 import job_pb2 as pb
from jobqueue.v1 import jobqueue_pb2 as rpc_pb
from jobqueue_server import logs
from jobqueue_server.chain import Call, Chain
from jobqueue_server.core.intake.batcher import Batcher
from jobqueue_server.errors import FieldInvalid, Internal
from jobqueue_server.metrics import Metrics
from jobqueue_server.traces.choice import Choice
from jobqueue_server.traces.otel import MOST_LINKS, OtelTraces
from tests.lease.place import Place

pytestmark = pytest.mark.any_engine

METHOD = "/jobqueue.v1.JobQueue/GetJob"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


class CountingTracer:
    """Counts how often the SDK is called."""

    def __init__(self, tracer):
        self._tracer = tracer
        self.calls = 0

    def start_span(self, *arguments, **more):
        self.calls += 1
        return self._tracer.start_span(*arguments, **more)


class Spans:
    def __init__(self, share=0.0, old_names=False):
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        counting: Any = CountingTracer(provider.get_tracer("test"))
        self.tracer = counting
        self.traces = OtelTraces(self.tracer, Choice(share, old_names))

    @property
    def ended(self):
        return self._exporter.get_finished_spans()

    def of(self, kind):
        return [span for span in self.ended if span.kind is kind]


class TracedPlace(Place):
    spans: Spans


@pytest.fixture
async def place(dsn, monkeypatch):
    """A whole server, with `place.spans`."""
    spans = Spans()
    monkeypatch.setattr("jobqueue_server.app.traces_of", lambda *_, **__: spans.traces)
    async with TracedPlace(dsn) as place:
        place.spans = spans
        yield place


def job(**more):
    return pb.NewJob(kind="note", queue="mail", payload_json=b"{}", **more)


async def call(place, name, request, *metadata):
    return await getattr(place.stub, name)(request, metadata=metadata)


@pytest.mark.parametrize("more", [{}, {"idempotency_key": "k"}, {"hold": True}])
async def test_the_span_of_a_sampled_enqueue_names_job_queue_and_kind_on_both_paths(place, more):
    await call(place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job()))  # a new lane takes the general path
    answer = await call(
        place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job(**more)), ("traceparent", SAMPLED)
    )
    [span] = place.spans.of(SpanKind.SERVER)
    assert span.name == "jobqueue.v1.JobQueue/EnqueueJob"
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert dict(span.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "jobqueue.v1.JobQueue/EnqueueJob",
        "rpc.response.status_code": "OK",
        "messaging.system": "jobqueue",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": "mail",
        "messaging.message.id": answer.job.id,
        "jobqueue.kind": "note",
    }
    [insert] = place.spans.of(SpanKind.INTERNAL)
    assert insert.name == "insert jobs"
    assert insert.parent.span_id == span.context.span_id
    assert place.spans.traces.live == {}


async def test_a_sampled_call_is_the_exemplar_of_its_bucket_where_metrics_are_read_as_openmetrics(place):
    def exemplars(accept):
        page, _ = place.app.metrics.exposition(accept)
        buckets = [line for line in page.decode().splitlines() if "handling_seconds_bucket" in line]
        assert buckets
        return [line.partition(" # ")[2] for line in buckets if " # " in line]

    await call(place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job()), ("traceparent", UNSAMPLED))
    assert exemplars("application/openmetrics-text") == []
    await call(place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job()), ("traceparent", SAMPLED))
    [span] = place.spans.of(SpanKind.SERVER)
    [exemplar] = exemplars("application/openmetrics-text")
    assert f'trace_id="{TRACE}"' in exemplar
    assert f'span_id="{span.context.span_id:016x}"' in exemplar
    assert exemplars("") == []


@pytest.mark.slow
async def test_an_answer_for_a_key_that_was_used_names_the_job_that_there_is(place):
    request = rpc_pb.EnqueueJobRequest(job=job(idempotency_key="k"))
    first = await call(place, "EnqueueJob", request)
    again = await call(place, "EnqueueJob", request, ("traceparent", SAMPLED))
    assert again.replayed
    [span] = place.spans.of(SpanKind.SERVER)
    assert span.attributes["messaging.message.id"] == first.job.id


async def test_a_batch_says_how_many_jobs_it_has_and_what_they_have_in_common(place):
    jobs = [job(), job(), pb.NewJob(kind="other", queue="mail", payload_json=b"1")]
    await call(place, "BatchEnqueueJobs", rpc_pb.BatchEnqueueJobsRequest(jobs=jobs), ("traceparent", SAMPLED))
    [span] = place.spans.of(SpanKind.SERVER)
    assert span.attributes["messaging.batch.message_count"] == 3
    assert span.attributes["messaging.destination.name"] == "mail"
    assert "jobqueue.kind" not in span.attributes


async def test_the_sdk_is_not_called_for_who_is_not_sampled(place):
    """The promise that makes traces free for all others: counted, on both paths and for all calls."""
    request = rpc_pb.EnqueueJobRequest(job=job())
    for metadata in ((), (("traceparent", UNSAMPLED),), (("traceparent", "nonsense"),)):
        answer = await call(place, "EnqueueJob", request, *metadata)
        await call(place, "GetJob", rpc_pb.GetJobRequest(id=answer.job.id), *metadata)
        await call(place, "BatchEnqueueJobs", rpc_pb.BatchEnqueueJobsRequest(jobs=[job()] * 3), *metadata)
    assert place.spans.tracer.calls == 0
    assert place.spans.ended == ()


async def test_a_shared_insert_has_one_span_with_so_many_links_and_no_more(place, monkeypatch):
    """100 sampled calls whose jobs one statement brings."""
    gathered, gather = asyncio.Event(), Batcher._gather
    monkeypatch.setattr(Batcher, "_gather", lambda self, most: gather(self, most if gathered.is_set() else 0))

    async def one(number):
        traceparent = f"00-{number + 1:032x}-{SPAN}-01"
        return await call(
            place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job()), ("traceparent", traceparent)
        )

    waiting = [asyncio.ensure_future(one(number)) for number in range(100)]
    async with asyncio.timeout(30):
        while len(place.spans.traces.live) < 100:
            await asyncio.sleep(0.01)
    # The line is looked at again by the next call.
    gathered.set()
    waiting.append(asyncio.ensure_future(call(place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job()))))
    await asyncio.gather(*waiting)
    inserts = place.spans.of(SpanKind.INTERNAL)
    servers = {span.context.span_id: span for span in place.spans.of(SpanKind.SERVER)}
    assert len(servers) == 100
    assert sum(span.attributes["jobqueue.sampled_calls"] for span in inserts) == 100
    shared = max(inserts, key=lambda span: span.attributes["jobqueue.sampled_calls"])
    assert shared.attributes["jobqueue.sampled_calls"] > MOST_LINKS
    assert len(shared.links) == MOST_LINKS
    # It is the first one's child. Those that it is linked to are linked to it.
    assert servers[shared.parent.span_id].context.trace_id == shared.context.trace_id
    for link in shared.links:
        [back] = servers[link.context.span_id].links
        assert back.context.span_id == shared.context.span_id


async def test_a_stream_has_no_span(place):
    watch = place.stub.WatchJobs(rpc_pb.WatchJobsRequest(queue="mail"), metadata=(("traceparent", SAMPLED),))
    await watch.initial_metadata()
    watch.cancel()
    assert place.spans.tracer.calls == 0


async def test_a_call_that_fails_says_how_and_only_faults_of_the_server_are_errors():
    spans = Spans()
    chain = Chain(Metrics(), traces=spans.traces)

    async def refuses(_request, _call):
        raise FieldInvalid.of("id", "must be a UUID")

    async def breaks(_request, _call):
        raise ZeroDivisionError

    for handler, error in ((refuses, FieldInvalid), (breaks, Internal)):
        with pytest.raises(error):
            await chain.unary(METHOD, handler)(None, Call(METHOD, "http", {"traceparent": SAMPLED}))
    refused, broken = spans.ended
    assert refused.attributes["rpc.response.status_code"] == "INVALID_ARGUMENT"
    assert refused.attributes["error.type"] == "FIELD_INVALID"
    assert refused.status.is_unset
    assert broken.attributes["rpc.response.status_code"] == "INTERNAL"
    assert broken.status.status_code is StatusCode.ERROR
    assert {span.attributes["rpc.system.name"] for span in (refused, broken)} == {"http_json"}
    assert spans.traces.live == {}


async def test_the_lines_of_a_sampled_call_have_its_trace_and_span(caplog):
    spans = Spans()
    chain = Chain(Metrics(), traces=spans.traces)
    seen = {}

    async def handler(_request, _call):
        seen.update(logs.context())

    await chain.unary(METHOD, handler)(None, Call(METHOD, "grpc", {"traceparent": SAMPLED}))
    [span] = spans.ended
    assert seen["trace_id"] == TRACE
    assert seen["span_id"] == f"{span.context.span_id:016x}"
    # On the fast path there is no task that has them.
    with caplog.at_level(logging.ERROR, "jobqueue_server"):
        begun: Any = chain.begin(Call(METHOD, "grpc", {"traceparent": SAMPLED}))
        begun.end(ZeroDivisionError())
    assert caplog.records[-1].fields["trace_id"] == TRACE


async def test_a_call_that_the_fast_path_gives_back_has_one_span_in_all(place):
    held = job(hold=True)
    await call(place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=held), ("traceparent", SAMPLED))
    assert place.spans.tracer.calls == 3, "of which one was dropped, and one is the insert's"
    assert len(place.spans.of(SpanKind.SERVER)) == 1
    assert place.spans.traces.live == {}


async def test_a_share_of_the_calls_that_say_nothing_begins_a_trace_which_the_job_has(dsn, monkeypatch):
    spans = Spans(share=1.0)
    monkeypatch.setattr("jobqueue_server.app.traces_of", lambda *_, **__: spans.traces)
    async with Place(dsn) as place:
        answer = await call(place, "EnqueueJob", rpc_pb.EnqueueJobRequest(job=job()))
        [span] = spans.of(SpanKind.SERVER)
        assert span.parent is None
        trace, own = f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"
        assert answer.job.headers["traceparent"] == f"00-{trace}-{own}-01"
        # Who says that it is not sampled is followed.
        await call(place, "GetJob", rpc_pb.GetJobRequest(id=answer.job.id), ("traceparent", UNSAMPLED))
        assert len(spans.of(SpanKind.SERVER)) == 1


async def test_names_of_before_are_sent_where_they_are_asked_for():
    spans = Spans(old_names=True)

    async def handler(_request, _call):
        return None

    await Chain(Metrics(), traces=spans.traces).unary(METHOD, handler)(
        None, Call(METHOD, "grpc", {"traceparent": SAMPLED})
    )
    [span] = spans.ended
    assert span.attributes["rpc.service"] == "jobqueue.v1.JobQueue"
    assert span.attributes["rpc.system"] == "grpc"
    assert span.attributes["rpc.grpc.status_code"] == 0
