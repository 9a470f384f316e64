package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.google.protobuf.ByteString;
import java.io.File;
import java.net.URLClassLoader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

/** The list of encodings: what it refuses, what it compresses, and whom it asks for keys. */
@Timeout(60)
class EncodingsTest {
    static final byte[] KEY = key(0);
    static final byte[] NEXT = key(1);
    private static final Place PAYLOAD = Place.payload("mail");
    private static final ByteString ONE = text("1");
    private static final ByteString LONG = text("\"" + "to be or not to be ".repeat(200) + "\"");
    private static final ObjectMapper JSON = new ObjectMapper();

    private static byte[] key(int from) {
        var key = new byte[32];
        IntStream.range(0, 32).forEach(at -> key[at] = (byte) (from + at));
        return key;
    }

    private static ByteString text(String text) {
        return ByteString.copyFromUtf8(text);
    }

    private static AesGcm aes() {
        return AesGcm.of(Map.of("a", KEY), "a");
    }

    private static Encodings both() {
        return Encodings.of(new Zstd(), aes());
    }

    private static ByteString sealed(Encodings encodings, ByteString data, String key) throws Exception {
        return got(encodings.sealer()).sealed(data, PAYLOAD, key);
    }

    private static ByteString sealed(Encodings encodings, ByteString data) throws Exception {
        return sealed(encodings, data, null);
    }

    private static ByteString opened(Encodings encodings, ByteString text) throws Exception {
        return got(encodings.opened(text, PAYLOAD, false));
    }

    /** What a future has, or what it failed with. */
    private static <A> A got(CompletableFuture<A> future) throws Exception {
        try {
            return future.get(30, TimeUnit.SECONDS);
        } catch (ExecutionException error) {
            throw (Exception) Endings.unwrapped(error);
        }
    }

    private static NewJob job(Encodings encodings, NewJob job) throws Exception {
        return got(encodings.jobs(List.of(job), Codecs.jackson(), at -> "job")).get(0);
    }

    private static String said(Class<? extends Throwable> type, Executable what) {
        return assertThrows(type, what).getMessage();
    }

    @Test
    void twoCallsWithoutAnIdempotencyKeyHaveOtherBytesAndWithOneTheSame() throws Exception {
        var encodings = both();
        assertNotEquals(sealed(encodings, ONE), sealed(encodings, ONE));
        assertEquals(sealed(encodings, ONE, "k"), sealed(encodings, ONE, "k"));
        // A key that each call makes is none of the producer's own.
        var idempotent =
                NewJob.builder("mail").payload(Json.of("1")).idempotent().build();
        assertNotEquals(
                job(encodings, idempotent).payload(), job(encodings, idempotent).payload());
    }

    @Test
    void aScheduleThatWasReadWithoutEncodingsGoesAsItIsAndIsNotEncodedOnceMore() throws Exception {
        var envelope = sealed(both(), ONE);
        var message = dev.jobqueue.v1.NewJob.newBuilder().setKind("mail").setPayloadJson(envelope);
        var schedule = dev.jobqueue.v1.Schedule.newBuilder().setName("s").setJob(message);
        var stored = Schedule.of(schedule.build()).job();
        var read = stored.toBuilder().queue("q").build();
        assertEquals(envelope, read.message(Codecs.jackson(), "job", false).getPayloadJson());
        assertThrows(Encoded.class, () -> job(both(), read));
        // In plain text it is a job like any other.
        schedule.setJob(message.setPayloadJson(ONE));
        var plain = Schedule.of(schedule.build()).job();
        var encoded = (Json) job(both(), plain).payload();
        assertEquals(ONE, opened(both(), encoded.raw()));
    }

