package dev.jobqueue;

import java.time.Duration;
import java.util.Optional;

/**
 * How long the jobs of a queue can be read after their end, each 1 h to 3650 days; empty: as long as those of every queue.
 *
 * @param succeeded of jobs that ended as SUCCEEDED
 * @param failedPermanent of jobs that ended as FAILED_PERMANENT
 * @param cancelled of jobs that ended as CANCELLED
 */
public record Retention(
        Optional<Duration> succeeded, Optional<Duration> failedPermanent, Optional<Duration> cancelled) {
    /** As of every queue. */
    public static final Retention DEFAULT = new Retention(Optional.empty(), Optional.empty(), Optional.empty());

    /** The same, with so long for jobs that succeeded. */
    public Retention withSucceeded(Duration kept) {
        return new Retention(Optional.of(kept), failedPermanent, cancelled);
    }

    /** The same, with so long for jobs that failed for good. */
    public Retention withFailedPermanent(Duration kept) {
        return new Retention(succeeded, Optional.of(kept), cancelled);
    }

    /** The same, with so long for jobs that were cancelled. */
    public Retention withCancelled(Duration kept) {
        return new Retention(succeeded, failedPermanent, Optional.of(kept));
    }

    dev.jobqueue.v1.Retention message() {
        var message = dev.jobqueue.v1.Retention.newBuilder();
        succeeded.ifPresent(kept -> message.setSucceeded(Times.message(kept)));
        failedPermanent.ifPresent(kept -> message.setFailedPermanent(Times.message(kept)));
        cancelled.ifPresent(kept -> message.setCancelled(Times.message(kept)));
        return message.build();
    }

    static Retention of(dev.jobqueue.v1.Retention message) {
        return new Retention(
                Times.maybe(message.hasSucceeded(), message.getSucceeded()),
                Times.maybe(message.hasFailedPermanent(), message.getFailedPermanent()),
                Times.maybe(message.hasCancelled(), message.getCancelled()));
    }
}
