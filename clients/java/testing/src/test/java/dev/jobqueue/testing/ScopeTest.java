package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.Limits;
import dev.jobqueue.NewJob;
import dev.jobqueue.RetryPolicy;
import dev.jobqueue.Snooze;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** A namespace of a real server for each test. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class ScopeTest {
    private static final Duration LATER = Duration.ofDays(7);

    record Mail(String to) {}

    @BeforeEach
    void declare(Client client) {
        for (var name : List.of("mail", "fails", "next", "first")) {
            client.putKind(Kind.of(name).withRetryPolicy(new RetryPolicy(LATER, LATER)));
        }
    }

    /** The worker of a program, for whatever server. */
    private static Worker worker() {
        return Worker.builder("192.0.2.1:1").codec(Codecs.jackson()).build();
    }

    @Test
    void whatWasEnqueuedIsFoundByAllThatIsSaidOfIt(TestScope scope, Client client) {
        client.enqueue(NewJob.builder("mail")
                .payload(Json.of("{\"to\":\"ada\",\"n\":1}"))
                .labels(Map.of("a", "b", "c", "d"))
                .key("k")
                .delay(LATER)
                .build());
        client.enqueue(NewJob.builder("mail")
                .payload(Json.of("{\"to\":\"bob\",\"n\":true}"))
                .queue("bulk")
                .build());
        assertEquals(2, scope.assertEnqueued("mail").size());
        var ada = Map.of("to", "ada", "n", 1.0);
        var found = scope.assertEnqueued(
                Wanted.of("mail").payload(ada).labels(Map.of("a", "b")).key("k").dueIn(LATER));
        assertEquals(Map.of("a", "b", "c", "d"), found.get(0).labels());
        scope.assertEnqueued(
                Wanted.of("mail").matching(Map.of("to", "bob")).queue("bulk").count(1));
        scope.assertEnqueued(
                Wanted.of("mail").matching(job -> job.payload().isPresent()).count(2));
        // True is no 1, and a part of a payload is not the payload.
        scope.assertNotEnqueued(Wanted.of("mail").matching(Map.of("to", "bob", "n", 1)));
        scope.assertNotEnqueued(Wanted.of("mail").payload(Map.of("to", "ada")));
        for (var wrong : List.of(
                Wanted.of("next"),
                Wanted.of("mail").queue("bulk"),
                Wanted.of("mail").labels(Map.of("a", "c")),
                Wanted.of("mail").key("x"),
                Wanted.of("mail").dueIn(Duration.ofDays(6)))) {
            scope.assertNotEnqueued(wrong.matching(Map.of("to", "ada")));
        }
    }

    @Test
    void whatIsNotThereIsSaidWithWhatIs(TestScope scope, Client client) {
        var error = assertThrows(AssertionError.class, () -> scope.assertEnqueued("mail"));
        assertEquals("no job of kind mail. The scope has no job of this status", error.getMessage());
        client.enqueue(NewJob.builder("mail")
                .payload(new Mail("ada"))
                .labels(Map.of("a", "b"))
                .delay(LATER)
                .build());
        error = assertThrows(
                AssertionError.class,
                () -> scope.assertEnqueued(
                        Wanted.of("mail").payload(new Mail("bob")).count(1)));
        assertEquals(
                "no job of kind mail, payload {\"to\":\"bob\"}, not 1. There are:\n"
                        + "  mail {\"to\":\"ada\"} queue default labels {a=b}, due in PT168H",
                error.getMessage());
        error = assertThrows(AssertionError.class, () -> scope.assertNotEnqueued("mail"));
        assertTrue(error.getMessage().startsWith("1 of kind mail, and there should be none"), error.getMessage());
    }

    @Test
    void jobsThatHaveEndedAreNotMeantUnlessItIsSaid(TestScope scope, Client client) {
        client.cancel(client.enqueue("mail", null).id());
        scope.assertNotEnqueued("mail");
        scope.assertEnqueued(Wanted.of("mail").status(Status.CANCELLED).count(1));
    }

    @Test
    void codeThatEnqueuesLaterIsWaitedFor(TestScope scope, Client client) {
        CompletableFuture.delayedExecutor(300, TimeUnit.MILLISECONDS).execute(() -> client.enqueue("mail", null));
        scope.assertEnqueued(Wanted.of("mail").within(Duration.ofSeconds(20)));
    }

    @Test
    void whatIsEnqueuedMeanwhileIsToldAlone(TestScope scope, Client client) throws Exception {
        client.enqueue("mail", 0);
        var jobs = scope.recorded(() -> client.enqueueMany(List.of(NewJob.of("mail", 1), NewJob.of("mail", 2))));
        assertEquals(
                List.of(Json.of("1"), Json.of("2")),
                jobs.stream().map(job -> job.payload().orElseThrow()).toList());
    }

    @Test
    void scopesDoNotSeeEachOtherAndAClosedOneIsRefused(TestServer server, TestScope scope) {
        var other = server.openScope();
        assertNotEquals(scope.namespace(), other.namespace());
        other.client().putKind(Kind.of("mail"));
        other.client().enqueue("mail", null);
        scope.assertNotEnqueued("mail");
        other.close();
        other.close();
        try (var late = Client.builder(other.target()).token(other.key()).build()) {
            assertThrows(JobQueueException.NamespaceDisabled.class, () -> late.enqueue("mail", null));
        }
    }

    @Test
    void handlersRunUntilNothingIsDueWithTheJobsThatTheyEnqueue(TestScope scope, Client client) throws Exception {
        var worker = worker().handle("first", (job, context) -> {
                    context.followUp(NewJob.of("next", job.payload()));
                    return "done";
                })
                .handle("next", (job, context) -> null);
        client.enqueueMany(IntStream.range(0, 100)
                .mapToObj(number -> NewJob.of("first", number))
                .toList());
        var later = client.enqueue(NewJob.builder("next").delay(LATER).build());
        var idle = scope.runUntilIdle(worker);
        assertEquals(200, idle.ended().size());
        assertEquals(
                100,
                idle.ended().stream()
                        .filter(job -> job.output().equals(Optional.of(Json.of("\"done\""))))
                        .count());
        assertEquals(
                List.of(later.id()),
                idle.waiting().stream().map(each -> each.job().id()).toList());
        assertFalse(idle.waiting().get(0).why().isEmpty());
        scope.makeDue(later);
        assertEquals(later.id(), scope.runUntilIdle(worker).ended().get(0).id());
        assertThrows(AssertionError.class, () -> scope.makeDue(later));
    }

    @Test
    void whatAHandlerThrowsIsThrownAsItself(TestScope scope, Client client) {
        var plain = worker().handle("fails", (job, context) -> {
            throw new IOException("no such row");
        });
        client.enqueue("fails", null);
        assertEquals(
                "no such row",
                assertThrows(IOException.class, () -> scope.runUntilIdle(plain)).getMessage());
        var async = worker().handleAsync(
                        "mail", (job, context) -> CompletableFuture.failedFuture(new IOException("no such mail")));
        client.enqueue("mail", null);
        assertEquals(
                "no such mail",
                assertThrows(IOException.class, () -> scope.runUntilIdle(async)).getMessage());
    }

    @Test
    void aJobThatIsCancelledMeanwhileIsNoFailure(TestScope scope, Client client) throws Exception {
        var began = new Semaphore(0);
        var never = new CountDownLatch(1);
        var worker = worker().handle("mail", (job, context) -> {
                    began.release();
                    never.await();
                    return null;
                })
                .handleAsync("next", (job, context) -> {
                    began.release();
                    return new CompletableFuture<>();
                });
        var jobs = List.of(client.enqueue("mail", null), client.enqueue("next", null));
        var cancels = CompletableFuture.runAsync(() -> {
            began.acquireUninterruptibly(2);
            jobs.forEach(job -> client.cancel(job.id()));
        });
        var idle = scope.runUntilIdle(worker, TestScope.Failures.RAISE, 1000, Duration.ofMinutes(1));
        cancels.join();
        assertEquals(
                List.of(Status.CANCELLED, Status.CANCELLED),
                idle.ended().stream().map(job -> job.status()).toList());
    }

    @Test
    void handlersRunInTheThreadsOfTheirWorker(TestScope scope, Client client) throws Exception {
        var worker = Worker.builder("192.0.2.1:1")
                .codec(Codecs.jackson())
                .threads(task -> {
                    var thread = new Thread(task, "mine");
                    thread.setDaemon(true);
                    return thread;
                })
                .build()
                .handle("mail", (job, context) -> Thread.currentThread().getName());
        client.enqueue("mail", null);
        var idle = scope.runUntilIdle(worker);
        assertEquals(Json.of("\"mine\""), idle.ended().get(0).output().orElseThrow());
    }

    @Test
    void failuresAreTheJobsAloneWhereItIsSaidAndRetriedAtOnceWhereThatIs(TestScope scope, Client client)
            throws Exception {
        var worker = worker().handle("fails", (job, context) -> {
                    if (job.attempt() < 3) {
                        throw new IOException("no such row");
                    }
                    return job.attempt();
                })
                .handle("mail", (job, context) -> {
                    throw new Snooze(LATER);
                });
        client.enqueue("fails", null);
        client.enqueue("mail", null);
        var kept = scope.runUntilIdle(worker, TestScope.Failures.KEEP);
        assertEquals(List.of(), kept.ended());
        assertEquals(2, kept.waiting().size());
        var retried = scope.runUntilIdle(
                worker().handle("fails", (job, context) -> {
                    if (job.attempt() < 3) {
                        throw new IOException("no such row");
                    }
                    return job.attempt();
                }),
                TestScope.Failures.RETRY);
        assertEquals(Json.of("3"), retried.ended().get(0).output().orElseThrow());
    }

    @Test
    void aJobThatGoesOnBetweenTwoLooksIsLookedAtAgain(TestScope scope, Client client) throws Exception {
        var worker = worker().handle("fails", (job, context) -> {
            throw new IOException("no such row");
        });
        var listed = client.enqueue("fails", null);
        scope.runUntilIdle(worker, TestScope.Failures.KEEP);
        // By now its backoff is what it waits for: an end of the run only where it was listed with it.
        var working = new Working(scope, worker, TestScope.Failures.KEEP, 1000);
        assertTrue(working.startsSoon(listed));
        assertFalse(working.startsSoon(client.get(listed.id())));
    }

    @Test
    void aJobThatFailsBetweenTwoLooksIsTriedAgain(TestScope scope, Client client) throws Exception {
        var worker = worker().handle("fails", (job, context) -> {
            throw new IOException("no such row");
        });
        var id = client.enqueue("fails", null).id();
        scope.runUntilIdle(worker, TestScope.Failures.KEEP);
        scope.makeDue(client.get(id));
        var listed = client.get(id);
        scope.runUntilIdle(worker, TestScope.Failures.KEEP);
        // It was due when it was listed, and has another backoff by now.
        assertTrue(new Working(scope, worker, TestScope.Failures.RETRY, 1000).startsSoon(listed));
        assertFalse(new Working(scope, worker, TestScope.Failures.KEEP, 1000).startsSoon(listed));
    }

    @Test
    void whatTakesTooLongIsSaidAndMoreThanTheLimitIsRefused(TestScope scope, Client client) {
        var never = new CountDownLatch(1);
        var worker = worker().handle("mail", (job, context) -> {
            never.await();
            return null;
        });
        var job = client.enqueue("mail", null);
        var error = assertThrows(
                StillRunning.class,
                () -> scope.runUntilIdle(worker, TestScope.Failures.RAISE, 1000, Duration.ofSeconds(2)));
        assertTrue(
                error.getMessage().startsWith("after 2 s there is still something to do:\n  mail " + job.id() + ": "),
                error.getMessage());
        client.enqueue("mail", null);
        assertThrows(
                AssertionError.class,
                () -> scope.runUntilIdle(worker, TestScope.Failures.RAISE, 1, Duration.ofSeconds(10)));
    }

    @Test
    void kindsAreSyncedOnceAndWhatAnOperatorSetStays(Client client) {
        client.putKind(Kind.of("synced")
                .withMaxAttempts(9)
                .withSlotWeight(2)
                .withLimits(new Limits(20, Optional.empty()))
                .withAnnotations(Map.of("owner", "post")));
        var first = JobKind.define("synced", Mail.class)
                .schema(Json.of("{\"type\":\"object\",\"required\":[\"to\"]}"))
                .timeout(Duration.ofMinutes(1))
                .build();
        var second = JobKind.define("synced", Mail.class)
                .version(2)
                .upcast(1, old -> old)
                .schema(Json.of("{\"type\":\"object\",\"required\":[\"address\"]}"))
                .slotWeight(4)
                .build();
        var synced = client.syncKinds(first).get(0);
        assertTrue(synced.changed());
        assertEquals(9, synced.kind().maxAttempts());
        assertEquals(2, synced.kind().slotWeight());
        assertEquals(20, synced.kind().limits().maxRunning());
        assertEquals(Map.of("owner", "post"), synced.kind().annotations());
        assertEquals(Duration.ofMinutes(1), synced.kind().timeout());
        assertEquals(first.schema(), synced.kind().schema());
        assertFalse(client.syncKinds(first).get(0).changed());
        assertThrows(JobQueueException.PayloadInvalid.class, () -> client.enqueue("synced", Map.of()));

        var changed = client.syncKinds(second).get(0);
        assertTrue(changed.changed());
        assertEquals(4, changed.kind().slotWeight());
        var older = client.syncKinds(first).get(0);
        assertTrue(older.newer());
        assertFalse(older.changed());
        assertEquals(2, older.kind().version());
        assertEquals(Duration.ofMinutes(1), older.kind().timeout());
    }

    @Test
    void aServerThatIsMissingOrDoesNotStartIsSaidWithWhatWouldHelp() {
        var error = assertThrows(ServerMissing.class, () -> TestServer.start(Map.of("PATH", "/nonexistent")));
        assertTrue(error.getMessage().startsWith("there is no server for tests."), error.getMessage());
        error = assertThrows(
                ServerMissing.class, () -> TestServer.start(Map.of("JOBQUEUE_SERVER_COMMAND", "sh -c 'exit 3'")));
        assertTrue(error.getMessage().contains("ended with 3 before it answered"), error.getMessage());
        error = assertThrows(
                ServerMissing.class, () -> TestServer.start(Map.of("JOBQUEUE_SERVER_COMMAND", "/nonexistent/server")));
        assertTrue(error.getMessage().startsWith("/nonexistent/server ephemeral can't be started"), error.getMessage());
    }

    @Test
    void aCommandThatSaysSomethingElseIsShownAndEnded() throws Exception {
        var command = "sh -c 'echo I am $$; exec sleep 100'";
        var error =
                assertThrows(ServerMissing.class, () -> TestServer.start(Map.of("JOBQUEUE_SERVER_COMMAND", command)));
        var said = error.getMessage().split(", and said: I am ");
        assertTrue(said[0].endsWith(" ephemeral must say in a line of JSON where it answers"), error.getMessage());
        var child = ProcessHandle.of(Long.parseLong(said[1]));
        if (child.isPresent()) {
            child.get().onExit().get(20, TimeUnit.SECONDS);
        }
    }

    @Test
    void processesShareTheServerThatIsStartedWhereTheEnvironmentSaysSo() {
        var said = new LinkedHashMap<Map<String, String>, String>();
        said.put(Map.of(), "ephemeral");
        said.put(Map.of("JOBQUEUE_TEST_SHARED", ""), "ephemeral");
        said.put(Map.of("JOBQUEUE_TEST_SHARED", "0"), "ephemeral");
        said.put(Map.of("JOBQUEUE_TEST_SHARED", "1"), "ephemeral --shared");
        said.forEach((shared, words) -> {
            var environment = new LinkedHashMap<>(shared);
            environment.put("JOBQUEUE_SERVER_COMMAND", "sh -c 'echo $0 $*'");
            var error = assertThrows(ServerMissing.class, () -> TestServer.start(environment));
            assertTrue(error.getMessage().endsWith(", and said: " + words), error.getMessage());
        });
    }
}
