package dev.jobqueue;

import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.Supplier;

/** What {@link CompletableFuture} lacks: cancelling that reaches the call, and waiting that throws what it failed with. */
final class Futures {
    private Futures() {}

    /** What a function makes of the value; cancelling it cancels the source. */
    static <A, B> CompletableFuture<B> map(CompletableFuture<A> source, Function<A, B> function) {
        CompletableFuture<B> mapped = source.thenApply(function);
        cancelWith(mapped, source);
        return mapped;
    }

    /** What a function begins with the value; cancelling it cancels what is under way. */
    static <A, B> CompletableFuture<B> then(CompletableFuture<A> source, Function<A, CompletableFuture<B>> function) {
        var result = new CompletableFuture<B>();
        cancelWith(result, source);
        source.whenComplete((value, error) -> {
            if (error != null) {
                result.completeExceptionally(Endings.unwrapped(error));
                return;
            }
            try {
                var next = function.apply(value);
                cancelWith(result, next);
                next.whenComplete((found, failure) -> {
                    if (failure == null) {
                        result.complete(found);
                    } else {
                        result.completeExceptionally(Endings.unwrapped(failure));
                    }
                });
            } catch (Throwable failure) {
                result.completeExceptionally(failure);
            }
        });
        return result;
    }

    /** What a function begins; what it throws by itself is what the future failed with. */
    static <A> CompletableFuture<A> begun(Supplier<CompletableFuture<A>> function) {
        try {
            return function.get();
        } catch (Throwable error) {
            return CompletableFuture.failedFuture(error);
        }
    }

    /** The same, which fails so where it takes longer; cancelling it cancels the source. */
    static <A> CompletableFuture<A> within(CompletableFuture<A> source, long nanos, Supplier<Throwable> late) {
        if (source.isDone()) {
            return source;
        }
        var result = new CompletableFuture<A>();
        cancelWith(result, source);
        var clock = new CompletableFuture<Void>().completeOnTimeout(null, Math.max(0, nanos), TimeUnit.NANOSECONDS);
        // Not in the thread of all clocks: what waits for it may be slow.
        clock.thenRunAsync(() -> result.completeExceptionally(late.get()));
        result.whenComplete((value, error) -> clock.cancel(false));
        source.whenComplete((value, error) -> {
            if (error == null) {
                result.complete(value);
            } else {
                result.completeExceptionally(Endings.unwrapped(error));
            }
        });
        return result;
    }

    /** Cancelling the first cancels the second. */
    static void cancelWith(CompletableFuture<?> from, CompletableFuture<?> to) {
        from.whenComplete((value, error) -> {
            if (from.isCancelled()) {
                to.cancel(true);
            }
        });
    }

    /**
     * Waits for a call. An interrupt cancels it; the thread stays interrupted.
     *
     * @throws CancellationException the thread was interrupted
     * @throws RuntimeException what the call failed with; of a middleware, as it was thrown
     */
    static <A> A await(CompletableFuture<A> future) {
        try {
            return future.get();
        } catch (InterruptedException error) {
            future.cancel(true);
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted while the server's answer was awaited");
        } catch (ExecutionException error) {
            if (error.getCause() instanceof JobQueueException failure) {
                // A thread of gRPC made it. A reader of the trace looks for the caller.
                failure.fillInStackTrace();
                throw failure;
            }
            if (error.getCause() instanceof RuntimeException failure) {
                throw failure;
            }
            if (error.getCause() instanceof Error failure) {
                throw failure;
            }
            throw new IllegalStateException(error.getCause());
        }
    }
}
