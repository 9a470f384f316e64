package dev.jobqueue.spring;

import static dev.jobqueue.spring.HandlersTest.contexts;
import static org.assertj.core.api.Assertions.assertThat;

import dev.jobqueue.Observer;
import dev.jobqueue.Worker;
import dev.jobqueue.WorkerStatus;
import dev.jobqueue.testing.JobQueueExtension;
import dev.jobqueue.testing.TestScope;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.boot.autoconfigure.AutoConfigurations;
import org.springframework.boot.health.autoconfigure.contributor.HealthContributorAutoConfiguration;
import org.springframework.boot.health.autoconfigure.registry.HealthContributorRegistryAutoConfiguration;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.boot.health.contributor.Status;
import org.springframework.boot.test.context.FilteredClassLoader;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;
import org.springframework.context.ApplicationContext;

@ExtendWith(JobQueueExtension.class)
class HealthTest {
    private static ApplicationContextRunner actuated(ApplicationContextRunner runner) {
        return runner.withBean(LifecycleTest.Echo.class)
                .withConfiguration(AutoConfigurations.of(
                        HealthContributorAutoConfiguration.class, HealthContributorRegistryAutoConfiguration.class));
    }

    private static org.springframework.boot.health.contributor.Health health(ApplicationContext context) {
        return context.getBean("jobqueueHealthIndicator", HealthIndicator.class).health();
    }

    /** Counts down when a worker has come to a state. */
    private static Observer until(WorkerStatus.State state, CountDownLatch latch) {
        return new Observer() {
            @Override
            public void sessionChanged(WorkerStatus status) {
                if (status.state() == state) {
                    latch.countDown();
                }
            }
        };
    }

    @Test
    void aWorkerThatServesIsUpWithItsStatus(TestScope scope) {
        var serves = new CountDownLatch(1);
        actuated(contexts(scope))
                .withBean(Observer.class, () -> until(WorkerStatus.State.SERVING, serves))
                .run(context -> {
                    assertThat(serves.await(60, TimeUnit.SECONDS)).isTrue();
                    var health = health(context);
                    assertThat(health.getStatus()).isEqualTo(Status.UP);
                    assertThat(health.getDetails().get("jobQueueWorker"))
                            .asString()
                            .contains("state=serving", "kinds=[echo]", "running=0", "lastError=");
                    context.getBean(WorkersLifecycle.class).stop();
                    assertThat(health(context).getStatus()).isEqualTo(Status.DOWN);
                });
    }

    @Test
    void aWorkerThatNoServerHasWelcomedIsOutOfService() {
        actuated(contexts())
                .withPropertyValues("jobqueue.server=127.0.0.1:1")
                .run(context -> assertThat(health(context).getStatus()).isEqualTo(Status.OUT_OF_SERVICE));
    }

    @Test
    void aWorkerThatIsRefusedIsDownAndTheApplicationRunsOn(TestScope scope) {
        var refused = new CountDownLatch(1);
        actuated(contexts(scope))
                .withPropertyValues("jobqueue.token=jq_wrong")
                .withBean(Observer.class, () -> until(WorkerStatus.State.REFUSED, refused))
                .run(context -> {
                    assertThat(refused.await(60, TimeUnit.SECONDS)).isTrue();
                    assertThat(health(context).getStatus()).isEqualTo(Status.DOWN);
                    assertThat(context.getBean(WorkersLifecycle.class).isRunning())
                            .isTrue();
                    var thread = LifecycleTest.threads().get(0);
                    // Until it waits, or has ended.
                    while (thread.isAlive()
                            && Arrays.stream(thread.getStackTrace())
                                    .noneMatch(it -> it.getMethodName().equals("await")
                                            && it.getClassName().startsWith("dev.jobqueue.spring"))) {
                        Thread.sleep(10);
                    }
                    assertThat(thread.isAlive()).isTrue();
                });
    }

    @Test
    void aWorkerThatIsDisabledIsUpAndRunsNothing() {
        actuated(contexts())
                .withPropertyValues("jobqueue.worker.enabled=false")
                .withBean("own", Worker.class, () -> Worker.builder("127.0.0.1:1")
                        .build()
                        .handle("own", (job, context) -> null))
                .run(context -> {
                    assertThat(context).doesNotHaveBean("jobQueueWorker");
                    // Starts what starts by itself and what does not.
                    context.start();
                    assertThat(context.getBean(WorkersLifecycle.class).isRunning())
                            .isFalse();
                    var health = health(context);
                    assertThat(health.getStatus()).isEqualTo(Status.UP);
                    assertThat(health.getDetails()).isEqualTo(java.util.Map.of("worker", "disabled"));
                });
    }

    @Test
    void anApplicationThatOnlyEnqueuesIsUp() {
        contexts().run(context -> {
            assertThat(health(context).getStatus()).isEqualTo(Status.UP);
            assertThat(health(context).getDetails()).isEqualTo(java.util.Map.of("jobQueueWorker", "without handlers"));
        });
    }

    @Test
    void withoutTheActuatorThereIsNoHealth() {
        contexts()
                .withClassLoader(new FilteredClassLoader("org.springframework.boot.health"))
                .run(context -> {
                    assertThat(context).hasNotFailed();
                    assertThat(context).doesNotHaveBean("jobqueueHealthIndicator");
                });
        contexts()
                .withPropertyValues("management.health.jobqueue.enabled=false")
                .run(context -> assertThat(context).doesNotHaveBean("jobqueueHealthIndicator"));
    }

    @Test
    void withoutJacksonAndTransactionsThereIsAClientAllTheSame() {
        for (var missing : List.of("tools.jackson", "org.springframework.transaction")) {
            contexts()
                    .withClassLoader(new FilteredClassLoader(missing))
                    .run(context -> assertThat(context).hasNotFailed().hasSingleBean(dev.jobqueue.Client.class));
        }
    }
}
