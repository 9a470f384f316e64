package dev.jobqueue;

import com.google.protobuf.ByteString;
import com.google.protobuf.FieldMask;
import dev.jobqueue.v1.PayloadFormat;
import dev.jobqueue.v1.PutKindRequest;
import java.lang.reflect.Type;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.ThreadLocalRandom;
import java.util.function.Consumer;
import java.util.function.Function;
import java.util.regex.Pattern;

/**
 * A kind, declared once: its name, the types of its payload and output, and the defaults of its jobs. It knows no client
 * and no worker, and all of them take it.
 *
 * <pre>{@code
 * record Mail(String to, String subject) {}
 * record Sent(String messageId) {}
 *
 * static final JobKind<Mail, Sent> SEND_MAIL =
 *         JobKind.define("send-mail", Mail.class, Sent.class).maxAttempts(5).build();
 *
 * worker.handle(SEND_MAIL, (mail, context) -> new Sent(send(mail)));
 * var job = client.enqueue(SEND_MAIL.job(new Mail("ada@example.org", "")).priority(3).build());
 * Sent sent = SEND_MAIL.outputOf(client.waitFor(job.id()));
 * }</pre>
 *
 * <p>Payloads and outputs are written and read by the codec of the client or the worker.
 *
 * @param <P> what its payloads are; {@link Json}: any JSON, as text
 * @param <O> what its outputs are; {@link Void}: it has none
 */
public final class JobKind<P, O> {
    /** By this header a payload says of which version it is. Without it: 1. */
    static final String VERSION_HEADER = "x-payload-version";
    /** A payload that is newer than the worker waits so often, for about half an hour in all. */
    static final int MOST_SNOOZES = 20;

    private static final Duration SNOOZE = Duration.ofSeconds(15);
    private static final int LONGEST_SNOOZES = 8;
    private static final Pattern NUMBER = Pattern.compile("[0-9]{1,9}");
    // The schema of an envelope. A payload in plain text must not pass by having its members beside its own.
    private static final String ENVELOPE = "{\"type\":\"object\",\"title\":\"encoded payload\","
            + "\"required\":[\"$jobqueue.encoded\",\"content_type\",\"encodings\",\"data\"],\"properties\":{"
            + "\"$jobqueue.encoded\":{\"const\":1},\"content_type\":{\"type\":\"string\"},"
            + "\"encodings\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"string\"}},"
            + "\"key_id\":{\"type\":\"string\",\"minLength\":1},"
            + "\"data\":{\"type\":\"string\",\"pattern\":\"^[A-Za-z0-9_-]*$\"}},\"additionalProperties\":false}";
    private static final Pattern REFERENCE = Pattern.compile("(\"\\$ref\"\\s*:\\s*\"#)");

    /** How a payload of an older version, read as a type, becomes one of the next. */
    private record Upcast(Type from, Function<Object, ?> function) {}

    private final String name;
    private final Type payload;
    private final Type output;
    private final int version;
    private final NavigableMap<Integer, Upcast> upcasts;
    private final List<String> aliases;
    private final Encodings.Rule rule;
    private final Builder<P, O> said;

    private JobKind(Builder<P, O> builder) {
        name = builder.name;
        payload = builder.payload;
        output = builder.output;
        version = builder.version;
        upcasts = new TreeMap<>(builder.upcasts);
        aliases = List.copyOf(builder.aliases);
        rule = builder.rule;
        said = builder.copy();
    }

    /** Begins a kind with payloads and outputs of these classes. */
    public static <P, O> Builder<P, O> define(String name, Class<P> payload, Class<O> output) {
        return new Builder<>(name, payload, output);
    }

    /** Begins a kind without outputs. */
    public static <P> Builder<P, Void> define(String name, Class<P> payload) {
        return new Builder<>(name, payload, Void.class);
    }

    /** Begins a kind with payloads and outputs of types that have arguments, such as {@code List<Item>}. */
    public static <P, O> Builder<P, O> define(String name, TypeRef<P> payload, TypeRef<O> output) {
        return new Builder<>(name, payload.type(), output.type());
    }

    /** Begins a kind with payloads of a type that has arguments. */
    public static <P, O> Builder<P, O> define(String name, TypeRef<P> payload, Class<O> output) {
        return new Builder<>(name, payload.type(), output);
    }

    /** Begins a kind with outputs of a type that has arguments. */
    public static <P, O> Builder<P, O> define(String name, Class<P> payload, TypeRef<O> output) {
        return new Builder<>(name, payload, output.type());
    }

    /** Its name. */
    public String name() {
        return name;
    }

