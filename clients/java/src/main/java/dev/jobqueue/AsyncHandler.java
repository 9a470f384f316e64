package dev.jobqueue;

import java.util.concurrent.CompletionStage;

/**
 * Runs one attempt of a job without holding a thread: the attempt ends with the stage that it answers, whose value is the
 * job's output as in {@link Handler}. When it should stop the stage is cancelled, as by {@link
 * java.util.concurrent.CompletableFuture#cancel}.
 */
@FunctionalInterface
public interface AsyncHandler {
    /** Begins one attempt. */
    CompletionStage<?> run(LeasedJob job, JobContext context) throws Exception;
}
