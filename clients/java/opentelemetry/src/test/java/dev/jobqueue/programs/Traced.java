package dev.jobqueue.programs;

import dev.jobqueue.Client;
import dev.jobqueue.NewJob;
import dev.jobqueue.RetryPolicy;
import dev.jobqueue.Worker;
import dev.jobqueue.opentelemetry.OpenTelemetryTracer;
import io.opentelemetry.exporter.otlp.http.trace.OtlpHttpSpanExporter;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import io.opentelemetry.sdk.trace.export.SimpleSpanProcessor;
import java.time.Duration;

/** Runs jobs of a queue, as tests/traces/worker_program.py does: first, follow_up, called. */
public final class Traced {
    private Traced() {}

    /** SERVER QUEUE. */
    public static void main(String[] arguments) {
        var queue = arguments[1];
        var exporter = OtlpHttpSpanExporter.builder()
                .setEndpoint(System.getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + "/v1/traces")
                .build();
        var provider = SdkTracerProvider.builder()
                .addSpanProcessor(SimpleSpanProcessor.create(exporter))
                .build();
        var tracer = OpenTelemetryTracer.of(
                OpenTelemetrySdk.builder().setTracerProvider(provider).build());

        var client = Client.builder(arguments[0]).tracer(tracer).build();
        var worker = Worker.builder(arguments[0]).tracer(tracer).queues(queue).build();
        var soon = new RetryPolicy(Duration.ofMillis(1), Duration.ofMillis(1));
        worker.handle("first", (job, context) -> {
            client.enqueue(NewJob.builder("called").queue(queue).build());
            context.followUp(
                    NewJob.builder("follow_up").queue(queue).retryPolicy(soon).build());
            return null;
        });
        worker.handle("follow_up", (job, context) -> {
            if (job.attempt() == 1) {
                throw new IllegalStateException("the first attempt fails");
            }
            return null;
        });
        worker.handle("called", (job, context) -> null);
        System.out.println("ready");
        worker.run();
        client.close();
        provider.close();
    }
}