    /** The version of its payload, from 1. */
    public int version() {
        return version;
    }

    /** Older names, whose jobs its handler gets as well. */
    public List<String> aliases() {
        return aliases;
    }

    /** Whether payloads, outputs and checkpoints are encoded; null: nothing is said of it. */
    Encodings.Rule rule() {
        return rule;
    }

    /**
     * Begins a job of this kind. What is said of it wins over what the kind says.
     *
     * @throws JobQueueException.PayloadInvalid the payload is null, and not of the class Void
     */
    public NewJob.Builder job(P payload) {
        if (payload == null && this.payload != Void.class) {
            throw Errors.payloadInvalid("payload", "must be " + expected(this.payload) + ", not null");
        }
        var job = NewJob.builder(name).payload(payload).version(version).rule(rule);
        said.settings.accept(job);
        if (said.key != null) {
            var key = said.key.apply(payload);
            if (key != null) {
                job.key(key);
            }
        }
        if (said.unique != null) {
            var unique = said.unique.apply(payload);
            if (unique != null) {
                job.unique(unique);
            }
        }
        return job;
    }

    /**
     * The payload of a job that was read.
     *
     * @throws IllegalArgumentException the job is of another kind, or was read without its payload
     * @throws Encoded it is encoded, and the client has not decoded it
     * @throws PayloadUnreadable it is not of its type
     * @throws PayloadTooNew it is of a version that this program does not know
     */
    public P payloadOf(Job job) {
        check(job);
        var text = job.payload()
                .orElseThrow(() -> new IllegalArgumentException(
                        "the job %s was read without its payload: use get()".formatted(job.id())));
        job.encodedPayload().ifPresent(JobKind::raise);
        return read(text.raw(), job.headers(), job.codec(), null);
    }

    private static void raise(Encoded encoded) {
        throw encoded;
    }

    /**
     * The output of a job that has succeeded; null: the kind has none.
     *
     * @throws JobNotSucceeded it ended otherwise, or has not ended
     * @throws IllegalArgumentException the job is of another kind, or was read without its output
     * @throws Encoded the output is encoded, and the client has not decoded it
     * @throws PayloadUnreadable the output is not of its type
     */
    public O outputOf(Job job) {
        check(job);
        if (job.status() != Status.SUCCEEDED) {
            throw new JobNotSucceeded(job);
        }
        if (output == Void.class) {
            return null;
        }
        var text = job.output()
                .orElseThrow(() -> new IllegalArgumentException(
                        "the job %s has no output, or was read without it: use get()".formatted(job.id())));
        job.encodedOutput().ifPresent(JobKind::raise);
        return decode("output", text.raw(), output, job.codec());
    }

    /**
     * The JSON Schema of its payloads, for {@link Kind#withSchema}: of this version, or of an older one for which there is
     * an upcaster, so that older producers are not refused meanwhile; or of what is encoded, as its rule says it. Null: none
     * was given, and it need not be encrypted.
     */
    public Json schema() {
        return schema(false);
    }

    /** The same of a program that has encodings or not, which a kind that says nothing of them allows. */
    private Json schema(boolean encodes) {
        if (rule == Encodings.Rule.REQUIRED) {
            return Json.of(versioned(ENVELOPE.replace("\"data\"]", "\"data\",\"key_id\"]"), version));
        }
        if (said.schema == null) {
            return null;
        }
        var own = said.schema.text();
        var encoded = rule == Encodings.Rule.ALLOWED || (encodes && rule == null);
        if (upcasts.isEmpty() && !encoded) {
            return Json.of(versioned(own, version));
        }
        // What it refers to is now within the first branch.
        var branches = new StringBuilder(versioned(REFERENCE.matcher(own).replaceAll("$1/anyOf/0"), version));
        for (var older : upcasts.descendingMap().keySet()) {
            branches.append(',').append(versioned("{\"type\":\"object\"}", older));
        }
        if (encoded) {
            // Behind the others: the first of a version is the one by which a server says what is wrong.
            branches.append(',').append(versioned(ENVELOPE, version));
        }
        return Json.of("{\"anyOf\":[" + branches + "]}");
    }

    /** The JSON Schema of its outputs. Null: none was given. */
    public Json outputSchema() {
        return said.outputSchema;
    }

