package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.v1.ExplainJobRequest;
import dev.jobqueue.v1.ExplainJobResponse;
import dev.jobqueue.v1.InsightGrpc;
import dev.jobqueue.v1.JobQueueGrpc;
import dev.jobqueue.v1.WaitJobRequest;
import dev.jobqueue.v1.WaitJobResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a wait says that ends before its job. */
@Timeout(30)
class WaitTest {
    private static final Duration SECOND = Duration.ofSeconds(1);
    private static final String WHY = "The job waits, since no worker takes its kind.";

    private final BlockingQueue<ExplainJobRequest> asked = new LinkedBlockingQueue<>();
    private final Server server = start();
    private final Client client = Client.of("127.0.0.1:" + server.getPort());
    /** How the server explains a job. */
    private volatile Consumer<StreamObserver<ExplainJobResponse>> explain = answer -> {
        answer.onNext(ExplainJobResponse.newBuilder().setSummary(WHY).build());
        answer.onCompleted();
    };

    private Server start() {
        try {
            return Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                    .addService(new JobQueueGrpc.JobQueueImplBase() {
                        @Override
                        public void waitJob(WaitJobRequest request, StreamObserver<WaitJobResponse> answer) {
                            // As a server does: once the time is over.
                            var wait = Times.of(request.getTimeout()).toNanos();
                            CompletableFuture.delayedExecutor(wait, TimeUnit.NANOSECONDS)
                                    .execute(() -> {
                                        answer.onNext(queued());
                                        answer.onCompleted();
                                    });
                        }
                    })
                    .addService(new InsightGrpc.InsightImplBase() {
                        @Override
                        public void explainJob(ExplainJobRequest request, StreamObserver<ExplainJobResponse> answer) {
                            asked.add(request);
                            explain.accept(answer);
                        }
                    })
                    .build()
                    .start();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    private static WaitJobResponse queued() {
        var job = dev.jobqueue.v1.Job.newBuilder().setId("1").setStatus(dev.jobqueue.v1.Job.Status.QUEUED);
        return WaitJobResponse.newBuilder().setJob(job).build();
    }

    @AfterEach
    void end() {
        client.close();
        server.shutdownNow();
    }

    private JobQueueException.WaitTimeout waited(Duration timeout) {
        return assertThrows(JobQueueException.WaitTimeout.class, () -> client.waitFor("1", timeout));
    }

    @Test
    void aWaitOfASecondThatEndsInVainAsksOnceWhyAndSaysIt() {
        var error = waited(SECOND);
        assertEquals(WHY, error.summary());
        assertTrue(error.getMessage().endsWith("job 1 is QUEUED and not over after 1.0 s; " + WHY), error.getMessage());
        assertEquals(Status.QUEUED, error.job().status());
        assertEquals(1, asked.size());
        assertEquals("1", asked.remove().getId());
    }

    @Test
    void aShorterWaitAsksNothing() {
        var error = waited(Duration.ofMillis(999));
        assertEquals("", error.summary());
        assertTrue(error.getMessage().contains("which explain(id) tells"), error.getMessage());
        assertEquals(0, asked.size());
    }

    @Test
    void whereNoServerSaysWhyAWaitEndsWithoutIt() {
        explain = answer -> answer.onError(io.grpc.Status.UNIMPLEMENTED.asRuntimeException());
        var error = waited(SECOND);
        assertEquals("", error.summary());
        assertEquals(Status.QUEUED, error.job().status());
        assertTrue(error.getMessage().contains("which explain(id) tells"), error.getMessage());
    }

    @Test
    void whoDoesNotSayWhyWithinASecondIsNotAwaited() {
        explain = answer -> {};
        var began = System.nanoTime();
        assertEquals("", waited(SECOND).summary());
        var took = Duration.ofNanos(System.nanoTime() - began);
        // The client's own deadline is 30 s.
        assertTrue(took.compareTo(Duration.ofSeconds(10)) < 0, took.toString());
        assertEquals(1, asked.size());
    }

    @Test
    void cancellingTheFutureCancelsTheQuestionToo() throws Exception {
        // A busy machine may be late, but not each time.
        for (var tries = 1; !isCancelledBeforeItsOwnLimit(); tries++) {
            assertTrue(tries < 4, "its own limit ended it");
        }
    }

    private boolean isCancelledBeforeItsOwnLimit() throws Exception {
        var cancelled = new CompletableFuture<Void>();
        explain = answer -> Context.current().addListener(context -> cancelled.complete(null), Runnable::run);
        var future = client.async().waitFor("1", SECOND);
        asked.take();
        var began = System.nanoTime();
        future.cancel(true);
        cancelled.get(10, TimeUnit.SECONDS);
        return System.nanoTime() - began < Duration.ofMillis(900).toNanos();
    }
}