    @Test
    void aKeyedJobIsCompressedWhereThatIsAskedForAndItsNonceIsOfTheCompressedBytes() throws Exception {
        var plain = both();
        var packed = both().keyedCompression(true);
        var other = Encodings.of(new Zstd().level(19), aes()).keyedCompression(true);
        var first = sealed(packed, LONG, "k");
        var second = sealed(other, LONG, "k");
        assertTrue(first.size() < LONG.size() / 10);
        assertTrue(sealed(plain, LONG, "k").size() > LONG.size());
        assertNotEquals(first, second);
        // The same text, compressed in another way: with one nonce for both, their difference would be readable.
        assertNotEquals(nonce(first), nonce(second));
        for (var each : List.of(first, second)) {
            assertEquals(LONG, opened(plain, each));
        }
    }

    private static String nonce(ByteString text) throws Exception {
        return JSON.readTree(text.toByteArray()).get("data").asText().substring(0, 16);
    }

    @Test
    void whatIsShortOrDoesNotShrinkIsNotCompressed() throws Exception {
        var encodings = Encodings.of(new Zstd().over(10));
        assertEquals(text("\"short\""), sealed(encodings, text("\"short\"")));
        var noise = new byte[95];
        IntStream.range(0, 95).forEach(at -> noise[at] = (byte) (32 + at));
        assertEquals(ByteString.copyFrom(noise), sealed(encodings, ByteString.copyFrom(noise)));
        assertNotNull(EnvelopeReader.read(sealed(encodings, LONG)));
    }

    @Test
    void moreThanZstdTakesIsRefusedOnBothSides() throws Exception {
        var small = Encodings.of(new Zstd().over(10).most(1000));
        assertTrue(
                said(IllegalArgumentException.class, () -> sealed(small, LONG)).contains("more than Zstd"));
        var packed = sealed(Encodings.of(new Zstd()), LONG);
        assertTrue(said(Undecodable.class, () -> opened(small, packed)).contains("at most 1000"));
        assertThrows(IllegalArgumentException.class, () -> new Zstd().over(-1));
        assertThrows(IllegalArgumentException.class, () -> new Zstd().level(20));
        assertThrows(IllegalArgumentException.class, () -> new Zstd().most(0));
    }

    @Test
    void aFrameThatGoesOnPastTheLengthThatItSaysOrIsNotAloneIsRefused() {
        // 1 MiB as it says; each block is 128 KiB of one byte.
        var header = new byte[] {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd, (byte) 0xa0, 0, 0, 16, 0};
        var frame = Arrays.copyOf(header, header.length + 4 * 1000);
        for (var at = header.length; at < frame.length; at += 4) {
            // The last of them says so.
            var head = (128 * 1024 << 3) | 2 | (at + 4 == frame.length ? 1 : 0);
            frame[at] = (byte) head;
            frame[at + 1] = (byte) (head >> 8);
            frame[at + 2] = (byte) (head >> 16);
            frame[at + 3] = 'A';
        }
        var zstd = new Zstd();
        assertThrows(Undecodable.class, () -> zstd.decode(frame, null, null));
        // So it is what it says.
        var right = Arrays.copyOf(frame, header.length + 4 * 8);
        right[right.length - 4] |= 1;
        assertEquals(1024 * 1024, zstd.decode(right, null, null).length);
        for (var behind : new byte[][] {{0}, {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd, 0x20, 0, 1, 0, 0}}) {
            var more = Arrays.copyOf(right, right.length + behind.length);
            System.arraycopy(behind, 0, more, right.length, behind.length);
            assertThrows(Undecodable.class, () -> zstd.decode(more, null, null));
        }
    }

    @Test
    void whatIsNoFrameOfThisFormIsUndecodable() {
        var zstd = new Zstd();
        for (var each : new byte[][] {
            {},
            {0x28},
            {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd},
            {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd, 0x20, 0, 1, 0, 0},
            {0x28, (byte) 0xb5, 0x2f, (byte) 0xfd, 0x20, 1, 1, 0, 0},
        }) {
            assertThrows(Undecodable.class, () -> zstd.decode(each, null, null));
        }
        // Of older forms, which the library would read, and one that a reader passes over.
        for (var each : new byte[][] {
            {0x27, (byte) 0xb5, 0x2f, (byte) 0xfd, 0x20, 1, 9, 0, 0, 'A'},
            {0x25, (byte) 0xb5, 0x2f, (byte) 0xfd, 0x20, 1, 9, 0, 0, 'A'},
            {0x1e, (byte) 0xb5, 0x2f, (byte) 0xfd, (byte) 0xc0, 0, 0},
            {0x50, 0x2a, 0x4d, 0x18, 1, 0, 0, 0, 'A'},
        }) {
            var error = assertThrows(Undecodable.class, () -> zstd.decode(each, null, null));
            assertEquals("zstd: it is no frame", error.getMessage());
        }
    }

