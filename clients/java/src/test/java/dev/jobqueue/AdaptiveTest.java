package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.jobqueue.v1.BatchEnqueueJobsRequest;
import dev.jobqueue.v1.BatchEnqueueJobsResponse;
import dev.jobqueue.v1.EnqueueJobRequest;
import dev.jobqueue.v1.EnqueueJobResponse;
import dev.jobqueue.v1.JobQueueGrpc;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.ServerCallStreamObserver;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** A client that is asked to slows down by the server's hints and speeds up again, and refuses nothing by itself. */
// In a thread of its own: a join is not interrupted.
@Timeout(value = 30, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class AdaptiveTest {
    private static final NewJob WORK = NewJob.of("work");

    private final Gate gate = new Gate();
    /** How many calls have begun, tries included: they are counted where they leave the client. */
    private final AtomicInteger begun = new AtomicInteger();

    private final Client client = builder()
            .adaptive(true)
            .channels(channel -> channel.intercept(before(begun::incrementAndGet)))
            .build();

    private Client.Builder builder() {
        return Client.builder("127.0.0.1:" + gate.server.getPort());
    }

    /** Does this before each call. */
    private static ClientInterceptor before(Runnable action) {
        return new ClientInterceptor() {
            @Override
            public <Q, A> ClientCall<Q, A> interceptCall(
                    MethodDescriptor<Q, A> method, CallOptions options, Channel channel) {
                action.run();
                return channel.newCall(method, options);
            }
        };
    }

    @AfterEach
    void end() {
        client.close();
        gate.server.shutdownNow();
    }

    private enum Said {
        ROOM,
        PRESSURE,
        REFUSAL,
        /** A refusal that says when to come again. */
        LATER
    }

    /** A server whose calls wait until the test answers them. */
    private static final class Gate extends JobQueueGrpc.JobQueueImplBase implements ServerInterceptor {
        private static final Context.Key<Metadata> TRAILERS = Context.key("trailers");
        private static final Metadata.Key<String> PRESSURE =
                Metadata.Key.of("jobqueue-pressure", Metadata.ASCII_STRING_MARSHALLER);

        final Server server = start();
        /** The calls that wait, the oldest first. The monitor guards it. */
        private final Deque<Consumer<Said>> inside = new ArrayDeque<>();
        /** How many have waited at once since the last answers. */
        private int most;

        private Server start() {
            try {
                return Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                        .addService(this)
                        .intercept(this)
                        .build()
                        .start();
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }

        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            var said = new Metadata();
            var telling = new SimpleForwardingServerCall<Q, A>(call) {
                @Override
                public void close(io.grpc.Status status, Metadata trailers) {
                    trailers.merge(said);
                    super.close(status, trailers);
                }
            };
            return Contexts.interceptCall(Context.current().withValue(TRAILERS, said), telling, headers, next);
        }

        @Override
        public void enqueueJob(EnqueueJobRequest request, StreamObserver<EnqueueJobResponse> answer) {
            var job = dev.jobqueue.v1.Job.newBuilder().setId("1").setStatus(dev.jobqueue.v1.Job.Status.QUEUED);
            comes(EnqueueJobResponse.newBuilder().setJob(job).build(), answer);
        }

        @Override
        public void batchEnqueueJobs(BatchEnqueueJobsRequest request, StreamObserver<BatchEnqueueJobsResponse> answer) {
            var results = BatchEnqueueJobsResponse.newBuilder();
            request.getJobsList()
                    .forEach(job -> results.addResults(
                            dev.jobqueue.v1.EnqueueResult.newBuilder().setId("1")));
            comes(results.build(), answer);
        }

        private synchronized <A> void comes(A message, StreamObserver<A> answer) {
            var trailers = TRAILERS.get();
            // One that was cancelled is answered too.
            ((ServerCallStreamObserver<A>) answer).setOnCancelHandler(() -> {});
            inside.add(said -> {
                if (said == Said.REFUSAL || said == Said.LATER) {
                    answer.onError(full(said == Said.LATER));
                    return;
                }
                if (said == Said.PRESSURE) {
                    trailers.put(PRESSURE, "0.83");
                }
                answer.onNext(message);
                answer.onCompleted();
            });
            most = Math.max(most, inside.size());
            notifyAll();
        }

        private static RuntimeException full(boolean comeAgain) {
            var status = com.google.rpc.Status.newBuilder()
                    .setCode(Code.RESOURCE_EXHAUSTED.getNumber())
                    .setMessage("full")
                    .addDetails(Any.pack(
                            ErrorInfo.newBuilder().setReason("QUEUE_FULL").build()));
            if (comeAgain) {
                var delay = Times.message(Duration.ofMillis(1));
                status.addDetails(
                        Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build()));
            }
            return StatusProto.toStatusRuntimeException(status.build());
        }

        /** Returns once so many calls wait here; no more have done so since the last answers. */
        synchronized void has(int calls) throws InterruptedException {
            var ends = System.nanoTime() + Duration.ofSeconds(20).toNanos();
            while (inside.size() < calls && System.nanoTime() < ends) {
                TimeUnit.NANOSECONDS.timedWait(this, ends - System.nanoTime());
            }
            assertEquals(calls, inside.size());
            assertEquals(calls, most);
        }

        /** Answers the calls that have waited longest. */
        void answers(int calls, Said said) {
            var answered = new ArrayList<Consumer<Said>>();
            synchronized (this) {
                for (var each = 0; each < calls; each++) {
                    answered.add(inside.remove());
                }
                most = inside.size();
            }
            answered.forEach(each -> each.accept(said));
        }

        /** Answers what comes until all of these are done. */
        void answersAll(List<? extends CompletableFuture<?>> calls) throws InterruptedException {
            var all = CompletableFuture.allOf(calls.toArray(CompletableFuture[]::new));
            all.whenComplete((nothing, error) -> {
                synchronized (this) {
                    notifyAll();
                }
            });
            while (!all.isDone()) {
                int waiting;
                synchronized (this) {
                    while (inside.isEmpty() && !all.isDone()) {
                        wait();
                    }
                    waiting = inside.size();
                }
                answers(waiting, Said.ROOM);
            }
        }
    }

    private static <A> List<CompletableFuture<A>> calls(int count, Supplier<CompletableFuture<A>> call) {
        return Stream.generate(call).limit(count).toList();
    }

    private List<CompletableFuture<Job>> enqueues(int count) {
        return calls(count, () -> client.async().enqueue(WORK));
    }

    /** Answers these calls, which are all that the server has; then so many others have come. */
    private void answers(List<CompletableFuture<Job>> calls, int from, int to, Said said, int others)
            throws InterruptedException {
        gate.answers(to - from, said);
        var over = calls.subList(from, to).toArray(CompletableFuture[]::new);
        CompletableFuture.allOf(over).handle((nothing, error) -> nothing).join();
        assertEquals(to + others, begun.get());
        gate.has(others);
    }

    private static Throwable failure(CompletableFuture<?> call) {
        return assertThrows(CompletionException.class, call::join).getCause();
    }

    @Test
    void aProducerSlowsDownByHintsAndRefusalsAndSpeedsUpAgain() throws Exception {
        var calls = enqueues(400);
        gate.has(64);
        // A hint, however many answers bring it: a fifth less.
        answers(calls, 0, 64, Said.PRESSURE, 51);
        // A refusal: half.
        answers(calls, 64, 115, Said.REFUSAL, 25);
        // A round of answers without a hint: one more. Two: another one.
        answers(calls, 115, 140, Said.ROOM, 26);
        answers(calls, 140, 166, Said.ROOM, 27);
        gate.answersAll(calls);
        var refused = calls.stream()
                .filter(CompletableFuture::isCompletedExceptionally)
                .toList();
        assertEquals(51, refused.size());
        refused.forEach(each -> assertInstanceOf(JobQueueException.Overloaded.class, failure(each)));
    }

    @Test
    void withoutTheOptionNothingWaitsWithinTheClient() throws Exception {
        try (var plain = builder().build()) {
            for (var said : List.of(Said.PRESSURE, Said.ROOM)) {
                var calls = calls(300, () -> plain.async().enqueue(WORK));
                gate.has(300);
                gate.answers(300, said);
                calls.forEach(CompletableFuture::join);
            }
        }
    }

    @Test
    void batchesTakeTurnsToo() throws Exception {
        var calls = calls(100, () -> client.async().enqueueMany(List.of(WORK)));
        assertEquals(64, begun.get());
        gate.has(64);
        gate.answers(64, Said.PRESSURE);
        gate.has(36);
        gate.answers(36, Said.ROOM);
        calls.forEach(CompletableFuture::join);
    }

    @Test
    void aCallThatDoesNotGetItsTurnEndsByItsOwnDeadlineAndIsNotSent() throws Exception {
        var first = enqueues(64);
        gate.has(64);
        // One window, whatever the deadline.
        var hurried = client.withDeadline(Duration.ofMillis(200));
        var keyed = NewJob.builder("work").idempotent().build();
        var error = assertThrows(JobQueueException.DeadlineExceeded.class, () -> hurried.enqueue(keyed));
        var words = "the call was not sent: for 0.2 s the server had no room for more than the 64 enqueues in flight";
        assertEquals("DEADLINE_EXCEEDED: " + words, error.getMessage());
        assertEquals(64, begun.get());
        gate.answers(64, Said.ROOM);
        first.forEach(CompletableFuture::join);
        var last = enqueues(1);
        gate.has(1);
        gate.answersAll(last);
    }

    @Test
    void aCallThatIsCancelledAsItWaitsGivesItsPlaceToTheNext() throws Exception {
        var first = enqueues(64);
        gate.has(64);
        var givenUp = enqueues(3);
        var next = enqueues(1);
        var last = enqueues(1);
        givenUp.forEach(each -> each.cancel(true));
        gate.answers(1, Said.ROOM);
        gate.has(64);
        gate.answers(63, Said.ROOM);
        gate.has(2);
        gate.answers(2, Said.ROOM);
        for (var each : List.of(first, next, last)) {
            each.forEach(CompletableFuture::join);
        }
    }

    @Test
    void aCallThatIsCancelledInFlightLetsTheNextOneIn() throws Exception {
        var first = enqueues(64);
        gate.has(64);
        var next = enqueues(1);
        first.get(0).cancel(true);
        // The server keeps what was cancelled.
        gate.has(65);
        gate.answers(65, Said.ROOM);
        next.forEach(CompletableFuture::join);
    }

    @Test
    void aCallThatIsTriedAgainKeepsItsTurnAndEachRefusalCounts() throws Exception {
        var keyed = calls(1, () -> client.async()
                .enqueue(NewJob.builder("work").idempotent().build()));
        for (var refusals = 0; refusals < 2; refusals++) {
            gate.has(1);
            gate.answers(1, Said.LATER);
        }
        gate.has(1);
        var more = enqueues(40);
        // Three tries of the first, which has one of 16 turns.
        assertEquals(3 + 15, begun.get());
        gate.has(16);
        gate.answersAll(more);
        keyed.forEach(CompletableFuture::join);
    }

    @Test
    void aCallBelongsToTheContextInWhichItWasMadeAndNotToThatOfTheOneBefore() throws Exception {
        var context = Context.current().withCancellation();
        var first = new ArrayList<CompletableFuture<Job>>();
        context.run(() -> first.addAll(enqueues(64)));
        gate.has(64);
        var next = enqueues(1);
        gate.answers(64, Said.ROOM);
        gate.has(1);
        context.cancel(null);
        gate.answers(1, Said.ROOM);
        next.forEach(CompletableFuture::join);
    }

    @Test
    void aCallThatCantBeginGivesItsTurnBack() throws Exception {
        var breaks = new AtomicBoolean();
        var interceptor = before(() -> {
            if (breaks.get()) {
                throw new IllegalStateException("it can't begin");
            }
        });
        try (var other = builder()
                .adaptive(true)
                .channels(channel -> channel.intercept(interceptor))
                .build()) {
            var first = calls(64, () -> other.async().enqueue(WORK));
            gate.has(64);
            var next = other.async().enqueue(WORK);
            breaks.set(true);
            gate.answers(64, Said.ROOM);
            first.forEach(CompletableFuture::join);
            assertEquals("it can't begin", failure(next).getMessage());
            assertEquals("it can't begin", failure(other.async().enqueue(WORK)).getMessage());
            breaks.set(false);
            var more = calls(66, () -> other.async().enqueue(WORK));
            gate.has(64);
            gate.answersAll(more);
        }
    }

    private static Metadata hint() {
        var trailers = new Metadata();
        trailers.put(Gate.PRESSURE, "1.00");
        return trailers;
    }

    private static List<Window.Turn> turns(Window window, int count) {
        return Stream.generate(window::turn).limit(count).toList();
    }

    @Test
    void whatIsLetInAsItGivesUpLeavesItsTurnToTheNext() {
        var window = new Window();
        var turns = turns(window, 64);
        var one = window.turn();
        var two = window.turn();
        assertFalse(one.come.isDone());
        turns.get(0).leave();
        assertTrue(one.come.isDone());
        assertFalse(two.come.isDone());
        one.leave();
        assertTrue(two.come.isDone());
        // Twice is once.
        one.leave();
        assertEquals(64, window.inFlight());
    }

    @Test
    void hintsOfCallsThatBeganBeforeTheBoundShrankCountOnce() {
        var window = new Window();
        var turns = turns(window, 3);
        turns.forEach(each -> each.answered(hint()));
        assertEquals(51.2, window.bound(), 1e-9);
        window.turn().answered(hint());
        assertEquals(40.96, window.bound(), 1e-9);
    }

    @Test
    void theBoundGrowsOnlyWhileItIsWhatCallsWaitFor() {
        var window = new Window();
        for (var each = 0; each < 1000; each++) {
            var turn = window.turn();
            turn.answered(new Metadata());
            turn.leave();
        }
        assertEquals(64, window.bound());
    }

    @Test
    void theBoundStaysWithin1And1000() {
        var window = new Window();
        for (var each = 0; each < 100; each++) {
            var turn = window.turn();
            turn.answered(hint());
            turn.leave();
        }
        assertEquals(1, window.bound());
        var wide = new Window(1000);
        turns(wide, 1000).get(0).answered(new Metadata());
        assertEquals(1000, wide.bound());
    }

    @Test
    void manyThatFailAsTheyBeginDoNotFillTheStack() {
        var window = new Window();
        var turns = turns(window, 64);
        var more = turns(window, 100_000);
        more.forEach(each -> each.come.thenRun(each::leave));
        turns.get(0).leave();
        assertTrue(more.get(99_999).come.isDone());
        assertEquals(63, window.inFlight());
    }
}
