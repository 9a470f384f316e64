package dev.jobqueue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/** Takes jobs through the enqueue side of middleware, and holds each to what {@link Middleware#enqueue} says. */
final class Enqueues {
    private Enqueues() {}

    /**
     * Calls each, the outermost first, and then the last with the jobs as they have become.
     *
     * @return fails with what was thrown, or with an IllegalStateException where one did not keep to its part
     */
    static CompletableFuture<List<EnqueueResult>> through(
            List<Middleware> middleware, List<NewJob> jobs, Middleware.NextEnqueue last) {
        var next = last;
        for (var at = middleware.size() - 1; at >= 0; at--) {
            var each = middleware.get(at);
            var inside = next;
            next = given -> once(each, given, inside);
        }
        return next.enqueue(jobs).toCompletableFuture();
    }

    /** Calls one. */
    static CompletableFuture<List<EnqueueResult>> once(
            Middleware middleware, List<NewJob> jobs, Middleware.NextEnqueue next) {
        var only = new Once(name(middleware), jobs, next);
        CompletableFuture<List<EnqueueResult>> answer;
        try {
            var stage = middleware.enqueue(jobs, only);
            answer = stage == null
                    ? CompletableFuture.failedFuture(only.wrong("returned null"))
                    : stage.toCompletableFuture();
        } catch (Throwable error) {
            answer = CompletableFuture.failedFuture(error);
        }
        return answer.whenComplete((results, error) -> only.end()).thenApply(only::answer);
    }

    static String name(Middleware middleware) {
        var type = middleware.getClass();
        return type.getSimpleName().isEmpty() ? type.getName() : type.getSimpleName();
    }

    /** The next of one call of one middleware. */
    private static final class Once implements Middleware.NextEnqueue {
        private final String name;
        private final List<NewJob> jobs;
        private final Middleware.NextEnqueue next;
        private int calls;
        /** The middleware has ended: its caller is told by now what became of the jobs. */
        private boolean over;
        /** What next answers; null: it was not called. */
        private CompletableFuture<List<EnqueueResult>> answered;

        Once(String name, List<NewJob> jobs, Middleware.NextEnqueue next) {
            this.name = name + ".enqueue";
            this.jobs = jobs;
            this.next = next;
        }

        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> changed) {
            var begun = new CompletableFuture<List<EnqueueResult>>();
            synchronized (this) {
                if (over) {
                    throw new IllegalStateException(name + " called next after it had ended");
                }
                if (++calls > 1) {
                    throw twice();
                }
                // Before the call: another thread may end the middleware meanwhile.
                answered = begun;
            }
            try {
                next.enqueue(checked(List.copyOf(changed))).whenComplete((results, error) -> {
                    if (error == null) {
                        begun.complete(results);
                    } else {
                        begun.completeExceptionally(error);
                    }
                });
            } catch (Throwable error) {
                begun.completeExceptionally(error);
            }
            return begun.copy();
        }

        synchronized void end() {
            over = true;
        }

        /** What a middleware has answered, if it is what next has answered. */
        synchronized List<EnqueueResult> answer(List<EnqueueResult> got) {
            if (calls > 1) {
                throw twice();
            }
            if (answered == null) {
                throw wrong("did not call next");
            }
            if (answered.isCompletedExceptionally()) {
                var error = wrong("has dropped an error of next");
                error.initCause(Endings.unwrapped(
                        answered.handle((results, cause) -> cause).join()));
                throw error;
            }
            if (!answered.isDone() || got != answered.join()) {
                throw new IllegalStateException(name + " must answer what next answered; the jobs are enqueued");
            }
            return got;
        }

        private IllegalStateException twice() {
            return new IllegalStateException(name + " called next twice; what it called first with counts");
        }

        IllegalStateException wrong(String what) {
            return new IllegalStateException(
                    "%s %s, so nothing says that the jobs are enqueued: throw to refuse them".formatted(name, what));
        }

        /** The jobs as they go on: with other headers and labels, and the version of their payload as it was. */
        private List<NewJob> checked(List<NewJob> changed) {
            if (changed.size() != jobs.size()) {
                throw new IllegalStateException(
                        "%s called next with %d jobs, and got %d".formatted(name, changed.size(), jobs.size()));
            }
            var kept = new ArrayList<NewJob>(jobs.size());
            for (var at = 0; at < jobs.size(); at++) {
                var before = jobs.get(at);
                var after = changed.get(at);
                if (!after.isButForHeadersAndLabels(before)) {
                    throw new IllegalStateException(
                            ("%s has changed a job of kind %s: headers and labels alone may be others, since another"
                                            + " payload under its idempotency key would be another request")
                                    .formatted(name, before.kind()));
                }
                kept.add(after.versionedAs(before));
            }
            return List.copyOf(kept);
        }
    }
}
