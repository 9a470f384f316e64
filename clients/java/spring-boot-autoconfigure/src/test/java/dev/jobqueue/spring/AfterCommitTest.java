package dev.jobqueue.spring;

import static dev.jobqueue.spring.HandlersTest.contexts;
import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.jobqueue.Client;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.Enqueuer;
import dev.jobqueue.Job;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import dev.jobqueue.testing.RecordingClient;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.springframework.boot.test.context.runner.ApplicationContextRunner;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.jdbc.datasource.DriverManagerDataSource;
import org.springframework.jdbc.support.JdbcTransactionManager;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.TransactionDefinition;
import org.springframework.transaction.support.TransactionSynchronization;
import org.springframework.transaction.support.TransactionSynchronizationManager;
import org.springframework.transaction.support.TransactionTemplate;
import tools.jackson.databind.json.JsonMapper;

/** With the transactions of a real database. */
class AfterCommitTest {
    private final DriverManagerDataSource source = new DriverManagerDataSource("jdbc:h2:mem:after;DB_CLOSE_DELAY=-1");
    private final JdbcTransactionManager manager = new JdbcTransactionManager(source);
    private final TransactionTemplate transaction = new TransactionTemplate(manager);
    private final JdbcTemplate sql = new JdbcTemplate(source);
    /** The payloads of each call. */
    private final List<List<Object>> calls = new ArrayList<>();

    private final Enqueuer recorder = new Enqueuer() {
        private final RecordingClient client = new RecordingClient();

        @Override
        public Job enqueue(NewJob job) {
            calls.add(List.of(job.payload()));
            return client.enqueue(job);
        }

        @Override
        public List<EnqueueResult> enqueueMany(Collection<NewJob> jobs) {
            calls.add(jobs.stream().map(NewJob::payload).toList());
            return client.enqueueMany(jobs);
        }
    };
    private final AfterCommit afterCommit = new AfterCommit(recorder, recorder, new Jackson3Codec(JsonMapper.shared()));

    private static Json json(int number) {
        return Json.of(Integer.toString(number));
    }

    private TransactionTemplate with(int propagation) {
        return new TransactionTemplate(
                manager, new org.springframework.transaction.support.DefaultTransactionDefinition(propagation));
    }

    @BeforeEach
    void table() {
        sql.execute("DROP TABLE IF EXISTS orders; CREATE TABLE orders (number INT)");
    }

    private int rows() {
        return sql.queryForObject("SELECT count(*) FROM orders", Integer.class);
    }

    @Test
    void theJobsOfATransactionAreEnqueuedByOneCallOnceItHasCommitted() {
        transaction.executeWithoutResult(status -> {
            sql.update("INSERT INTO orders VALUES (1)");
            afterCommit.enqueue("receipt", 1);
            afterCommit.enqueueMany(List.of(NewJob.of("receipt", 2), NewJob.of("receipt", 3)));
            assertThat(calls).isEmpty();
        });
        assertThat(calls).containsExactly(List.of(json(1), json(2), json(3)));
        assertThat(rows()).isOne();
    }

    @Test
    void aRollbackEnqueuesNothing() {
        assertThatThrownBy(() -> transaction.executeWithoutResult(status -> {
                    sql.update("INSERT INTO orders VALUES (1)");
                    afterCommit.enqueue("receipt", 1);
                    throw new IllegalStateException("no");
                }))
                .hasMessage("no");
        assertThat(calls).isEmpty();
        assertThat(rows()).isZero();
    }

    @Test
    void aRollbackToASavepointTakesWhatWasSaidAfterIt() {
        transaction.executeWithoutResult(status -> {
            nested(7, true);
            afterCommit.enqueue("receipt", 1);
            nested(8, true);
            nested(2, false);
        });
        assertThat(calls).containsExactly(List.of(json(1), json(2)));
    }

    private void nested(int number, boolean rollback) {
        with(TransactionDefinition.PROPAGATION_NESTED).executeWithoutResult(status -> {
            afterCommit.enqueue("receipt", number);
            if (rollback) {
                status.setRollbackOnly();
            }
        });
    }

    @Test
    void aTransactionWithinAnotherOneHasJobsOfItsOwn() {
        assertThatThrownBy(() -> transaction.executeWithoutResult(status -> {
                    afterCommit.enqueue("receipt", 1);
                    with(TransactionDefinition.PROPAGATION_REQUIRES_NEW)
                            .executeWithoutResult(inner -> afterCommit.enqueue("receipt", 2));
                    throw new IllegalStateException("no");
                }))
                .hasMessage("no");
        assertThat(calls).containsExactly(List.of(json(2)));
    }

    @Test
    void withoutATransactionAJobIsEnqueuedAtOnce() {
        afterCommit.enqueue("receipt", 1);
        assertThat(calls).containsExactly(List.of(json(1)));
        // It has synchronizations, and no transaction.
        with(TransactionDefinition.PROPAGATION_SUPPORTS).executeWithoutResult(status -> {
            afterCommit.enqueue("receipt", 2);
            assertThat(calls).hasSize(2);
        });
        afterCommit.enqueueMany(List.of());
        assertThat(calls).hasSize(2);
    }

    /** Says jobs as a synchronization of another library does. */
    private static void onceCommitted(Runnable says) {
        TransactionSynchronizationManager.registerSynchronization(new TransactionSynchronization() {
            @Override
            public void afterCommit() {
                says.run();
            }
        });
    }

