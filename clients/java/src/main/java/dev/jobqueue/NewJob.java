package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;

/** A job to enqueue. Only its kind must be given. */
public final class NewJob {
    private final dev.jobqueue.v1.NewJob message;
    private final Object payload;
    private final boolean idempotent;
    /** Whether its payload is encoded; null: its kind says nothing of it. */
    private final Encodings.Rule rule;

    private NewJob(Builder builder) {
        this(builder.versioned(), builder.payload, builder.idempotent, builder.rule);
    }

    private NewJob(dev.jobqueue.v1.NewJob message, Object payload, boolean idempotent, Encodings.Rule rule) {
        this.message = message;
        this.payload = payload;
        this.idempotent = idempotent;
        this.rule = rule;
    }

    /** One that was written. */
    static NewJob of(dev.jobqueue.v1.NewJob message) {
        var payload = message.hasPayloadJson() ? new Json(message.getPayloadJson()) : null;
        return new NewJob(message.toBuilder().clearPayloadJson().build(), payload, false, null);
    }

    /** One of a kind, with the payload {@code null}. */
    public static NewJob of(String kind) {
        return builder(kind).build();
    }

    /** One of a kind with a payload: a {@link Json}, or what the client's codec writes. */
    public static NewJob of(String kind, Object payload) {
        return builder(kind).payload(payload).build();
    }

    /** Begins one. The kind decides the handler. */
    public static Builder builder(String kind) {
        return new Builder(kind);
    }

    /** Its kind. */
    public String kind() {
        return message.getKind();
    }

    /** The handler's input: a {@link Json}, or what the codec is to write; null: {@code null}. */
    public Object payload() {
        return payload;
    }

    /** The queue in which it waits. Empty: {@code default}. */
    public String queue() {
        return message.getQueue();
    }

    /** The producer's own labels. */
    public Map<String, String> labels() {
        return message.getLabelsMap();
    }

    /** Data for the handler in addition to the payload. */
    public Map<String, String> headers() {
        return message.getHeadersMap();
    }

    /** What it is about. Empty: nothing is said. */
    public String key() {
        return message.getKey();
    }

    /** The producer's own name for the request. Empty: none, or one that each call makes. */
    public String idempotencyKey() {
        return message.getIdempotencyKey();
    }

    /** The same job with more headers. */
    public NewJob withHeaders(Map<String, String> more) {
        return new NewJob(message.toBuilder().putAllHeaders(more).build(), payload, idempotent, rule);
    }

    /** Begins another one like it. */
    public Builder toBuilder() {
        return new Builder(this);
    }

    /** Whether it may stand in the place of another one: headers and labels alone may be others. */
    boolean isButForHeadersAndLabels(NewJob before) {
        return this == before
                || (idempotent == before.idempotent
                        && Objects.equals(payload, before.payload)
                        && bare().equals(before.bare()));
    }

    /** The same with what another one's kind says of its payload: its version, also where that has none, and its rule. */
    NewJob versionedAs(NewJob before) {
        var version = before.headers().get(JobKind.VERSION_HEADER);
        if (Objects.equals(version, headers().get(JobKind.VERSION_HEADER))) {
            return ruled(before.rule);
        }
        var changed = message.toBuilder().removeHeaders(JobKind.VERSION_HEADER);
        if (version != null) {
            changed.putHeaders(JobKind.VERSION_HEADER, version);
        }
        return new NewJob(changed.build(), payload, idempotent, before.rule);
    }

    Encodings.Rule rule() {
        return rule;
    }

    /** The same under another rule. */
    NewJob ruled(Encodings.Rule other) {
        return rule == other ? this : new NewJob(message, payload, idempotent, other);
    }

    /** The same, of a schedule that a client without encodings read. */
    NewJob undecoded() {
        return payload instanceof Json text ? new NewJob(message, text.undecoded(), idempotent, rule) : this;
    }

    /** The same with its payload encoded, of which no more is asked. */
    NewJob sealed(Json envelope) {
        return new NewJob(message, envelope, idempotent, null);
    }

    /** The same, of a schedule whose payload was not decoded. */
    NewJob unread(Encoded encoded) {
        return new NewJob(message, encoded, idempotent, rule);
    }

    /** Whether both say the same, with equal payloads. */
    @Override
    public boolean equals(Object other) {
        return other instanceof NewJob job
                && message.equals(job.message)
                && Objects.equals(payload, job.payload)
                && idempotent == job.idempotent
                && rule == job.rule;
    }

    @Override
    public int hashCode() {
        return Objects.hash(message, payload, idempotent, rule);
    }

    boolean isUniqueByPayload() {
        return message.hasUnique() && message.getUnique().getKey().isEmpty();
    }

    private dev.jobqueue.v1.NewJob bare() {
        return message.toBuilder().clearHeaders().clearLabels().build();
    }

    /** The same with its payload written: it is sent as it is now. */
    NewJob written(Codec codec, String path) {
        var text = text(codec, path);
        return payload == null || payload instanceof Json
                ? this
                : new NewJob(message, text == null ? null : new Json(text), idempotent, rule);
    }

    /** As it is sent, of one that was written. */
    dev.jobqueue.v1.NewJob message() {
        return message(NoCodec.INSTANCE, "job", false);
    }

