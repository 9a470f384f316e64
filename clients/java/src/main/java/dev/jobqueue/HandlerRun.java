package dev.jobqueue;

import dev.jobqueue.v1.Outcome;
import java.util.concurrent.CompletableFuture;
import java.util.function.BiConsumer;

/** A handler at work, in a thread of its own and without the session's lock. */
final class HandlerRun implements Runnable {
    final Lease lease;
    private final Worker.Settings settings;
    private final BiConsumer<Lease, Outcome.Builder> ended;
    /** In which it runs, and may be interrupted. */
    private Thread thread;
    /** What it has answered, and may be cancelled. */
    private CompletableFuture<?> stage;
    /** Null: it has none. */
    private Tracer.Span span;

    HandlerRun(Lease lease, Worker.Settings settings, BiConsumer<Lease, Outcome.Builder> ended) {
        this.lease = lease;
        this.settings = settings;
        this.ended = ended;
    }

    @Override
    @SuppressWarnings("try") // The scope is only closed.
    public void run() {
        begin(Thread.currentThread());
        Outcome.Builder outcome = null;
        CompletableFuture<?> answered = null;
        try (var scope = traced()) {
            if (lease.job.attempt() > 1) {
                lease.context.throwIfCancelled(); // told to stop while its receipt was on its way
            }
            if (lease.handler.async() == null) {
                outcome = Endings.ofResult(lease.handler.plain().run(lease.job, lease.context), lease.context);
            } else {
                answered = lease.handler.async().run(lease.job, lease.context).toCompletableFuture();
            }
        } catch (Throwable error) {
            // Whatever it is: a handler that is not heard of again would keep its slot for ever.
            outcome = thrown(error);
        }
        pass(answered);
        if (answered == null) {
            finish(outcome);
        } else {
            answered.whenComplete((output, error) -> finish(answer(output, error)));
        }
    }

    /** The span of its attempt becomes the current one. Null: it has none. */
    private Tracer.Scope traced() {
        var tracer = settings.connection().tracer();
        span = tracer == null ? null : tracer.begin(lease.job, lease.id).orElse(null);
        if (span == null) {
            return null;
        }
        lease.context.follow(span.traceparent());
        return span.enter();
    }

    private void finish(Outcome.Builder outcome) {
        try {
            if (span != null) {
                span.end(Tracer.End.of(outcome, lease.context.stop().orElse(null)));
            }
        } finally {
            ended.accept(lease, outcome);
        }
    }

    private Outcome.Builder answer(Object output, Throwable error) {
        try {
            return error == null ? Endings.ofResult(output, lease.context) : thrown(error);
        } catch (Throwable second) {
            return thrown(second);
        }
    }

    private Outcome.Builder thrown(Throwable error) {
        return Endings.ofThrown(error, lease.context.stop().orElse(null));
    }

    private synchronized void begin(Thread current) {
        thread = current;
        if (lease.context.isCancelled()) {
            interrupt();
        }
    }

    /** The thread goes back to where it came from: an interrupt that comes too late must not reach its next handler. */
    private synchronized void pass(CompletableFuture<?> answered) {
        thread = null;
        stage = answered;
        if (lease.context.isCancelled()) {
            interrupt();
        }
    }

    /** Its context has been told to stop. */
    synchronized void interrupt() {
        if (!lease.handler.options().interrupt()) {
            return;
        }
        if (thread != null) {
            thread.interrupt();
        }
        var cancelled = stage;
        if (cancelled != null) {
            // Not here: what depends on it is the program's, and would run under the session's lock.
            settings.executor().execute(() -> cancelled.cancel(true));
        }
    }
}
