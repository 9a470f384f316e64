package dev.jobqueue.micrometer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Observer.Attempt;
import dev.jobqueue.Observer.Outcome;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.config.MeterFilter;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class MicrometerObserverTest {
    private static final Attempt ATTEMPT = new Attempt("1", "mail", "default", 1, 0, Map.of(), "");

    private static void tell(MicrometerObserver observer) {
        observer.attemptStarted(ATTEMPT);
        observer.attemptEnded(ATTEMPT, Outcome.FAILED_PERMANENT, Duration.ofMillis(200), "no");
    }

    /** As the list of all metrics has them: name, type and labels. */
    @Test
    void namesTypesAndLabelsAreThoseOfAllWorkers() throws IOException {
        var registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
        tell(MicrometerObserver.of(registry));
        var found = new TreeSet<String>();
        for (var line : registry.scrape().split("\n")) {
            if (line.startsWith("# TYPE ") && !line.endsWith("gauge")) {
                var words = line.split(" ");
                var labels = registry.getMeters().stream()
                        .filter(it -> words[2].startsWith(it.getId().getName().replace('.', '_')))
                        .flatMap(it -> it.getId().getTags().stream())
                        .map(it -> it.getKey())
                        .distinct()
                        .sorted()
                        .collect(Collectors.joining(" "));
                found.add(words[2] + " " + words[3] + " " + labels);
            }
        }
        var wanted = Files.readAllLines(Path.of("../../../docs/metrics.lock")).stream()
                .filter(it -> it.startsWith("worker_job"))
                .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(wanted, found);
        var text = registry.scrape();
        assertTrue(text.contains("worker_jobs_completed_total{kind=\"mail\",outcome=\"failed_permanent\"} 1.0"), text);
        assertTrue(text.contains("le=\"0.25\"} 1"), text);
        assertTrue(text.contains("le=\"3600.0\"} 1"), text);
    }

    @Test
    void aRegistryThatIsMadeLateIsAskedForAtEachEvent() {
        var late = new AtomicReference<MeterRegistry>();
        var observer = MicrometerObserver.of(late::get);
        tell(observer);
        late.set(new SimpleMeterRegistry());
        tell(observer);
        assertEquals(1, late.get().get("worker.jobs.started").counter().count());
    }

    @Test
    void filtersOfTheRegistryHold() {
        var registry = new SimpleMeterRegistry();
        registry.config()
                .meterFilter(MeterFilter.denyNameStartsWith("worker.job."))
                .commonTags("app", "shop");
        tell(MicrometerObserver.of(registry));
        assertEquals(
                new TreeSet<>(Arrays.asList("worker.jobs.started", "worker.jobs.completed")),
                registry.getMeters().stream()
                        .map(Meter::getId)
                        .map(Meter.Id::getName)
                        .collect(Collectors.toCollection(TreeSet::new)));
        assertEquals("shop", registry.getMeters().get(0).getId().getTag("app"));
    }
}
