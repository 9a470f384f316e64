package dev.jobqueue;

import dev.jobqueue.v1.SettleResult;
import java.time.Duration;
import java.util.Map;

/**
 * Is told of attempts, of calls to enqueue, and of a worker's session: where metrics, and reports of errors, come from.
 *
 * <p>Its methods are called one at a time, in the order of what happened, in a thread of its own: one that is slow holds up
 * no heartbeat. Up to 10,000 events wait for it; more are dropped, and {@link WorkerStatus#observerDropped} counts them.
 * What it throws is logged once, and it goes on being called.
 */
public interface Observer {
    /** What became of an attempt, in the words of the server's metrics. */
    enum Outcome {
        /** It succeeded. */
        SUCCEEDED,
        /** The job will run again, after a failure that it may have, a snooze or a release. */
        RETRYING,
        /** The job failed and gets no more attempts. */
        FAILED_PERMANENT,
        /** It was cancelled. */
        CANCELLED,
        /** No outcome was taken: the lease was revoked or stale, or the job is gone. */
        ERROR;

        /** Of an outcome that was applied; the result may be null: as it was said. */
        static Outcome of(dev.jobqueue.v1.Outcome outcome, SettleResult result) {
            var status = result == null ? dev.jobqueue.v1.Job.Status.STATUS_UNSPECIFIED : result.getStatus();
            return switch (status) {
                case SUCCEEDED -> SUCCEEDED;
                case RETRYING, QUEUED -> RETRYING;
                case FAILED_PERMANENT -> FAILED_PERMANENT;
                case CANCELLED -> CANCELLED;
                default -> {
                    if (outcome == null || outcome.hasSuccess()) {
                        yield SUCCEEDED;
                    }
                    yield outcome.hasCancellation() ? CANCELLED : RETRYING;
                }
            };
        }
    }

    /**
     * An attempt, by its values: what may be kept, and holds no payload.
     *
     * @param id the job's id
     * @param kind the job's kind
     * @param queue the queue that it was claimed from
     * @param attempt its number in its job, from 1
     * @param failures how many failures there were before it
     * @param labels the producer's own labels
     * @param requestId {@code x-request-id} of the enqueuing call; empty: it had none
     */
    record Attempt(
            String id,
            String kind,
            String queue,
            int attempt,
            int failures,
            Map<String, String> labels,
            String requestId) {
        static Attempt of(LeasedJob job) {
            return new Attempt(
                    job.id(),
                    job.kind(),
                    job.queue(),
                    job.attempt(),
                    job.failures(),
                    job.labels(),
                    job.headers().getOrDefault("x-request-id", ""));
        }
    }

    /** An attempt was delivered to a worker. */
    default void attemptStarted(Attempt attempt) {}

    /**
     * The server has answered the outcome of an attempt, or takes none of it any more.
     *
     * @param took how long its handler ran
     * @param error what failed, such as {@code java.io.IOException: no disk}; empty: nothing
     */
    default void attemptEnded(Attempt attempt, Outcome outcome, Duration took, String error) {}

    /**
     * A client's call to enqueue has ended, all its tries together. Of many jobs, once for each kind and queue of a batch.
     *
     * @param count how many jobs of this kind and queue it had
     * @param error why none of them was enqueued, as far as is known; null: they were
     */
    default void enqueued(int count, String kind, String queue, Duration took, JobQueueException error) {}

    /** A worker's state, server or session has changed. */
    default void sessionChanged(WorkerStatus status) {}
}
