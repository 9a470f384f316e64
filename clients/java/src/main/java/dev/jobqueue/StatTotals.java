package dev.jobqueue;

import java.time.Duration;
import java.util.Optional;

/**
 * How many jobs or attempts went which way, and how long half and 99 of 100 of them waited and ran at most: right within a
 * factor of two, and empty where there are none.
 *
 * @param enqueued jobs that were stored
 * @param started attempts that began
 * @param succeeded jobs that succeeded
 * @param retried attempts that failed, and whose job waits for another one
 * @param failed jobs that failed for good
 * @param cancelled jobs that were cancelled
 * @param lost attempts that were lost with their worker
 * @param timedOut attempts that ran into their timeout
 * @param released attempts that were given back, or never reached a worker
 * @param waitP50 the wait of half of them
 * @param waitP99 the wait of 99 of 100
 * @param runP50 the run of half of them
 * @param runP99 the run of 99 of 100
 */
public record StatTotals(
        long enqueued,
        long started,
        long succeeded,
        long retried,
        long failed,
        long cancelled,
        long lost,
        long timedOut,
        long released,
        Optional<Duration> waitP50,
        Optional<Duration> waitP99,
        Optional<Duration> runP50,
        Optional<Duration> runP99) {
    static StatTotals of(dev.jobqueue.v1.StatTotals message) {
        return new StatTotals(
                message.getEnqueued(),
                message.getStarted(),
                message.getSucceeded(),
                message.getRetried(),
                message.getFailed(),
                message.getCancelled(),
                message.getLost(),
                message.getTimedOut(),
                message.getReleased(),
                Times.maybe(message.hasWaitP50(), message.getWaitP50()),
                Times.maybe(message.hasWaitP99(), message.getWaitP99()),
                Times.maybe(message.hasRunP50(), message.getRunP50()),
                Times.maybe(message.hasRunP99(), message.getRunP99()));
    }
}
