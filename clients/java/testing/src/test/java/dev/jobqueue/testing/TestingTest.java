package dev.jobqueue.testing;

import static dev.jobqueue.testing.Testing.attempt;
import static dev.jobqueue.testing.Testing.perform;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Cancelled;
import dev.jobqueue.Codecs;
import dev.jobqueue.Discard;
import dev.jobqueue.Handler;
import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException.PayloadInvalid;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import dev.jobqueue.Retry;
import dev.jobqueue.Snooze;
import dev.jobqueue.Stop;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.Performed.Outcome;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class TestingTest {
    record Ask(int number, List<String> notes) {}

    record Answer(double half) {}

    private static final JobKind<Ask, Answer> HALVE = JobKind.define("halve", Ask.class, Answer.class)
            .version(2)
            .upcast(1, old -> Map.of("number", old.get("n")))
            .aliases("half")
            .build();
    private static final Ask SEVEN = new Ask(7, List.of());

    private static Worker worker() {
        return Worker.builder("127.0.0.1:1").codec(Codecs.jackson()).build();
    }

    @Test
    void aTypedHandlerGetsItsPayloadByJsonAndItsOutputComesBackByJson() throws Exception {
        var done = perform(
                HALVE,
                (ask, context) -> {
                    assertEquals(SEVEN, ask);
                    assertFalse(ask == SEVEN, "it went through JSON");
                    assertEquals("2", context.job().headers().get("x-payload-version"));
                    return new Answer(ask.number() / 2.0);
                },
                SEVEN);
        assertEquals(Outcome.SUCCEEDED, done.outcome());
        assertEquals(new Answer(3.5), done.output());
        assertEquals("{\"half\":3.5}", done.outputJson().orElseThrow().text());
        assertEquals("SUCCEEDED", done.toString());
    }

    @Test
    void allThatWasSaidOfAWorkerHolds() throws Exception {
        var worker = worker().handle(HALVE, HandlerOptions.DEFAULT.withoutInterrupt(), (ask, context) -> {
            context.cancelled().join();
            assertFalse(Thread.interrupted());
            return new Answer(ask.number());
        });
        var done = perform(worker, HALVE, SEVEN, Given::stopAtStart);
        assertEquals(new Answer(7), done.output());
        var error = assertThrows(IllegalArgumentException.class, () -> perform(worker, "other", null));
        assertTrue(error.getMessage().startsWith("the worker has no handler of kind other; it has: "));
        var none = assertThrows(IllegalArgumentException.class, () -> perform(worker(), HALVE, SEVEN));
        assertEquals("the worker has no handler of kind halve; it has: none", none.getMessage());
    }

    @Test
    void aHandlerWithoutTypesGetsItsJob() throws Exception {
        var done = perform((job, context) -> job.payload(Map.class), Map.of("a", 1));
        assertEquals("{\"a\":1}", done.output().text());
        var nothing = perform((job, context) -> null, null);
        assertNull(nothing.output());
        assertEquals(Outcome.SUCCEEDED, nothing.outcome());
    }

    @Test
    void theJobIsWhatTheTestSays() throws Exception {
        var at = Instant.parse("2026-01-02T03:04:05Z");
        perform(
                (job, context) -> {
                    assertEquals(
                            List.of(4, 2, 5, 3),
                            List.of(job.attempt(), job.failures(), job.maxAttempts(), job.priority()));
                    assertEquals(List.of("7", "q", "k"), List.of(job.id(), job.queue(), job.key()));
                    assertEquals(Map.of("l", "1"), job.labels());
                    assertEquals(Map.of("h", "2"), job.headers());
                    assertEquals(at, job.createdAt());
                    assertEquals(Duration.ofMinutes(1), job.timeout().orElseThrow());
                    assertTrue(context.remaining().orElseThrow().toSeconds() > 50);
                    assertArrayEquals(new byte[] {1}, job.checkpoint());
                    return null;
                },
                null,
                given -> given.id("7")
                        .attempt(4)
                        .failures(2)
                        .maxAttempts(5)
                        .priority(3)
                        .queue("q")
                        .key("k")
                        .labels(Map.of("l", "1"))
                        .headers(Map.of("h", "2"))
                        .createdAt(at)
                        .timeout(Duration.ofMinutes(1))
                        .checkpoint(new byte[] {1}));
        assertThrows(
                IllegalArgumentException.class, () -> perform((job, context) -> null, null, given -> given.attempt(0)));
    }

    @Test
    void anOrdinaryFailureIsThrownAsItself() throws Exception {
        var failure = new IOException("no disk");
        assertSame(
                failure,
                assertThrows(
                        IOException.class,
                        () -> perform(
                                (job, context) -> {
                                    throw failure;
                                },
                                null)));
        var error = new AssertionError("an Error too");
        assertSame(
                error,
                assertThrows(
                        AssertionError.class,
                        () -> perform(
                                (job, context) -> {
                                    throw error;
                                },
                                null)));
        var done = perform(
                (job, context) -> {
                    throw failure;
                },
                null,
                Given::caught);
        assertEquals(Outcome.FAILED, done.outcome());
        assertEquals("no disk", done.error());
        assertEquals("java.io.IOException", done.errorType());
        assertTrue(done.stack().contains("TestingTest"));
        assertEquals("FAILED: java.io.IOException: no disk", done.toString());
    }

    @Test
    void anAsynchronousHandlerFailsAsItselfAndIsCancelled() throws Exception {
        var failure = new IOException("no disk");
        var stage = new CompletableFuture<Answer>();
        var worker = worker().handleAsync("fails", (job, context) -> CompletableFuture.failedFuture(failure))
                .handleAsync("throws", (job, context) -> {
                    throw failure;
                })
                .handleAsync(HALVE, (ask, context) -> stage);
        assertSame(failure, assertThrows(IOException.class, () -> perform(worker, "fails", null)));
        assertSame(failure, assertThrows(IOException.class, () -> perform(worker, "throws", null)));
        var done = perform(worker, HALVE, SEVEN, given -> given.stopAfter(Duration.ofMillis(20)));
        assertEquals(Outcome.CANCELLED, done.outcome());
        assertThrows(CancellationException.class, () -> stage.get(10, TimeUnit.SECONDS));
    }

    @Test
    void otherEndingsAreOutcomes() throws Exception {
        var retried = perform(
                (job, context) -> {
                    throw new Retry("busy", Duration.ofMinutes(5));
                },
                null);
        assertEquals(Outcome.FAILED, retried.outcome());
        assertEquals(Duration.ofMinutes(5), retried.retryAfter().orElseThrow());
        assertTrue(retried.pauseKey().isEmpty());
        for (var minutes : List.of(5, 72 * 60)) {
            var busy = perform(
                    (job, context) -> {
                        throw new Retry("429", Duration.ofMinutes(minutes)).pauseKey();
                    },
                    null);
            assertEquals(Duration.ofMinutes(minutes), busy.retryAfter().orElseThrow());
            // A day at most.
            assertEquals(
                    Duration.ofMinutes(Math.min(minutes, 24 * 60)),
                    busy.pauseKey().orElseThrow());
        }
        var discarded = perform(
                (job, context) -> {
                    throw new Discard("no such user");
                },
                null);
        assertEquals(Outcome.DISCARDED, discarded.outcome());
        assertEquals("no such user", discarded.error());
        var snoozed = perform(
                (job, context) -> {
                    throw new Snooze(Duration.ofMillis(1500));
                },
                null);
        assertEquals(Outcome.SNOOZED, snoozed.outcome());
        assertEquals(Duration.ofMillis(1500), snoozed.delay().orElseThrow());
        var stopped = perform(
                (job, context) -> {
                    throw new Cancelled("nothing left");
                },
                null);
        assertEquals(Outcome.CANCELLED, stopped.outcome());
    }

    @Test
    void whatTheWorkerRefusesOfAnOutputFailsHereToo() throws Exception {
        var failed = assertThrows(
                HandlerFailed.class, () -> perform((job, context) -> Json.of("\"" + "x".repeat(1 << 20) + "\""), null));
        assertTrue(failed.getMessage().startsWith("OutputError: the handler's output is 1048578 bytes"));
        assertEquals(Outcome.FAILED, failed.performed().outcome());
        assertThrows(
                IllegalArgumentException.class,
                () -> perform(
                        (job, context) -> {
                            for (var i = 0; i < 101; i++) {
                                context.followUp(NewJob.of("next"));
                            }
                            return null;
                        },
                        null));
        assertThrows(
                IllegalArgumentException.class,
                () -> perform(
                        (job, context) -> {
                            context.saveCheckpoint(new byte[65537]);
                            return null;
                        },
                        null));
        assertThrows(NullPointerException.class, () -> perform(HALVE, (ask, context) -> null, SEVEN));
    }

    @Test
    void whatIsToldMeanwhileIsKept() throws Exception {
        var done = perform(
                (job, context) -> {
                    context.progress(0.5, "half of it");
                    context.progress("the rest");
                    context.saveCheckpoint(new byte[] {1});
                    context.saveCheckpoint(new byte[] {2});
                    context.followUp(HALVE.job(SEVEN)
                            .queue("later")
                            .delay(Duration.ofHours(1))
                            .build());
                    context.followUp(NewJob.of("next"));
                    return null;
                },
                null);
        assertEquals(
                List.of(
                        new Report(OptionalDouble.of(0.5), "half of it"),
                        new Report(OptionalDouble.empty(), "the rest")),
                done.progress());
        assertEquals(2, done.checkpoints().size());
        assertArrayEquals(new byte[] {2}, done.checkpoint());
        var first = done.followUps().get(0);
        assertEquals(SEVEN, HALVE.payloadOf(first));
        assertEquals("later", first.queue());
        assertEquals(Duration.ofHours(1), Duration.between(first.createdAt(), first.runAt()));
        assertEquals("null", done.followUps().get(1).payload().orElseThrow().text());
        var failed = perform(
                (job, context) -> {
                    context.followUp(NewJob.of("next"));
                    throw new Retry("busy", Duration.ZERO);
                },
                null);
        assertEquals(List.of(), failed.followUps());
    }

    record Cursor(int page, List<String> seen) {}

    @Test
    void aCheckpointIsAValueOfATypeAndJsonWhileItIsStored() throws Exception {
        var read = new ArrayList<Optional<Cursor>>();
        Handler handler = (job, context) -> {
            var found = job.checkpointAs(Cursor.class);
            read.add(found);
            if (found.isEmpty()) {
                context.saveCheckpoint(new Cursor(2, List.of("a")));
                throw new Retry("again", Duration.ofSeconds(1));
            }
            return null;
        };
        var first = perform(handler, null);
        assertEquals("{\"page\":2,\"seen\":[\"a\"]}", new String(first.checkpoint(), UTF_8));
        first.again();
        assertEquals(List.of(Optional.empty(), Optional.of(new Cursor(2, List.of("a")))), read);
    }

    @Test
    void bytesAreACheckpointAsTheyAreAndNullTakesItBack() throws Exception {
        Object bytes = "b".getBytes(UTF_8);
        var done = perform(
                (job, context) -> {
                    context.saveCheckpoint("\"a\"".getBytes(UTF_8));
                    context.saveCheckpoint(bytes);
                    context.saveCheckpoint(Json.of("{\"n\": 1.0}"));
                    context.saveCheckpoint("c");
                    context.saveCheckpoint((Object) null);
                    context.saveCheckpoint(null);
                    return null;
                },
                null,
                given -> given.checkpoint(new byte[] {1}));
        var saved =
                done.checkpoints().stream().map(each -> new String(each, UTF_8)).toList();
        assertEquals(List.of("\"a\"", "b", "{\"n\": 1.0}", "\"c\"", "", ""), saved);
    }

    @Test
    void aCheckpointThatDoesNotFitIsAFailureThatSaysWhereAndNeverWhatStandsThere() throws Exception {
        for (var row : Map.of(
                        "{\"page\":\"secret\",\"seen\":[]}", "checkpoint.page: must be a whole number",
                        "secret", "checkpoint: must be JSON",
                        "null", "checkpoint: must be a Cursor, not null")
                .entrySet()) {
            var done = perform((job, context) -> job.checkpointAs(Cursor.class), null, given -> given.checkpoint(
                            row.getKey().getBytes(UTF_8))
                    .caught());
            assertEquals(
                    List.of(Outcome.FAILED, "CheckpointUnreadable", row.getValue()),
                    List.of(done.outcome(), done.errorType(), done.error()));
            assertFalse(done.stack().contains("secret"), done.stack());
        }
    }

    @Test
    void anEncodedCheckpointIsNotTakenForAValue() throws Exception {
        var envelope = "{\"$jobqueue.encoded\":1,\"content_type\":\"\",\"encodings\":[\"aes256gcm\"],\"key_id\":\"k\","
                + "\"data\":\"\"}";
        var done = perform(
                (job, context) -> job.checkpointAs(Map.class), null, given -> given.checkpoint(envelope.getBytes(UTF_8))
                        .caught());
        assertEquals("encoded, aes256gcm, key k: this program has no encodings", done.error());
    }

    @Test
    void whatJsonHasNoFormForIsNoCheckpoint() throws Exception {
        var done = perform(
                (job, context) -> {
                    assertThrows(IllegalArgumentException.class, () -> context.saveCheckpoint(new Object()));
                    assertThrows(IllegalArgumentException.class, () -> context.saveCheckpoint("x".repeat(65_536)));
                    return null;
                },
                null);
        assertEquals(List.of(), done.checkpoints());
    }

    @Test
    void theNextAttemptHasTheCheckpointAndTheFailuresOfBefore() throws Exception {
        var first = perform(
                HALVE,
                (ask, context) -> {
                    var job = context.job();
                    switch (job.attempt()) {
                        case 1 -> {
                            context.saveCheckpoint(new byte[] {7});
                            throw new IOException("no disk");
                        }
                        case 2 -> throw new Snooze(Duration.ofSeconds(1));
                        default -> {
                            assertEquals(1, job.failures());
                            assertArrayEquals(new byte[] {7}, job.checkpoint());
                            assertEquals("k", job.key());
                            return new Answer(ask.number());
                        }
                    }
                },
                SEVEN,
                given -> given.caught().key("k"));
        assertEquals(List.of(1, 0), List.of(first.attempt(), first.failures()));
        var second = first.again();
        assertEquals(List.of(2, 1), List.of(second.attempt(), second.failures()));
        assertArrayEquals(new byte[] {7}, second.checkpoint());
        var third = second.again(given -> given.queue("other"));
        assertEquals(List.of(3, 1), List.of(third.attempt(), third.failures()));
        assertEquals(new Answer(7), third.output());
    }

    @Test
    void aHandlerIsToldToStopAsInProduction() throws Exception {
        var done = perform(
                (job, context) -> {
                    for (var i = 0; ; i++) {
                        context.progress(i / 10.0);
                        Thread.sleep(i == 3 ? 10_000 : 0);
                    }
                },
                null,
                given -> given.stopAtProgress(3));
        assertEquals(Outcome.CANCELLED, done.outcome());
        assertEquals(3, done.progress().size());
        for (var reason : Set.of(Stop.Reason.SHUTDOWN, Stop.Reason.LOST)) {
            var released = perform(
                    (job, context) -> {
                        new CountDownLatch(1).await();
                        return null;
                    },
                    null,
                    given -> given.stop(reason).stopAfter(Duration.ofMillis(20)));
            assertEquals(Outcome.RELEASED, released.outcome());
        }
        var begun =
                perform((job, context) -> context.stop().orElseThrow().reason().name(), null, given -> given.stop(
                                Stop.Reason.REVOKED)
                        .stopAtStart());
        assertEquals("\"REVOKED\"", begun.output().text());
        var never = perform((job, context) -> 1, null, given -> given.attempt(2).stopAtStart());
        assertEquals(Outcome.CANCELLED, never.outcome());
    }

    @Test
    void aHandlerThatDoesNotEndIsSaidAndStopped() throws Exception {
        var interrupted = new CompletableFuture<Boolean>();
        var error = assertThrows(
                StillRunning.class,
                () -> perform(
                        (job, context) -> {
                            try {
                                new CountDownLatch(1).await();
                            } finally {
                                interrupted.complete(true);
                            }
                            return null;
                        },
                        null,
                        given -> given.within(Duration.ofMillis(50))));
        assertEquals("the handler of performed still runs after 0.05 s", error.getMessage());
        assertTrue(interrupted.get());
        var gate = new CountDownLatch(1);
        var deaf = worker().handle("deaf", HandlerOptions.DEFAULT.withoutInterrupt(), (job, context) -> {
            gate.await();
            return null;
        });
        error = assertThrows(
                StillRunning.class,
                () -> perform(deaf, "deaf", null, given -> given.stopAtStart().within(Duration.ofMillis(50))));
        assertEquals("the handler of deaf still runs after 0.05 s, though it was told to stop", error.getMessage());
        gate.countDown();
    }

    @Test
    void payloadsOfOtherVersionsAndOfNoneAreStored() throws Exception {
        var worker = worker().handle(HALVE, (ask, context) -> new Answer(ask.number()));
        var older = perform(worker, HALVE, null, given -> given.stored(Json.of("{\"n\":5}")));
        assertEquals(new Answer(5), older.output());
        var newer = perform(
                worker, HALVE, null, given -> given.stored(Json.of("{}")).headers(Map.of("x-payload-version", "3")));
        assertEquals(Outcome.SNOOZED, newer.outcome());
        var unreadable = perform(worker, HALVE, null, given -> given.stored(Json.of("{\"number\":\"x\"}"))
                .headers(Map.of("x-payload-version", "2")));
        assertEquals(Outcome.DISCARDED, unreadable.outcome());
        assertEquals("PayloadUnreadable", unreadable.errorType());
        assertThrows(PayloadInvalid.class, () -> perform(worker, HALVE, null));
    }

    @Test
    void aContextIsThereAloneForCodeThatIsCalledWithOne() {
        var context = attempt(HALVE, SEVEN, given -> given.attempt(3));
        context.progress(1.0);
        assertEquals(3, context.job().attempt());
        assertEquals("halve", context.job().kind());
        assertEquals(SEVEN, context.job().payload(Ask.class));
        var plain = attempt("text", given -> given.headers(Map.of("a", "b")));
        assertEquals("\"text\"", plain.job().payload().text());
        assertEquals("b", plain.job().headers().get("a"));
        assertNotEquals(context.job().id(), plain.job().id());
    }

    @Test
    void twoHundredAttemptsLeaveNoThreadEach() throws Exception {
        var before = Thread.activeCount();
        for (var i = 0; i < 200; i++) {
            perform((job, context) -> null, null);
        }
        assertTrue(Thread.activeCount() < before + 20, Thread.activeCount() + " threads, " + before + " before");
    }
}
