package dev.jobqueue;

import java.time.Instant;
import java.util.OptionalDouble;

/**
 * The last progress that a running attempt reported.
 *
 * @param fraction 0..1, of the whole; empty: it can't tell
 * @param message what the attempt does now, for people
 * @param updatedAt when it said so, by the database's clock
 */
public record JobProgress(OptionalDouble fraction, String message, Instant updatedAt) {
    static JobProgress of(dev.jobqueue.v1.JobProgress message) {
        return new JobProgress(
                message.hasFraction() ? OptionalDouble.of(message.getFraction()) : OptionalDouble.empty(),
                message.getMessage(),
                Times.of(message.getUpdatedAt()));
    }
}
