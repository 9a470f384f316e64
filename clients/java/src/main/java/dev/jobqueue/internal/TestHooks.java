package dev.jobqueue.internal;

import dev.jobqueue.Client;
import dev.jobqueue.Codec;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.FieldViolation;
import dev.jobqueue.Job;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import dev.jobqueue.Stop;
import dev.jobqueue.Worker;
import dev.jobqueue.v1.LeasedJob;
import dev.jobqueue.v1.Outcome;
import dev.jobqueue.v1.Progress;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import java.util.function.Function;

/** What the artifact {@code jobqueue-testing} needs of this one. No API: it changes without a word. */
public abstract class TestHooks {
    private static volatile TestHooks hooks;

    /** For the one implementation. */
    protected TestHooks() {}

    /** The hooks. */
    public static TestHooks get() {
        if (hooks == null) {
            try {
                var made = Class.forName("dev.jobqueue.Hooks").getDeclaredMethod("hooks");
                made.setAccessible(true);
                hooks = (TestHooks) made.invoke(null);
            } catch (ReflectiveOperationException error) {
                throw new IllegalStateException(error);
            }
        }
        return hooks;
    }

    /** One attempt, as a worker runs it. */
    public interface Attempt {
        /** What its handler is given. */
        JobContext context();

        /** Starts the handler in a thread of the worker's. The future has the outcome. */
        CompletableFuture<Outcome> start();

        /** Tells the handler to stop. */
        void stop(Stop why);

        /** What the handler has thrown; null: nothing. */
        Throwable thrown();
    }

    /** The kinds that a worker has handlers of. */
    public abstract Set<String> kinds(Worker worker);

    /** The queues that a worker takes jobs from. */
    public abstract Set<String> queues(Worker worker);

    /**
     * A worker of another server with the same handlers, queues, slots, threads and codec.
     *
     * @param thrown is told what they throw, unless that is how they stop when they are asked to
     */
    public abstract Worker like(Worker worker, String target, String token, Consumer<Throwable> thrown);

    /** Makes a call that no client has, and waits for its answer. */
    public abstract <Q, A> A call(Client client, io.grpc.MethodDescriptor<Q, A> method, Q request);

    /** Lets jobs start now that wait, and waits until it is done; how many were changed. */
    public abstract long makeDue(Client client, List<String> ids);

    /** The codec of a worker. */
    public abstract Codec codec(Worker worker);

    /** A worker that never connects, whose handlers run in threads that all of these share. */
    public abstract Worker worker(Codec codec, List<Middleware> middleware);

    /** An attempt of a job whose kind the worker has a handler of. */
    public abstract Attempt attempt(Worker worker, LeasedJob message, Consumer<Progress> report);

    /** The context of an attempt that no handler runs. */
    public abstract JobContext context(LeasedJob message, Codec codec);

    /** A job as it is sent; path is where it stands in the request. */
    public abstract dev.jobqueue.v1.NewJob message(NewJob job, Codec codec, String path);

    /** A job with its payload written; path is where it stands in the request. */
    public abstract NewJob written(NewJob job, Codec codec, String path);

    /** Takes such jobs through the enqueue side of middleware; what it throws is thrown. */
    public abstract List<EnqueueResult> through(
            List<Middleware> middleware, List<NewJob> jobs, Function<List<NewJob>, List<EnqueueResult>> last);

    /** A job as it is answered. */
    public abstract Job job(dev.jobqueue.v1.Job message, Codec codec, boolean replayed);

    /** What a server answers that refuses a call. */
    public abstract JobQueueException refused(
            io.grpc.Status.Code code,
            String reason,
            String words,
            Map<String, String> metadata,
            List<FieldViolation> violations);
}
