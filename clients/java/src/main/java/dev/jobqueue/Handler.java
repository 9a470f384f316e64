package dev.jobqueue;

/**
 * Runs one attempt of a job, in a thread of its own: a virtual one where the runtime has them.
 *
 * <p>What it returns, if not null, is the job's output: a {@link Json} goes byte for byte, whatever else is written by the
 * worker's codec. An exception is a failure, but for those of {@link Ending}. When it should stop its thread is
 * interrupted; what that makes of its waiting ends the attempt as it was asked to.
 */
@FunctionalInterface
public interface Handler {
    /** Runs one attempt. */
    Object run(LeasedJob job, JobContext context) throws Exception;
}
