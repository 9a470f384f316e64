package dev.jobqueue.spring;

import dev.jobqueue.Codec;
import dev.jobqueue.Enqueuer;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import java.util.ArrayList;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.springframework.transaction.support.TransactionSynchronization;
import org.springframework.transaction.support.TransactionSynchronizationManager;

/**
 * Enqueues jobs once the transaction of this thread has committed; at once where there is none. For any thread.
 *
 * <pre>{@code
 * @Transactional
 * public void place(Order order) {
 *     orders.save(order);
 *     afterCommit.enqueue(SEND_RECEIPT, order);
 * }
 * }</pre>
 *
 * <p>Its methods answer nothing: before the commit there is no job and no id. A rollback enqueues nothing, nor does a rollback
 * to a savepoint what was said after it. The jobs of a transaction are enqueued by one call, in the order in which they were
 * said, in the thread that commits, and last in the order of synchronizations. That waits for the answer, and holds the
 * transaction's connection meanwhile: the bean for {@code jobqueue.after-commit-deadline} at most, {@link #of} for the
 * deadline of its client.
 *
 * <p>What other synchronizations say once the transaction has committed is enqueued too: at once, or where no job was said
 * before, when all is over. An error of that, or where one of them has thrown before, is logged by Spring and thrown to
 * no caller. Reactive transactions, which belong to no thread, are not seen.
 *
 * <p>A process that dies between the commit and the enqueue loses the jobs, and so does a server that can't be reached: the
 * {@link dev.jobqueue.JobQueueException} goes to the caller of the transaction, which has committed. Where that must not
 * happen, write a row in the transaction, and enqueue what rows say, with their ids as idempotency keys.
 */
public final class AfterCommit {
    private final Enqueuer enqueuer;
    /** That of jobs of a transaction, which waits less. */
    private final Enqueuer committed;
    /** Null: payloads are written by the client alone. */
    private final Codec codec;

    AfterCommit(Enqueuer enqueuer, Enqueuer committed, Codec codec) {
        this.enqueuer = Objects.requireNonNull(enqueuer, "enqueuer");
        this.committed = committed;
        this.codec = codec;
    }

    /** Of a client that is no bean, or in a test of a recorder; payloads are written by the codec of that client. */
    public static AfterCommit of(Enqueuer enqueuer) {
        return new AfterCommit(enqueuer, enqueuer, null);
    }

    /**
     * Enqueues a job of a typed kind and a payload of it.
     *
     * @throws dev.jobqueue.JobQueueException.PayloadInvalid the payload is null, and not of the class Void
     */
    public <P> void enqueue(JobKind<P, ?> kind, P payload) {
        enqueue(kind.job(payload).build());
    }

    /** Enqueues a job of a kind and a payload: a {@link Json}, or what the codec writes. */
    public void enqueue(String kind, Object payload) {
        enqueue(NewJob.of(kind, payload));
    }

    /**
     * Enqueues a job. Its payload is written now, so that a later change of the object changes nothing.
     *
     * @throws IllegalArgumentException the payload can't be written as JSON
     */
    public void enqueue(NewJob job) {
        enqueueMany(List.of(job));
    }

    /** {@link #enqueue(NewJob)} of many jobs. */
    public void enqueueMany(Collection<NewJob> jobs) {
        var written = jobs.stream().map(this::written).toList();
        if (!TransactionSynchronizationManager.isSynchronizationActive()
                || !TransactionSynchronizationManager.isActualTransactionActive()) {
            send(enqueuer, written);
            return;
        }
        pending().add(written);
    }

    private Pending pending() {
        for (var each : TransactionSynchronizationManager.getSynchronizations()) {
            if (each instanceof Pending known && known.owner == this) {
                return known;
            }
        }
        var made = new Pending(this);
        TransactionSynchronizationManager.registerSynchronization(made);
        return made;
    }

    private NewJob written(NewJob job) {
        var payload = job.payload();
        if (codec == null || payload == null || payload instanceof Json) {
            return job;
        }
        try {
            return job.toBuilder().payload(Json.of(codec.write(payload))).build();
        } catch (Exception error) {
            throw new IllegalArgumentException(
                    "the payload of the %s job can't be written as JSON: %s".formatted(job.kind(), error.getMessage()),
                    error);
        }
    }

    private static void send(Enqueuer enqueuer, List<NewJob> jobs) {
        if (jobs.size() == 1) {
            enqueuer.enqueue(jobs.get(0));
        } else if (!jobs.isEmpty()) {
            enqueuer.enqueueMany(jobs);
        }
    }

    /** The jobs of one transaction. */
    private static final class Pending implements TransactionSynchronization {
        private final AfterCommit owner;
        private final List<NewJob> jobs = new ArrayList<>();
        /** How many there were at each savepoint. */
        private final Map<Object, Integer> savepoints = new IdentityHashMap<>();
        /** Whether its jobs were sent: what comes now is sent at once. */
        private boolean sent;

        Pending(AfterCommit owner) {
            this.owner = owner;
        }

        void add(List<NewJob> more) {
            jobs.addAll(more);
            if (sent) {
                sendAll();
            }
        }

        private void sendAll() {
            // Each is sent once, also where the server gives no answer.
            var all = List.copyOf(jobs);
            jobs.clear();
            send(owner.committed, all);
        }

        @Override
        public void savepoint(Object savepoint) {
            savepoints.put(savepoint, jobs.size());
        }

        @Override
        public void savepointRollback(Object savepoint) {
            // One from before the first job is not known here.
            int kept = savepoints.getOrDefault(savepoint, 0);
            jobs.subList(kept, jobs.size()).clear();
        }

        @Override
        public void afterCommit() {
            sent = true;
            sendAll();
        }

        /** Of what was said first by another one's afterCommit, or where that has thrown. */
        @Override
        public void afterCompletion(int status) {
            if (status == STATUS_COMMITTED) {
                sendAll();
            }
        }
    }
}