    @Test
    void eachEnvelopeThatAKeyDecryptsIsReadAlsoWhereAnotherOneIsThePrimary() throws Exception {
        var old = Encodings.of(aes());
        var next = Encodings.of(AesGcm.of(Map.of("a", KEY, "b", NEXT), "b"));
        assertEquals(ONE, opened(next, sealed(old, ONE)));
        var newer = sealed(next, ONE);
        var error = assertThrows(KeyUnknown.class, () -> opened(old, newer));
        assertEquals("b", error.keyId());
        assertTrue(error.getMessage().contains("'b'"), error.getMessage());
    }

    @Test
    void aFunctionIsAskedForAKeyOnceByAllThatWaitForIt() throws Exception {
        var asked = Collections.synchronizedList(new ArrayList<String>());
        var answer = new CompletableFuture<byte[]>();
        var encodings = Encodings.of(AesGcm.askingAsync(
                name -> {
                    asked.add(name);
                    return answer;
                },
                "a"));
        var waiting =
                IntStream.range(0, 50).mapToObj(each -> encodings.sealer()).toList();
        waiting.get(0).cancel(true);
        answer.complete(KEY);
        for (var each : waiting.subList(1, 50)) {
            got(each).sealed(ONE, PAYLOAD, null);
        }
        assertTrue(waiting.get(0).isCancelled());
        assertEquals(List.of("a"), asked);
    }

    @Test
    void aFunctionThatNeverAnswersIsAskedAgain() throws Exception {
        var asked = new ArrayList<String>();
        var answers = new ArrayList<>(List.of(new CompletableFuture<byte[]>(), CompletableFuture.completedFuture(KEY)));
        var keys = Keys.asking(
                name -> {
                    asked.add(name);
                    return answers.remove(0);
                },
                System::nanoTime,
                TimeUnit.MILLISECONDS.toNanos(10));
        assertTrue(said(IllegalStateException.class, () -> got(keys.get("a"))).contains("has not answered 'a' within"));
        assertArrayEquals(KEY, got(keys.get("a")));
        assertEquals(List.of("a", "a"), asked);
    }

    @Test
    void whatOneThatWaitsForAKeyDoesWithItHoldsUpNoOther() throws Exception {
        var answer = new CompletableFuture<byte[]>();
        var keys = Keys.asking(name -> answer, System::nanoTime, Keys.ANSWERS);
        var going = new CountDownLatch(1);
        var slow = IntStream.range(0, 3)
                .mapToObj(each -> keys.get("a").thenAccept(key -> {
                    try {
                        going.await(50, TimeUnit.SECONDS);
                    } catch (InterruptedException error) {
                        throw new IllegalStateException(error);
                    }
                }))
                .toList();
        var others = IntStream.range(0, 3).mapToObj(each -> keys.get("a")).toList();
        answer.complete(KEY);
        for (var each : others) {
            assertArrayEquals(KEY, got(each));
        }
        assertTrue(slow.stream().noneMatch(CompletableFuture::isDone));
        going.countDown();
    }

