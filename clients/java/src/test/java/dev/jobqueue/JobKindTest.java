package dev.jobqueue;

import static dev.jobqueue.ScriptedServer.job;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.ByteString;
import dev.jobqueue.v1.Job.Builder;
import java.math.BigInteger;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class JobKindTest {
    record Name(String first, String last) {}

    record Mail(Name to, int copies, List<String> cc) {}

    record MailV1(String name) {}

    record Sent(int id) {}

    private static final Codec CODEC = Codecs.jackson();
    private static final String SECRET = "s3cret-7f2a";

    /** Version 1: {"name": "Ada L"}; 2: {"to": {...}} with one copy; 3 has copies. */
    private static final JobKind<Mail, Sent> MAIL = JobKind.define("mail", Mail.class, Sent.class)
            .version(3)
            .upcast(1, MailV1.class, old -> {
                var at = old.name().indexOf(' ');
                return Map.of(
                        "to", new Name(old.name().substring(0, at), old.name().substring(at + 1)));
            })
            .upcast(2, old -> {
                old.put("copies", ((List<?>) old.getOrDefault("cc", List.of(1))).size());
                return old;
            })
            .aliases("post", "letter")
            .build();

    private final ScriptedServer server = new ScriptedServer();
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

    private ScriptedServer.Stream serve(Worker made) throws InterruptedException {
        worker = made;
        serving = new Thread(made::serve);
        serving.start();
        return server.open();
    }

    private Worker.Builder builder() {
        return Worker.builder(server.address()).name("test").codec(CODEC);
    }

    private static dev.jobqueue.v1.LeasedJob.Builder mail(long number, String version, String payload) {
        var job = job(number).setKind("mail").setPayloadJson(ByteString.copyFromUtf8(payload));
        return version.isEmpty() ? job : job.putHeaders("x-payload-version", version);
    }

    private static dev.jobqueue.v1.NewJob sent(NewJob.Builder job) {
        return job.build().message(CODEC, "job", false);
    }

    private static Builder stored(String payload) {
        return dev.jobqueue.v1.Job.newBuilder()
                .setId("7")
                .setKind("mail")
                .setStatus(dev.jobqueue.v1.Job.Status.QUEUED)
                .setPayloadJson(ByteString.copyFromUtf8(payload));
    }

    private static Mail read(String version, String payload) {
        var stored = stored(payload);
        if (!version.isEmpty()) {
            stored.putHeaders("x-payload-version", version);
        }
        return MAIL.payloadOf(Job.of(stored.build(), CODEC));
    }

    private static String unreadable(String version, String payload) {
        return assertThrows(PayloadUnreadable.class, () -> read(version, payload))
                .getMessage();
    }

    @Test
    void aJobSaysItsPayloadAndItsVersionAndWhatItsKindSays() {
        var kind = JobKind.define("mail", Mail.class, Sent.class)
                .version(2)
                .queue("post")
                .priority(3)
                .maxAttempts(5)
                .timeout(Duration.ofMinutes(2))
                .retryPolicy(new RetryPolicy(Duration.ofSeconds(1), null))
                .key(mail -> mail.to().last())
                .unique(mail -> Unique.key(mail.to().first()))
                .build();
        var mail = new Mail(new Name("Ada", "L"), 1, List.of());
        var made = sent(kind.job(mail));
        assertEquals("mail", made.getKind());
        assertEquals(
                "{\"to\":{\"first\":\"Ada\",\"last\":\"L\"},\"copies\":1,\"cc\":[]}",
                made.getPayloadJson().toStringUtf8());
        assertEquals(Map.of("x-payload-version", "2"), made.getHeadersMap());
        assertEquals(
                List.of("post", "L", "Ada"),
                List.of(made.getQueue(), made.getKey(), made.getUnique().getKey()));
        assertEquals(List.of(3, 5), List.of(made.getPriority(), made.getMaxAttempts()));
        assertEquals(120, made.getTimeout().getSeconds());
        assertEquals(1, made.getRetryPolicy().getMinBackoff().getSeconds());

        var other = sent(kind.job(mail)
                .queue("slow")
                .key("own")
                .unique(Unique.key("own"))
                .headers(Map.of("a", "b"))
                .priority(-1));
        assertEquals("own", other.getKey());
        assertEquals("own", other.getUnique().getKey());
        assertEquals("slow", other.getQueue());
        assertEquals(-1, other.getPriority());
        assertEquals(Map.of("a", "b", "x-payload-version", "2"), other.getHeadersMap());
    }

    @Test
    void aKindOfVersionOneSaysNoVersion() {
        var made = sent(JobKind.define("mail", MailV1.class).build().job(new MailV1("Ada")));
        assertEquals(Map.of(), made.getHeadersMap());
    }

    @Test
    void aKindThatWasDeclaredDoesNotChangeWithItsBuilder() {
        var builder = JobKind.define("mail", MailV1.class).queue("first");
        var kind = builder.build();
        builder.queue("second");
        assertEquals("first", sent(kind.job(new MailV1("Ada"))).getQueue());
    }

    @Test
    void nullIsNoPayloadUnlessThereIsNone() {
        var error = assertThrows(JobQueueException.PayloadInvalid.class, () -> MAIL.job(null));
        assertEquals("PAYLOAD_INVALID: payload: must be a Mail, not null", error.getMessage());
        assertEquals(List.of(new FieldViolation("payload", "must be a Mail, not null")), error.violations());
        var tick = JobKind.define("tick", Void.class).build();
        assertFalse(sent(tick.job(null)).hasPayloadJson());
        assertNull(tick.payloadOf(Job.of(stored("null").setKind("tick").build(), CODEC)));
    }

    @Test
    void aTypeMayHaveArguments() {
        var sums = JobKind.define("sum", new TypeRef<List<Name>>() {}, new TypeRef<Map<String, Sent>>() {})
                .build();
        var stored = stored("[{\"first\":\"Ada\"}]")
                .setKind("sum")
                .setStatus(dev.jobqueue.v1.Job.Status.SUCCEEDED)
                .setOutputJson(ByteString.copyFromUtf8("{\"a\":{\"id\":1}}"));
        var job = Job.of(stored.build(), CODEC);
        assertEquals(List.of(new Name("Ada", null)), sums.payloadOf(job));
        assertEquals(Map.of("a", new Sent(1)), sums.outputOf(job));
        assertThrows(IllegalStateException.class, Untyped::new);
    }

    @SuppressWarnings("rawtypes") // the mistake that is tested
    private static final class Untyped extends TypeRef {}

    @Test
    void jsonIsAPayloadByteForByteAndNeedsNoCodec() {
        var raw = JobKind.define("raw", Json.class, Json.class).build();
        var text = "{ \"n\" : 12345678901234567890 }";
        var job = Job.of(stored(text).setKind("raw").build(), NoCodec.INSTANCE);
        assertEquals(text, raw.payloadOf(job).text());
    }

    @Test
    void anOlderPayloadIsMadeOneOfThisVersionStepByStep() {
        var wanted = new Mail(new Name("Ada", "L"), 1, null);
        assertEquals(wanted, read("", "{\"name\":\"Ada L\"}"));
        assertEquals(wanted, read("1", "{\"name\":\"Ada L\",\"later\":[1]}"));
        assertEquals(
                new Mail(new Name("Ada", "L"), 2, List.of("b", "c")),
                read("2", "{\"to\":{\"first\":\"Ada\",\"last\":\"L\"},\"cc\":[\"b\",\"c\"]}"));
        assertEquals(wanted, read("3", "{\"to\":{\"first\":\"Ada\",\"last\":\"L\"},\"copies\":1}"));
    }

    @Test
    void numbersKeepTheirDigitsThroughAnUpcaster() {
        record Big(BigInteger n) {}
        var kind = JobKind.define("mail", Big.class)
                .version(2)
                .upcast(1, old -> old)
                .build();
        var job = Job.of(stored("{\"n\":12345678901234567890}").build(), CODEC);
        assertEquals(new BigInteger("12345678901234567890"), kind.payloadOf(job).n());
    }

    @Test
    void whatIsUnreadableIsNamedByPlaceAndExpectationAndNeverByValue() {
        assertEquals(
                "payload.copies: must be a whole number", unreadable("3", "{\"copies\":\"%s\"}".formatted(SECRET)));
        assertEquals("payload.copies: must be a whole number", unreadable("3", "{\"copies\":2.5}"));
        assertEquals("payload.copies: must be a whole number", unreadable("3", "{\"copies\":\"2\"}"));
        assertEquals("payload.copies: must be a whole number", unreadable("3", "{\"to\":null}"));
        assertEquals("payload.cc[1]: must be a string", unreadable("3", "{\"copies\":1,\"cc\":[\"a\",7]}"));
        assertEquals("payload.cc: must be an array", unreadable("3", "{\"copies\":1,\"cc\":\"%s\"}".formatted(SECRET)));
        assertEquals(
                "payload.to: must be an object", unreadable("3", "{\"copies\":1,\"to\":\"%s\"}".formatted(SECRET)));
        assertEquals("payload: must be a Mail, not null", unreadable("3", "null"));
        assertEquals("payload: must be an object, not an array", unreadable("2", "[\"%s\"]".formatted(SECRET)));
        assertEquals("payload: must be JSON", unreadable("3", "{%s".formatted(SECRET)));
        for (var version : List.of("0", "-1", "x", SECRET, "1e3", "1234567890", "")) {
            var stored = stored("{}").putHeaders("x-payload-version", version);
            var error =
                    assertThrows(PayloadUnreadable.class, () -> MAIL.payloadOf(Job.of(stored.build(), CODEC)), version);
            assertEquals("headers.x-payload-version: must be the number of a version, from 1", error.getMessage());
        }
    }

    @Test
    void anUpcasterThatFailsIsNamedAndItsWordsAreNot() {
        var kind = JobKind.define("mail", Mail.class)
                .version(3)
                .upcast(1, old -> Integer.parseInt((String) old.get("n")))
                .build();
        var first = assertThrows(
                PayloadUnreadable.class,
                () -> kind.payloadOf(
                        Job.of(stored("{\"n\":\"%s\"}".formatted(SECRET)).build(), CODEC)));
        assertEquals(
                "the payload has version 1, and its upcaster from 1 on failed with NumberFormatException",
                first.getMessage());
        assertNull(first.getCause());
        assertTrue(List.of(first.getStackTrace()).toString().contains("JobKindTest"));
        var second = assertThrows(
                PayloadUnreadable.class,
                () -> kind.payloadOf(
                        Job.of(stored("{}").putHeaders("x-payload-version", "2").build(), CODEC)));
        assertEquals("the payload has version 2, and the kind has no upcaster from 2 on", second.getMessage());
    }

    @Test
    void aCodecThatKnowsNoPlacesIsNotQuotedEither() {
        var codec = Codec.of(value -> new byte[0], (json, type) -> {
            throw new IllegalArgumentException("not " + SECRET);
        });
        var error = assertThrows(
                PayloadUnreadable.class,
                () -> MAIL.payloadOf(
                        Job.of(stored("{}").putHeaders("x-payload-version", "3").build(), codec)));
        assertEquals("payload: must be a Mail", error.getMessage());
    }

    @Test
    void whatATypeLacksIsAFaultOfTheProgramAndNotOfThePayload() {
        var kind = JobKind.define("mail", Runnable.class).build();
        var error = assertThrows(
                IllegalStateException.class,
                () -> kind.payloadOf(Job.of(stored("{}").build(), CODEC)));
        assertTrue(error.getMessage().startsWith("Jackson can't read a java.lang.Runnable"), error.getMessage());
        error = assertThrows(
                IllegalStateException.class,
                () -> kind.payloadOf(Job.of(stored("{}").build(), NoCodec.INSTANCE)));
        assertTrue(error.getMessage().contains("without a codec"), error.getMessage());
    }

    @Test
    void anOutputIsThatOfASucceededJobOfTheKind() {
        var succeeded = stored("{}")
                .setStatus(dev.jobqueue.v1.Job.Status.SUCCEEDED)
                .setOutputJson(ByteString.copyFromUtf8("{\"id\":7,\"later\":true}"));
        assertEquals(new Sent(7), MAIL.outputOf(Job.of(succeeded.build(), CODEC)));
        assertEquals(
                new Sent(7),
                MAIL.outputOf(Job.of(succeeded.clone().setKind("post").build(), CODEC)));

        var failed = stored("{}")
                .setStatus(dev.jobqueue.v1.Job.Status.FAILED_PERMANENT)
                .setReason("ATTEMPTS_EXHAUSTED")
                .setLastError("no disk");
        var error = assertThrows(JobNotSucceeded.class, () -> MAIL.outputOf(Job.of(failed.build(), CODEC)));
        assertEquals("the job 7 is FAILED_PERMANENT (ATTEMPTS_EXHAUSTED: no disk)", error.getMessage());
        assertEquals("7", error.job().id());

        var other = succeeded.clone().setKind("other").build();
        var mistake = assertThrows(IllegalArgumentException.class, () -> MAIL.outputOf(Job.of(other, CODEC)));
        assertEquals("the job 7 is of the kind other, not mail", mistake.getMessage());
        var without = succeeded.clone().clearOutputJson().build();
        assertThrows(IllegalArgumentException.class, () -> MAIL.outputOf(Job.of(without, CODEC)));
        var wrong = succeeded.clone().setOutputJson(ByteString.copyFromUtf8("{\"id\":\"x\"}"));
        var unreadable = assertThrows(PayloadUnreadable.class, () -> MAIL.outputOf(Job.of(wrong.build(), CODEC)));
        assertEquals("output.id: must be a whole number", unreadable.getMessage());
    }

    @Test
    void aSchemaHasTheOlderVersionsThatHaveAnUpcaster() throws Exception {
        var plain = JobKind.define("mail", Mail.class);
        assertNull(plain.build().schema());
        assertEquals(
                "{\"x-payload-version\":1}",
                plain.schema(Json.of(" { } ")).build().schema().text());
        var json = "{\"type\":\"array\",\"items\":{\"$ref\": \"#/$defs/a\"},\"$defs\":{\"a\":{\"$ref\":\"#\"}}}";
        var schema = plain.version(3)
                .upcast(1, old -> old)
                .upcast(2, old -> old)
                .schema(Json.of(json))
                .build()
                .schema();
        var mapper = new ObjectMapper();
        assertEquals(
                mapper.readTree(
                        """
                {"anyOf": [
                  {"x-payload-version": 3, "type": "array", "items": {"$ref": "#/anyOf/0/$defs/a"},
                   "$defs": {"a": {"$ref": "#/anyOf/0"}}},
                  {"x-payload-version": 2, "type": "object"},
                  {"x-payload-version": 1, "type": "object"}]}"""),
                mapper.readTree(schema.text()));
    }

    @Test
    void whatADeclarationCantMeanIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> JobKind.define("mail", Mail.class)
                .version(0));
        var error = assertThrows(IllegalArgumentException.class, () -> JobKind.define("mail", Mail.class)
                .version(2)
                .upcast(2, old -> old)
                .build());
        assertEquals(
                "an upcaster of kind mail is from version 2 on: each leads from a version below 2 to the next one",
                error.getMessage());
    }

    @Test
    void aHandlerTakesPayloadsAndAnswersOutputs() throws Exception {
        var stream = serve(builder().build().handle(MAIL, (mail, context) -> {
            assertEquals("mail", context.job().kind());
            return new Sent(mail.copies() + context.job().attempt());
        }));
        stream.deliver(mail(1, "3", "{\"copies\":6}"));
        assertEquals("{\"id\":7}", stream.outcome().getSuccess().getOutputJson().toStringUtf8());
    }

    @Test
    void aWorkerTakesTheOlderNamesOfItsKindAsWell() throws Exception {
        worker = builder().build().handle(MAIL, (mail, context) -> new Sent(mail.copies()));
        assertEquals(List.of("letter", "mail", "post"), worker.status().kinds());
        var taken = assertThrows(IllegalArgumentException.class, () -> worker.handle("post", (job, context) -> null));
        assertTrue(taken.getMessage().contains("a lambda of dev.jobqueue.JobKindTest"), taken.getMessage());
        var other = builder().build().handle("letter", (job, context) -> null);
        assertThrows(IllegalArgumentException.class, () -> other.handle(MAIL, (mail, context) -> null));
        assertEquals(List.of("letter"), other.status().kinds());
        var stream = serve(worker);
        stream.deliver(mail(1, "3", "{\"copies\":6}").setKind("letter"));
        assertEquals("{\"id\":6}", stream.outcome().getSuccess().getOutputJson().toStringUtf8());
    }

    @Test
    void anAsynchronousHandlerOfAKindIsCancelledAsAnyOther() throws Exception {
        var stage = new CompletableFuture<Sent>();
        var stream = serve(builder()
                .build()
                .handleAsync(
                        MAIL,
                        (mail, context) ->
                                mail.copies() == 1 ? CompletableFuture.completedFuture(new Sent(1)) : stage));
        stream.deliver(mail(1, "3", "{\"copies\":1}"));
        assertEquals("{\"id\":1}", stream.outcome().getSuccess().getOutputJson().toStringUtf8());
        stream.deliver(mail(2, "3", "{\"copies\":2}"));
        stream.cancel(2);
        assertTrue(stream.outcome().hasCancellation());
        assertThrows(CancellationException.class, () -> stage.get(10, TimeUnit.SECONDS));
    }

    private record Output(int id) {}

    @Test
    void aTypeIsNamedWithItsArticle() {
        var kind = JobKind.define("k", Output.class).build();
        var error = assertThrows(JobQueueException.PayloadInvalid.class, () -> kind.job(null));
        assertEquals("PAYLOAD_INVALID: payload: must be an Output, not null", error.getMessage());
    }

    @Test
    void nullIsNoOutputUnlessThereIsNone() throws Exception {
        var tick = JobKind.define("tick", Void.class).build();
        var stream = serve(
                builder().build().handle(MAIL, (mail, context) -> null).handle(tick, (nothing, context) -> nothing));
        stream.deliver(mail(1, "3", "{\"copies\":6}"));
        assertEquals(
                "the handler of mail returned null: output must be a Sent",
                stream.outcome().getFailure().getError());
        stream.deliver(job(2).setKind("tick"));
        assertEquals(List.of(2L), stream.settle().getSucceededList());
    }

    @Test
    void anUnreadablePayloadEndsItsJobAndTheValueIsInNoWord() throws Exception {
        var stream = serve(builder().build().handle(MAIL, (mail, context) -> new Sent(1)));
        for (var payload :
                List.of("{\"copies\":\"%s\"}", "{\"copies\":1,\"cc\":\"%s\"}", "{\"copies\":1,\"to\":[\"%s\"]}")) {
            stream.deliver(mail(1, "3", payload.formatted(SECRET)));
            var failure = stream.outcome().getFailure();
            assertTrue(failure.getPermanent());
            assertEquals("PayloadUnreadable", failure.getErrorType());
            assertTrue(failure.getError().startsWith("payload."), failure.getError());
            assertFalse(failure.toString().contains(SECRET), failure.toString());
        }
        stream.deliver(mail(2, "3", "{\"copies\":6}"));
        assertTrue(stream.outcome().hasSuccess());
    }

    @Test
    void aPayloadOfALaterVersionWaitsForANewerWorkerButNotForEver() throws Exception {
        var stream = serve(builder().build().handle(MAIL, (mail, context) -> new Sent(1)));
        var waits = Map.of(1, 15, 4, 60, 8, 120, 20, 120);
        for (var waited : waits.keySet()) {
            stream.deliver(mail(1, "4", "{\"shape\":\"%s\"}".formatted(SECRET))
                    .setAttempt(waited + 2)
                    .setFailures(2));
            var delay = stream.outcome().getSnooze().getDelay();
            var seconds = delay.getSeconds() + delay.getNanos() / 1e9;
            var due = waits.get(waited);
            assertTrue(seconds >= 0.75 * due && seconds <= 1.25 * due, waited + " waits: " + seconds);
        }
        stream.deliver(mail(1, "4", "{}").setAttempt(21));
        var failure = stream.outcome().getFailure();
        assertFalse(failure.getPermanent());
        assertEquals("PayloadTooNew", failure.getErrorType());
        assertEquals("the payload has version 4; this program knows 3", failure.getError());
    }

    @Test
    void aFollowUpIsTyped() throws Exception {
        var stream = serve(builder().build().handle(MAIL, (mail, context) -> {
            context.followUp(MAIL.job(mail).build());
            return new Sent(1);
        }));
        stream.deliver(mail(1, "3", "{\"copies\":6}"));
        var next = stream.outcome().getSuccess().getFollowUps(0);
        assertEquals("3", next.getHeadersOrThrow("x-payload-version"));
        assertEquals(
                "{\"to\":null,\"copies\":6,\"cc\":null}", next.getPayloadJson().toStringUtf8());
    }
}
