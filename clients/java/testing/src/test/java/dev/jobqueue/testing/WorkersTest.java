package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Client;
import dev.jobqueue.Handler;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import dev.jobqueue.WorkerFilter;
import dev.jobqueue.WorkerSession;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Workers of a real server, as an operator sees them. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class WorkersTest {
    @BeforeEach
    void declare(Client client) {
        client.putKind(Kind.of("mail"));
    }

    /** A worker of a queue that serves in a thread of its own. */
    private static Worker serving(TestScope scope, String queue, String name, Handler handler) {
        var worker = scope.worker()
                .queues(queue)
                .name(name)
                .labels(Map.of("zone", "a"))
                .concurrency(2)
                .build()
                .handle("mail", handler);
        var thread = new Thread(worker::serve);
        thread.setDaemon(true);
        thread.start();
        return worker;
    }

    /** The one of a name, once it is connected. */
    private static WorkerSession named(Client client, String name) throws InterruptedException {
        while (true) {
            var found = client.listWorkers(WorkerFilter.ALL.withName(name));
            if (!found.isEmpty()) {
                assertEquals(1, found.size());
                return found.get(0);
            }
            Thread.sleep(20);
        }
    }

    /** It, once the server has counted its job. */
    private static WorkerSession holding(Client client, String id) throws InterruptedException {
        while (true) {
            var found = client.getWorker(id);
            if (found.held() > 0) {
                return found;
            }
            Thread.sleep(20);
        }
    }

    @Test
    void aWorkerIsListedReadAndDrained(TestScope scope, Client client) throws Exception {
        var began = new Semaphore(0);
        var end = new CountDownLatch(1);
        var worker = serving(scope, "mail", "w-1", (job, context) -> {
            began.release();
            return end.await(60, TimeUnit.SECONDS);
        });
        var other = serving(scope, "bulk", "x-2", (job, context) -> null);
        try {
            var id = named(client, "w-").sessionId();
            named(client, "x-2");
            assertEquals(2, client.listWorkers(WorkerFilter.ALL).size());
            assertEquals(List.of(id), ids(client, WorkerFilter.ALL.withQueue("mail")));
            assertEquals(2, ids(client, WorkerFilter.ALL.withKind("mail")).size());
            assertEquals(List.of(), client.listWorkers(WorkerFilter.ALL.withQueue("other")));
            assertEquals(List.of(), client.listWorkers(WorkerFilter.ALL.withKind("other")));
            var states = WorkerFilter.ALL.withState(WorkerSession.State.SILENT, WorkerSession.State.DRAINING);
            assertEquals(List.of(), client.listWorkers(states));

            var job = client.enqueue(NewJob.builder("mail")
                    .queue("mail")
                    .timeout(Duration.ofHours(1))
                    .build());
            assertTrue(began.tryAcquire(60, TimeUnit.SECONDS));
            var session = holding(client, id);
            assertEquals("w-1", session.name());
            assertEquals(Map.of("zone", "a"), session.labels());
            assertEquals(Map.of("mail", List.of("mail")), session.takes());
            assertEquals(2, session.slots());
            assertEquals(1, session.held());
            assertEquals(WorkerSession.State.CONNECTED, session.state());
            assertEquals(Optional.empty(), session.silentSince());
            assertEquals(Optional.empty(), session.drain());
            assertTrue(session.client().contains("java"), session.client());
            var held = session.jobs().get(0);
            assertEquals(List.of(job.id(), "mail", "mail"), List.of(held.jobId(), held.queue(), held.kind()));
            assertEquals(1, held.attempt());
            assertTrue(held.deadlineAt().orElseThrow().isAfter(held.since()));

            var drained = client.drainWorker(id, "a new disk");
            assertEquals(WorkerSession.State.DRAINING, drained.state());
            assertEquals("a new disk", drained.drain().orElseThrow().reason());
            assertEquals(1, drained.jobs().size());
            assertEquals(List.of(id), ids(client, states));
            // It finishes what it holds.
            end.countDown();
            assertEquals(Status.SUCCEEDED, client.waitFor(job.id()).status());
        } finally {
            end.countDown();
            worker.close();
            other.close();
        }
    }

    private static List<String> ids(Client client, WorkerFilter filter) {
        return client.listWorkers(filter).stream().map(WorkerSession::sessionId).toList();
    }

    @Test
    void aSessionThatIsNotOpenIsNotFound(Client client) {
        assertThrows(JobQueueException.WorkerNotFound.class, () -> client.getWorker("1"));
        assertThrows(JobQueueException.WorkerNotFound.class, () -> client.drainWorker("1"));
    }
}