    @Test
    void whatIsChangedAfterTheCallIsSentAsItWas() throws Exception {
        var key = new CompletableFuture<byte[]>();
        var encodings = Encodings.of(AesGcm.askingAsync(name -> key, "a"));
        var payload = new HashMap<>(Map.of("a", 1));
        var jobs = new ArrayList<>(List.of(NewJob.of("mail", payload)));
        var sealing = encodings.jobs(jobs, Codecs.jackson(), at -> "job");
        payload.put("a", 2);
        jobs.clear();
        key.complete(KEY);
        var text = got(sealing).get(0).message().getPayloadJson();
        assertEquals(text("{\"a\":1}"), opened(encodings, text));
    }

    @Test
    void twoJobsThatSayTheSameAreEqual() {
        var one = NewJob.of("mail", Json.of("1"));
        assertEquals(one, NewJob.of("mail", Json.of("1")));
        assertEquals(one.hashCode(), NewJob.of("mail", Json.of("1")).hashCode());
        for (var other : List.of(
                NewJob.of("mail", Json.of("2")),
                NewJob.of("other", Json.of("1")),
                one.toBuilder().idempotent().build(),
                one.ruled(Encodings.Rule.NEVER))) {
            assertNotEquals(one, other);
        }
    }

    @Test
    void aKeyIsAskedForAgainAfterFiveMinutesAndOneThatIsMissingAfterFifteenSeconds() throws Exception {
        var asked = new ArrayList<String>();
        var known = new HashMap<>(Map.of("a", KEY));
        var now = new AtomicLong(Long.MAX_VALUE - 5);
        var keys = Keys.asking(
                name -> {
                    asked.add(name);
                    return CompletableFuture.completedFuture(known.get(name));
                },
                now::get,
                Keys.ANSWERS);
        assertArrayEquals(KEY, got(keys.get("a")));
        assertThrows(KeyUnknown.class, () -> got(keys.get("b")));
        known.put("b", NEXT);
        now.addAndGet(TimeUnit.SECONDS.toNanos(14));
        assertThrows(KeyUnknown.class, () -> got(keys.get("b")));
        assertEquals(List.of("a", "b"), asked);
        now.addAndGet(TimeUnit.SECONDS.toNanos(2));
        assertArrayEquals(NEXT, got(keys.get("b")));
        now.addAndGet(TimeUnit.SECONDS.toNanos(283));
        got(keys.get("a"));
        assertEquals(List.of("a", "b", "b"), asked);
        now.addAndGet(TimeUnit.SECONDS.toNanos(2));
        got(keys.get("a"));
        assertEquals(List.of("a", "b", "b", "a"), asked);
    }

    @Test
    void aFunctionForKeysMayBlockAndTheCallerGoesOn() throws Exception {
        var going = new CountDownLatch(1);
        var where = new CompletableFuture<Thread>();
        var encodings = Encodings.of(AesGcm.asking(
                name -> {
                    where.complete(Thread.currentThread());
                    try {
                        return going.await(30, TimeUnit.SECONDS) ? KEY : null;
                    } catch (InterruptedException error) {
                        return null;
                    }
                },
                "a"));
        var sealer = encodings.sealer();
        assertNotEquals(Thread.currentThread(), got(where));
        assertFalse(sealer.isDone());
        going.countDown();
        assertNotNull(EnvelopeReader.read(got(sealer).sealed(ONE, PAYLOAD, null)));
    }

    @Test
    void aFunctionIsNotAskedForWhatIsNoNameAndKeepsSoManyAnswers() throws Exception {
        var asked = new ArrayList<String>();
        var keys = Keys.asking(
                name -> {
                    asked.add(name);
                    return name.equals("a") ? CompletableFuture.completedFuture(KEY) : null;
                },
                System::nanoTime,
                Keys.ANSWERS);
        for (var name : List.of("", "a b", "a\n", "\0", "../\\", "a".repeat(256), "%2e", "a'", "a\u0301")) {
            assertThrows(KeyUnknown.class, () -> got(keys.get(name)));
        }
        assertEquals(List.of(), asked);
        got(keys.get("a"));
        var names = new ArrayList<>(List.of("vault:mail/2026-10", "k".repeat(255)));
        IntStream.range(0, 600).forEach(number -> names.add("n" + number));
        for (var name : names) {
            assertThrows(KeyUnknown.class, () -> got(keys.get(name)));
        }
        assertEquals(603, asked.size());
        assertEquals(256, keys.kept());
        // What is there is kept, and what is not there goes.
        got(keys.get("a"));
        assertEquals(603, asked.size());
        assertTrue(said(IllegalArgumentException.class, () -> AesGcm.asking(name -> KEY, "a b"))
                .contains("letters, digits"));
    }

