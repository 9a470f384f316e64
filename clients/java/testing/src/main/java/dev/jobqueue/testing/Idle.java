package dev.jobqueue.testing;

import dev.jobqueue.Job;
import java.util.List;

/**
 * What {@link TestScope#runUntilIdle} has left.
 *
 * @param ended the jobs that ended meanwhile, the oldest first, with payloads, outputs and failed attempts
 * @param waiting those of the scope that wait, the oldest first
 */
public record Idle(List<Job> ended, List<Waiting> waiting) {
    /** Keeps copies of the lists. */
    public Idle {
        ended = List.copyOf(ended);
        waiting = List.copyOf(waiting);
    }

    /**
     * A job that waits.
     *
     * @param job the job
     * @param why the server's words for what it waits for
     */
    public record Waiting(Job job, String why) {}
}
