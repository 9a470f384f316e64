package dev.jobqueue;

import static dev.jobqueue.ScriptedServer.job;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.jobqueue.WorkerStatus.State;
import dev.jobqueue.v1.LeaseRequest.FrameCase;
import dev.jobqueue.v1.Welcome;
import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class StatusTest {
    private final ScriptedServer server = new ScriptedServer();
    private final LinkedBlockingQueue<WorkerStatus> changes = new LinkedBlockingQueue<>();
    private final CompletableFuture<Void> ended = new CompletableFuture<>();
    private final HttpClient http = HttpClient.newHttpClient();
    private final String address = freeAddress();
    private Worker worker;
    private Thread serving;

    private static String freeAddress() {
        try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return "127.0.0.1:" + socket.getLocalPort();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @AfterEach
    void end() {
        server.close();
        if (serving != null) {
            worker.stop(Duration.ZERO);
            serving.interrupt();
            serving.interrupt();
            worker.close();
        }
    }

    private void serve(Handler handler) {
        worker = Worker.builder(server.address())
                .name("test")
                .observer(new Observer() {
                    @Override
                    public void sessionChanged(WorkerStatus status) {
                        changes.add(status);
                    }
                })
                .health(address)
                .build()
                .handle("k", handler);
        assertEquals(State.STARTING, worker.status().state());
        serving = new Thread(() -> {
            try {
                worker.serve();
                ended.complete(null);
            } catch (RuntimeException error) {
                ended.completeExceptionally(error);
            }
        });
        serving.start();
    }

    /** Waits for the change to a state. */
    private WorkerStatus becomes(State state) throws InterruptedException {
        while (true) {
            var change = changes.poll(10, TimeUnit.SECONDS);
            assertTrue(change != null, "the worker was never " + state);
            if (change.state() == state) {
                return change;
            }
        }
    }

    private HttpResponse<String> get(String path) throws Exception {
        var request = HttpRequest.newBuilder(URI.create("http://" + address + path));
        return http.send(request.build(), BodyHandlers.ofString());
    }

    private void answers(int live, int ready) throws Exception {
        assertEquals(
                List.of(live, ready),
                List.of(get("/livez").statusCode(), get("/readyz").statusCode()));
    }

    @Test
    void aWorkerSaysHowItIsFromItsMakingToItsEnd() throws Exception {
        var gate = new CountDownLatch(1);
        serve((job, context) -> {
            gate.await();
            return null;
        });
        var stream = server.accept();
        answers(200, 503);
        stream.welcome("token");
        var status = becomes(State.SERVING);
        assertEquals("scripted", status.server());
        assertEquals(7, status.session());
        assertEquals(List.of("k"), status.kinds());
        assertEquals(8, status.slots());
        assertTrue(Duration.between(status.lastHeard().orElseThrow(), Instant.now())
                        .toSeconds()
                < 20);
        answers(200, 200);
        stream.deliver(job(1));
        stream.next(FrameCase.FRAME_NOT_SET); // its receipt
        assertEquals(1, worker.status().running());

        stream.end(io.grpc.Status.UNAVAILABLE.withDescription("gone"));
        assertTrue(becomes(State.RECONNECTING).lastError().contains("gone"));
        answers(200, 200);
        stream = server.accept();
        stream.welcome("token");
        assertEquals("UNAVAILABLE: gone", becomes(State.SERVING).lastError());

        worker.stop();
        assertEquals(1, becomes(State.DRAINING).running());
        answers(200, 503);
        gate.countDown();
        stream.settled(stream.settle());
        stream.goodbye();
        ended.get(10, TimeUnit.SECONDS);
        becomes(State.ENDED);
        assertEquals(State.ENDED, worker.status().state());
        assertThrows(IOException.class, () -> get("/livez")); // nothing is wrong, and nothing listens any more
    }

    @Test
    void aWorkerWithoutAServerForLongerThanTheTtlIsAliveAndNotReady() throws Exception {
        serve((job, context) -> null);
        var ttl = Times.message(Duration.ofMillis(200));
        server.accept().welcome(Welcome.newBuilder().setSessionToken("token").setSessionTtl(ttl));
        becomes(State.SERVING);
        server.close();
        becomes(State.RECONNECTING);
        while (get("/readyz").statusCode() != 503) {
            Thread.sleep(20);
        }
        answers(200, 503);
    }

    @Test
    void credentialsThatAreNotTakenAreRefusedAndTheWorkerLives() throws Exception {
        serve((job, context) -> null);
        server.open().end(io.grpc.Status.UNAVAILABLE.withDescription("gone"));
        becomes(State.RECONNECTING);
        server.accept().end(io.grpc.Status.UNAUTHENTICATED.withDescription("no key"));
        assertTrue(becomes(State.REFUSED).lastError().contains("no key"));
        answers(200, 503);
    }

    @Test
    void aWorkerThatHasEndedByAnErrorIsNotAliveUntilItIsClosed() throws Exception {
        serve((job, context) -> null);
        server.accept().end(io.grpc.Status.INVALID_ARGUMENT.withDescription("no such queue"));
        assertThrows(Exception.class, () -> ended.get(10, TimeUnit.SECONDS));
        assertEquals(State.REFUSED, worker.status().state());
        assertTrue(worker.status().lastError().contains("no such queue"));
        answers(503, 503);
        worker.close();
        assertThrows(IOException.class, () -> get("/livez"));
    }

    @Test
    void aSessionThatHasStoodStillIsNotAlive() throws Exception {
        var session = new Session(settings(), new Handlers(), new Telling(null), false, List.of());
        assertTrue(session.live());
        session.ticked -= Duration.ofSeconds(31).toNanos();
        assertEquals(false, session.live());
    }

    private Worker.Settings settings() {
        return new Worker.Settings(
                List.of(),
                null,
                null,
                null,
                List.of(),
                1,
                "test",
                Map.of(),
                null,
                Duration.ZERO,
                false,
                null,
                List.of(),
                null,
                false);
    }

    @Test
    void healthAnswersWithTheStatusAsJsonAndTakesNothingElse() throws Exception {
        serve((job, context) -> null);
        server.open();
        becomes(State.SERVING);
        var answer = get("/readyz?verbose");
        assertEquals("no-store", answer.headers().firstValue("Cache-Control").orElse(""));
        assertEquals(
                "application/json", answer.headers().firstValue("Content-Type").orElse(""));
        var body = new ObjectMapper().readTree(answer.body());
        var names = List.of(
                "state",
                "server",
                "session",
                "since",
                "last_heard",
                "slots",
                "running",
                "orphans",
                "kinds",
                "unknown_kinds",
                "last_error",
                "observer_dropped");
        assertEquals(names, fields(body));
        assertEquals("serving", body.get("state").asText());
        assertEquals("", body.get("last_error").asText("null"));
        assertTrue(Instant.parse(body.get("since").asText()).isBefore(Instant.now()));
        assertEquals(404, get("/metrics").statusCode());
        var request = HttpRequest.newBuilder(URI.create("http://" + address + "/livez"))
                .POST(BodyPublishers.ofString("x"))
                .build();
        assertEquals(405, http.send(request, BodyHandlers.discarding()).statusCode());
    }

    private static List<String> fields(JsonNode body) {
        var names = new ArrayList<String>();
        body.fieldNames().forEachRemaining(names::add);
        return names;
    }

    @Test
    void aWorkerWhosePortIsTakenDoesNotStartAndNamesIt() throws Exception {
        try (var taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            var where = "127.0.0.1:" + taken.getLocalPort();
            var made = Worker.builder(server.address()).health(where).build().handle("k", (job, context) -> null);
            var error = assertThrows(IllegalStateException.class, made::serve);
            assertTrue(error.getMessage().contains(where), error.getMessage());
        }
        for (var wrong : List.of("8081", ":8081", "::1:8081", "localhost:http", "127.0.0.1:70000")) {
            assertThrows(
                    IllegalArgumentException.class, () -> Worker.builder("a:1").health(wrong), wrong);
        }
        Worker.builder("a:1").health("[::1]:8081").health("localhost:8081");
    }

    @Test
    void inJsonATimeThatIsNotThereIsNullAndTextsAreQuoted() throws Exception {
        var status = new WorkerStatus(
                State.STARTING,
                "",
                0,
                Instant.EPOCH,
                Optional.empty(),
                8,
                0,
                0,
                List.of("a\"b"),
                List.of(),
                "line\nwith \\ \u00e9 \ud83d\ude00",
                0);
        var body = new ObjectMapper().readTree(status.asJson().bytes());
        assertTrue(body.get("last_heard").isNull());
        assertEquals(0, body.get("session").asInt(-1));
        assertEquals("1970-01-01T00:00:00Z", body.get("since").asText());
        assertEquals("a\"b", body.get("kinds").get(0).asText());
        assertEquals(status.lastError(), body.get("last_error").asText());
    }
}
