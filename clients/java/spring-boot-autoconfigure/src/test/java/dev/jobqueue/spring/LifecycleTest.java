package dev.jobqueue.spring;

import static dev.jobqueue.spring.HandlersTest.contexts;
import static org.assertj.core.api.Assertions.assertThat;

import dev.jobqueue.Client;
import dev.jobqueue.JobContext;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.Observer;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import dev.jobqueue.WorkerStatus;
import dev.jobqueue.testing.JobQueueExtension;
import dev.jobqueue.testing.TestScope;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.beans.factory.DisposableBean;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.LazyInitializationBeanFactoryPostProcessor;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;
import org.springframework.context.event.ContextRefreshedEvent;
import org.springframework.context.support.DefaultLifecycleProcessor;

@ExtendWith(JobQueueExtension.class)
class LifecycleTest {
    private static final Duration WITHIN = Duration.ofMinutes(1);

    /** What a data source is: something that handlers use and that is gone once it is closed. */
    static final class Store implements DisposableBean {
        volatile boolean closed;

        void use() {
            if (closed) {
                throw new IllegalStateException("the store is closed");
            }
        }

        @Override
        public void destroy() {
            closed = true;
        }
    }

    /** Needs the worker, so it is destroyed before it. */
    static final class First implements DisposableBean {
        final CountDownLatch destroyed = new CountDownLatch(1);

        First(Worker worker) {}

        @Override
        public void destroy() {
            destroyed.countDown();
        }
    }

    /** What is waited for, which knows no bean. */
    static final class Events implements Observer {
        final CountDownLatch runs = new CountDownLatch(1);
        final CountDownLatch drains = new CountDownLatch(1);

        @Override
        public void sessionChanged(WorkerStatus status) {
            if (status.state() == WorkerStatus.State.DRAINING) {
                drains.countDown();
            }
        }
    }

    record Slow(Store store, Client client, Events events, ObjectProvider<First> first) {
        @JobHandler(kind = "slow", interrupt = false)
        String slow(JobContext context) throws InterruptedException {
            var destroyed = first.stream().map(it -> it.destroyed).toList();
            events.runs.countDown();
            events.drains.await();
            for (var each : destroyed) {
                each.await();
            }
            store.use();
            context.followUp(NewJob.of("next", Json.of("1")));
            return client.enqueue("next", Json.of("2")).id();
        }
    }

    @Test
    void theWorkerLeavesBeforeItsClientClosesAndBeforeWhatHandlersNeed(TestScope scope) {
        leaves(scope, contexts(scope));
    }

    @Test
    void itLeavesFirstAlsoWhereSpringGoesOnToDestroyBeans(TestScope scope) {
        leaves(
                scope,
                contexts(scope)
                        .withBean(First.class)
                        .withBean("lifecycleProcessor", DefaultLifecycleProcessor.class, () -> {
                            var processor = new DefaultLifecycleProcessor();
                            processor.setTimeoutPerShutdownPhase(1);
                            return processor;
                        }));
    }

    private static void leaves(TestScope scope, ApplicationContextRunner runner) {
        scope.client().putKind(Kind.of("slow"));
        scope.client().putKind(Kind.of("next"));
        var job = scope.client().enqueue("slow", null);
        runner.withBean(Slow.class).withBean(Store.class).withBean(Events.class).run(context -> assertThat(
                        context.getBean(Events.class).runs.await(60, TimeUnit.SECONDS))
                .isTrue());
        // The context was closed at the end of run().
        var done = scope.client().get(job.id());
        assertThat(done.lastError()).isEmpty();
        assertThat(done.status()).isEqualTo(Status.SUCCEEDED);
        assertThat(scope.enqueued().stream().filter(it -> it.kind().equals("next")))
                .hasSize(2);
    }

    static final class Echo {
        @JobHandler(kind = "echo")
        Json echo(Json any) {
            return any;
        }
    }

    @Test
    @Timeout(120)
    void aContextThatIsStoppedRunsJobsAgainOnceItIsStarted(TestScope scope) {
        contexts(scope).withBean(Echo.class).run(context -> {
            var lifecycle = context.getBean(WorkersLifecycle.class);
            for (var i = 0; i < 3; i++) {
                scope.client().putKind(Kind.of("echo"));
                assertThat(lifecycle.isRunning()).isTrue();
                var job = scope.client().enqueue("echo", Json.of("1"));
                assertThat(scope.client().waitFor(job.id(), WITHIN).status()).isEqualTo(Status.SUCCEEDED);
                lifecycle.stop();
                assertThat(lifecycle.isRunning()).isFalse();
                assertThat(context.getBean(Worker.class).status().state()).isEqualTo(WorkerStatus.State.ENDED);
                // One that is stopped before it serves leaves as well.
                lifecycle.start();
                lifecycle.stop();
                lifecycle.start();
            }
        });
    }

    @Test
    void itsThreadsKeepAnApplicationAliveThatHasNoWebServer() {
        contexts()
                .withPropertyValues("jobqueue.server=127.0.0.1:1")
                .withBean(Echo.class)
                .run(context -> {
                    assertThat(threads()).anyMatch(it -> !it.isDaemon());
                    context.getBean(WorkersLifecycle.class).stop();
                    assertThat(threads()).isEmpty();
                });
    }

    @Test
    @Timeout(120)
    void aStartThatFailsLeavesNoThreadThatKeepsTheProcess(TestScope scope) {
        var refused = new CountDownLatch(1);
        contexts(scope)
                .withPropertyValues("jobqueue.token=jq_wrong")
                .withBean(Echo.class)
                .withBean(Observer.class, () -> new Observer() {
                    @Override
                    public void sessionChanged(WorkerStatus status) {
                        if (status.state() == WorkerStatus.State.REFUSED) {
                            refused.countDown();
                        }
                    }
                })
                .withInitializer(made -> made.addApplicationListener(event -> {
                    if (event instanceof ContextRefreshedEvent) {
                        try {
                            refused.await();
                        } catch (InterruptedException error) {
                            throw new IllegalStateException(error);
                        }
                        throw new IllegalStateException("no start today");
                    }
                }))
                .run(context -> {
                    assertThat(context).getFailure().hasMessage("no start today");
                    assertThat(threads()).isEmpty();
                });
    }

    static java.util.List<Thread> threads() {
        return Thread.getAllStackTraces().keySet().stream()
                .filter(it -> it.getName().equals("jobqueue-jobQueueWorker"))
                .toList();
    }

    @Test
    void beansThatAreMadeLateHandleJobsAsWell(TestScope scope) {
        scope.client().putKind(Kind.of("echo"));
        contexts(scope)
                .withBean(Echo.class)
                .withInitializer(context ->
                        context.addBeanFactoryPostProcessor(new LazyInitializationBeanFactoryPostProcessor()))
                .run(context -> {
                    var job = scope.client().enqueue("echo", Json.of("1"));
                    assertThat(scope.client().waitFor(job.id(), WITHIN).status())
                            .isEqualTo(Status.SUCCEEDED);
                });
    }
}
