package dev.jobqueue.micrometer;

import dev.jobqueue.Observer;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.Locale;
import java.util.Objects;
import java.util.function.Supplier;

/**
 * Counts and times a worker's attempts, under the names that all workers have: {@code worker.jobs.started}, {@code
 * worker.jobs.completed} and {@code worker.job.duration}, which Prometheus reads as {@code worker_jobs_started_total}, {@code
 * worker_jobs_completed_total} and {@code worker_job_duration_seconds}. Enqueues are not counted.
 *
 * <pre>{@code
 * var worker = Worker.builder(server).observer(MicrometerObserver.of(registry)).build();
 * }</pre>
 */
public final class MicrometerObserver implements Observer {
    // A handler ends within milliseconds or within hours.
    private static final Duration[] BUCKETS = {
        Duration.ofMillis(5),
        Duration.ofMillis(10),
        Duration.ofMillis(25),
        Duration.ofMillis(50),
        Duration.ofMillis(100),
        Duration.ofMillis(250),
        Duration.ofMillis(500),
        Duration.ofSeconds(1),
        Duration.ofMillis(2500),
        Duration.ofSeconds(5),
        Duration.ofSeconds(10),
        Duration.ofSeconds(30),
        Duration.ofMinutes(1),
        Duration.ofMinutes(5),
        Duration.ofMinutes(15),
        Duration.ofHours(1)
    };

    private final Supplier<? extends MeterRegistry> registry;

    private MicrometerObserver(Supplier<? extends MeterRegistry> registry) {
        this.registry = Objects.requireNonNull(registry, "registry");
    }

    /** One that counts in a registry. */
    public static MicrometerObserver of(MeterRegistry registry) {
        Objects.requireNonNull(registry, "registry");
        return new MicrometerObserver(() -> registry);
    }

    /** One whose registry is asked for at each event, so that it may be made later. Null: the event is not counted. */
    public static MicrometerObserver of(Supplier<? extends MeterRegistry> registry) {
        return new MicrometerObserver(registry);
    }

    @Override
    public void attemptStarted(Attempt attempt) {
        var meters = registry.get();
        if (meters != null) {
            Counter.builder("worker.jobs.started")
                    .description("Attempts that were started.")
                    .tag("kind", attempt.kind())
                    .register(meters)
                    .increment();
        }
    }

    @Override
    public void attemptEnded(Attempt attempt, Outcome outcome, Duration took, String error) {
        var meters = registry.get();
        if (meters == null) {
            return;
        }
        var word = outcome.name().toLowerCase(Locale.ROOT);
        Counter.builder("worker.jobs.completed")
                .description("Attempts that ended, by what became of the job.")
                .tags("kind", attempt.kind(), "outcome", word)
                .register(meters)
                .increment();
        Timer.builder("worker.job.duration")
                .description("How long their handlers ran.")
                .tags("kind", attempt.kind(), "outcome", word)
                .serviceLevelObjectives(BUCKETS)
                .register(meters)
                .record(took);
    }
}
