package dev.jobqueue;

import java.time.Duration;

/**
 * The wait between a failure and the next attempt.
 *
 * @param minBackoff the shortest wait, 1 ms to 7 days; null: 1 s
 * @param maxBackoff the longest wait, {@code minBackoff} to 7 days; null: 60 s
 */
public record RetryPolicy(Duration minBackoff, Duration maxBackoff) {
    dev.jobqueue.v1.RetryPolicy message() {
        var message = dev.jobqueue.v1.RetryPolicy.newBuilder();
        if (minBackoff != null) {
            message.setMinBackoff(Times.message(minBackoff));
        }
        if (maxBackoff != null) {
            message.setMaxBackoff(Times.message(maxBackoff));
        }
        return message.build();
    }

    static RetryPolicy of(dev.jobqueue.v1.RetryPolicy message) {
        return new RetryPolicy(
                message.hasMinBackoff() ? Times.of(message.getMinBackoff()) : null,
                message.hasMaxBackoff() ? Times.of(message.getMaxBackoff()) : null);
    }
}
