package dev.jobqueue.testing;

import com.google.protobuf.ByteString;
import dev.jobqueue.Codec;
import dev.jobqueue.Discard;
import dev.jobqueue.Handler;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import dev.jobqueue.Retry;
import dev.jobqueue.Stop;
import dev.jobqueue.TypedHandler;
import dev.jobqueue.Worker;
import dev.jobqueue.internal.TestHooks;
import dev.jobqueue.v1.LeasedJob;
import dev.jobqueue.v1.Outcome;
import dev.jobqueue.v1.Progress;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/**
 * Performs one attempt of a job, by the code that a worker runs, without a server.
 *
 * <pre>{@code
 * var done = perform(worker, SEND_MAIL, new Mail("ada@example.org"), given -> given.attempt(2));
 * assertEquals(new Sent("m1"), done.output());
 * }</pre>
 *
 * <p>The payload goes through JSON, the handler runs in a thread of its own, and the limits of outputs, checkpoints and
 * follow-ups hold. What only a server knows does not hold: the kind's schema, slots, permissions, limits.
 *
 * <p>An ordinary failure is thrown as itself, unless it is {@link Given#caught}. {@code Retry}, {@code Discard}, {@code
 * Snooze} and {@code Cancelled} are outcomes.
 */
public final class Testing {
    /** A job whose kind nothing names. */
    private static final String KIND = "performed";

    private Testing() {}

    /** {@link #perform(Worker, JobKind, Object, Consumer)} of the first attempt of a plain job. */
    public static <P, O> Performed<O> perform(Worker worker, JobKind<P, O> kind, P payload) throws Exception {
        return perform(worker, kind, payload, given -> {});
    }

    /**
     * Performs an attempt by the handler that a worker has of a typed kind. All that was said of worker and handler holds.
     *
     * @throws Exception what the handler threw, if it is an ordinary failure
     * @throws HandlerFailed the attempt failed without an exception of the handler
     * @throws StillRunning it has not ended in time
     * @throws IllegalArgumentException the worker has no handler of the kind
     * @throws dev.jobqueue.JobQueueException.InvalidRequest the payload can't be written as JSON
     */
    public static <P, O> Performed<O> perform(Worker worker, JobKind<P, O> kind, P payload, Consumer<Given> changes)
            throws Exception {
        var given = given(worker, changes);
        return new Typed<>(worker, kind, payload).run(given);
    }

    /** {@link #perform(JobKind, TypedHandler, Object, Consumer)} of the first attempt of a plain job. */
    public static <P, O> Performed<O> perform(
            JobKind<P, O> kind, TypedHandler<? super P, ? extends O> handler, P payload) throws Exception {
        return perform(kind, handler, payload, given -> {});
    }

    /**
     * The same with the handler itself. JSON is that of {@link Given#codec}.
     *
     * @throws Exception as with a worker
     */
    public static <P, O> Performed<O> perform(
            JobKind<P, O> kind, TypedHandler<? super P, ? extends O> handler, P payload, Consumer<Given> changes)
            throws Exception {
        var given = new Given();
        changes.accept(given);
        var worker = TestHooks.get().worker(given.codec(), given.middleware).handle(kind, handler);
        return new Typed<>(worker, kind, payload).run(given);
    }

    /** {@link #perform(Worker, String, Object, Consumer)} of the first attempt of a plain job. */
    public static Performed<Json> perform(Worker worker, String kind, Object payload) throws Exception {
        return perform(worker, kind, payload, given -> {});
    }

    /**
     * The same of a kind that is a name.
     *
     * @throws Exception as of a typed kind
     */
    public static Performed<Json> perform(Worker worker, String kind, Object payload, Consumer<Given> changes)
            throws Exception {
        return new Untyped(worker, kind, payload).run(given(worker, changes));
    }

    /** {@link #perform(Handler, Object, Consumer)} of the first attempt of a plain job. */
    public static Performed<Json> perform(Handler handler, Object payload) throws Exception {
        return perform(handler, payload, given -> {});
    }

    /**
     * The same with a handler that takes a job.
     *
     * @throws Exception as of a typed kind
     */
    public static Performed<Json> perform(Handler handler, Object payload, Consumer<Given> changes) throws Exception {
        var given = new Given();
        changes.accept(given);
        var worker = TestHooks.get().worker(given.codec(), given.middleware).handle(KIND, handler);
        return new Untyped(worker, KIND, payload).run(given);
    }

    /** The context of an attempt, for code that is called with one. What it reports is dropped; {@code perform} keeps it. */
    public static JobContext attempt(Object payload, Consumer<Given> changes) {
        var given = new Given();
        changes.accept(given);
        return context(given, NewJob.of(KIND, payload), KIND);
    }

    /** The same of a typed kind. */
    public static <P> JobContext attempt(JobKind<P, ?> kind, P payload, Consumer<Given> changes) {
        var given = new Given();
        changes.accept(given);
        return context(given, kind.job(payload).build(), kind.name());
    }

    private static JobContext context(Given given, NewJob job, String kind) {
        var hooks = TestHooks.get();
        return hooks.context(given.message(kind, hooks.message(job, given.codec(), "job")), given.codec());
    }

    private static Given given(Worker worker, Consumer<Given> changes) {
        var given = new Given();
        changes.accept(given);
        return given.withoutMiddleware().codec(TestHooks.get().codec(worker));
    }

