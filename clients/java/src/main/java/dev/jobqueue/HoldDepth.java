package dev.jobqueue;

/**
 * How many jobs of a queue are held back and wait for the same.
 *
 * @param jobs how many
 * @param capped whether counting stopped at its bound, so that there are at least so many
 */
public record HoldDepth(int jobs, boolean capped) {
    static HoldDepth of(dev.jobqueue.v1.HoldDepth message) {
        return new HoldDepth(message.getJobs(), message.getCapped());
    }
}