    @Test
    void whatIsSaidOnceTheTransactionHasCommittedIsEnqueuedToo() {
        // Before its own turn, after it, and where no job was said before.
        transaction.executeWithoutResult(status -> {
            onceCommitted(() -> afterCommit.enqueue("receipt", 2));
            afterCommit.enqueue("receipt", 1);
            onceCommitted(() -> {
                afterCommit.enqueue("receipt", 3);
                assertThat(calls).hasSize(2);
            });
        });
        transaction.executeWithoutResult(status -> onceCommitted(() -> afterCommit.enqueue("receipt", 4)));
        assertThat(calls).containsExactly(List.of(json(1), json(2)), List.of(json(3)), List.of(json(4)));
    }

    @Test
    void aSynchronizationThatThrowsOnceTheTransactionHasCommittedTakesNoJob() {
        assertThatThrownBy(() -> transaction.executeWithoutResult(status -> {
                    onceCommitted(() -> {
                        throw new IllegalStateException("no mail");
                    });
                    afterCommit.enqueue("receipt", 1);
                }))
                .hasMessage("no mail");
        assertThat(calls).containsExactly(List.of(json(1)));
    }

    @Test
    void anEnqueueThatFailsIsNotRepeated() {
        Enqueuer away = new Enqueuer() {
            @Override
            public Job enqueue(NewJob job) {
                calls.add(List.of(job.payload()));
                throw new IllegalStateException("away");
            }

            @Override
            public List<EnqueueResult> enqueueMany(Collection<NewJob> jobs) {
                throw new AssertionError("there is one");
            }
        };
        assertThatThrownBy(() -> transaction.executeWithoutResult(
                        status -> AfterCommit.of(away).enqueue("receipt", json(1))))
                .hasMessage("away");
        assertThat(calls).containsExactly(List.of(json(1)));
    }

    @Test
    void aPayloadIsAsItWasWhenItWasSaid() {
        transaction.executeWithoutResult(status -> {
            var changes = new ArrayList<>(List.of(1));
            afterCommit.enqueue("receipt", changes);
            changes.add(2);
        });
        assertThat(calls).containsExactly(List.of(Json.of("[1]")));
    }

    static final class Unwritable {
        public int getNumber() {
            throw new IllegalStateException("not loaded");
        }
    }

    @Test
    void aPayloadThatCantBeWrittenFailsTheTransaction() {
        assertThatThrownBy(() -> transaction.executeWithoutResult(status -> {
                    sql.update("INSERT INTO orders VALUES (1)");
                    afterCommit.enqueue("receipt", new Unwritable());
                }))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("the payload of the receipt job can't be written as JSON");
        assertThat(rows()).isZero();
    }

    @Test
    void aServerThatIsAwayIsToldToTheCallerWhoseTransactionHasCommitted() {
        try (var client = Client.builder("127.0.0.1:1").build()) {
            var away = AfterCommit.of(client);
            assertThatThrownBy(() -> transaction.executeWithoutResult(status -> {
                        sql.update("INSERT INTO orders VALUES (1)");
                        away.enqueue("receipt", Json.of("1"));
                    }))
                    .isInstanceOf(JobQueueException.Unavailable.class);
        }
        assertThat(rows()).isOne();
    }

    @Test
    @Timeout(60)
    void itsCallWaitsForADeadlineOfItsOwn() throws IOException {
        // What connects to it gets no answer.
        try (var silent = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            managed()
                    .withPropertyValues(
                            "jobqueue.server=127.0.0.1:" + silent.getLocalPort(),
                            "jobqueue.deadline=1h",
                            "jobqueue.after-commit-deadline=200ms")
                    .run(context -> assertThatThrownBy(() -> transaction.executeWithoutResult(
                                    status -> context.getBean(AfterCommit.class).enqueue("receipt", 1)))
                            // A connection that is not made in time is UNAVAILABLE, a while later.
                            .isInstanceOf(JobQueueException.DeadlineExceeded.class));
        }
    }

    private ApplicationContextRunner managed() {
        return contexts().withBean(PlatformTransactionManager.class, () -> manager);
    }

    @Test
    void itIsNoBeanWithoutTransactionsOfThreadsOrWhereItIsNotSaidWhatEnqueues() {
        contexts().run(context -> assertThat(context).hasNotFailed().doesNotHaveBean(AfterCommit.class));
        managed()
                .withBean(RecordingClient.class, RecordingClient::new)
                .run(context -> assertThat(context).hasNotFailed().doesNotHaveBean(AfterCommit.class));
    }

    @Test
    void itIsABeanWhichARecorderOfATestReceives() {
        managed()
                .withBean(RecordingClient.class, RecordingClient::new, definition -> definition.setPrimary(true))
                .run(context -> {
                    context.getBean(AfterCommit.class).enqueue(HandlersTest.RECEIPT, new HandlersTest.Order1(1, "a"));
                    var jobs = context.getBean(RecordingClient.class).jobs();
                    assertThat(jobs).hasSize(1);
                    assertThat(jobs.get(0).kind()).isEqualTo("receipt");
                    assertThat(jobs.get(0).payload()).contains(Json.of("{\"number\":1,\"email\":\"a\"}"));
                });
    }
}
