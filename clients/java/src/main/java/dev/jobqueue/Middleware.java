package dev.jobqueue;

import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletionStage;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Goes around enqueues and handlers. Implement one method or both.
 *
 * <pre>{@code
 * final class PassesTenant implements Middleware {
 *     public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
 *         Tenant.set(job.headers().get("tenant"));
 *         try {
 *             return next.run();
 *         } finally {
 *             Tenant.clear();
 *         }
 *     }
 *
 *     public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
 *         return next.enqueue(jobs.stream().map(job -> job.withHeaders(Map.of("tenant", Tenant.get()))).toList());
 *     }
 * }
 * }</pre>
 *
 * <p>The same object may be given to clients and workers, and is called by many threads at once. The first of a list is the
 * outermost one.
 */
public interface Middleware {
    /** Runs the handler, or what is further inside. */
    @FunctionalInterface
    interface Next {
        /**
         * Called once; of a plain handler in the thread in which {@link Middleware#handle} was called.
         *
         * @return what the handler returned; of an {@link AsyncHandler} always its stage, a {@link CompletionStage}
         * @throws IllegalStateException it was called before, in another thread, or after the end
         */
        Object run() throws Exception;
    }

    /** Enqueues, or hands on to the next middleware. */
    @FunctionalInterface
    interface NextEnqueue {
        /**
         * Called once.
         *
         * @param jobs the same jobs, whose headers and labels may differ, and nothing else; the version of a typed payload
         *     stays whatever the headers are
         * @return a result for each job; fails with an IllegalStateException where these are other jobs
         * @throws IllegalStateException it was called before, or after the end
         */
        CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs);
    }

    /**
     * Goes around one attempt, in the thread of its handler.
     *
     * <p>What it throws counts as thrown by the handler: {@link Retry}, {@link Discard}, {@link Snooze} and {@link Cancelled}
     * too. What it returns is the job's output; without a call of {@code next} the handler is not run. If it catches what was
     * thrown within, the attempt has succeeded without follow-ups.
     *
     * <p>Of an {@link AsyncHandler} {@code next} answers the handler's stage, often before the attempt is over: what is to
     * happen at its end depends on that stage, and the new stage is returned.
     *
     * @param job the job; to look at its payload costs its decoding
     * @param context that of the attempt; follow-ups are said to it before {@code next} is called
     * @param next the handler, or what is further inside
     * @return the job's output, or a stage that has it
     */
    default Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
        return next.run();
    }

    /**
     * Goes around one call of {@code enqueue} or {@code enqueueMany}, unless that has no jobs, or around all follow-ups of an
     * attempt.
     *
     * <p>It is called once for a call, however often the client tries, in the caller's thread; for follow-ups in the
     * handler's. It calls {@code next} once, and answers what that answered. What it throws before ends the call, and nothing
     * was sent; an attempt with follow-ups fails.
     *
     * @param jobs what is enqueued; one job of {@code enqueue}. Their payloads are a {@link Json} each, or null
     * @param next the call, or what is further inside. The results of follow-ups have no ids, since they are enqueued with
     *     the outcome
     */
    default CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
        return next.enqueue(jobs);
    }

    /** The same middleware for these kinds alone. Of a call with several kinds it sees its own jobs. */
    static Middleware forKinds(Middleware middleware, String... kinds) {
        return new ForKinds(middleware, Set.of(kinds));
    }

    /** The same for typed kinds, with their older names. */
    static Middleware forKinds(Middleware middleware, JobKind<?, ?>... kinds) {
        return new ForKinds(
                middleware,
                Stream.of(kinds)
                        .flatMap(kind -> Stream.concat(Stream.of(kind.name()), kind.aliases().stream()))
                        .collect(Collectors.toUnmodifiableSet()));
    }
}