    /**
     * What {@link Client#syncKinds} says of the kind; the server leaves the rest as it is. A schema that was not given is part
     * of the rest.
     *
     * @param encodes whether the program has encodings
     */
    PutKindRequest declaration(boolean encodes) {
        var settings = NewJob.builder(name);
        said.settings.accept(settings);
        var job = settings.build().message();
        var kind = dev.jobqueue.v1.Kind.newBuilder().setName(name).setVersion(version);
        var fields = FieldMask.newBuilder().addPaths("version");
        var schema = schema(encodes);
        if (schema != null) {
            kind.setSchemaJson(schema.raw());
            fields.addPaths("schema");
        }
        if (said.outputSchema != null) {
            kind.setOutputSchemaJson(said.outputSchema.raw());
            fields.addPaths("output_schema");
        }
        if (job.getMaxAttempts() != 0) {
            kind.setMaxAttempts(job.getMaxAttempts());
            fields.addPaths("max_attempts");
        }
        if (job.hasTimeout()) {
            kind.setTimeout(job.getTimeout());
            fields.addPaths("timeout");
        }
        if (job.hasRetryPolicy()) {
            kind.setRetryPolicy(job.getRetryPolicy());
            fields.addPaths("retry_policy");
        }
        if (said.slotWeight != null) {
            kind.setSlotWeight(said.slotWeight);
            fields.addPaths("slot_weight");
        }
        return PutKindRequest.newBuilder()
                .setKind(kind)
                .setPayloadFormat(PayloadFormat.PAYLOAD_FORMAT_JSON)
                .setUpdateMask(fields)
                .setOnlyNewer(true)
                .build();
    }

    private static String versioned(String schema, int version) {
        var text = schema.strip();
        if (!text.startsWith("{")) {
            return text; // true or false
        }
        var rest = text.substring(1).strip();
        return "{\"x-payload-version\":" + version + (rest.startsWith("}") ? "" : ",") + rest;
    }

    /** Whether a payload is read, or each output is written, by a codec. */
    boolean needsCodec() {
        return !isPlain(payload) || !(isPlain(output) || output == Object.class);
    }

    private static boolean isPlain(Type type) {
        return type == Json.class || type == Void.class;
    }

    Handler taking(TypedHandler<? super P, ? extends O> handler) {
        return (job, context) -> checked(handler.run(payloadIn(job), context));
    }

    AsyncHandler takingAsync(TypedAsyncHandler<? super P, O> handler) {
        return (job, context) ->
                Futures.map(handler.run(payloadIn(job), context).toCompletableFuture(), this::checked);
    }

    /**
     * The payload of an attempt, for its handler.
     *
     * @throws Discard it is not of its type, or is encoded and was not decoded; from PayloadUnreadable. The job keeps its
     *     payload.
     * @throws Snooze it is of a later version: a worker that knows it may come
     * @throws PayloadTooNew the same, and none has come for long
     */
    private P payloadIn(LeasedJob job) {
        try {
            return read(job.payload().raw(), job.headers(), job.codec(), job);
        } catch (PayloadUnreadable error) {
            throw new Discard(error);
        } catch (PayloadTooNew error) {
            var later = later(job);
            if (later != null) {
                throw later;
            }
            throw error;
        }
    }

    /** How a job waits for a worker that can read it; null: it has waited long enough. */
    static Snooze later(LeasedJob job) {
        var waited = job.attempt() - job.failures();
        if (waited > MOST_SNOOZES) {
            return null;
        }
        var spread = ThreadLocalRandom.current().nextDouble(0.75, 1.25);
        return new Snooze(
                Duration.ofMillis(Math.round(SNOOZE.toMillis() * Math.min(waited, LONGEST_SNOOZES) * spread)));
    }

    /** What a handler answered. */
    private Object checked(Object answer) {
        if (answer == null && output != Void.class) {
            throw new NullPointerException(
                    "the handler of %s returned null: output must be %s".formatted(name, expected(output)));
        }
        return answer;
    }

    private void check(Job job) {
        if (!job.kind().equals(name) && !aliases.contains(job.kind())) {
            throw new IllegalArgumentException(
                    "the job %s is of the kind %s, not %s".formatted(job.id(), job.kind(), name));
        }
    }

    /** Reads a payload; of an attempt, that of this job. */
    private P read(ByteString text, Map<String, String> headers, Codec codec, LeasedJob attempt) {
        var given = headers.getOrDefault(VERSION_HEADER, "1");
        var from = NUMBER.matcher(given).matches() ? Integer.parseInt(given) : 0;
        if (from < 1) {
            throw new PayloadUnreadable(
                    "headers.%s: must be the number of a version, from 1".formatted(VERSION_HEADER));
        }
        if (from > version) {
            throw new PayloadTooNew("the payload has version %d; this program knows %d".formatted(from, version));
        }
        var encoded = attempt == null ? null : attempt.encoded("the worker does not decode this kind");
        if (encoded != null) {
            // A type that takes any object, or has a default for each field, would take it for a payload.
            throw new PayloadUnreadable("payload: " + encoded.getMessage());
        }
        var current = text;
        for (var older = from; older < version; older++) {
            current = upcast(current, from, older, codec);
        }
        return decode("payload", current, payload, codec);
    }

