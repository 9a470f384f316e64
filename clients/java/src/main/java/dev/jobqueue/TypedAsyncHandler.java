package dev.jobqueue;

import java.util.concurrent.CompletionStage;

/**
 * Runs one attempt of a job of a {@link JobKind} without holding a thread: otherwise as {@link AsyncHandler}.
 *
 * @param <P> what the payload is
 * @param <O> what the output is; {@link Void}: there is none, and the value is null
 */
@FunctionalInterface
public interface TypedAsyncHandler<P, O> {
    /** Begins one attempt. */
    CompletionStage<O> run(P payload, JobContext context) throws Exception;
}
