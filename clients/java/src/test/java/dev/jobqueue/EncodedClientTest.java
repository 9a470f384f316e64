package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.jobqueue.EncodingsTest.Own;
import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Clients and workers with encodings, where nothing may be sent, and what an attempt begins with. */
@Timeout(60)
class EncodedClientTest {
    private static final Map<String, String> MAIL = Map.of("text", Own.SECRET);
    private static final List<Consumer<Client>> CALLS = List.of(
            client -> client.enqueue("mail", MAIL),
            client -> client.enqueue(
                    NewJob.builder("mail").payload(MAIL).idempotencyKey("k").build()),
            client -> client.enqueue(
                    NewJob.builder("mail").payload(MAIL).idempotent().build()),
            client -> {
                var jobs = new ArrayList<NewJob>();
                IntStream.range(0, 2500).forEach(number -> jobs.add(NewJob.of("mail", number)));
                jobs.add(NewJob.of("mail", MAIL));
                client.enqueueMany(jobs);
            });

    /** The names of the calls that were begun. */
    private final List<String> calls = Collections.synchronizedList(new ArrayList<>());

    private final ClientInterceptor counting = new ClientInterceptor() {
        @Override
        public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
            calls.add(method.getFullMethodName());
            return next.newCall(method, options);
        }
    };

    private Client.Builder client() {
        return Client.builder("127.0.0.1:1").codec(Codecs.jackson()).channels(channel -> channel.intercept(counting));
    }

    @Test
    void whatAnEncoderThrowsFailsTheCallBeforeAByteIsSent() {
        for (var around : List.of(List.<Middleware>of(), List.<Middleware>of(new Middleware() {}))) {
            for (var call : CALLS) {
                try (var broken = client().middleware(around)
                        .encodings(Encodings.of(new Own("broken", "a")))
                        .build()) {
                    var error = assertThrows(IllegalStateException.class, () -> call.accept(broken));
                    assertEquals("no key today", error.getMessage());
                }
            }
        }
        assertEquals(List.of(), calls);
    }

    @Test
    void withoutThePrimaryKeyNoCallSendsAByte() {
        for (var call : CALLS) {
            try (var keyless = client().encodings(Encodings.of(AesGcm.asking(name -> null, "a")))
                    .build()) {
                assertThrows(KeyUnknown.class, () -> call.accept(keyless));
            }
        }
        assertEquals(List.of(), calls);
    }

    @Test
    void aJobThatMustBeEncryptedOrIsUniqueByItsPayloadIsRefusedBeforeAByteIsSent() {
        var required = JobKind.define("required", Map.class)
                .encodings(Encodings.Rule.REQUIRED)
                .build();
        var unique = NewJob.builder("mail")
                .payload(MAIL)
                .unique(Unique.payload("/text"))
                .build();
        for (var around : List.of(List.<Middleware>of(), List.<Middleware>of(new Middleware() {}))) {
            try (var plain = client().middleware(around).build();
                    var packed = client().middleware(around)
                            .encodings(Encodings.of(new Zstd()))
                            .build();
                    var encrypting = client().middleware(around)
                            .encodings(Encodings.of(AesGcm.of(Map.of("a", EncodingsTest.KEY), "a")))
                            .build()) {
                for (var client : List.of(plain, packed)) {
                    assertThrows(EncodingRequired.class, () -> client.enqueue(required, MAIL));
                    var job = required.job(MAIL).build();
                    assertThrows(EncodingRequired.class, () -> client.enqueueMany(List.of(job)));
                }
                assertThrows(IllegalArgumentException.class, () -> encrypting.enqueue(unique));
            }
        }
        assertEquals(List.of(), calls);
    }

    @Test
    void aCallThatIsCancelledWhileItsKeyIsAskedForIsNotMade() {
        var key = new CompletableFuture<byte[]>();
        try (var client = client().encodings(Encodings.of(AesGcm.askingAsync(name -> key, "a")))
                .build()) {
            var call = client.async().enqueue(NewJob.of("mail", MAIL));
            call.cancel(true);
            key.complete(EncodingsTest.KEY);
        }
        assertEquals(List.of(), calls);
    }

    @Test
    void aKeyThatDoesNotComeIsWaitedForWithinTheDeadlineOfTheCall() {
        var encodings = Encodings.of(AesGcm.askingAsync(name -> new CompletableFuture<>(), "a"));
        var schedule = NewSchedule.of("s", ScheduleSpec.every(Duration.ofHours(1)), NewJob.of("mail", Json.of("1")));
        try (var client =
                client().encodings(encodings).deadline(Duration.ofMillis(50)).build()) {
            for (var call : CALLS) {
                assertThrows(JobQueueException.DeadlineExceeded.class, () -> call.accept(client));
            }
            assertThrows(JobQueueException.DeadlineExceeded.class, () -> client.schedules()
                    .create(schedule));
        }
        assertEquals(List.of(), calls);
    }

    @Test
    void whatCantBeSentFailsTheFutureAndIsNotThrown() {
        var required = JobKind.define("required", Map.class)
                .encodings(Encodings.Rule.REQUIRED)
                .build()
                .job(MAIL)
                .build();
        var unwritable = NewJob.of("mail", new Object());
        var timed = NewJob.builder("mail").delay(Duration.ofSeconds(1)).build();
        var keyed = NewJob.builder("mail").idempotencyKey("k").build();
        var spec = ScheduleSpec.every(Duration.ofHours(1));
        for (var around : List.of(List.<Middleware>of(), List.<Middleware>of(new Middleware() {}))) {
            for (var packs : List.of(false, true)) {
                var builder = client().middleware(around);
                if (packs) {
                    builder.encodings(Encodings.of(new Zstd()));
                }
                try (var client = builder.build()) {
                    var async = client.async();
                    for (var job : List.of(required, unwritable)) {
                        assertTrue(async.enqueue(job).isCompletedExceptionally());
                        assertTrue(async.enqueueMany(List.of(job)).isCompletedExceptionally());
                    }
                    for (var job : List.of(required, unwritable, timed, keyed)) {
                        assertTrue(async.schedules()
                                .create(NewSchedule.of("s", spec, job))
                                .isCompletedExceptionally());
                        assertTrue(async.schedules()
                                .update("s", ScheduleChange.NONE.withJob(job))
                                .isCompletedExceptionally());
                    }
                }
            }
        }
        assertEquals(List.of(), calls);
    }

    @Test
    void aWatchOfAClientThatIsClosedEnds() {
        var client = client().build();
        client.close();
        assertTimeoutPreemptively(Duration.ofSeconds(10), () -> {
            assertFalse(client.watchOverview().hasNext());
            assertThrows(
                    JobQueueException.class,
                    () -> client.watch(WatchFilter.builder().ids("1").build()).hasNext());
        });
    }

    @Test
    void whatCantBeWrittenIsNamedByItsPlaceWithEncodingsToo() {
        try (var client = Client.builder("127.0.0.1:1")
                .encodings(Encodings.of(new Zstd()))
                .build()) {
            var jobs = List.of(NewJob.of("mail"), NewJob.of("mail", MAIL));
            var error = assertThrows(JobQueueException.InvalidRequest.class, () -> client.enqueueMany(jobs));
            assertTrue(error.getMessage().contains("jobs[1].payload"), error.getMessage());
        }
    }

    private static LeasedJob leased(ByteString text, int attempt) {
        return new LeasedJob(
                dev.jobqueue.v1.LeasedJob.newBuilder()
                        .setKind("k")
                        .setId("1")
                        .setAttempt(attempt)
                        .setPayloadJson(text)
                        .build(),
                Codecs.jackson());
    }

    private static JobContext context(LeasedJob job) {
        return new JobContext(job, job.codec(), Runnable::run, report -> {});
    }

    private static ByteString sealed(Encodings encodings, Object payload) throws Exception {
        return encodings
                .jobs(List.of(NewJob.of("k", payload)), Codecs.jackson(), at -> "job")
                .get()
                .get(0)
                .message()
                .getPayloadJson();
    }

    @Test
    void aJobWhoseKeyOrEncodingDoesNotComeFailsByItsName() throws Exception {
        var coding = Coding.of(Encodings.of(AesGcm.of(Map.of("a", EncodingsTest.KEY), "a")), null);
        var others = List.of(
                Encodings.of(AesGcm.of(Map.of("b", EncodingsTest.NEXT), "b")), Encodings.of(new Own("other", "")));
        var errors = List.of(KeyUnknown.class, EncodingUnknown.class);
        for (var each = 0; each < others.size(); each++) {
            var text = sealed(others.get(each), "x");
            for (var attempt : List.of(1, JobKind.MOST_SNOOZES)) {
                var job = leased(text, attempt);
                assertThrows(Snooze.class, () -> coding.begin(job, context(job)));
            }
            var job = leased(text, JobKind.MOST_SNOOZES + 1);
            var error = assertThrows(errors.get(each), () -> coding.begin(job, context(job)));
            var failure = Endings.ofThrown(error, null).getFailure();
            assertEquals(errors.get(each).getSimpleName(), failure.getErrorType());
        }
    }

    @Test
    void whatAnAttemptBeginsWithIsDecodedAndAnEnvelopeWithinStaysWhatItIs() throws Exception {
        var coding = Coding.of(Encodings.of(AesGcm.of(Map.of("a", EncodingsTest.KEY), "a")), null);
        var inner = Map.of("$jobqueue.encoded", 1, "encodings", List.of("zstd"), "text", "x");
        var job = leased(sealed(coding.encodings(), inner), 1);
        assertEquals(
                "encoded, aes256gcm, key a: this program has no encodings",
                assertThrows(Encoded.class, () -> job.payload(Map.class)).getMessage());
        var context = context(job);
        var opened = coding.begin(job, context);
        assertEquals(opened, context.job());
        assertEquals(inner, opened.payload(Map.class));
        assertNull(opened.encoded(""));
    }

    @Test
    void aKeyFunctionThatThrowsFailsTheAttemptByWhatItThrows() {
        var away = new IllegalStateException("the key service is away");
        var coding =
                Coding.of(Encodings.of(AesGcm.askingAsync(name -> CompletableFuture.failedFuture(away), "a")), null);
        var job = leased(ByteString.copyFromUtf8("1"), 1);
        assertEquals(away, assertThrows(IllegalStateException.class, () -> coding.begin(job, context(job))));
    }

    @Test
    void aJobThatIsToldToStopWaitsForNoKey() throws Exception {
        var asked = new CompletableFuture<String>();
        var encodings = Encodings.of(AesGcm.askingAsync(
                name -> {
                    asked.complete(name);
                    return new CompletableFuture<>();
                },
                "a"));
        var job = leased(ByteString.copyFromUtf8("1"), 1);
        var context = context(job);
        asked.thenRunAsync(() -> context.tell(new Stop(Stop.Reason.SHUTDOWN, "the worker shuts down")));
        assertTimeoutPreemptively(
                Duration.ofSeconds(10),
                () -> assertThrows(
                        Cancelled.class, () -> Coding.of(encodings, null).begin(job, context)));
    }

    @Test
    void whatACodecSaysOfAValueIsNotSent() {
        var talking = Codec.of(
                value -> {
                    throw new IllegalArgumentException("not " + value, new IllegalStateException("" + value));
                },
                (json, type) -> {
                    var text = new String(json, java.nio.charset.StandardCharsets.UTF_8);
                    throw new IllegalArgumentException("not " + text, new IllegalStateException(text));
                });
        var message =
                leased(ByteString.copyFromUtf8("\"" + Own.SECRET + "\""), 1).message();
        for (var codec : List.of(talking, Codecs.jackson())) {
            var job = new LeasedJob(message, codec);
            var thrown = assertThrows(Discard.class, () -> job.payload(Integer.class));
            var failure = Endings.ofThrown(thrown, null).getFailure();
            assertTrue(failure.getPermanent());
            assertTrue(failure.getError().contains("does not fit java.lang.Integer"), failure.getError());
            assertFalse(failure.toString().contains(Own.SECRET), failure.toString());
        }
        var failure = Endings.ofResult(Own.SECRET, context(new LeasedJob(message, talking)))
                .getFailure();
        assertEquals(
                "the handler's output can't be written as JSON: java.lang.IllegalArgumentException",
                failure.getError());
    }

    @Test
    void anOutputIsAsLongAsWhatIsSentOfIt() throws Exception {
        var coding = Coding.of(Encodings.of(new Zstd()), null);
        var job = leased(ByteString.copyFromUtf8("1"), 1);
        var context = context(job);
        coding.begin(job, context);
        assertTrue(Endings.ofResult("x".repeat(2_000_000), context).hasSuccess());
    }

    @Test
    void aJobThatWasReadOnlyHasWhatItsEncodingsMadeOfIt() throws Exception {
        var encodings = Encodings.of(AesGcm.of(Map.of("a", EncodingsTest.KEY), "a"));
        var message = dev.jobqueue.v1.Job.newBuilder()
                .setKind("k")
                .setId("1")
                .setPayloadJson(sealed(encodings, "x"))
                .setOutputJson(
                        encodings.sealer().get().sealed(ByteString.copyFromUtf8("2"), Place.output("k", "2"), null))
                .build();
        var read = encodings
                .read(message, Codecs.jackson(), true, Unique.Action.KEPT)
                .get();
        assertEquals("x", read.payload(String.class).orElseThrow());
        assertTrue(read.encodedPayload().isEmpty());
        assertTrue(read.replayed());
        assertEquals(Unique.Action.KEPT, read.uniqueAction());
        // Of another job.
        var why = read.encodedOutput().orElseThrow().getMessage();
        assertTrue(why.startsWith("encoded, aes256gcm, key a: Undecodable: aes256gcm: it was changed"), why);
        assertEquals(message.getOutputJson(), read.output().orElseThrow().raw());
        assertThrows(Encoded.class, () -> read.output(Integer.class));
        var unread = Job.of(message, Codecs.jackson());
        assertEquals(Encoded.NO_ENCODINGS, unread.encodedPayload().orElseThrow().why());
        assertThrows(Encoded.class, () -> unread.payload(String.class));
    }

    @Test
    void aFutureOfTheAsyncClientFailsWithWhatAnEncoderThrows() {
        try (var broken =
                client().encodings(Encodings.of(new Own("broken", "a"))).build()) {
            var error = assertThrows(
                    ExecutionException.class,
                    () -> broken.async().enqueue(NewJob.of("mail", MAIL)).get());
            assertEquals("no key today", error.getCause().getMessage());
        }
    }

    @Test
    void theSchemaOfAKindSaysWhetherItsPayloadsAreEncoded() throws Exception {
        var json = new com.fasterxml.jackson.databind.ObjectMapper();
        var own = "{\"type\":\"object\"}";
        for (var version : List.of(1, 2)) {
            for (var rule :
                    new Encodings.Rule[] {null, Encodings.Rule.NEVER, Encodings.Rule.ALLOWED, Encodings.Rule.REQUIRED
                    }) {
                for (var encodes : List.of(false, true)) {
                    var builder =
                            JobKind.define("k", Map.class).version(version).schema(Json.of(own));
                    if (version == 2) {
                        builder.upcast(1, old -> old);
                    }
                    var kind = (rule == null ? builder : builder.encodings(rule)).build();
                    var schema = json.readTree(
                            kind.declaration(encodes).getKind().getSchemaJson().toStringUtf8());
                    var said = rule + " " + version + " " + encodes + ": " + schema;
                    assertEquals(
                            rule == Encodings.Rule.REQUIRED,
                            schema.path("required").toString().contains("key_id"),
                            said);
                    var may = rule == Encodings.Rule.ALLOWED || (encodes && rule == null);
                    var last = schema.path("anyOf").path(schema.path("anyOf").size() - 1);
                    assertEquals(may, last.path("title").asText().equals("encoded payload"), said);
                    if (may) {
                        assertEquals(version, last.path("x-payload-version").asInt());
                        assertEquals(version + 1, schema.path("anyOf").size());
                        assertEquals(
                                version,
                                schema.path("anyOf")
                                        .path(0)
                                        .path("x-payload-version")
                                        .asInt());
                    }
                }
            }
        }
        var without = JobKind.define("k", Map.class);
        assertNull(without.encodings(Encodings.Rule.ALLOWED).build().schema());
        // Also where the kind has told no schema of its own.
        var required = without.encodings(Encodings.Rule.REQUIRED).build().declaration(false);
        assertTrue(required.getUpdateMask().getPathsList().contains("schema"));
    }
}