    private ByteString upcast(ByteString text, int from, int older, Codec codec) {
        var upcast = upcasts.get(older);
        if (upcast == null) {
            throw new PayloadUnreadable(
                    "the payload has version %d, and the kind has no upcaster from %d on".formatted(from, older));
        }
        Object value = decode("payload", text, upcast.from(), codec);
        try {
            var next = Json.encode(upcast.function().apply(value), codec);
            return next == null ? ByteString.copyFromUtf8("null") : next;
        } catch (Ending | IllegalStateException error) {
            throw error;
        } catch (Exception error) {
            // Not as its cause, whose words may have the value; but where it was.
            var unreadable =
                    new PayloadUnreadable("the payload has version %d, and its upcaster from %d on failed with %s"
                            .formatted(from, older, error.getClass().getSimpleName()));
            unreadable.setStackTrace(error.getStackTrace());
            throw unreadable;
        }
    }

    /**
     * Reads a value.
     *
     * @throws PayloadUnreadable it is not of its type
     * @throws IllegalStateException there is no codec, or it can't read the type at all
     */
    @SuppressWarnings("unchecked") // the type says what it is, and is not there at run time
    static <T> T decode(String place, ByteString text, Type type, Codec codec) {
        if (type == Json.class) {
            return (T) new Json(text);
        }
        if (type == Void.class) {
            return null;
        }
        T value;
        try {
            value = codec.read(text.toByteArray(), type);
        } catch (IllegalStateException error) {
            throw error;
        } catch (Codec.Mismatch mismatch) {
            // Of a field it is not known what came, and text that is no JSON is nothing.
            var known = mismatch.path().isEmpty() && !mismatch.expected().equals("JSON");
            throw new PayloadUnreadable("%s%s: must be %s%s"
                    .formatted(place, mismatch.path(), mismatch.expected(), known ? came(text) : ""));
        } catch (Exception error) {
            // Its words may have the value.
            throw new PayloadUnreadable("%s: must be %s".formatted(place, expected(type)));
        }
        if (value == null) {
            throw new PayloadUnreadable("%s: must be %s%s".formatted(place, expected(type), came(text)));
        }
        return value;
    }

    private static String expected(Type type) {
        return Text.one(type instanceof Class<?> known ? known.getSimpleName() : type.getTypeName());
    }

    /** What came instead, by its first character, and never the value; empty: that is no JSON. */
    private static String came(ByteString json) {
        var text = json.toStringUtf8().strip();
        return switch (text.isEmpty() ? ' ' : text.charAt(0)) {
            case '{' -> ", not an object";
            case '[' -> ", not an array";
            case '"' -> ", not a string";
            case 't', 'f' -> ", not true or false";
            case 'n' -> ", not null";
            case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9' -> ", not a number";
            default -> "";
        };
    }

    /** Its name and version. */
    @Override
    public String toString() {
        return "kind %s, version %d".formatted(name, version);
    }

    /**
     * Declares a kind.
     *
     * @param <P> what its payloads are
     * @param <O> what its outputs are
     */
    public static final class Builder<P, O> {
        private final String name;
        private final Type payload;
        private final Type output;
        private int version = 1;
        private final NavigableMap<Integer, Upcast> upcasts = new TreeMap<>();
        private List<String> aliases = List.of();
        private Consumer<NewJob.Builder> settings = job -> {};
        private Function<? super P, String> key;
        private Function<? super P, Unique> unique;
        private Json schema;
        private Json outputSchema;
        private Encodings.Rule rule;
        private Integer slotWeight;

        private Builder(String name, Type payload, Type output) {
            this.name = Objects.requireNonNull(name, "name");
            this.payload = Objects.requireNonNull(payload, "payload");
            this.output = Objects.requireNonNull(output, "output");
        }

        /**
         * The version of its payload, from 1, which is the default: one more with each change that makes older payloads
         * unreadable.
         */
        public Builder<P, O> version(int version) {
            if (version < 1) {
                throw new IllegalArgumentException(
                        "version %d of kind %s: a version is a number from 1 on".formatted(version, name));
            }
            this.version = version;
            return this;
        }

