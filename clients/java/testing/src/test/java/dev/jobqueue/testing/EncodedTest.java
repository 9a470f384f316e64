package dev.jobqueue.testing;

import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.jobqueue.AesGcm;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Encoded;
import dev.jobqueue.Encoding;
import dev.jobqueue.EncodingRequired;
import dev.jobqueue.Encodings;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.Filter;
import dev.jobqueue.Job;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import dev.jobqueue.NewSchedule;
import dev.jobqueue.Retry;
import dev.jobqueue.ScheduleChange;
import dev.jobqueue.ScheduleSpec;
import dev.jobqueue.Status;
import dev.jobqueue.Unique;
import dev.jobqueue.WatchFilter;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.TestScope.Failures;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Clients and workers with encodings, and a real server: what each reads, and what is stored. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class EncodedTest {
    private static final byte[] KEY = key(0);
    private static final byte[] NEXT = key(1);
    private static final String SECRET = "the eagle has landed";
    private static final Map<String, Object> MAIL = Map.of("text", SECRET);
    private static final ObjectMapper JSON = new ObjectMapper();

    private static final JobKind<Map<String, Object>, Map<String, Object>> STRICT = JobKind.define(
                    "strict",
                    new dev.jobqueue.TypeRef<Map<String, Object>>() {},
                    new dev.jobqueue.TypeRef<Map<String, Object>>() {})
            .encodings(Encodings.Rule.REQUIRED)
            .aliases("strict.old")
            .build();
    private static final JobKind<Json, Void> NEVER =
            JobKind.define("never", Json.class).encodings(Encodings.Rule.NEVER).build();

    private static byte[] key(int from) {
        var key = new byte[32];
        IntStream.range(0, 32).forEach(at -> key[at] = (byte) (from + at));
        return key;
    }

    private static Encodings encrypting() {
        return Encodings.of(new Turned(), AesGcm.of(Map.of("a", KEY), "a"));
    }

    private static Encodings other() {
        return Encodings.of(new Turned(), AesGcm.of(Map.of("b", NEXT), "b"));
    }

    /** Turns what is long around. */
    private static class Turned implements Encoding {
        @Override
        public String name() {
            return "turned";
        }

        @Override
        public byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey) {
            return data.length < 100 ? null : decode(data, key, authenticated);
        }

        @Override
        public byte[] decode(byte[] data, byte[] key, byte[] authenticated) {
            var turned = new byte[data.length];
            IntStream.range(0, data.length).forEach(at -> turned[data.length - 1 - at] = data[at]);
            return turned;
        }
    }

    /** Can't encode what has the secret in it. */
    private static final class Broken extends Turned {
        @Override
        public String keyId() {
            return "a";
        }

        @Override
        public byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey) {
            if (new String(data, StandardCharsets.UTF_8).contains(SECRET)) {
                throw new IllegalStateException("no key today");
            }
            return decode(data, key, authenticated);
        }
    }

    @BeforeEach
    void declare(Client client) {
        for (var name : List.of("mail", "next", "never", "strict", "strict.old", "required")) {
            client.putKind(Kind.of(name));
        }
    }

    private static Client client(TestScope scope, Encodings encodings) {
        return client(scope).encodings(encodings).build();
    }

    private static Client.Builder client(TestScope scope) {
        return Client.builder(scope.target()).token(scope.key()).codec(Codecs.jackson());
    }

    private static Worker worker(Encodings encodings) {
        var worker = Worker.builder("192.0.2.1:1").codec(Codecs.jackson());
        return (encodings == null ? worker : worker.encodings(encodings)).build();
    }

    private static JsonNode envelope(Json text) throws Exception {
        var value = JSON.readTree(text.bytes());
        assertEquals(1, value.get("$jobqueue.encoded").asInt());
        return value;
    }

    private static Job only(List<Job> jobs) {
        assertEquals(1, jobs.size());
        return jobs.get(0);
    }

    @Test
    void aPayloadIsReadByEveryCallAndOnlyWhereItsKeyIs(TestScope scope, Client plain) throws Exception {
        try (var encoding = client(scope, encrypting())) {
            var made = encoding.enqueue("mail", MAIL);
            var full = Filter.builder().full().build();
            var watched =
                    encoding.watch(WatchFilter.builder().ids(made.id()).full().build());
            try (watched) {
                for (var each : List.of(
                        made,
                        encoding.get(made.id()),
                        only(encoding.list(full).toList()),
                        watched.next(),
                        encoding.cancel(made.id()).job(),
                        encoding.waitFor(made.id()),
                        encoding.retry(made.id()))) {
                    assertEquals(MAIL, each.payload(Map.class).orElseThrow());
                    assertTrue(each.encodedPayload().isEmpty());
                }
            }
            assertTrue(only(encoding.list(Filter.builder().build()).toList())
                    .payload()
                    .isEmpty());
            var stored = plain.get(made.id());
            assertEquals(
                    "a", envelope(stored.payload().orElseThrow()).get("key_id").asText());
            assertFalse(stored.payload().orElseThrow().text().contains("eagle"));
            assertEquals("a", stored.encodedPayload().orElseThrow().keyId());
            assertThrows(Encoded.class, () -> stored.payload(Map.class));
            try (var stranger = client(scope, other())) {
                var found = stranger.get(made.id());
                assertTrue(found.encodedPayload().orElseThrow().why().startsWith("KeyUnknown: "));
                assertEquals(stored.payload(), found.payload());
            }
            var before = plain.enqueue("mail", MAIL);
            assertEquals(MAIL, encoding.get(before.id()).payload(Map.class).orElseThrow());
        }
    }

    @Test
    void theSameKeyedCallOfTwoClientsIsOneJobAndAnotherPayloadIsRefused(TestScope scope, Client plain)
            throws Exception {
        var job = NewJob.builder("mail")
                .payload(Map.of("text", SECRET.repeat(20)))
                .idempotencyKey("order-7");
        try (var one = client(scope, encrypting());
                var two = client(scope, encrypting())) {
            var first = one.enqueue(job.build());
            var second = two.enqueue(job.build());
            assertEquals(first.id(), second.id());
            assertTrue(second.replayed());
            assertEquals(first.payload(), second.payload());
            var third = two.enqueueMany(List.of(job.build())).get(0);
            assertEquals(first.id(), third.id());
            assertTrue(third.replayed());
            assertThrows(
                    JobQueueException.IdempotencyKeyReused.class,
                    () -> two.enqueue(job.payload(MAIL).build()));
            var made = one.enqueue(
                    job.payload(Map.of("text", SECRET.repeat(20))).idempotent().build());
            assertNotEquals(first.id(), made.id());
            assertEquals("[\"aes256gcm\"]", names(plain.get(first.id())));
            assertEquals("[\"turned\",\"aes256gcm\"]", names(plain.get(made.id())));
        }
    }

    private static String names(Job job) throws Exception {
        return envelope(job.payload().orElseThrow()).get("encodings").toString();
    }

    @Test
    void aKindSaysWhetherItsPayloadsAreEncoded(TestScope scope, Client plain) throws Exception {
        try (var encoding = client(scope, encrypting())) {
            var job = encoding.enqueue(STRICT, MAIL);
            assertEquals(MAIL, STRICT.payloadOf(job));
            var many = encoding.enqueueMany(List.of(STRICT.job(MAIL).build())).get(0);
            envelope(plain.get(many.id()).payload().orElseThrow());
            assertThrows(Encoded.class, () -> STRICT.payloadOf(plain.get(many.id())));
            var never = encoding.enqueue(NEVER, Json.of("\"open\""));
            assertEquals(Json.of("\"open\""), plain.get(never.id()).payload().orElseThrow());
            var byText = JobKind.define("mail", Map.class)
                    .unique(mail -> Unique.key((String) mail.get("text")))
                    .build();
            var first = encoding.enqueue(byText, MAIL);
            assertEquals(first.id(), encoding.enqueue(byText, MAIL).id());
        }
    }

    /** Keeps what it sees. */
    private static final class Sees implements Middleware {
        final List<Object> seen = Collections.synchronizedList(new ArrayList<>());

        @Override
        public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
            seen.add(job.payload(Map.class));
            return next.run();
        }

        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
            jobs.forEach(job -> seen.add(job.payload()));
            return next.enqueue(jobs);
        }
    }

    @Test
    void middlewareSeesWhatIsNotEncoded(TestScope scope, Client plain) throws Exception {
        var sees = new Sees();
        try (var encoding =
                client(scope).encodings(encrypting()).middleware(sees).build()) {
            envelope(plain.get(encoding.enqueue("mail", MAIL).id()).payload().orElseThrow());
            encoding.enqueueMany(List.of(NewJob.of("mail", MAIL)));
            var worker = Worker.builder("192.0.2.1:1")
                    .codec(Codecs.jackson())
                    .encodings(encrypting())
                    .middleware(sees)
                    .build()
                    .handle("mail", (job, context) -> {
                        context.followUp(NewJob.of("next", MAIL));
                        return null;
                    });
            scope.runUntilIdle(worker);
        }
        var text = Json.of("{\"text\":\"" + SECRET + "\"}");
        assertEquals(2, sees.seen.stream().filter(MAIL::equals).count());
        assertEquals(4, sees.seen.stream().filter(text::equals).count());
        for (var each : scope.assertEnqueued(Wanted.of("next").count(2))) {
            envelope(each.payload().orElseThrow());
        }
    }

    enum Style {
        PLAIN,
        ASYNC
    }

    /** Fails once and leaves a checkpoint; then answers what it got, with two follow-ups. */
    private static Object handled(LeasedJob job, JobContext context) {
        Map<String, Object> payload = job.payload(new dev.jobqueue.TypeRef<Map<String, Object>>() {}.type());
        assertEquals(payload, context.job().payload(Map.class));
        if (payload.containsKey("checkpoint")) {
            context.saveCheckpoint(SECRET.getBytes(StandardCharsets.UTF_8));
            return null;
        }
        if (job.attempt() == 1) {
            context.saveCheckpoint(("half of " + payload.get("text")).getBytes(StandardCharsets.UTF_8));
            throw new Retry("again", Duration.ZERO);
        }
        if (payload.containsKey("output")) {
            return SECRET;
        }
        context.followUp(NewJob.of("next", MAIL));
        context.followUp(NEVER.job(Json.of("\"in plain text\"")).build());
        return Map.of("got", payload.get("text"), "checkpoint", new String(job.checkpoint(), StandardCharsets.UTF_8));
    }

    private static Worker handling(Encodings encodings, Style style) {
        return style == Style.PLAIN
                ? worker(encodings).handle("mail", EncodedTest::handled)
                : worker(encodings)
                        .handleAsync(
                                "mail", (job, context) -> CompletableFuture.supplyAsync(() -> handled(job, context)));
    }

    @ParameterizedTest
    @EnumSource(Style.class)
    void aHandlerSeesAllAndTheServerNothing(Style style, TestScope scope, Client plain) throws Exception {
        var slow = AesGcm.asking(
                name -> {
                    TestScope.pause();
                    return name.equals("a") ? KEY : null;
                },
                "a");
        try (var encoding = client(scope, encrypting())) {
            for (var encodings : List.of(encrypting(), Encodings.of(new Turned(), slow))) {
                var job = encoding.enqueue("mail", MAIL);
                scope.runUntilIdle(handling(encodings, style), Failures.RETRY);
                var done = encoding.get(job.id());
                assertEquals(1, done.failures());
                assertEquals(
                        Map.of("got", SECRET, "checkpoint", "half of " + SECRET),
                        done.output(Map.class).orElseThrow());
                assertEquals(
                        "a",
                        envelope(plain.get(job.id()).output().orElseThrow())
                                .get("key_id")
                                .asText());
            }
            for (var each : scope.assertEnqueued(Wanted.of("next").count(2))) {
                envelope(each.payload().orElseThrow());
                assertEquals(MAIL, encoding.get(each.id()).payload(Map.class).orElseThrow());
            }
            scope.assertEnqueued(Wanted.of("never").payload("in plain text").count(2));
        }
    }

    @ParameterizedTest
    @EnumSource(Style.class)
    void anOutputACheckpointOrAFollowUpThatIsNotEncodedIsNotSent(Style style) throws Exception {
        for (var payload : List.of(
                Map.of("text", "", "checkpoint", true), Map.of("text", "", "output", true), Map.of("text", ""))) {
            var done = perform(handling(Encodings.of(new Broken()), style), "mail", payload, given -> given.attempt(2)
                    .caught());
            assertEquals(Performed.Outcome.FAILED, done.outcome(), payload.toString());
            assertEquals("java.lang.IllegalStateException", done.errorType());
            assertEquals("no key today", done.error());
            assertTrue(done.outputJson().isEmpty());
            assertEquals(List.of(), done.followUps());
            assertEquals(List.of(), done.checkpoints());
        }
    }

    @ParameterizedTest
    @EnumSource(Style.class)
    void aTestOfAHandlerGoesThroughTheEncodingsOfItsWorker(Style style) throws Exception {
        var first = perform(handling(encrypting(), style), "mail", Map.of("text", "x"), given -> given.caught());
        assertEquals(1, first.checkpoints().size());
        assertArrayEquals("half of x".getBytes(StandardCharsets.UTF_8), first.checkpoint());
        var done = first.again();
        assertEquals(
                Map.of("got", "x", "checkpoint", "half of x"),
                JSON.readValue(done.output().bytes(), Map.class));
        assertEquals(
                List.of(Json.of("{\"text\":\"" + SECRET + "\"}"), Json.of("\"in plain text\"")),
                done.followUps().stream()
                        .map(job -> job.payload().orElseThrow())
                        .toList());
        // What a producer put into an envelope is not decoded twice, also if it looks like one.
        var inner = Map.<String, Object>of("$jobqueue.encoded", 1, "encodings", List.of("zstd"), "text", "x");
        var strict = worker(encrypting()).handle(STRICT, (payload, context) -> payload);
        assertEquals(inner, perform(strict, STRICT, inner).output());
    }

    @Test
    void aScheduleIsEncodedAndAppliedAgainItDoesNotChange(TestScope scope, Client plain) throws Exception {
        var yearly = ScheduleSpec.cron("0 0 1 1 *");
        var text = Json.of("{\"text\":\"" + SECRET + "\"}");
        try (var encoding = client(scope, encrypting())) {
            var schedules = encoding.schedules();
            var made = schedules.create(NewSchedule.of("s", yearly, NewJob.of("mail", MAIL)));
            assertEquals(text, made.job().payload());
            var stored = (Json) plain.schedules().get("s").job().payload();
            assertEquals("a", envelope(stored).get("key_id").asText());
            var again = ScheduleChange.NONE.withJob(made.job());
            for (var each : List.of(
                    schedules.update("s", again), schedules.get("s"), schedules.pause("s"), schedules.resume("s"))) {
                assertEquals(text, each.job().payload());
            }
            assertEquals(stored, plain.schedules().get("s").job().payload());
            schedules.run("s");
            var ended = scope.runUntilIdle(worker(encrypting()).handle("mail", (job, context) -> job.payload()))
                    .ended();
            assertEquals(text, encoding.get(only(ended).id()).output().orElseThrow());
        }
        try (var stranger = client(scope, other())) {
            var unread = stranger.schedules().get("s").job();
            assertTrue(((Encoded) unread.payload()).why().startsWith("KeyUnknown: "));
            var change = ScheduleChange.NONE.withJob(unread);
            for (var each : List.of(stranger, plain)) {
                assertThrows(Encoded.class, () -> each.schedules().update("s", change));
            }
        }
    }

    @Test
    void aScheduleThatCanNotBeEncodedIsNotSent(TestScope scope, Client plain) throws Exception {
        var yearly = ScheduleSpec.cron("0 0 1 1 *");
        var made = NewSchedule.of("s", yearly, NewJob.of("mail", Map.of("text", "x")));
        plain.schedules().create(made);
        var change = ScheduleChange.NONE.withJob(NewJob.of("mail", MAIL));
        try (var broken = client(scope, Encodings.of(new Broken()))) {
            assertThrows(IllegalStateException.class, () -> broken.schedules()
                    .create(NewSchedule.of("t", yearly, NewJob.of("mail", MAIL))));
            assertThrows(IllegalStateException.class, () -> broken.schedules().update("s", change));
            // A job that was listed has no payload, which the server refuses; not one that says null.
            var listed = ScheduleChange.NONE.withJob(NewJob.of("mail"));
            assertThrows(JobQueueException.InvalidRequest.class, () -> broken.schedules()
                    .update("s", listed));
        }
        var strict = NewSchedule.of("t", yearly, STRICT.job(MAIL).build());
        assertThrows(EncodingRequired.class, () -> plain.schedules().create(strict));
        assertEquals(
                Json.of("{\"text\":\"x\"}"), plain.schedules().get("s").job().payload());
    }

    @Test
    void aJobWhoseKeyIsMissingWaitsForItAndThenRuns(TestScope scope) throws Exception {
        var known = new ConcurrentHashMap<>(Map.of("a", KEY));
        var worker = worker(Encodings.of(new Turned(), AesGcm.of(known, "a")))
                .handle("mail", (job, context) -> job.payload());
        try (var encoding = client(scope, other())) {
            var job = encoding.enqueue("mail", MAIL);
            var idle = scope.runUntilIdle(worker);
            var waits = idle.waiting().get(0).job();
            assertEquals(1, waits.attempts());
            assertEquals(0, waits.failures());
            known.put("b", NEXT);
            scope.makeDue(waits);
            scope.runUntilIdle(worker);
            assertEquals(Status.SUCCEEDED, encoding.get(job.id()).status());
        }
    }

    @Test
    void whatCanNotBeDecodedEndsForGoodAndKeepsItsPayload(TestScope scope, Client plain) throws Exception {
        String good;
        try (var encoding = client(scope, encrypting())) {
            var job = encoding.enqueue("next", Map.of("text", "x"));
            good = plain.get(job.id()).payload().orElseThrow().text();
        }
        var moved = plain.enqueue("mail", Json.of(good));
        var damaged = plain.enqueue("mail", Json.of(good.substring(0, good.length() - 6) + "\"}"));
        var open = plain.enqueue("mail", Map.of("text", "y"));
        var worker = worker(encrypting()).handle("mail", (job, context) -> job.payload());
        scope.runUntilIdle(worker);
        for (var job : List.of(moved, damaged)) {
            var found = plain.get(job.id());
            assertEquals(Status.FAILED_PERMANENT, found.status());
            assertEquals("PayloadUnreadable", found.failedAttempts().get(0).errorType());
            assertEquals(job.payload(), found.payload());
        }
        assertEquals(Status.SUCCEEDED, plain.get(open.id()).status());
    }

    @Test
    void anOutputOfAnotherJobIsNotRead(TestScope scope, Client plain) throws Exception {
        try (var encoding = client(scope, encrypting())) {
            var first = encoding.enqueue("mail", 1);
            scope.runUntilIdle(worker(encrypting()).handle("mail", (job, context) -> job.payload()));
            assertEquals(1, encoding.get(first.id()).output(Integer.class).orElseThrow());
            var stolen = plain.get(first.id()).output().orElseThrow();
            var second = plain.enqueue("mail", 2);
            scope.runUntilIdle(worker(null).handle("mail", (job, context) -> stolen));
            var found = encoding.get(second.id());
            assertTrue(found.encodedOutput().orElseThrow().why().startsWith("Undecodable: "));
        }
    }

    @Test
    void aHandlerWithoutEncodingsIsToldByAnErrorThatItsPayloadIsEncoded(TestScope scope, Client plain)
            throws Exception {
        try (var encoding = client(scope, encrypting())) {
            var job = encoding.enqueue(
                    NewJob.builder("mail").payload(MAIL).maxAttempts(1).build());
            scope.runUntilIdle(
                    worker(null).handle("mail", (leased, context) -> leased.payload(Map.class)), Failures.KEEP);
            var found = plain.get(job.id());
            assertEquals("Encoded", found.failedAttempts().get(0).errorType());
            assertTrue(found.lastError().contains("key a"), found.lastError());
        }
    }

    @Test
    void aWorkerThatDoesNotEncryptTakesNoKindThatRequiresIt() {
        for (var encodings : Arrays.asList(null, Encodings.of(new Turned()))) {
            assertThrows(EncodingRequired.class, () -> worker(encodings).handle(STRICT, (payload, context) -> payload));
            assertThrows(EncodingRequired.class, () -> worker(encodings)
                    .handleAsync(STRICT, (payload, context) -> CompletableFuture.completedFuture(payload)));
        }
        worker(encrypting()).handle(STRICT, (payload, context) -> payload);
    }

    @Test
    void aKindThatRequiresEncryptionIsNotHandledInPlainTextByAnyOfItsNames(TestScope scope, Client plain)
            throws Exception {
        // No server was told of the kind: the worker looks by itself.
        var worker = worker(encrypting()).handle(STRICT, (payload, context) -> payload);
        Json packed;
        try (var turning = client(scope, Encodings.of(new Turned()))) {
            var job = turning.enqueue("strict", Map.of("text", SECRET.repeat(20)));
            packed = plain.get(job.id()).payload().orElseThrow();
            turning.cancel(job.id());
        }
        var escaped =
                "{\"\\u0024jobqueue.encoded\":1,\"content_type\":\"application/json\",\"encodings\":[\"aes256gcm\"],"
                        + "\"key_id\":\"a\",\"data\":\"\",\"text\":\"evil\"}";
        var refused = new ArrayList<Job>();
        for (var kind : List.of("strict", "strict.old")) {
            for (var text : List.of(Json.of("{\"text\":\"evil\"}"), Json.of(escaped), Json.of("null"), packed)) {
                refused.add(plain.enqueue(kind, text));
            }
        }
        try (var encoding = client(scope, encrypting())) {
            var good = encoding.enqueue(STRICT, MAIL);
            scope.runUntilIdle(worker);
            for (var job : refused) {
                var found = plain.get(job.id());
                assertEquals(Status.FAILED_PERMANENT, found.status());
                assertTrue(found.output().isEmpty());
                assertEquals("PayloadUnreadable", found.failedAttempts().get(0).errorType());
                assertEquals(job.payload(), found.payload());
            }
            assertEquals(
                    "the kind takes encrypted payloads alone",
                    plain.get(refused.get(0).id()).lastError());
            assertEquals(MAIL, STRICT.outputOf(encoding.get(good.id())));
            assertThrows(Encoded.class, () -> STRICT.outputOf(plain.get(good.id())));
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aTypedKindDoesNotTakeAnEnvelopeForItsPayload(boolean encodes, TestScope scope, Client plain) throws Exception {
        record Defaulted(String text) {}
        var object = JobKind.define("mail", Map.class)
                .encodings(Encodings.Rule.NEVER)
                .build();
        var defaults = JobKind.define("next", Defaulted.class)
                .encodings(Encodings.Rule.NEVER)
                .build();
        try (var encoding = client(scope, encrypting())) {
            for (var name : List.of("mail", "next")) {
                var text = plain.get(encoding.enqueue(name, MAIL).id())
                        .payload()
                        .orElseThrow()
                        .text();
                plain.enqueue(name, Json.of(text.replace("$", "\\u0024")));
            }
            var worker = worker(encodes ? encrypting() : null)
                    .handle(object, (payload, context) -> null)
                    .handle(defaults, (payload, context) -> null);
            var ended = scope.runUntilIdle(worker).ended();
            assertEquals(4, ended.size());
            for (var job : ended) {
                assertEquals(Status.FAILED_PERMANENT, job.status());
                assertEquals("PayloadUnreadable", job.failedAttempts().get(0).errorType());
                assertTrue(job.lastError().startsWith("payload: encoded, aes256gcm, key a: "), job.lastError());
            }
        }
    }

    @Test
    void aWorkerThatDoesNotEncryptDoesNotFollowUpByAKindThatRequiresIt() throws Exception {
        var outcomes = new LinkedHashMap<Encodings, Performed.Outcome>();
        outcomes.put(null, Performed.Outcome.FAILED);
        outcomes.put(Encodings.of(new Turned()), Performed.Outcome.FAILED);
        outcomes.put(encrypting(), Performed.Outcome.SUCCEEDED);
        for (var each : outcomes.entrySet()) {
            var worker = worker(each.getKey()).handle("mail", (job, context) -> {
                context.followUp(STRICT.job(MAIL).build());
                return null;
            });
            var done = perform(worker, "mail", null, given -> given.caught());
            assertEquals(each.getValue(), done.outcome());
            if (done.outcome() == Performed.Outcome.FAILED) {
                assertEquals("EncodingRequired", done.errorType());
                assertEquals(List.of(), done.followUps());
            }
        }
        var recorded = new RecordingClient();
        // It has no wire.
        assertEquals(MAIL, STRICT.payloadOf(recorded.enqueue(STRICT, MAIL)));
        assertNull(recorded.jobs().get(0).uniqueAction());
    }

    @Test
    void aCheckpointThatIsTooLongOnceItIsEncodedIsRefused() {
        var worker = worker(encrypting()).handle("mail", (job, context) -> {
            context.saveCheckpoint(new byte[64_000]);
            return null;
        });
        var error = assertThrows(IllegalArgumentException.class, () -> perform(worker, "mail", null));
        assertTrue(error.getMessage().contains("at most 65536"), error.getMessage());
    }

    @Test
    void anOutputThatIsTooLongOnceItIsEncodedIsRefused() throws Exception {
        var worker = worker(encrypting()).handle("mail", (job, context) -> "x".repeat(1_000_000));
        var done = perform(worker, "mail", null, given -> given.caught());
        assertEquals("OutputError", done.errorType());
    }

    @Test
    void aServerTakesWhatTheKindSays(TestScope scope, Client plain) throws Exception {
        var schema = Json.of(
                "{\"type\":\"object\",\"required\":[\"text\"],\"properties\":{\"text\":{\"type\":\"string\"}}}");
        var all = List.of("plain", "encrypted", "compressed");
        record Row(Encodings.Rule rule, boolean encodes, List<String> takes) {}
        var rows = List.of(
                new Row(null, false, List.of("plain")),
                new Row(null, true, all),
                new Row(Encodings.Rule.NEVER, true, List.of("plain")),
                new Row(Encodings.Rule.ALLOWED, false, all),
                new Row(Encodings.Rule.ALLOWED, true, all),
                new Row(Encodings.Rule.REQUIRED, false, List.of("encrypted")),
                new Row(Encodings.Rule.REQUIRED, true, List.of("encrypted")));
        for (var at = 0; at < rows.size(); at++) {
            var row = rows.get(at);
            var name = "mail." + at;
            var builder = JobKind.define(name, Map.class).schema(schema);
            var kind = (row.rule() == null ? builder : builder.encodings(row.rule())).build();
            try (var telling =
                    row.encodes() ? client(scope, encrypting()) : client(scope).build()) {
                assertTrue(telling.syncKinds(kind).get(0).changed());
                assertFalse(telling.syncKinds(kind).get(0).changed());
            }
            var sealed = sealed(scope, plain, encrypting(), name);
            var payloads = new LinkedHashMap<String, Json>();
            payloads.put("plain", Json.of("{\"text\":\"x\"}"));
            payloads.put("encrypted", sealed);
            payloads.put("compressed", sealed(scope, plain, Encodings.of(new Turned()), name));
            payloads.put("wrong", Json.of("{\"text\":7}"));
            payloads.put("null", Json.of("null"));
            payloads.put("beside plain text", Json.of(sealed.text().replace("{", "{\"to\":\"evil\",")));
            payloads.put("another form", Json.of(sealed.text().replace("encoded\":1", "encoded\":2")));
            var taken = new ArrayList<String>();
            payloads.forEach((words, payload) -> {
                try {
                    plain.enqueue(name, payload);
                    taken.add(words);
                } catch (JobQueueException.PayloadInvalid refused) {
                    // As it should.
                }
            });
            assertEquals(row.takes(), taken, row.toString());
        }
    }

    /** What a client makes of a payload, by a kind that takes all. */
    private static Json sealed(TestScope scope, Client plain, Encodings encodings, String kind) {
        var any = kind + ".any";
        plain.putKind(Kind.of(any));
        try (var client = client(scope, encodings)) {
            var job = client.enqueue(any, Map.of("text", "x".repeat(200)));
            return plain.get(job.id()).payload().orElseThrow();
        }
    }

    @Test
    void aWorkerTellsTheServerThatItsKindsMayBeEncodedAndRunsThem(TestScope scope) throws Exception {
        var kind = JobKind.define("told", Map.class, Map.class)
                .schema(Json.of("{\"type\":\"object\",\"required\":[\"text\"]}"))
                .build();
        var worker = Worker.builder(scope.target())
                .token(scope.key())
                .codec(Codecs.jackson())
                .encodings(encrypting())
                .syncKinds(true)
                .build()
                .handle(kind, (payload, context) -> payload);
        var serving = new Thread(worker::serve);
        serving.start();
        try (worker;
                var encoding = client(scope, encrypting())) {
            Job job = null;
            while (job == null) {
                try {
                    job = encoding.enqueue(kind, MAIL);
                } catch (JobQueueException.KindUnknown | JobQueueException.PayloadInvalid early) {
                    TestScope.pause();
                }
            }
            var done = encoding.waitFor(job.id(), Duration.ofSeconds(60));
            assertEquals(MAIL, kind.outputOf(done));
            assertEquals(MAIL, kind.payloadOf(done));
        }
        serving.join();
    }
}
