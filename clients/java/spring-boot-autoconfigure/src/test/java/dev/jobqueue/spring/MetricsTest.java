package dev.jobqueue.spring;

import static dev.jobqueue.spring.HandlersTest.contexts;
import static org.assertj.core.api.Assertions.assertThat;

import dev.jobqueue.Client;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.Observer;
import dev.jobqueue.micrometer.MicrometerObserver;
import dev.jobqueue.testing.JobQueueExtension;
import dev.jobqueue.testing.TestScope;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.config.MeterFilter;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.micrometer.metrics.autoconfigure.MeterRegistryCustomizer;
import org.springframework.boot.micrometer.metrics.autoconfigure.MetricsAutoConfiguration;
import org.springframework.boot.test.context.FilteredClassLoader;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;
import org.springframework.core.Ordered;

@ExtendWith(JobQueueExtension.class)
class MetricsTest {
    /** Told after the metrics. */
    static final class Last implements Observer, Ordered {
        final CountDownLatch ended = new CountDownLatch(1);

        @Override
        public void attemptEnded(Attempt attempt, Outcome outcome, Duration took, String error) {
            ended.countDown();
        }

        @Override
        public int getOrder() {
            return LOWEST_PRECEDENCE;
        }
    }

    private static ApplicationContextRunner measured(ApplicationContextRunner runner) {
        return runner.withConfiguration(
                AutoConfigurations.of(MetricsAutoConfiguration.class, JobQueueMetricsAutoConfiguration.class));
    }

    @Test
    void attemptsAreCountedInTheRegistryAsItIsCustomized(TestScope scope, Client client) {
        client.putKind(Kind.of("echo"));
        client.enqueue("echo", Json.of("1"));
        measured(contexts(scope))
                .withBean(SimpleMeterRegistry.class)
                .withBean(LifecycleTest.Echo.class)
                .withBean(Last.class)
                .withBean(MeterFilter.class, () -> MeterFilter.denyNameStartsWith("worker.jobs.completed"))
                .withBean(
                        MeterRegistryCustomizer.class,
                        () -> registry -> registry.config().commonTags("app", "shop"))
                .run(context -> {
                    assertThat(context.getBean(Last.class).ended.await(60, TimeUnit.SECONDS))
                            .isTrue();
                    var registry = context.getBean(MeterRegistry.class);
                    assertThat(registry.get("worker.job.duration")
                                    .tags("kind", "echo", "outcome", "succeeded", "app", "shop")
                                    .timer()
                                    .count())
                            .isOne();
                    assertThat(registry.find("worker.jobs.completed").counter()).isNull();
                });
    }

    @Test
    void withoutTheArtifactOrARegistryNothingIsCounted() {
        measured(contexts())
                .withClassLoader(new FilteredClassLoader("dev.jobqueue.micrometer"))
                .run(context -> assertThat(context).hasNotFailed().doesNotHaveBean("jobQueueMetrics"));
        contexts()
                .withConfiguration(AutoConfigurations.of(JobQueueMetricsAutoConfiguration.class))
                .run(context -> assertThat(context).hasSingleBean(MicrometerObserver.class));
    }
}
