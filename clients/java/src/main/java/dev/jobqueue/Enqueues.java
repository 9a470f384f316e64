package dev.jobqueue;

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
        try {
            var answer = middleware.enqueue(jobs, only);
            return answer == null
                    ? CompletableFuture.failedFuture(only.wrong("returned null"))
                    : answer.toCompletableFuture().thenApply(only::checked);
        } catch (Throwable error) {
            return CompletableFuture.failedFuture(error);
        }
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
        /** What next has answered; null: it was not called. */
        private CompletableFuture<List<EnqueueResult>> answered;

        Once(String name, List<NewJob> jobs, Middleware.NextEnqueue next) {
            this.name = name + ".enqueue";
            this.jobs = jobs;
            this.next = next;
        }

        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> changed) {
            synchronized (this) {
                if (++calls > 1) {
                    throw twice();
                }
            }
            CompletableFuture<List<EnqueueResult>> answer;
            try {
                var kept = List.copyOf(changed);
                check(kept);
                answer = next.enqueue(kept).toCompletableFuture();
            } catch (Throwable error) {
                answer = CompletableFuture.failedFuture(error);
            }
            synchronized (this) {
                answered = answer;
            }
            return answer.copy();
        }

        /** What a middleware has answered, if it is what next has answered. */
        synchronized List<EnqueueResult> checked(List<EnqueueResult> got) {
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

        private void check(List<NewJob> changed) {
            if (changed.size() != jobs.size()) {
                throw new IllegalStateException(
                        "%s called next with %d jobs, and got %d".formatted(name, changed.size(), jobs.size()));
            }
            for (var at = 0; at < jobs.size(); at++) {
                if (!changed.get(at).isButForHeadersAndLabels(jobs.get(at))) {
                    throw new IllegalStateException(
                            ("%s has changed a job of kind %s: headers and labels alone may be others, since another"
                                            + " payload under its idempotency key would be another request")
                                    .formatted(name, jobs.get(at).kind()));
                }
            }
        }
    }
}
