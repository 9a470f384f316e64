package dev.jobqueue;

import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicReferenceArray;

/** Handlers with middleware around them. Used where there is some. */
final class Around {
    private Around() {}

    /** A handler of these names with a worker's middleware around it, the outermost first. */
    static Handlers.Entry added(Handlers.Entry entry, List<Middleware> middleware, List<String> names) {
        var wrapping = middleware.stream()
                .map(each -> ForKinds.around(each, names))
                .filter(Objects::nonNull)
                .toList();
        if (entry.async() != null) {
            AsyncHandler async =
                    (job, context) -> new AsyncAttempt(wrapping, middleware, entry.async(), job, context).begin();
            return new Handlers.Entry(null, async, entry.options(), entry.source());
        }
        Handler plain = (job, context) -> new PlainAttempt(wrapping, middleware, entry.plain(), job, context).from(0);
        return new Handlers.Entry(plain, null, entry.options(), entry.source());
    }

    /** Takes the follow-ups through the enqueue side, as one call. */
    private static CompletableFuture<?> pass(List<Middleware> middleware, JobContext context) {
        var followUps = context.takeFollowUps();
        if (followUps.isEmpty()) {
            context.passed(followUps);
            return CompletableFuture.completedFuture(null);
        }
        return Enqueues.through(middleware, followUps.stream().map(NewJob::of).toList(), jobs -> {
            context.passed(jobs.stream().map(NewJob::message).toList());
            return CompletableFuture.completedFuture(
                    jobs.stream().map(job -> new EnqueueResult("", false, null)).toList());
        });
    }

    private static String name(Middleware middleware) {
        return Enqueues.name(middleware) + ".handle";
    }

    private static IllegalStateException twice(Middleware middleware) {
        return new IllegalStateException(name(middleware) + " called next twice: a handler runs once in an attempt");
    }

    private static IllegalStateException over(Middleware middleware) {
        return new IllegalStateException(name(middleware) + " called next after it had ended");
    }

    /** One attempt by a plain handler. */
    private static final class PlainAttempt {
        private final List<Middleware> wrapping;
        private final List<Middleware> middleware;
        private final Handler handler;
        private final LeasedJob job;
        private final JobContext context;
        private final Thread thread = Thread.currentThread();

        PlainAttempt(
                List<Middleware> wrapping,
                List<Middleware> middleware,
                Handler handler,
                LeasedJob job,
                JobContext context) {
            this.wrapping = wrapping;
            this.middleware = middleware;
            this.handler = handler;
            this.job = job;
            this.context = context;
        }

        Object from(int at) throws Exception {
            if (at == wrapping.size()) {
                var output = handler.run(job, context);
                pass();
                return output;
            }
            var each = wrapping.get(at);
            var next = new Next(each, at + 1);
            Object output;
            try {
                output = each.handle(job, context, next);
            } finally {
                next.ended = true;
            }
            if (next.calls > 1) {
                throw twice(each);
            }
            if (next.calls == 0) {
                pass();
            }
            return output;
        }

        private void pass() throws Exception {
            try {
                Around.pass(middleware, context).get();
            } catch (ExecutionException error) {
                var cause = Endings.unwrapped(error);
                if (cause instanceof Error grave) {
                    throw grave;
                }
                throw cause instanceof Exception failure ? failure : error;
            }
        }

        /** What is within one of them. */
        private final class Next implements Middleware.Next {
            private final Middleware of;
            private final int at;
            private int calls;
            private boolean ended;

            Next(Middleware of, int at) {
                this.of = of;
                this.at = at;
            }

            @Override
            public Object run() throws Exception {
                if (Thread.currentThread() != thread) {
                    throw new IllegalStateException(
                            name(of) + " called next in another thread: call it in the one in which it was called");
                }
                if (ended) {
                    throw over(of);
                }
                if (++calls > 1) {
                    throw twice(of);
                }
                try {
                    return from(at);
                } catch (Throwable error) {
                    context.dropFollowUps();
                    throw error;
                }
            }
        }
    }

