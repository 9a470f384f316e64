package dev.jobqueue;

import dev.jobqueue.v1.SettleResult;
import java.time.Duration;

/**
 * Is told of every attempt: where metrics of a worker come from. Its methods are called one at a time, while the session
 * waits: they must be quick, and call nothing of the worker's. What they throw is logged.
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

    /** An attempt starts. */
    default void started(String kind) {}

    /** The server has answered the outcome of an attempt, whose handler ran for so long. */
    default void finished(String kind, Outcome outcome, Duration took) {}
}
