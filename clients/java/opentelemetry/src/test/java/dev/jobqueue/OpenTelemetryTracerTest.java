package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.opentelemetry.OpenTelemetryTracer;
import dev.jobqueue.v1.Failure;
import dev.jobqueue.v1.Outcome;
import dev.jobqueue.v1.Release;
import dev.jobqueue.v1.Snooze;
import dev.jobqueue.v1.Success;
import io.opentelemetry.api.common.AttributeKey;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.testing.exporter.InMemorySpanExporter;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.data.SpanData;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class OpenTelemetryTracerTest {
    private static final String TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
    private static final String SPAN = "00f067aa0ba902b7";

    private final InMemorySpanExporter exporter = InMemorySpanExporter.create();
    // Its sampler takes all that it is asked for.
    private final OpenTelemetrySdk sdk = OpenTelemetrySdk.builder()
            .setTracerProvider(SdkTracerProvider.builder()
                    .addSpanProcessor(SimpleSpanProcessor.create(exporter))
                    .build())
            .build();
    private final OpenTelemetryTracer tracer = OpenTelemetryTracer.of(sdk).withParent(false);

    private static LeasedJob job(String traceparent) {
        var message = dev.jobqueue.v1.LeasedJob.newBuilder()
                .setId("job-1")
                .setKind("k")
                .setQueue("mail")
                .setAttempt(2)
                .setCreatedAt(com.google.protobuf.Timestamp.newBuilder().setSeconds(1));
        if (traceparent != null) {
            message.putHeaders("traceparent", traceparent);
        }
        return new LeasedJob(message.build(), NoCodec.INSTANCE);
    }

    private static String producer(String flags) {
        return "00-" + TRACE + "-" + SPAN + "-" + flags;
    }

    private SpanData only() {
        assertEquals(1, exporter.getFinishedSpanItems().size());
        return exporter.getFinishedSpanItems().get(0);
    }

    private static Tracer.End end(Outcome.Builder outcome) {
        return Tracer.End.of(outcome, null);
    }

    @Test
    @SuppressWarnings("try") // The scope is only closed.
    void anAttemptHasASpanThatIsLinkedToItsProducerAndCurrentWhereItIsEntered() {
        assertTrue(tracer.traceparent().isEmpty());
        var span = tracer.begin(job(producer("01")), 7).orElseThrow();
        try (var scope = span.enter()) {
            assertEquals(span.traceparent(), tracer.traceparent().orElseThrow());
        }
        assertFalse(Span.current().getSpanContext().isValid());
        span.end(end(null));
        var seen = only();
        assertEquals("process mail", seen.getName());
        assertEquals(SpanKind.CONSUMER, seen.getKind());
        assertEquals(
                List.of(SPAN),
                seen.getLinks().stream()
                        .map(link -> link.getSpanContext().getSpanId())
                        .toList());
        assertNotEquals(TRACE, seen.getTraceId());
        assertFalse(seen.getParentSpanContext().isValid());
        // With the flag by which the SDK says that it drew the id at random, or without.
        var flags = seen.getSpanContext().getTraceFlags().asHex();
        assertEquals("00-" + seen.getTraceId() + "-" + seen.getSpanId() + "-" + flags, span.traceparent());
        assertTrue(seen.getAttributes().get(AttributeKey.longKey("jobqueue.wait_ms")) > 1_000_000_000_000L);
        Map.of(
                        "messaging.system", "jobqueue",
                        "messaging.operation.name", "process",
                        "messaging.operation.type", "process",
                        "messaging.destination.name", "mail",
                        "messaging.message.id", "job-1",
                        "jobqueue.kind", "k",
                        "jobqueue.outcome", "succeeded")
                .forEach((name, value) ->
                        assertEquals(value, seen.getAttributes().get(AttributeKey.stringKey(name)), name));
        assertEquals(2, seen.getAttributes().get(AttributeKey.longKey("jobqueue.attempt")));
        assertEquals(7, seen.getAttributes().get(AttributeKey.longKey("jobqueue.lease_id")));
    }

    @Test
    void onDemandItIsAChildOfItsProducer() {
        tracer.withParent(true).begin(job(producer("01")), 7).orElseThrow().end(end(null));
        assertEquals(TRACE, only().getTraceId());
        assertEquals(SPAN, only().getParentSpanId());
        assertEquals(1, only().getLinks().size());
    }

    @Test
    void ofWhoIsNotSampledOpenTelemetryHearsNothing() {
        for (var given : new String[] {
            null, "", "01", producer("00"), producer("02"), "00-" + TRACE + "-0000000000000000-01", "x".repeat(54) + "1"
        }) {
            assertTrue(tracer.begin(job(given), 7).isEmpty(), given);
        }
        assertTrue(exporter.getFinishedSpanItems().isEmpty());
    }

    @Test
    void howAnAttemptEndedIsSaidByItsSpan() {
        var failure = Failure.newBuilder()
                .setErrorType("java.io.IOException")
                .setError("it is broken")
                .setStack("at x");
        tracer.begin(job(producer("01")), 7)
                .orElseThrow()
                .end(end(Outcome.newBuilder().setFailure(failure)));
        var seen = only();
        assertEquals("failed", seen.getAttributes().get(AttributeKey.stringKey("jobqueue.outcome")));
        assertEquals("java.io.IOException", seen.getAttributes().get(AttributeKey.stringKey("error.type")));
        assertEquals(StatusCode.ERROR, seen.getStatus().getStatusCode());
        assertEquals("it is broken", seen.getStatus().getDescription());
        var event = seen.getEvents().get(0);
        assertEquals("exception", event.getName());
        Map.of("type", "java.io.IOException", "message", "it is broken", "stacktrace", "at x")
                .forEach((name, value) ->
                        assertEquals(value, event.getAttributes().get(AttributeKey.stringKey("exception." + name))));
    }

    @Test
    void eachOutcomeHasItsWordAndWhatIsRevokedIsDropped() {
        assertEquals(
                "succeeded",
                end(Outcome.newBuilder().setSuccess(Success.getDefaultInstance()))
                        .outcome());
        assertEquals(
                "snoozed",
                end(Outcome.newBuilder().setSnooze(Snooze.getDefaultInstance())).outcome());
        var released = Outcome.newBuilder().setRelease(Release.getDefaultInstance());
        assertEquals("released", end(released).outcome());
        assertEquals(
                "revoked",
                Tracer.End.of(released, new Stop(Stop.Reason.REVOKED, "it is gone"))
                        .outcome());
    }
}