    /** One attempt by a handler that answers a stage. */
    private static final class AsyncAttempt extends CompletableFuture<Object> {
        private final List<Middleware> wrapping;
        private final List<Middleware> middleware;
        private final AsyncHandler handler;
        private final LeasedJob job;
        private final JobContext context;
        /** What each has answered, and last the handler: what is to be cancelled. */
        private final AtomicReferenceArray<CompletableFuture<?>> stages;

        AsyncAttempt(
                List<Middleware> wrapping,
                List<Middleware> middleware,
                AsyncHandler handler,
                LeasedJob job,
                JobContext context) {
            this.wrapping = wrapping;
            this.middleware = middleware;
            this.handler = handler;
            this.job = job;
            this.context = context;
            stages = new AtomicReferenceArray<>(wrapping.size() + 1);
        }

        AsyncAttempt begin() {
            from(0).whenComplete((output, error) -> {
                if (error == null) {
                    complete(output);
                } else {
                    completeExceptionally(Endings.unwrapped(error));
                }
            });
            return this;
        }

        /** The innermost stage is cancelled, and what depends on it ends with it. */
        @Override
        public boolean cancel(boolean interrupt) {
            for (var at = stages.length() - 1; at >= 0; at--) {
                var stage = stages.get(at);
                if (stage != null && !stage.isDone()) {
                    return stage.cancel(interrupt);
                }
            }
            return false;
        }

        private CompletableFuture<Object> from(int at) {
            try {
                if (at == wrapping.size()) {
                    var stage = handler.run(job, context).toCompletableFuture();
                    stages.set(at, stage);
                    return stage.thenCompose(output -> pass(output));
                }
                var each = wrapping.get(at);
                var next = new Next(each, at + 1);
                CompletableFuture<?> stage;
                try {
                    var answer = each.handle(job, context, next);
                    stage = answer instanceof CompletionStage<?> later
                            ? later.toCompletableFuture()
                            : CompletableFuture.completedFuture(answer);
                } catch (Throwable error) {
                    stage = CompletableFuture.failedFuture(error);
                }
                stages.set(at, stage);
                return stage.handle(next::ended).thenCompose(ends -> ends);
            } catch (Throwable error) {
                return CompletableFuture.failedFuture(error);
            }
        }

        private CompletableFuture<Object> pass(Object output) {
            return Around.pass(middleware, context).thenApply(nothing -> output);
        }

        /** What is within one of them. */
        private final class Next implements Middleware.Next {
            private final Middleware of;
            private final int at;
            private int calls;
            private boolean over;
            private CompletableFuture<Object> within;

            Next(Middleware of, int at) {
                this.of = of;
                this.at = at;
            }

            @Override
            public Object run() {
                var begun = new CompletableFuture<Object>();
                synchronized (this) {
                    if (over) {
                        throw Around.over(of);
                    }
                    if (++calls > 1) {
                        throw twice(of);
                    }
                    within = begun;
                }
                from(at).whenComplete((output, error) -> {
                    if (error == null) {
                        begun.complete(output);
                    } else {
                        context.dropFollowUps();
                        begun.completeExceptionally(Endings.unwrapped(error));
                    }
                });
                // A copy: what is done to it does not end what is within.
                return begun.copy();
            }

            /** It has ended, by an output or an error; answers how the attempt goes on from there. */
            CompletableFuture<Object> ended(Object output, Throwable error) {
                CompletableFuture<Object> begun;
                int called;
                synchronized (this) {
                    over = true;
                    begun = within;
                    called = calls;
                }
                if (begun == null) {
                    return error == null ? pass(output) : failedFuture(error);
                }
                if (!begun.isDone()) {
                    // The attempt ends with its handler all the same, which takes up a slot until then.
                    var early = error != null
                            ? error
                            : new IllegalStateException(
                                    name(of)
                                            + " has ended before what is within it: return the stage of next, or one that depends on it");
                    return begun.handle((late, second) -> failedFuture(early)).thenCompose(ends -> ends);
                }
                if (error == null && called > 1) {
                    return failedFuture(twice(of));
                }
                return error == null ? completedFuture(output) : failedFuture(error);
            }
        }
    }
}
