package dev.jobqueue;

import java.time.Duration;
import java.util.Optional;

/**
 * How many jobs of one status there are in a queue.
 *
 * @param jobs how many, those with a later {@code runAt} and those that are held back included
 * @param capped whether counting stopped at its bound, so that there are at least so many
 * @param oldestAge how long the first of them has been due, or the first running one has run; empty: there is none
 */
public record QueueDepth(int jobs, boolean capped, Optional<Duration> oldestAge) {
    static QueueDepth of(dev.jobqueue.v1.QueueDepth message) {
        return new QueueDepth(
                message.getJobs(),
                message.getCapped(),
                message.hasOldestAge() ? Optional.of(Times.of(message.getOldestAge())) : Optional.empty());
    }
}