    /** Whether it has a key, or is given one by each call. */
    boolean keyed() {
        return idempotent || !message.getIdempotencyKey().isEmpty();
    }

    /**
     * As it is sent; path is where it stands in the request.
     *
     * @param makeKey whether one without a key of its own that asked for one is given it
     * @throws EncodingRequired its kind takes encrypted payloads alone, and it was not encoded
     */
    dev.jobqueue.v1.NewJob message(Codec codec, String path, boolean makeKey) {
        if (rule == Encodings.Rule.REQUIRED) {
            // What encodes jobs says it of none that it has encoded.
            throw new EncodingRequired(
                    "the kind %s takes encrypted payloads alone: give the client or the worker encodings"
                            .formatted(kind()));
        }
        var sent = message.toBuilder();
        var text = text(codec, path);
        if (text != null) {
            sent.setPayloadJson(text);
        }
        if (idempotent && makeKey) {
            sent.setIdempotencyKey(UUID.randomUUID().toString());
        }
        return sent.build();
    }

    private ByteString text(Codec codec, String path) {
        if (payload instanceof Encoded encoded) {
            // Encoded once more it would be decoded to an envelope.
            throw encoded;
        }
        try {
            return Json.encode(payload, codec);
        } catch (Exception error) {
            throw Errors.invalid(path + ".payload", "can't be written as JSON: " + error.getMessage(), error);
        }
    }

    /** Describes a job. */
    public static final class Builder {
        private final dev.jobqueue.v1.NewJob.Builder message = dev.jobqueue.v1.NewJob.newBuilder();
        private Object payload;
        private boolean idempotent;
        private int version = 1;
        private Encodings.Rule rule;

        private Builder(String kind) {
            message.setKind(Objects.requireNonNull(kind, "kind"));
        }

        private Builder(NewJob job) {
            message.mergeFrom(job.message);
            payload = job.payload;
            idempotent = job.idempotent;
            rule = job.rule;
        }

        /**
         * The handler's input: a {@link Json} goes byte for byte, whatever else is written by the client's codec. Null:
         * {@code null}.
         */
        public Builder payload(Object payload) {
            this.payload = payload;
            return this;
        }

        /** The queue in which the job waits. Default: {@code default}. */
        public Builder queue(String queue) {
            message.setQueue(queue);
            return this;
        }

        /** -10..10, higher first. */
        public Builder priority(int priority) {
            message.setPriority(priority);
            return this;
        }

        /** The earliest time at which the job may start, at most 400 days ahead. Replaces a delay. */
        public Builder runAt(Instant runAt) {
            message.setRunAt(Times.message(runAt));
            return this;
        }

        /** The same, from now by the database's clock. Replaces a moment. */
        public Builder delay(Duration delay) {
            message.setDelay(Times.message(delay));
            return this;
        }

        /** After how many failures the job ends as FAILED_PERMANENT, 1..1000. Default: the kind's value, else 3. */
        public Builder maxAttempts(int maxAttempts) {
            message.setMaxAttempts(maxAttempts);
            return this;
        }

        /** How long one attempt may run, 1 s to 7 days. Default: the kind's value, else no limit. */
        public Builder timeout(Duration timeout) {
            message.setTimeout(Times.message(timeout));
            return this;
        }

        /** The wait between attempts. Default: the kind's, else 1 s to 60 s. */
        public Builder retryPolicy(RetryPolicy policy) {
            message.setRetryPolicy(policy.message());
            return this;
        }

        /**
         * The producer's own name for the request: the same key and the same job again answers the job that is there.
         * With one, the client repeats the call when no server answers.
         */
        public Builder idempotencyKey(String key) {
            message.setIdempotencyKey(key);
            idempotent = false;
            return this;
        }

        /** Each call makes a key that was never used, so that the client may repeat it when its answer was lost. */
        public Builder idempotent() {
            message.clearIdempotencyKey();
            idempotent = true;
            return this;
        }

        /** The producer's own labels, by which jobs can be found. */
        public Builder labels(Map<String, String> labels) {
            message.clearLabels().putAllLabels(labels);
            return this;
        }

        /** Data for the handler in addition to the payload, at most 8 KiB. */
        public Builder headers(Map<String, String> headers) {
            message.clearHeaders().putAllHeaders(headers);
            return this;
        }

        /** Whether no worker gets the job until {@link Client#release}. */
        public Builder hold(boolean hold) {
            message.setHold(hold);
            return this;
        }

        /** What the job is about, for example a customer: its queue may limit how many jobs of one key run. */
        public Builder key(String key) {
            message.setKey(key);
            return this;
        }

        /** The name of the job's work, which is to be done once. */
        public Builder unique(Unique unique) {
            message.setUnique(unique.message());
            return this;
        }

        /** The version of a typed payload; 1 goes without saying. */
        Builder version(int version) {
            this.version = version;
            return this;
        }

        /** Whether the payload is encoded; null: its kind says nothing of it. */
        Builder rule(Encodings.Rule rule) {
            this.rule = rule;
            return this;
        }

        private dev.jobqueue.v1.NewJob versioned() {
            if (version > 1) {
                message.putHeaders(JobKind.VERSION_HEADER, Integer.toString(version));
            }
            return message.build();
        }

        /** The job. */
        public NewJob build() {
            return new NewJob(this);
        }
    }
}
