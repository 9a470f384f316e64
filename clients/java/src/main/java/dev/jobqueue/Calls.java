package dev.jobqueue;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Context;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import java.math.BigDecimal;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Makes calls, again and again while they may be repeated and there is time.
 *
 * <p>Repeated are UNAVAILABLE, and RESOURCE_EXHAUSTED where the server says when to come back. The limit is for all tries
 * together. Cancelling the future cancels the call.
 */
final class Calls {
    /** What says which trace a call belongs to; null: nothing does. */
    static final CallOptions.Key<Tracer> TRACER = CallOptions.Key.create("jobqueue-tracer");

    private static final Metadata.Key<String> TRACEPARENT =
            Metadata.Key.of("traceparent", Metadata.ASCII_STRING_MARSHALLER);

    final ManagedChannel channel;
    final CallOptions options;
    private final String target;
    private final boolean ofEnvironment;
    /** Where enqueues wait for their turns; null: they do not wait. */
    private final Window window;
    /** A server has answered, or it was said what to do where none does. */
    private volatile boolean known;

    Calls(ManagedChannel channel, CallOptions options, String target, boolean ofEnvironment, Window window) {
        this.channel = channel;
        this.options = options;
        this.target = target;
        this.ofEnvironment = ofEnvironment;
        this.window = window;
    }

    private void answered() {
        if (!known) {
            known = true;
        }
    }

    /** A call has failed for good: the first that finds no server says what to do about it. */
    private JobQueueException hinted(JobQueueException failure) {
        if (!known
                && failure instanceof JobQueueException.Unavailable
                && failure.reason().isEmpty()) {
            known = true;
            failure.note("nothing answers at %s; start a server by \"make run\" or \"jobqueue-server\"%s"
                    .formatted(target, ofEnvironment ? ", or set JOBQUEUE_SERVER" : ""));
        }
        return failure;
    }

    <Q, A> CompletableFuture<A> call(MethodDescriptor<Q, A> method, Q request, boolean retry, Duration limit) {
        return new Repeated<>(method, request, retry, limit).begin();
    }

    /** The same of an enqueue, which waits for its turn where there are turns. The limit is for the wait too. */
    <Q, A> CompletableFuture<A> enqueue(MethodDescriptor<Q, A> method, Q request, boolean retry, Duration limit) {
        var call = new Repeated<>(method, request, retry, limit);
        return window == null ? call.begin() : call.beginInTurn(limit);
    }

    /** Of a call whose turn has not come within its limit. */
    private JobQueueException notSent(Duration limit) {
        var seconds = BigDecimal.valueOf(Times.nanosOf(limit) / 1_000_000, 3)
                .stripTrailingZeros()
                .toPlainString();
        var words = "the call was not sent: for %s s the server had no room for more than the %d enqueues in flight"
                .formatted(seconds, window.inFlight());
        return Errors.of(io.grpc.Status.DEADLINE_EXCEEDED.withDescription(words), null, null);
    }

    /** The trace that a call made here belongs to. Empty: none. */
    static Optional<String> trace(CallOptions options) {
        var tracer = options.getOption(TRACER);
        return tracer == null ? Optional.empty() : tracer.traceparent();
    }

    /** What a call of this trace says first. */
    static Metadata headers(Optional<String> trace) {
        var headers = new Metadata();
        trace.ifPresent(text -> headers.put(TRACEPARENT, text));
        return headers;
    }

    /** How long to wait before another try, in nanoseconds; negative: one is of no use. */
    static long pauseAfter(JobQueueException failure, Backoff waits) {
        var asked = failure.retryAfter();
        if (failure instanceof JobQueueException.Unavailable
                || (failure instanceof JobQueueException.Overloaded && asked.isPresent())) {
            // At least what the server asks for, and never all callers at the same moment.
            return Times.nanosOf(asked.orElse(Duration.ZERO)) + waits.next();
        }
        return -1;
    }