    @Test
    void whatAFunctionForKeysThrowsIsThrownAndAskedForAgainAndAKeyIsNeverTold() throws Exception {
        var away = new IllegalStateException("the key service is away");
        var answers = new ArrayList<>(List.of(CompletableFuture.<byte[]>failedFuture(away)));
        answers.add(CompletableFuture.completedFuture(KEY));
        var keys = Keys.asking(name -> answers.remove(0), System::nanoTime, Keys.ANSWERS);
        assertSame(away, assertThrows(IllegalStateException.class, () -> got(keys.get("a"))));
        assertArrayEquals(KEY, got(keys.get("a")));
        var thrown = Encodings.of(AesGcm.askingAsync(
                name -> {
                    throw away;
                },
                "a"));
        assertSame(away, assertThrows(IllegalStateException.class, () -> got(thrown.sealer())));
        var wrong = "12345".getBytes();
        assertEquals(
                "the key 'a' is 5 bytes; it must be 32 bytes",
                said(IllegalArgumentException.class, () -> AesGcm.of(Map.of("a", wrong), "a")));
        var asking = Encodings.of(AesGcm.asking(name -> wrong, "a"));
        assertTrue(
                said(IllegalArgumentException.class, () -> got(asking.sealer())).contains("5 bytes"));
        assertEquals("aes256gcm, key a", aes().toString());
        assertEquals("zstd + aes256gcm", both().toString());
        var sealer = got(both().sealer());
        assertTrue(sealer.toString().startsWith("dev.jobqueue.Sealer@"), sealer.toString());
    }

