package dev.jobqueue;

import dev.jobqueue.v1.CountJobsResponse;
import java.time.Instant;

/**
 * How many jobs there are.
 *
 * @param count how many
 * @param exact whether that is all; else there are at least so many
 * @param readAt when it was so, by the database's clock
 */
public record JobCount(long count, boolean exact, Instant readAt) {
    static JobCount of(CountJobsResponse message) {
        return new JobCount(message.getCount(), message.getExact(), Times.of(message.getReadAt()));
    }
}
