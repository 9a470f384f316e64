package dev.jobqueue.opentelemetry;

import dev.jobqueue.LeasedJob;
import dev.jobqueue.Tracer;
import dev.jobqueue.Worker;
import io.opentelemetry.api.GlobalOpenTelemetry;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.common.Attributes;
import io.opentelemetry.api.trace.SpanContext;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.api.trace.StatusCode;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.propagation.TextMapGetter;
import java.time.Duration;
import java.time.Instant;
import java.util.Objects;
import java.util.Optional;

/**
 * Makes spans of a worker's attempts by OpenTelemetry, whose SDK the program sets up:
 *
 * <pre>{@code
 * var tracer = OpenTelemetryTracer.of(openTelemetry);
 * var worker = Worker.builder(server).tracer(tracer).build();
 * }</pre>
 *
 * <p>A span is made where the job's producer was sampled; of all others OpenTelemetry hears nothing. A client with the same
 * tracer sends the trace of what is current in the caller's thread. Of an asynchronous handler the span is the current one
 * until it has answered its stage.
 */
public final class OpenTelemetryTracer implements Tracer {
    /**
     * {@code parent}: a handler's span is a child of its producer's. Otherwise it begins a trace, and is linked to it: a job
     * may run days after its producer has ended.
     */
    public static final String PARENT_VARIABLE = "JOBQUEUE_TRACE_PARENT";

    private static final String HEADER = "traceparent";
    // The last bit of the flags says who is sampled, which stand behind version, trace and span.
    private static final int FLAGS_END = 55;
    private static final String SAMPLED = "13579bdf";
    private static final TextMapGetter<String> TRACEPARENT = new TextMapGetter<>() {
        @Override
        public String get(String traceparent, String key) {
            return HEADER.equals(key) ? traceparent : null;
        }
    };

    private final io.opentelemetry.api.trace.Tracer tracer;
    private final boolean parent;

    private OpenTelemetryTracer(io.opentelemetry.api.trace.Tracer tracer, boolean parent) {
        this.tracer = tracer;
        this.parent = parent;
    }

    /** Spans by the program's own SDK. */
    public static OpenTelemetryTracer of(OpenTelemetry openTelemetry) {
        Objects.requireNonNull(openTelemetry, "openTelemetry");
        var tracer = openTelemetry
                .tracerBuilder("dev.jobqueue")
                .setInstrumentationVersion(Worker.VERSION)
                .build();
        return new OpenTelemetryTracer(tracer, "parent".equals(System.getenv(PARENT_VARIABLE)));
    }

    /** Spans by {@link GlobalOpenTelemetry}. */
    public static OpenTelemetryTracer global() {
        return of(GlobalOpenTelemetry.get());
    }

    /** One whose handlers' spans are children of their producers', or not, whatever the variable says. */
    public OpenTelemetryTracer withParent(boolean parent) {
        return new OpenTelemetryTracer(tracer, parent);
    }

    @Override
    public Optional<Span> begin(LeasedJob job, long lease) {
        var given = job.headers().getOrDefault(HEADER, "");
        if (given.length() < FLAGS_END || SAMPLED.indexOf(given.charAt(FLAGS_END - 1)) < 0) {
            return Optional.empty();
        }
        var context = W3CTraceContextPropagator.getInstance().extract(Context.root(), given, TRACEPARENT);
        var producer = io.opentelemetry.api.trace.Span.fromContext(context).getSpanContext();
        if (!producer.isValid()) {
            return Optional.empty();
        }
        var span = tracer.spanBuilder(Names.PROCESS + " " + job.queue())
                .setSpanKind(SpanKind.CONSUMER)
                .setParent(parent ? context : Context.root())
                .addLink(producer)
                .setAttribute(Names.MESSAGING_SYSTEM, Names.SYSTEM)
                .setAttribute(Names.MESSAGING_OPERATION, Names.PROCESS)
                .setAttribute(Names.MESSAGING_OPERATION_TYPE, Names.PROCESS)
                .setAttribute(Names.MESSAGING_DESTINATION, job.queue())
                .setAttribute(Names.MESSAGING_MESSAGE_ID, job.id())
                .setAttribute(Names.KIND, job.kind())
                .setAttribute(Names.ATTEMPT, (long) job.attempt())
                .setAttribute(Names.LEASE, lease)
                .setAttribute(
                        Names.WAIT,
                        Math.max(
                                0,
                                Duration.between(job.createdAt(), Instant.now()).toMillis()))
                .startSpan();
        return Optional.of(new HandlerSpan(span));
    }

    @Override
    public Optional<String> traceparent() {
        var current = io.opentelemetry.api.trace.Span.current().getSpanContext();
        return current.isValid() ? Optional.of(text(current)) : Optional.empty();
    }

    private static String text(SpanContext of) {
        return "00-%s-%s-%s"
                .formatted(of.getTraceId(), of.getSpanId(), of.getTraceFlags().asHex());
    }

    private record HandlerSpan(io.opentelemetry.api.trace.Span span) implements Span {
        @Override
        public String traceparent() {
            return text(span.getSpanContext());
        }

        @Override
        public Scope enter() {
            return span.makeCurrent()::close;
        }

        @Override
        public void end(End how) {
            span.setAttribute(Names.OUTCOME, how.outcome());
            if (!how.errorType().isEmpty() || !how.error().isEmpty()) {
                var event = Attributes.builder()
                        .put(Names.EXCEPTION_TYPE, how.errorType())
                        .put(Names.EXCEPTION_MESSAGE, how.error());
                if (!how.stack().isEmpty()) {
                    event.put(Names.EXCEPTION_STACK, how.stack());
                }
                span.addEvent(Names.EXCEPTION, event.build());
                span.setAttribute(Names.ERROR_TYPE, how.errorType());
                span.setStatus(StatusCode.ERROR, how.error());
            }
            span.end();
        }
    }
}
