package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Codec;
import dev.jobqueue.Enqueuer;
import dev.jobqueue.Hold;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException.IdempotencyKeyReused;
import dev.jobqueue.JobQueueException.InvalidRequest;
import dev.jobqueue.JobQueueException.PayloadInvalid;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import dev.jobqueue.RetryPolicy;
import dev.jobqueue.Status;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class RecordingClientTest {
    record Welcome(String to) {}

    private static final JobKind<Welcome, Void> WELCOME =
            JobKind.define("welcome", Welcome.class).version(2).build();

    private final RecordingClient client = new RecordingClient();

    private static void signUp(Enqueuer client, String address) {
        client.enqueue(WELCOME.job(new Welcome(address))
                .idempotencyKey("welcome-" + address)
                .build());
    }

    @Test
    void whatIsEnqueuedIsKeptAsAServerWouldHaveStoredIt() {
        var job = client.enqueue(WELCOME.job(new Welcome("ada"))
                .queue("mail")
                .priority(3)
                .maxAttempts(5)
                .timeout(Duration.ofMinutes(1))
                .retryPolicy(new RetryPolicy(null, Duration.ofSeconds(9)))
                .labels(Map.of("a", "b"))
                .key("k")
                .hold(true)
                .runAt(Instant.parse("2030-01-01T00:00:00Z"))
                .build());
        assertEquals(List.of(job), client.jobs());
        assertEquals(Status.QUEUED, job.status());
        assertEquals(List.of("welcome", "mail", "k"), List.of(job.kind(), job.queue(), job.key()));
        assertEquals(List.of(3, 5), List.of(job.priority(), job.maxAttempts()));
        assertEquals(Map.of("a", "b"), job.labels());
        assertEquals(Map.of("x-payload-version", "2"), job.headers());
        assertEquals(Duration.ofMinutes(1), job.timeout().orElseThrow());
        assertEquals(Duration.ofSeconds(9), job.retryPolicy().orElseThrow().maxBackoff());
        assertEquals(Hold.HAND, job.hold().orElseThrow());
        assertEquals(Instant.parse("2030-01-01T00:00:00Z"), job.runAt());
        assertEquals(new Welcome("ada"), WELCOME.payloadOf(job));
        var plain = client.enqueue("plain", null);
        assertEquals(
                List.of("default", "null"),
                List.of(plain.queue(), plain.payload().orElseThrow().text()));
        assertEquals(3, plain.maxAttempts());
        assertNotEquals(job.id(), plain.id());
    }

    @Test
    void anIdempotencyKeyIsReplayedAndRefusedWithAnotherRequest() {
        signUp(client, "ada");
        signUp(client, "ada");
        assertEquals(1, client.jobs().size());
        var first = client.jobs().get(0);
        var again = client.enqueue(WELCOME.job(new Welcome("ada"))
                .idempotencyKey("welcome-ada")
                .headers(Map.of("traceparent", "other"))
                .build());
        assertTrue(again.replayed());
        assertEquals(first.id(), again.id());
        assertFalse(first.replayed());
        var other =
                WELCOME.job(new Welcome("bob")).idempotencyKey("welcome-ada").build();
        var error = assertThrows(IdempotencyKeyReused.class, () -> client.enqueue(other));
        assertEquals(first.id(), error.metadata().get("job_id"));
        client.enqueue(WELCOME.job(new Welcome("bob")).idempotent().build());
        client.enqueue(WELCOME.job(new Welcome("bob")).idempotent().build());
        assertEquals(3, client.jobs().size());
    }

    @Test
    void manyAreKeptAllOrNone() {
        var good = WELCOME.job(new Welcome("ada")).build();
        var error = assertThrows(InvalidRequest.class, () -> client.enqueueMany(List.of(good, NewJob.of("No Name"))));
        assertEquals("jobs[1].kind", error.violations().get(0).field());
        assertEquals(List.of(), client.jobs());
        var results = client.enqueueMany(List.of(good, NewJob.of("plain")));
        assertEquals(
                client.jobs().stream().map(each -> each.id()).toList(),
                results.stream().map(each -> each.id()).toList());
    }

    @Test
    void whatAServerRefusesWhateverTheKindIsIsRefused() {
        for (var wrong : List.of(
                NewJob.of(""),
                NewJob.of("Upper"),
                NewJob.of("x".repeat(129)),
                NewJob.builder("k").queue("a b").build(),
                NewJob.builder("k").priority(11).build(),
                NewJob.builder("k").maxAttempts(1001).build(),
                NewJob.of("k", "x".repeat(1024 * 1024)),
                NewJob.of("k", Json.of("{")),
                NewJob.of("k", Json.of("1 2")))) {
            var error = assertThrows(InvalidRequest.class, () -> client.enqueue(wrong));
            assertEquals("FIELD_INVALID", error.reason());
        }
        assertThrows(PayloadInvalid.class, () -> client.enqueue(WELCOME, null));
        assertEquals(List.of(), client.jobs());
    }

    @Test
    void anotherCodecIsUsedWhereItIsGiven() {
        var codec = Codec.of(value -> "\"own\"".getBytes(StandardCharsets.UTF_8), (json, type) -> new Welcome("read"));
        var own = new RecordingClient(codec);
        assertEquals(new Welcome("read"), WELCOME.payloadOf(own.enqueue(WELCOME, new Welcome("ada"))));
        assertEquals("\"own\"", own.jobs().get(0).payload().orElseThrow().text());
    }
}
