package dev.jobqueue;

import static dev.jobqueue.ScriptedServer.id;
import static dev.jobqueue.ScriptedServer.job;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.v1.LeaseRequest.FrameCase;
import dev.jobqueue.v1.Outcome.OutcomeCase;
import dev.jobqueue.v1.SettleResult;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class WorkerTest {
    private final ScriptedServer server = new ScriptedServer();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private Worker worker;
    private Thread serving;

    @AfterEach
    void end() throws InterruptedException {
        server.close();
        if (serving != null) {
            worker.stop(Duration.ZERO);
            serving.interrupt();
            serving.interrupt();
        }
    }

    private void serve(Worker made) {
        worker = made;
        serving = new Thread(() -> {
            try {
                made.serve();
                ended.complete(null);
            } catch (RuntimeException error) {
                ended.completeExceptionally(error);
            }
        });
        serving.start();
    }

    private Worker.Builder builder() {
        return Worker.builder(server.address()).name("test");
    }

    private void serve(Handler handler) {
        serve(builder().build().handle("k", handler));
    }

    @Test
    void whatAHandlerReturnsGoesByteForByte() throws Exception {
        var output = Json.of("{ \"n\" : 12345678901234567890, \"t\":\"\\u00e9\" }");
        serve((job, context) -> output);
        var stream = server.open();
        stream.deliver(job(1));
        assertEquals(output.raw(), stream.outcome().getSuccess().getOutputJson());
    }

    @Test
    void withoutMiddlewareAHandlerIsRunAsItIs() {
        Handler handler = (job, context) -> null;
        assertEquals(
                handler,
                builder().build().handle("k", handler).handlers.get("k").plain());
    }

    @Test
    void followUpsGoOutAsMiddlewareHasMadeThem() throws Exception {
        var marks = new Middleware() {
            @Override
            public java.util.concurrent.CompletionStage<List<EnqueueResult>> enqueue(
                    List<NewJob> jobs, NextEnqueue next) {
                return next.enqueue(jobs.stream()
                        .map(job -> job.withHeaders(Map.of("by", "a")))
                        .toList());
            }
        };
        serve(builder().middleware(marks).build().handle("k", (job, context) -> {
            context.followUp(NewJob.of("more", Json.of("[1, 2]")));
            return null;
        }));
        var stream = server.open();
        stream.deliver(job(1).putHeaders("x-request-id", "r"));
        var more = stream.outcome().getSuccess().getFollowUps(0);
        assertEquals(Map.of("by", "a", "x-request-id", "r"), more.getHeadersMap());
        assertEquals("[1, 2]", more.getPayloadJson().toStringUtf8());
    }

    @Test
    void nothingReturnedTravelsAsABareNumber() throws Exception {
        serve((job, context) -> null);
        var stream = server.open();
        stream.deliver(job(1));
        assertEquals(List.of(1L), stream.settle().getSucceededList());
    }

    @Test
    void eachExceptionEndsTheAttemptInItsOwnWay() throws Exception {
        serve((job, context) -> {
            switch (job.payload().text()) {
                case "1" -> throw new IOException("no disk");
                case "2" -> throw new Discard("never");
                case "3" -> throw new Retry(new IOException("busy"), Duration.ofSeconds(7));
                case "4" -> throw new Snooze(Duration.ofMillis(1500));
                case "5" -> throw new Cancelled("my own wish");
                case "6" -> throw new InterruptedException("unasked");
                case "7" -> throw new AssertionError("an Error is a failure too");
                default -> throw new IllegalStateException();
            }
        });
        var stream = server.open();

        stream.deliver(job(1));
        var failure = stream.outcome().getFailure();
        assertEquals("java.io.IOException", failure.getErrorType());
        assertEquals("no disk", failure.getError());
        assertTrue(failure.getStack().contains("at dev.jobqueue.WorkerTest"), failure.getStack());
        assertFalse(failure.getPermanent());
        assertFalse(failure.hasRetryAfter());

        stream.deliver(job(2));
        failure = stream.outcome().getFailure();
        assertTrue(failure.getPermanent());
        assertEquals("never", failure.getError());

        stream.deliver(job(3));
        failure = stream.outcome().getFailure();
        assertEquals("java.io.IOException", failure.getErrorType());
        assertEquals("busy", failure.getError());
        assertEquals(7, failure.getRetryAfter().getSeconds());

        stream.deliver(job(4));
        var delay = stream.outcome().getSnooze().getDelay();
        assertEquals(Duration.ofMillis(1500), Times.of(delay));

        stream.deliver(job(5));
        assertEquals(OutcomeCase.CANCELLATION, stream.outcome().getOutcomeCase());

        stream.deliver(job(6));
        assertEquals(
                "java.lang.InterruptedException", stream.outcome().getFailure().getErrorType());

        stream.deliver(job(7));
        assertEquals("java.lang.AssertionError", stream.outcome().getFailure().getErrorType());
    }

    @Test
    void anOutputThatCantBeWrittenIsAFailureThatSaysWhatToDo() throws Exception {
        serve((job, context) -> Map.of("no", "codec"));
        var stream = server.open();
        stream.deliver(job(1));
        var failure = stream.outcome().getFailure();
        assertEquals("OutputError", failure.getErrorType());
        assertTrue(failure.getError().contains("without a codec"), failure.getError());
    }

    @Test
    void aCodecReadsPayloadsAndWritesOutputsAndWhatDoesNotFitIsDiscarded() throws Exception {
        var codec = Codec.of(
                value -> value.toString().getBytes(StandardCharsets.UTF_8),
                (json, type) -> Integer.valueOf(new String(json, StandardCharsets.UTF_8)));
        serve(builder().codec(codec).build().handle("k", (job, context) -> 2 * job.payload(Integer.class)));
        var stream = server.open();
        stream.deliver(job(21));
        assertEquals("42", stream.outcome().getSuccess().getOutputJson().toStringUtf8());
        stream.deliver(job(1).setPayloadJson(Json.of("\"x\"").raw()));
        assertTrue(stream.outcome().getFailure().getPermanent());
    }

    @Test
    void aCancelInterruptsTheHandlerAndTheJobEndsCancelled() throws Exception {
        serve((job, context) -> {
            new CountDownLatch(1).await();
            return null;
        });
        var stream = server.open();
        stream.deliver(job(1));
        stream.cancel(1);
        assertEquals(OutcomeCase.CANCELLATION, stream.outcome().getOutcomeCase());
    }

    @Test
    void aHandlerThatWrapsItsInterruptIsCancelledAsWellAndAFailureOfItsOwnIsNot() throws Exception {
        serve((job, context) -> {
            try {
                new CountDownLatch(1).await();
            } catch (InterruptedException error) {
                if (job.payload().text().equals("1")) {
                    throw new RuntimeException(error);
                }
                throw new IllegalStateException("the work was lost", error);
            }
            return null;
        });
        var stream = server.open();
        stream.deliver(job(1));
        stream.cancel(1);
        assertEquals(OutcomeCase.CANCELLATION, stream.outcome().getOutcomeCase());
        stream.deliver(job(2));
        stream.cancel(2);
        assertEquals("the work was lost", stream.outcome().getFailure().getError());
    }

    @Test
    void aHandlerWithoutInterruptsIsToldByItsContextAlone() throws Exception {
        var options = HandlerOptions.DEFAULT.withoutInterrupt();
        serve(builder().build().handle("k", options, (job, context) -> {
            var stop = context.cancelled().get();
            assertFalse(Thread.interrupted());
            assertEquals(Stop.Reason.CANCEL, stop.reason());
            assertTrue(stop.words().endsWith("a test"), stop.words());
            return Json.of("\"done before\"");
        }));
        var stream = server.open();
        stream.deliver(job(1));
        stream.cancel(1);
        assertEquals(OutcomeCase.SUCCESS, stream.outcome().getOutcomeCase());
    }

    @Test
    void anInterruptNeverReachesTheNextHandlerOfItsThread() throws Exception {
        var threads = new LinkedBlockingQueue<String>();
        serve(builder()
                .concurrency(1)
                .threads(task -> new Thread(task, "one of the program's own"))
                .build()
                .handle("k", (job, context) -> {
                    threads.add(Thread.currentThread().getName());
                    if (job.payload().text().equals("1")) {
                        while (!context.isCancelled()) {
                            Thread.onSpinWait();
                        }
                        return null; // interrupted, and it has not looked
                    }
                    return Json.of(Boolean.toString(Thread.currentThread().isInterrupted()));
                }));
        var stream = server.open();
        stream.deliver(job(1));
        stream.cancel(1);
        stream.settled(stream.settle());
        stream.deliver(job(2));
        assertEquals("false", stream.outcome().getSuccess().getOutputJson().toStringUtf8());
        assertEquals(List.of("one of the program's own", "one of the program's own"), List.copyOf(threads));
    }

    @Test
    void anAsyncHandlerEndsWithItsStage() throws Exception {
        BlockingQueue<CompletableFuture<Object>> stages = new LinkedBlockingQueue<>();
        serve(builder().build().handleAsync("k", (job, context) -> {
            var stage = new CompletableFuture<Object>();
            stages.add(stage);
            return stage;
        }));
        var stream = server.open();
        stream.deliver(job(1));
        stages.take().complete(Json.of("1"));
        assertEquals("1", stream.outcome().getSuccess().getOutputJson().toStringUtf8());
        stream.deliver(job(2));
        stages.take().completeExceptionally(new Discard("no"));
        assertTrue(stream.outcome().getFailure().getPermanent());
        stream.deliver(job(3));
        var stage = stages.take();
        stream.cancel(3);
        assertEquals(OutcomeCase.CANCELLATION, stream.outcome().getOutcomeCase());
        assertTrue(stage.isCancelled());
    }

    /** Notes what it is told; of leases above 100 there are no spans. */
    private static final class NotedTracer implements Tracer {
        final BlockingQueue<String> notes = new LinkedBlockingQueue<>();

        @Override
        public Optional<Tracer.Span> begin(LeasedJob job, long lease) {
            if (lease > 100) {
                return Optional.empty();
            }
            return Optional.of(new Tracer.Span() {
                @Override
                public String traceparent() {
                    return "span of " + lease;
                }

                @Override
                public Tracer.Scope enter() {
                    notes.add("enter");
                    return () -> notes.add("leave");
                }

                @Override
                public void end(Tracer.End how) {
                    notes.add(how.outcome() + " " + how.error());
                }
            });
        }

        @Override
        public Optional<String> traceparent() {
            return Optional.empty();
        }
    }

    @Test
    void aHandlerRunsInItsSpanWhichEndsWithItsStageAndFollowUpsCarryIt() throws Exception {
        var tracer = new NotedTracer();
        var stages = new LinkedBlockingQueue<CompletableFuture<Object>>();
        serve(builder().tracer(tracer).build().handleAsync("k", (job, context) -> {
            tracer.notes.add("handler");
            context.followUp(NewJob.builder("next").build());
            var stage = new CompletableFuture<Object>();
            stages.add(stage);
            return stage;
        }));
        var stream = server.open();
        stream.deliver(job(1));
        var stage = stages.take();
        for (var note : List.of("enter", "handler", "leave")) {
            assertEquals(note, tracer.notes.take());
        }
        assertTrue(tracer.notes.isEmpty());
        stage.complete(null);
        assertEquals("succeeded ", tracer.notes.take());
        var next = stream.outcome().getSuccess().getFollowUps(0);
        assertEquals("span of 1", next.getHeadersOrThrow("traceparent"));

        stream.deliver(job(2));
        stages.take().completeExceptionally(new IOException("no disk"));
        assertEquals("no disk", stream.outcome().getFailure().getError());
        for (var note : List.of("enter", "handler", "leave", "failed no disk")) {
            assertEquals(note, tracer.notes.take());
        }

        stream.deliver(job(101).putHeaders("traceparent", "the producer's"));
        stages.take().complete(null);
        next = stream.outcome().getSuccess().getFollowUps(0);
        assertEquals("the producer's", next.getHeadersOrThrow("traceparent"));
        assertEquals(List.of("handler"), List.copyOf(tracer.notes));
    }

    @Test
    void aRevokedLeaseIsNotSettled() throws Exception {
        var stops = new LinkedBlockingQueue<Stop>();
        serve((job, context) -> {
            if (job.payload().text().equals("1")) {
                stops.add(context.cancelled().get());
            }
            return null;
        });
        var stream = server.open();
        stream.deliver(job(1));
        stream.revoke(1, "TIMED_OUT");
        stream.deliver(job(2));
        assertEquals(List.of(2L), stream.settle().getSucceededList());
        // Told by an interrupt, where it waits for the context: either way it has ended.
        var stop = stops.poll(100, TimeUnit.MILLISECONDS);
        assertTrue(stop == null || stop.reason() == Stop.Reason.REVOKED);
    }

    @Test
    void followUpsGoWithTheSuccessAndCarryTheRequestId() throws Exception {
        serve((job, context) -> {
            context.followUp(NewJob.builder("next")
                    .payload(Json.of("[ 1 ]"))
                    .idempotent()
                    .build());
            return null;
        });
        var stream = server.open();
        stream.deliver(job(1).putHeaders("x-request-id", "r1"));
        var next = stream.outcome().getSuccess().getFollowUps(0);
        assertEquals("[ 1 ]", next.getPayloadJson().toStringUtf8());
        assertEquals(Map.of("x-request-id", "r1"), next.getHeadersMap());
        assertEquals("", next.getIdempotencyKey());
    }

    @Test
    void theNewestCheckpointGoesBeforeTheOutcome() throws Exception {
        serve((job, context) -> {
            context.progress(0.25, "a quarter");
            context.saveCheckpoint(new byte[] {1});
            context.saveCheckpoint(new byte[] {2});
            throw new IllegalStateException();
        });
        var stream = server.open();
        stream.deliver(job(1));
        var progress = stream.next(FrameCase.PROGRESS).getProgress();
        assertEquals(0.25, progress.getFraction());
        assertEquals("a quarter", progress.getMessage());
        assertEquals(2, progress.getCheckpoint().byteAt(0));
        assertEquals(OutcomeCase.FAILURE, stream.outcome().getOutcomeCase());
    }

    @Test
    void whatCrossesAMoveIsNotBegunAndGoesBackIfTheWorkerStays() throws Exception {
        var ran = new LinkedBlockingQueue<String>();
        var held = new LinkedBlockingQueue<String>();
        var stopped = new LinkedBlockingQueue<String>();
        serve((job, context) -> {
            if (!job.id().equals(id(8)) && !job.id().equals(id(9))) {
                ran.add(job.id());
                return null;
            }
            held.add(job.id());
            try {
                return context.cancelled().get();
            } finally {
                stopped.add(job.id());
            }
        });
        var old = server.open();
        old.deliver(job(8), job(9));
        assertNotNull(held.poll(10, TimeUnit.SECONDS));
        assertNotNull(held.poll(10, TimeUnit.SECONDS));
        old.goAway();
        var refused = server.accept();
        old.deliver(job(1));
        // Behind it on the same stream: who has read this has read the delivery.
        old.revoke(8, "TIMED_OUT");
        assertEquals(id(8), stopped.poll(10, TimeUnit.SECONDS));
        refused.end(io.grpc.Status.UNAVAILABLE.withDescription("full"));
        assertEquals(OutcomeCase.RELEASE, old.outcome().getOutcomeCase());

        var moved = server.accept();
        old.deliver(job(2));
        old.revoke(9, "TIMED_OUT");
        assertEquals(id(9), stopped.poll(10, TimeUnit.SECONDS));
        moved.welcome("token 2");
        moved.deliver(job(3));
        assertEquals(List.of(3L), moved.settle().getSucceededList());
        assertEquals(List.of(id(3)), List.copyOf(ran));
        assertEquals("token", moved.hello.getResume().getSessionToken());
    }

    @Test
    void whatEndsWhileTheWorkerMovesIsSettledOnTheNewStreamAlone() throws Exception {
        var gate = new CountDownLatch(1);
        serve((job, context) -> {
            gate.await();
            return null;
        });
        var old = server.open();
        old.deliver(job(1));
        old.next(FrameCase.FRAME_NOT_SET); // its receipt
        old.goAway();
        var stream = server.accept();
        assertEquals(1, stream.hello.getResume().getHeldCount());
        gate.countDown();
        Thread.sleep(50);
        stream.welcome("token 2");
        assertEquals(List.of(1L), stream.settle().getSucceededList());
    }

    @Test
    void anOutcomeThatCouldNotBeCommittedIsSentAgain() throws Exception {
        serve((job, context) -> null);
        var stream = server.open();
        stream.deliver(job(1));
        stream.settled(
                stream.settle(),
                SettleResult.newBuilder()
                        .setLeaseId(1)
                        .setVerdict(SettleResult.Verdict.TRY_AGAIN)
                        .build());
        assertEquals(List.of(1L), stream.settle().getSucceededList());
    }

    @Test
    void anObserverIsToldOfEveryStartAndOfWhatBecameOfItAndAFailureOfItsOwnEndsNothing() throws Exception {
        var told = new LinkedBlockingQueue<String>();
        var attempts = new LinkedBlockingQueue<Observer.Attempt>();
        var observer = new Observer() {
            @Override
            public void attemptStarted(Attempt attempt) {
                attempts.add(attempt);
                told.add("started " + attempt.kind());
            }

            @Override
            public void attemptEnded(Attempt attempt, Outcome outcome, Duration took, String error) {
                told.add(outcome + " " + attempt.kind() + " " + error);
                throw new IllegalStateException("an observer that fails does no harm");
            }
        };
        serve(builder().observer(observer).build().handle("k", (job, context) -> {
            if (job.payload().text().equals("2")) {
                throw new IllegalStateException("no disk");
            }
            if (job.payload().text().equals("3")) {
                context.cancelled().get();
            }
            return null;
        }));
        var stream = server.open();
        stream.deliver(
                job(1).setFailures(2).setAttempt(3).putLabels("team", "a").putHeaders("x-request-id", "r1"));
        stream.settled(stream.settle());
        stream.deliver(job(2));
        stream.settled(
                stream.settle(),
                SettleResult.newBuilder()
                        .setLeaseId(2)
                        .setVerdict(SettleResult.Verdict.APPLIED)
                        .setStatus(dev.jobqueue.v1.Job.Status.FAILED_PERMANENT)
                        .build());
        stream.deliver(job(3));
        stream.revoke(3, "TIMED_OUT");
        for (var want : List.of(
                "started k",
                "SUCCEEDED k ",
                "started k",
                "FAILED_PERMANENT k java.lang.IllegalStateException: no disk",
                "started k",
                "ERROR k the lease was revoked: TIMED_OUT")) {
            assertEquals(want, told.poll(10, TimeUnit.SECONDS));
        }
        assertEquals(new Observer.Attempt(id(1), "k", "default", 3, 2, Map.of("team", "a"), "r1"), attempts.poll());
    }

    @Test
    void anObserverThatSleepsHoldsUpNoHeartbeatAndNoJob() throws Exception {
        var gate = new CountDownLatch(1);
        var told = new LinkedBlockingQueue<String>();
        serve(builder()
                .observer(new Observer() {
                    @Override
                    public void attemptStarted(Attempt attempt) {
                        try {
                            gate.await();
                        } catch (InterruptedException error) {
                            throw new IllegalStateException(error);
                        }
                        told.add(attempt.id());
                    }
                })
                .build()
                .handle("k", (job, context) -> null));
        var stream = server.accept();
        stream.welcome("token", Duration.ofMillis(100));
        stream.deliver(job(1), job(2));
        var beat = stream.next(FrameCase.HEARTBEAT).getHeartbeat().getSeq();
        stream.pong(beat);
        assertEquals(beat + 1, stream.next(FrameCase.HEARTBEAT).getHeartbeat().getSeq());
        assertNull(told.peek());
        gate.countDown();
        assertEquals(id(1), told.poll(10, TimeUnit.SECONDS));
        assertEquals(id(2), told.poll(10, TimeUnit.SECONDS));
    }

    @Test
    void eventsBeyondTenThousandAreDroppedAndCounted() throws Exception {
        var gate = new CountDownLatch(1);
        var began = new CountDownLatch(1);
        var told = new AtomicInteger();
        var telling = new Telling(new Observer() {});
        telling.tell(observer -> {
            began.countDown();
            try {
                gate.await();
            } catch (InterruptedException error) {
                throw new IllegalStateException(error);
            }
        });
        began.await();
        for (var i = 0; i < Telling.MOST + 7; i++) {
            telling.tell(observer -> told.incrementAndGet());
        }
        assertEquals(7, telling.dropped());
        gate.countDown();
        telling.flush(Duration.ofSeconds(10));
        while (told.get() < Telling.MOST) {
            Thread.sleep(1);
        }
        assertEquals(Telling.MOST, told.get());
    }

    @Test
    void aKindThatTheServerDoesNotKnowIsSaidOnceForEachSetOfThem() throws Exception {
        try (var log = new TestLog()) {
            serve((job, context) -> null);
            var stream = server.accept();
            stream.welcome("token", Duration.ofSeconds(5), "k");
            stream.next(FrameCase.CAPACITY);
            assertEquals(List.of("k"), worker.status().unknownKinds());
            stream.goAway();
            stream = server.accept();
            stream.welcome("token 2", Duration.ofSeconds(5), "k");
            stream.next(FrameCase.CAPACITY);
            stream.goAway();
            stream = server.accept();
            stream.welcome("token 3");
            stream.next(FrameCase.CAPACITY);
            assertEquals(List.of(), worker.status().unknownKinds());
            assertEquals(
                    List.of("the server knows no kind \"k\": no job of it can be enqueued; "
                            + "declare it by syncKinds or PutKind (jobqueue kinds put k)"),
                    log.with("knows no kind"));
        }
    }

    @Test
    void kindsThatTheServerDoesNotKnowAreSaidWithACommandThatIsValid() throws Exception {
        try (var log = new TestLog()) {
            serve((job, context) -> null);
            server.accept().welcome("token", Duration.ofSeconds(5), "k", "b");
            for (var tries = 0; tries < 500 && log.with("knows no kinds").isEmpty(); tries++) {
                Thread.sleep(10);
            }
            assertEquals(
                    List.of("the server knows no kinds \"b\", \"k\": no job of them can be enqueued; "
                            + "declare each by syncKinds or PutKind (jobqueue kinds put b)"),
                    log.with("knows no kinds"));
        }
    }

    /** Jackson finds nothing to write in it. */
    private static final class Bare {
        private final String secret = "s3cret";
    }

    @Test
    void anOutputOfATypeThatJacksonCantWriteIsAFailureThatSaysWhatTheTypeLacks() throws Exception {
        serve(builder().codec(Codecs.jackson()).build().handle("k", (job, context) -> new Bare()));
        var stream = server.open();
        stream.deliver(job(1));
        var error = stream.outcome().getFailure().getError();
        assertTrue(error.contains("No serializer found for class dev.jobqueue.WorkerTest$Bare"), error);
        assertFalse(error.contains("s3cret"), error);
    }

    @Test
    void aTypedHandlerIsRefusedWhereTheWorkerHasNoCodec() {
        var worker = builder().build();
        var typed = JobKind.define("k", String.class).build();
        var error = assertThrows(IllegalArgumentException.class, () -> worker.handle(typed, (text, context) -> null));
        assertTrue(
                error.getMessage().contains("make the worker with one, such as Codecs.jackson()"), error.getMessage());
        var written = JobKind.define("k", Json.class, Integer.class).build();
        assertThrows(IllegalArgumentException.class, () -> worker.handle(written, (json, context) -> 1));
        worker.handle(JobKind.define("k", Json.class, Json.class).build(), (json, context) -> json);
    }

    @Test
    void aPauseBeforeServingIsKept() throws Exception {
        var made = builder().paused(true).build().handle("k", (job, context) -> null);
        assertEquals(0, made.status().slots());
        serve(made);
        var stream = server.open();
        assertEquals(0, stream.hello.getCapacity().getSlots());
        assertEquals(0, stream.next(FrameCase.CAPACITY).getCapacity().getSlots());
        made.resume();
        assertEquals(8, stream.next(FrameCase.CAPACITY).getCapacity().getSlots());
        assertEquals(8, made.status().slots());

        var other = builder().build().handle("k", (job, context) -> null);
        other.pause();
        var serving = new Thread(other::serve);
        serving.start();
        assertEquals(0, server.open().hello.getCapacity().getSlots());
        other.stop(Duration.ZERO);
        serving.interrupt();
        serving.interrupt();
    }

    @Test
    void aSecondHandlerForAKindIsRefusedWithTheNameOfTheFirst() {
        var made = builder().queues("mail", "bulk").build().handle("k", new First());
        var error = assertThrows(IllegalArgumentException.class, () -> made.handle("k", (job, context) -> null));
        assertEquals(
                "the kind \"k\" has a handler already: dev.jobqueue.WorkerTest$First, in the worker of queues [mail, bulk]",
                error.getMessage());
        made.handle("l", (job, context) -> null);
        error = assertThrows(IllegalArgumentException.class, () -> made.handleAsync("l", (job, context) -> null));
        assertTrue(error.getMessage().contains("a lambda of dev.jobqueue.WorkerTest,"), error.getMessage());
    }

    private static final class First implements Handler {
        @Override
        public Object run(LeasedJob job, JobContext context) {
            return null;
        }
    }

    @Test
    void theEnvironmentSaysWhereAndAsWhom() {
        var builder = Worker.from(new Environment(
                Map.of("JOBQUEUE_SERVER", "jobs:1", "JOBQUEUE_QUEUES", "mail, bulk", "WORKER_CONCURRENCY", "3")));
        assertEquals(3, builder.build().status().slots());
        var error = assertThrows(
                IllegalArgumentException.class,
                () -> Worker.from(new Environment(Map.of("WORKER_CONCURRENCY", "many"))));
        assertEquals("WORKER_CONCURRENCY is \"many\"; it is a number", error.getMessage());
    }

    @Test
    void aWorkerOfTheEnvironmentHasItsQueuesSlotsAndNameUnlessTheProgramSaysThem() {
        var environment = new Environment(Map.of(
                "JOBQUEUE_QUEUES", ", mail ,, bulk,", "WORKER_CONCURRENCY", "3", "JOBQUEUE_WORKER_NAME", "blue"));
        var settings = Worker.from(environment).build().settings;
        assertEquals(List.of("mail", "bulk"), settings.queues());
        assertEquals(3, settings.concurrency());
        assertEquals("blue", settings.name());
        settings = Worker.from(environment)
                .queues("own")
                .concurrency(2)
                .name("green")
                .build()
                .settings;
        assertEquals(List.of("own"), settings.queues());
        assertEquals(2, settings.concurrency());
        assertEquals("green", settings.name());
        var empty = new Environment(Map.of("JOBQUEUE_QUEUES", " , ", "WORKER_CONCURRENCY", ""));
        settings = Worker.from(empty).build().settings;
        assertEquals(List.of("default"), settings.queues());
        assertEquals(8, settings.concurrency());
    }

    @Test
    void aStopDrainsAndServeReturns() throws Exception {
        var began = new CountDownLatch(1);
        var gate = new CountDownLatch(1);
        serve((job, context) -> {
            began.countDown();
            gate.await();
            return null;
        });
        var stream = server.open();
        stream.deliver(job(1));
        began.await();
        worker.stop();
        stream.next(FrameCase.DRAIN);
        stream.deliver(job(2)); // it crossed
        assertEquals(OutcomeCase.RELEASE, stream.outcome().getOutcomeCase());
        gate.countDown();
        stream.settled(stream.settle());
        stream.goodbye();
        ended.get(10, TimeUnit.SECONDS);
    }

    @Test
    void anInterruptOfServeDrainsToo() throws Exception {
        serve((job, context) -> null);
        var stream = server.open();
        stream.next(FrameCase.CAPACITY);
        serving.interrupt();
        stream.next(FrameCase.DRAIN);
        stream.goodbye();
        ended.get(10, TimeUnit.SECONDS);
    }

    @Test
    void aWorkerThatIsRefusedAtFirstSaysWhy() throws Exception {
        serve((job, context) -> null);
        server.accept().end(io.grpc.Status.INVALID_ARGUMENT.withDescription("no such queue"));
        var error = assertThrows(Exception.class, () -> ended.get(10, TimeUnit.SECONDS));
        assertTrue(error.getCause() instanceof JobQueueException.InvalidRequest, error.toString());
        assertTrue(error.getMessage().contains("no such queue"), error.getMessage());
    }

    @Test
    void optionsAreCheckedWhereTheyAreGiven() {
        var builder = builder();
        assertThrows(IllegalArgumentException.class, () -> builder.concurrency(0));
        assertThrows(IllegalArgumentException.class, () -> builder.name("x".repeat(129)));
        assertThrows(IllegalArgumentException.class, () -> builder.sessionTtl(Duration.ofSeconds(4)));
        assertThrows(IllegalArgumentException.class, builder::queues);
        assertThrows(IllegalArgumentException.class, () -> HandlerOptions.slots(-1));
        var made = builder.build().handle("k", (job, context) -> null);
        assertThrows(IllegalArgumentException.class, () -> made.handle("k", (job, context) -> null));
        assertThrows(IllegalStateException.class, builder.build()::serve);
    }
}
