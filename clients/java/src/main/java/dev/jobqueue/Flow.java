package dev.jobqueue;

/**
 * What happens to jobs, each as a number per second; the names are those of {@link StatTotals}.
 *
 * @param enqueued jobs that are stored
 * @param started attempts that begin
 * @param succeeded jobs that succeed
 * @param retried attempts that fail, and whose job waits for another one
 * @param failed jobs that fail for good
 * @param cancelled jobs that are cancelled
 * @param lost attempts that are lost with their worker
 * @param timedOut attempts that run into their timeout
 * @param released attempts that are given back, or never reach a worker
 */
public record Flow(
        double enqueued,
        double started,
        double succeeded,
        double retried,
        double failed,
        double cancelled,
        double lost,
        double timedOut,
        double released) {
    static Flow of(dev.jobqueue.v1.Flow message) {
        return new Flow(
                message.getEnqueued(),
                message.getStarted(),
                message.getSucceeded(),
                message.getRetried(),
                message.getFailed(),
                message.getCancelled(),
                message.getLost(),
                message.getTimedOut(),
                message.getReleased());
    }
}