    @Test
    void anEncodingThatShouldEncryptAndLeavesPlainTextIsAnError() {
        var forgetful = new Own("forgetful", "a") {
            @Override
            public byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey) {
                return null;
            }
        };
        assertTrue(said(IllegalStateException.class, () -> sealed(Encodings.of(forgetful), ONE))
                .contains("unencrypted"));
    }

    @Test
    void aJobThatItsPayloadMakesUniqueIsRefused() throws Exception {
        for (var unique : List.of(Unique.payload(), Unique.payload("/to"))) {
            var job = NewJob.builder("mail")
                    .payload(Map.of("to", "a"))
                    .unique(unique)
                    .build();
            assertTrue(
                    said(IllegalArgumentException.class, () -> job(both(), job)).contains("Unique.key"));
        }
        var job = NewJob.builder("mail")
                .payload(Map.of("to", "a"))
                .unique(Unique.key("a"))
                .build();
        assertNotNull(EnvelopeReader.read(job(both(), job).message().getPayloadJson()));
    }

    @Test
    void aJobSaysWhetherItIsEncoded() throws Exception {
        var never = NewJob.builder("a")
                .payload(Json.of("1"))
                .rule(Encodings.Rule.NEVER)
                .build();
        var required = NewJob.builder("a")
                .payload(Json.of("1"))
                .rule(Encodings.Rule.REQUIRED)
                .build();
        assertSame(never, job(both(), never));
        assertTrue(said(EncodingRequired.class, () -> job(Encodings.of(new Zstd()), required))
                .contains("don't encrypt"));
        // Each way to the server goes through the refusal, also of copies of it.
        for (var each : List.of(
                required,
                required.withHeaders(Map.of("a", "b")),
                required.toBuilder().labels(Map.of("a", "b")).build(),
                required.written(NoCodec.INSTANCE, "job"),
                NewJob.of("a", Json.of("1")).versionedAs(required))) {
            assertThrows(EncodingRequired.class, each::message);
        }
        var sealed = job(both(), required).message().getPayloadJson();
        assertEquals(ONE, got(both().opened(sealed, Place.payload("a"), true)));
        var nothing = job(both(), NewJob.of("mail")).message().getPayloadJson();
        assertEquals(text("null"), opened(both(), nothing));
    }

    @Test
    void anEnvelopeThatAProducerGivesIsEncodedAsAnyPayloadIs() throws Exception {
        var inner = sealed(Encodings.of(new Zstd()), LONG);
        var job = job(both(), NewJob.of("mail", Json.of(inner.toByteArray())));
        assertEquals(inner, opened(both(), job.message().getPayloadJson()));
    }

    @Test
    void whatLooksLikeAnEnvelopeAndIsNotEncodedIsRefused() throws Exception {
        var encodings = Encodings.of(new Zstd());
        var stranger = sealed(Encodings.of(new Zstd().over(10)), LONG);
        assertTrue(stranger.size() < 2048);
        var sealer = got(encodings.sealer());
        var words = " looks like an envelope, and nothing here encodes it";
        for (var each : List.of(
                stranger.toStringUtf8(),
                stranger.toStringUtf8().replace("$", "\\u0024"),
                "{\"$jobqueue.encoded\":2}")) {
            for (var key : new String[] {null, "k"}) {
                var job = NewJob.builder("mail").payload(Json.of(each));
                var given = (key == null ? job : job.idempotencyKey(key)).build();
                assertEquals("the payload" + words, said(IllegalArgumentException.class, () -> job(encodings, given)));
            }
            assertEquals(
                    "the output" + words,
                    said(
                            IllegalArgumentException.class,
                            () -> sealer.sealed(text(each), Place.output("mail", "1"), null)));
        }
        var checkpoint = Place.checkpoint("mail", "1");
        var like = text("{\"$jobqueue.encoded\":1,").concat(ByteString.copyFrom(new byte[] {-1}));
        assertEquals(
                "the checkpoint" + words,
                said(IllegalArgumentException.class, () -> sealer.sealed(like, checkpoint, null)));
        var bytes = ByteString.copyFrom(new byte[] {-1});
        assertEquals(bytes, sealer.sealed(bytes, checkpoint, null));
        assertEquals(bytes, got(encodings.opened(bytes, checkpoint, false)));
        assertTrue(said(Undecodable.class, () -> got(encodings.opened(like, checkpoint, false)))
                .contains("cut off"));
        // One that is encoded comes back as it was given.
        var spaced = stranger.concat(text(" ".repeat(3000)));
        assertEquals(spaced, opened(encodings, sealed(Encodings.of(new Zstd().over(10)), spaced)));
    }

    @Test
    void anEnvelopeIsKnownHoweverItsMarkIsWritten() throws Exception {
        var text = sealed(both(), ONE).toStringUtf8();
        for (var written : List.of(
                text,
                text.replace("$", "\\u0024"),
                text.replace("jobqueue", "\\u006Aob\\u0071ueue"),
                "\uFEFF \t\r\n" + text + "\n ",
                text.replace("{", "{ \"\" : [{}, [ ], {\"a\":[-0.5e+1,\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",null]}, true] , "),
                text.replace(":1,", ": 1.0 ,"),
                // The last of two counts.
                text.replace("{", "{\"$jobqueue.encoded\":2,\"data\":[7],\"x\":NaN,\"y\":-Infinity,"))) {
            assertNotNull(EnvelopeReader.read(text(written)), written);
            assertEquals(ONE, opened(both(), text(written)), written);
        }
        for (var other : List.of(
                "",
                "{\"a\":\"\\u0024jobqueue.encoded\"}",
                "\"\\u0024jobqueue.encoded\"",
                "{\"\\u0024",
                "{\"a\":\"\\u00e4\"}",
                "[" + text + "]",
                text + "x",
                text.replace("}", ",}"),
                text.replace(":1,", ":01,"),
                text.replace(":1,", ":1,,"),
                text.replace(":1,", ":+1,"),
                text.replace(":1,", " 1,"),
                text.replace("zzz", "").replace("[\"", "[,\""),
                text.replace("\"]", "\",]"),
                text.replace("\"]", "\"}"),
                text.replace("{", "{\"a\":\"\u0001\","),
                text.replace("{", "{\"a\":\"\\x41\","),
                text.replace("{", "{\"a\":\"\\u00g0\","),
                text.replace("{", "{\"a\":\"\\u\uff10\uff10\uff10\uff10\","),
                text.replace("{", "{\"a\":[1}],"),
                text.replace("{", "{\"a\":{1:2},"),
                text.replace("{", "{\"a\":nul,"),
                text.replace("{", "{'a':1,"))) {
            assertNull(EnvelopeReader.read(text(other)), other);
        }
        assertNull(EnvelopeReader.read(text(text).concat(ByteString.copyFrom(new byte[] {-1}))));
        // As deep as it goes, and it goes deeper than a stack.
        var deep = "{\"a\":" + "[{\"b\":".repeat(200_000) + "1" + "}]".repeat(200_000) + ",";
        assertEquals(ONE, opened(both(), text(text.replace("{", deep))));
    }

    @Test
    void anEnvelopeThatWasTamperedWithIsRefusedAndNothingElseIsThrown() throws Exception {
        var encodings = Encodings.of(new Zstd().over(200), AesGcm.of(Map.of("a", KEY, "b", NEXT), "a"));
        var good = (ObjectNode) JSON.readTree(sealed(encodings, text("\"" + "to be or not to be ".repeat(30) + "\""))
                .toByteArray());
        var drawn = new Random(7);
        var names = new ArrayList<String>();
        good.fieldNames().forEachRemaining(names::add);
        var wrong = JSON.readTree(
                "[null,0,2,true,\"\",\"zstd\",[],{},[7],[\"zstd\"],[\"zstd\",\"zstd\"],[\"aes256gcm\"],\"aaaaaaaaa\",1.5]");
        for (var each = 0; each < 2000; each++) {
            var bad = good.deepCopy();
            var name = names.get(drawn.nextInt(names.size()));
            if (drawn.nextBoolean()) {
                bad.set(name, wrong.get(drawn.nextInt(wrong.size())));
            } else if (drawn.nextInt(4) == 0 && !name.equals("$jobqueue.encoded")) {
                bad.remove(name);
            } else {
                var data = new StringBuilder(good.get("data").asText());
                var at = drawn.nextInt(data.length() - 1);
                var other = "ABCDab0189-_+/= é".charAt(drawn.nextInt(17));
                switch (drawn.nextInt(3)) {
                    case 0 -> data.setCharAt(at, other);
                    case 1 -> data.setLength(at);
                    default -> data.append(data);
                }
                bad.put("data", data.toString());
            }
            if (!bad.equals(good)) {
                var error = assertThrows(
                        RuntimeException.class, () -> opened(encodings, text(JSON.writeValueAsString(bad))));
                assertTrue(
                        error instanceof Undecodable || error instanceof KeyUnknown || error instanceof EncodingUnknown,
                        bad + ": " + error);
            }
        }
    }

    @Test
    void listsThatMakeNoSenseAreRefused() {
        assertTrue(said(IllegalArgumentException.class, Encodings::of).contains("not empty"));
        assertTrue(said(IllegalArgumentException.class, () -> Encodings.of(new Zstd(), new Zstd()))
                .contains("different"));
        assertTrue(said(IllegalArgumentException.class, () -> Encodings.of(aes(), new Zstd()))
                .contains("last"));
        assertTrue(said(IllegalArgumentException.class, () -> Encodings.of(new Own("", "")))
                .contains("name"));
        assertThrows(KeyUnknown.class, () -> AesGcm.of(Map.of("a", KEY), "b"));
        assertTrue(said(IllegalArgumentException.class, () -> AesGcm.of(Map.of("", KEY), ""))
                .contains("primary"));
        var nameless = new HashMap<String, byte[]>(Map.of("a", KEY));
        nameless.put(null, KEY);
        assertThrows(IllegalArgumentException.class, () -> AesGcm.of(nameless, "a"));
    }

    @Test
    void noTwoPlacesAreAuthenticatedAsTheSame() {
        var found = new HashSet<ByteString>();
        for (var purpose : List.of("payload", "output")) {
            for (var kind : List.of("a", "ab", "abc")) {
                for (var id : List.of("", "b", "bc", "c")) {
                    for (var keyId : List.of("", "b", "c")) {
                        for (var names : List.of(List.of("a"), List.of("a", "b"), List.of("ab"))) {
                            var place = new Place(purpose, kind, id, "application/json");
                            found.add(ByteString.copyFrom(place.authenticated(names, keyId)));
                        }
                    }
                }
            }
        }
        assertEquals(2 * 3 * 4 * 3 * 3, found.size());
    }

    @Test
    void withoutTheLibraryTheErrorSaysWhatToAdd() throws Exception {
        var places = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator))
                .filter(each -> !each.contains("zstd-jni"))
                .map(each -> {
                    try {
                        return new File(each).toURI().toURL();
                    } catch (java.net.MalformedURLException error) {
                        throw new IllegalStateException(error);
                    }
                })
                .toArray(java.net.URL[]::new);
        try (var without = new URLClassLoader(places, ClassLoader.getPlatformClassLoader())) {
            var zstd = without.loadClass("dev.jobqueue.Zstd").getConstructor();
            var error = assertThrows(java.lang.reflect.InvocationTargetException.class, zstd::newInstance);
            assertTrue(
                    error.getCause().getMessage().contains("com.github.luben:zstd-jni"),
                    error.getCause().toString());
            // The others do not need it.
            without.loadClass("dev.jobqueue.AesGcm")
                    .getMethod("of", Map.class, String.class)
                    .invoke(null, Map.of("a", KEY), "a");
        }
    }

    @Test
    void whatWasNotDecodedSaysSo() {
        var names = List.of("zstd", "aes256gcm");
        var value = new Encoded(names, "2026-10", Encoded.NO_ENCODINGS);
        assertEquals("encoded, zstd + aes256gcm, key 2026-10: this program has no encodings", value.getMessage());
        assertEquals(value, new Encoded(names, "2026-10", Encoded.NO_ENCODINGS));
        assertNotEquals(value, new Encoded(names, "", Encoded.NO_ENCODINGS));
        assertEquals(names, value.encodings());
        assertEquals("2026-10", value.keyId());
        assertEquals(Encoded.NO_ENCODINGS, value.why());
        assertEquals(
                "encoded, by nothing that it names: this program has no encodings",
                Envelope.encoded(text("{\"$jobqueue.encoded\":1}"), Encoded.NO_ENCODINGS)
                        .getMessage());
    }

    /** An encoding of a program's own, which turns bytes around, and can't encode what has a certain text in it. */
    static class Own implements Encoding {
        static final String SECRET = "the eagle has landed";
        private final String name;
        private final String keyId;

        Own(String name, String keyId) {
            this.name = name;
            this.keyId = keyId;
        }

        @Override
        public String name() {
            return name;
        }

        @Override
        public String keyId() {
            return keyId;
        }

        @Override
        public byte[] encode(byte[] data, byte[] key, byte[] authenticated, String idempotencyKey) {
            if (new String(data, java.nio.charset.StandardCharsets.UTF_8).contains(SECRET)) {
                throw new IllegalStateException("no key today");
            }
            return turned(data);
        }

        @Override
        public byte[] decode(byte[] data, byte[] key, byte[] authenticated) {
            return turned(data);
        }

        private static byte[] turned(byte[] data) {
            var turned = new byte[data.length];
            IntStream.range(0, data.length).forEach(at -> turned[data.length - 1 - at] = data[at]);
            return turned;
        }
    }
}