    /** A job that is performed, as often as it is asked for. */
    private abstract static class Subject<O> {
        final Worker worker;
        final String kind;

        Subject(Worker worker, String kind) {
            this.worker = worker;
            this.kind = kind;
            var kinds = TestHooks.get().kinds(worker);
            if (!kinds.contains(kind)) {
                throw new IllegalArgumentException("the worker has no handler of kind %s; it has: %s"
                        .formatted(kind, kinds.isEmpty() ? "none" : String.join(", ", kinds)));
            }
        }

        /** The job, as its producer makes it. */
        abstract NewJob job();

        abstract O read(Outcome outcome, Codec codec);

        Performed<O> run(Given given) throws Exception {
            var hooks = TestHooks.get();
            var job = given.isStored() ? NewJob.of(kind) : job();
            var run = new Run(worker, given.message(kind, hooks.message(job, given.codec(), "job")), given);
            var outcome = run.outcome();
            var success = outcome.getSuccess();
            var followUps = success.getFollowUpsList().stream()
                    .map(each -> Stored.job(each, given.codec()))
                    .toList();
            var done = new Performed<>(
                    outcome,
                    success.hasOutputJson() ? read(outcome, given.codec()) : null,
                    run.progress,
                    run.checkpoints,
                    followUps,
                    given,
                    this::again);
            if (done.outcome() == Performed.Outcome.FAILED && !given.caught) {
                var thrown = run.attempt.thrown();
                if (thrown == null) {
                    throw new HandlerFailed(done);
                }
                if (thrown instanceof Exception failure && !(thrown instanceof Retry) && !(thrown instanceof Discard)) {
                    throw failure;
                }
                if (thrown instanceof Error failure) {
                    throw failure;
                }
            }
            return done;
        }

        private Performed<O> again(Performed<O> before, Consumer<Given> changes) throws Exception {
            var failed = before.outcome() == Performed.Outcome.FAILED ? 1 : 0;
            var given = before.next(failed);
            changes.accept(given);
            return run(given.withoutMiddleware());
        }
    }

    private static final class Typed<P, O> extends Subject<O> {
        private final JobKind<P, O> kind;
        private final P payload;

        Typed(Worker worker, JobKind<P, O> kind, P payload) {
            super(worker, kind.name());
            this.kind = kind;
            this.payload = payload;
        }

        @Override
        NewJob job() {
            return kind.job(payload).build();
        }

        @Override
        O read(Outcome outcome, Codec codec) {
            var job = dev.jobqueue.v1.Job.newBuilder()
                    .setKind(kind.name())
                    .setStatus(dev.jobqueue.v1.Job.Status.SUCCEEDED)
                    .setOutputJson(outcome.getSuccess().getOutputJson())
                    .build();
            return kind.outputOf(TestHooks.get().job(job, codec, false));
        }
    }

    private static final class Untyped extends Subject<Json> {
        private final Object payload;

        Untyped(Worker worker, String kind, Object payload) {
            super(worker, kind);
            this.payload = payload;
        }

        @Override
        NewJob job() {
            return NewJob.of(kind, payload);
        }

        @Override
        Json read(Outcome outcome, Codec codec) {
            return Json.of(outcome.getSuccess().getOutputJson().toByteArray());
        }
    }

    /** One run of a handler, with what it told meanwhile. */
    private static final class Run {
        final List<Report> progress = Collections.synchronizedList(new ArrayList<>());
        final List<ByteString> checkpoints = Collections.synchronizedList(new ArrayList<>());
        final TestHooks.Attempt attempt;
        private final Given given;
        private final String kind;

        Run(Worker worker, LeasedJob message, Given given) {
            this.given = given;
            kind = message.getKind();
            attempt = TestHooks.get().attempt(worker, message, this::report);
        }

        Outcome outcome() throws InterruptedException {
            if (given.stopAtStart) {
                stop(given.reason);
            }
            var ended = attempt.start();
            if (given.stopAfter != null) {
                CompletableFuture.delayedExecutor(given.stopAfter.toNanos(), TimeUnit.NANOSECONDS)
                        .execute(() -> stop(given.reason));
            }
            try {
                return ended.get(given.within.toNanos(), TimeUnit.NANOSECONDS);
            } catch (TimeoutException error) {
                var told = attempt.context().isCancelled() ? ", though it was told to stop" : "";
                throw new StillRunning(
                        "the handler of %s still runs after %s s%s".formatted(kind, seconds(given.within), told));
            } catch (ExecutionException error) {
                throw new IllegalStateException(error.getCause());
            } finally {
                if (!ended.isDone()) {
                    // It must not outlive the test; a thread that ignores the interrupt can't be ended.
                    stop(Stop.Reason.SHUTDOWN);
                }
            }
        }

        private static String seconds(Duration span) {
            return "%.3f".formatted(span.toMillis() / 1e3).replaceAll("\\.?0+$", "");
        }

        private void report(Progress report) {
            if (report.hasCheckpoint()) {
                checkpoints.add(report.getCheckpoint());
                return;
            }
            var fraction = report.hasFraction() ? OptionalDouble.of(report.getFraction()) : OptionalDouble.empty();
            progress.add(new Report(fraction, report.getMessage()));
            if (progress.size() == given.stopAtProgress) {
                stop(given.reason);
            }
        }

        private void stop(Stop.Reason reason) {
            attempt.stop(new Stop(reason, reason.name().toLowerCase(Locale.ROOT) + ", by the test"));
        }
    }
}