    private final class Repeated<Q, A> {
        private final MethodDescriptor<Q, A> method;
        private final Q request;
        private final boolean retry;
        private final long ends;
        // Later tries are made in other threads.
        private final Optional<String> trace = trace(options);
        private final Backoff waits = new Backoff(Duration.ofMillis(50), Duration.ofSeconds(2));
        private final CompletableFuture<A> result = new CompletableFuture<>();
        private volatile ClientCall<Q, A> current;
        /** Null: no turns are taken. */
        private Window.Turn turn;

        private JobQueueException before;

        Repeated(MethodDescriptor<Q, A> method, Q request, boolean retry, Duration limit) {
            this.method = method;
            this.request = request;
            this.retry = retry;
            ends = System.nanoTime() + Times.nanosOf(limit);
        }

        CompletableFuture<A> begin() {
            result.whenComplete((answer, error) -> cancelIfDone());
            attempt();
            return result;
        }

        /** The same when its turn comes. */
        CompletableFuture<A> beginInTurn(Duration limit) {
            // The thread that lets it in is in the midst of another call.
            var context = Context.current();
            turn = window.turn();
            result.whenComplete((answer, error) -> {
                cancelIfDone();
                turn.leave();
            });
            if (!turn.come.isDone()) {
                turn.come.orTimeout(ends - System.nanoTime(), TimeUnit.NANOSECONDS);
            }
            turn.come.whenComplete((nothing, late) -> {
                if (late != null) {
                    var failure = notSent(limit);
                    // Not in the thread of all clocks: what waits for it may be slow.
                    CompletableFuture.runAsync(() -> fail(failure));
                } else if (!result.isDone()) {
                    context.run(this::attemptOrFail);
                }
            });
            return result;
        }

        /** What an attempt throws, for example an interceptor of the program, must not keep the turn. */
        private void attemptOrFail() {
            try {
                attempt();
            } catch (Throwable error) {
                fail(error);
            }
        }

        /** Gives the turn back first: what waits for the result may be slow, or take a turn. */
        private void fail(Throwable error) {
            if (turn != null) {
                turn.leave();
            }
            result.completeExceptionally(error);
        }

        private void cancelIfDone() {
            var call = current;
            if (result.isCancelled() && call != null) {
                call.cancel("cancelled by the caller", null);
            }
        }

        private void attempt() {
            var left = ends - System.nanoTime();
            ClientCall<Q, A> call = channel.newCall(method, options.withDeadlineAfter(left, TimeUnit.NANOSECONDS));
            current = call;
            call.start(
                    new ClientCall.Listener<>() {
                        private Metadata headers;
                        private A answer;

                        @Override
                        public void onHeaders(Metadata received) {
                            headers = received;
                        }

                        @Override
                        public void onMessage(A message) {
                            answer = message;
                        }

                        @Override
                        public void onClose(io.grpc.Status status, Metadata trailers) {
                            if (status.isOk() && answer != null) {
                                answered();
                                if (turn != null) {
                                    turn.answered(trailers);
                                    turn.leave();
                                }
                                result.complete(answer);
                            } else {
                                failed(Errors.of(status, headers, trailers));
                            }
                        }
                    },
                    headers(trace));
            call.sendMessage(request);
            call.halfClose();
            call.request(2);
            cancelIfDone();
        }

        private void failed(JobQueueException error) {
            var failure = error;
            if (!(failure instanceof JobQueueException.Unavailable
                    || failure instanceof JobQueueException.DeadlineExceeded)) {
                answered();
            }
            if (turn != null) {
                turn.refused(failure);
            }
            var wait = retry && !channel.isShutdown() ? Calls.pauseAfter(failure, waits) : -1;
            var late = failure instanceof JobQueueException.DeadlineExceeded;
            if (late && before != null) {
                // The cause says more than "deadline exceeded" would.
                failure = before;
            } else if (wait < 0) {
                fail(hinted(failure));
                return;
            }
            if (late || System.nanoTime() + wait - ends > 0) {
                failure.note("tried again until the deadline");
                fail(hinted(failure));
                return;
            }
            before = failure;
            CompletableFuture.delayedExecutor(wait, TimeUnit.NANOSECONDS).execute(() -> {
                if (!result.isDone()) {
                    // By itself gRPC would pause for up to two minutes.
                    channel.resetConnectBackoff();
                    attemptOrFail();
                }
            });
        }
    }
}
