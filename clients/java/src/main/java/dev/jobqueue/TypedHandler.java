package dev.jobqueue;

/**
 * Runs one attempt of a job of a {@link JobKind}: otherwise as {@link Handler}. The job itself is {@link JobContext#job}.
 *
 * @param <P> what the payload is
 * @param <O> what the output is; {@link Void}: there is none, and null is returned
 */
@FunctionalInterface
public interface TypedHandler<P, O> {
    /** Runs one attempt. */
    O run(P payload, JobContext context) throws Exception;
}