        /**
         * How the JSON object of a payload of an older version becomes that of the next one. It changes nothing else.
         *
         * @param from the older version
         * @param function from the object, as maps, lists, texts, numbers and truth values, to what the codec writes
         */
        public Builder<P, O> upcast(int from, Function<Map<String, Object>, ?> function) {
            return upcast(from, new TypeRef<Map<String, Object>>() {}.type(), function);
        }

        /** The same, where a payload of that version is read as a class. */
        public <V> Builder<P, O> upcast(int from, Class<V> older, Function<V, ?> function) {
            return upcast(from, (Type) older, function);
        }

        @SuppressWarnings("unchecked") // the type says what the function takes
        private Builder<P, O> upcast(int from, Type older, Function<?, ?> function) {
            Objects.requireNonNull(function, "function");
            upcasts.put(from, new Upcast(older, (Function<Object, ?>) function));
            return this;
        }

        /** Older names of the kind, whose jobs its handler gets as well. */
        public Builder<P, O> aliases(String... aliases) {
            this.aliases = List.of(aliases);
            return this;
        }

        /** {@link NewJob.Builder#maxAttempts} of its jobs. */
        public Builder<P, O> maxAttempts(int maxAttempts) {
            return setting(job -> job.maxAttempts(maxAttempts));
        }

        /** {@link NewJob.Builder#timeout} of its jobs. */
        public Builder<P, O> timeout(Duration timeout) {
            return setting(job -> job.timeout(timeout));
        }

        /** {@link NewJob.Builder#retryPolicy} of its jobs. */
        public Builder<P, O> retryPolicy(RetryPolicy policy) {
            return setting(job -> job.retryPolicy(policy));
        }

        /** {@link NewJob.Builder#queue} of its jobs. */
        public Builder<P, O> queue(String queue) {
            return setting(job -> job.queue(queue));
        }

        /** {@link NewJob.Builder#priority} of its jobs. */
        public Builder<P, O> priority(int priority) {
            return setting(job -> job.priority(priority));
        }

        private Builder<P, O> setting(Consumer<NewJob.Builder> setting) {
            settings = settings.andThen(setting);
            return this;
        }

        /** {@link NewJob.Builder#key} of its jobs, from the payload; null: none. */
        public Builder<P, O> key(Function<? super P, String> key) {
            this.key = Objects.requireNonNull(key, "key");
            return this;
        }

        /** {@link NewJob.Builder#unique} of its jobs. */
        public Builder<P, O> unique(Unique unique) {
            Objects.requireNonNull(unique, "unique");
            return unique(payload -> unique);
        }

        /** {@link NewJob.Builder#unique} of its jobs, from the payload; null: the job is not unique. */
        public Builder<P, O> unique(Function<? super P, Unique> unique) {
            this.unique = Objects.requireNonNull(unique, "unique");
            return this;
        }

        /** How many slots of a worker each of its jobs takes, 1..1000; {@link Client#syncKinds} tells the server. */
        public Builder<P, O> slotWeight(int slotWeight) {
            this.slotWeight = slotWeight;
            return this;
        }

        /**
         * Whether payloads, outputs and checkpoints are encoded. Default: where a program has {@link Access#encodings}, and a
         * server is told so by those alone.
         */
        public Builder<P, O> encodings(Encodings.Rule rule) {
            this.rule = Objects.requireNonNull(rule, "rule");
            return this;
        }

        /** The JSON Schema (2020-12) of payloads of this version; see {@link JobKind#schema}. */
        public Builder<P, O> schema(Json schema) {
            this.schema = Objects.requireNonNull(schema, "schema");
            return this;
        }

        /** The JSON Schema (2020-12) of outputs, for people and tools that make types; no output is checked by it. */
        public Builder<P, O> outputSchema(Json schema) {
            outputSchema = Objects.requireNonNull(schema, "schema");
            return this;
        }

        /**
         * The kind.
         *
         * @throws IllegalArgumentException an upcaster is not from a version below that of the kind
         */
        public JobKind<P, O> build() {
            for (var from : upcasts.keySet()) {
                if (from < 1 || from >= version) {
                    throw new IllegalArgumentException(
                            ("an upcaster of kind %s is from version %d on: each leads from a version below %d to the"
                                            + " next one")
                                    .formatted(name, from, version));
                }
            }
            return new JobKind<>(this);
        }

        private Builder<P, O> copy() {
            var copy = new Builder<P, O>(name, payload, output);
            copy.settings = settings;
            copy.key = key;
            copy.unique = unique;
            copy.schema = schema;
            copy.outputSchema = outputSchema;
            copy.slotWeight = slotWeight;
            return copy;
        }
    }
}
