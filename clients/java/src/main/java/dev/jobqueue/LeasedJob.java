package dev.jobqueue;

import java.lang.reflect.Type;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Optional;

/**
 * One attempt of a job, as its handler sees it.
 *
 * <p>{@code (id, attempt)} is a fencing token: a store that refuses a lower attempt of the same id is safe from a worker
 * that was thought dead. It reads from the message that came over the wire, so that a job costs only what is looked at.
 */
public final class LeasedJob {
    private final dev.jobqueue.v1.LeasedJob message;
    private final Codec codec;
    /** Whether encodings of the worker have decoded it: what then looks encoded is what a producer gave. */
    private final boolean opened;

    LeasedJob(dev.jobqueue.v1.LeasedJob message, Codec codec) {
        this(message, codec, false);
    }

    LeasedJob(dev.jobqueue.v1.LeasedJob message, Codec codec, boolean opened) {
        this.message = message;
        this.codec = codec;
        this.opened = opened;
    }

    /** The job's id. */
    public String id() {
        return message.getId();
    }

    /** The attempt's number in its job, from 1. Higher than that of every earlier one. */
    public int attempt() {
        return message.getAttempt();
    }

    /** The job's kind. */
    public String kind() {
        return message.getKind();
    }

    /** The queue that it was claimed from. */
    public String queue() {
        return message.getQueue();
    }

    /** The payload as it was enqueued, byte for byte; where no encodings have decoded it, the envelope. */
    public Json payload() {
        return new Json(message.getPayloadJson());
    }

    /**
     * The payload, read by the worker's codec.
     *
     * @throws Discard it does not fit the type: no later attempt can do better
     * @throws Encoded it is encoded, and the worker does not decode it
     */
    public <T> T payload(Class<T> type) {
        return payload((Type) type);
    }

    /**
     * The same for a type with arguments, such as that of {@code List<Item>}.
     *
     * @throws Discard it does not fit the type: no later attempt can do better
     */
    public <T> T payload(Type type) {
        var encoded = encoded(Encoded.NO_ENCODINGS);
        if (encoded != null) {
            throw encoded;
        }
        try {
            return codec.read(message.getPayloadJson().toByteArray(), type);
        } catch (Codec.Mismatch mismatch) {
            throw unfit(type, mismatch.getMessage(), mismatch);
        } catch (Exception error) {
            if (codec == NoCodec.INSTANCE) {
                throw (IllegalStateException) error;
            }
            throw unfit(type, error.getClass().getName(), error);
        }
    }

    /** Where it was thrown is told, and not its words or causes: they may have the value, which may have been encrypted. */
    private Discard unfit(Type type, String why, Exception thrown) {
        var error = new IllegalArgumentException(
                "the payload of the %s job does not fit %s: %s".formatted(kind(), type.getTypeName(), why));
        error.setStackTrace(thrown.getStackTrace());
        return new Discard(error);
    }

    /** After how many failures the job ends as FAILED_PERMANENT. */
    public int maxAttempts() {
        return message.getMaxAttempts();
    }

    /** How many failures there have been. */
    public int failures() {
        return message.getFailures();
    }

    /** Whether one more failure ends the job as FAILED_PERMANENT. */
    public boolean isLastAttempt() {
        return failures() >= maxAttempts() - 1;
    }

    /** How long this attempt may run. Empty: no limit. */
    public Optional<Duration> timeout() {
        return message.hasTimeout() ? Optional.of(Times.of(message.getTimeout())) : Optional.empty();
    }

    /** -10..10, higher first. */
    public int priority() {
        return message.getPriority();
    }

    /** The key by which the queue may limit the job. Empty: none. */
    public String key() {
        return message.getKey();
    }

    /** When the job was enqueued, by the database's clock. */
    public Instant createdAt() {
        return Times.of(message.getCreatedAt());
    }

    /** The producer's own labels. */
    public Map<String, String> labels() {
        return message.getLabelsMap();
    }

    /** The producer's headers, with {@code x-request-id} and {@code traceparent} of the enqueuing call. */
    public Map<String, String> headers() {
        return message.getHeadersMap();
    }

    /** What the attempts before left behind; a copy. Empty: nothing. */
    public byte[] checkpoint() {
        return message.getCheckpoint().toByteArray();
    }

    /**
     * The checkpoint as the value that {@link JobContext#saveCheckpoint(Object)} was given, read by the worker's codec.
     * Empty: the attempts before have left nothing.
     *
     * @throws CheckpointUnreadable it is not of the type, or is no JSON
     * @throws Encoded it is encoded, and the worker does not decode it
     * @throws IllegalStateException the worker has no codec, or it can't read the type at all
     */
    public <T> Optional<T> checkpointAs(Class<T> type) {
        return checkpointAs((Type) type);
    }

    /** The same for a type with arguments, such as that of {@code List<Item>}. */
    public <T> Optional<T> checkpointAs(Type type) {
        var stored = message.getCheckpoint();
        if (stored.isEmpty()) {
            return Optional.empty();
        }
        var encoded = opened ? null : Envelope.encoded(stored, Encoded.NO_ENCODINGS);
        if (encoded != null) {
            throw encoded;
        }
        try {
            return Optional.ofNullable(JobKind.decode("checkpoint", stored, type, codec));
        } catch (PayloadUnreadable unreadable) {
            throw new CheckpointUnreadable(unreadable.getMessage());
        }
    }

    /** What stands for a payload that is encoded and was not decoded; null: it is neither. */
    Encoded encoded(String why) {
        return opened ? null : Envelope.encoded(message.getPayloadJson(), why);
    }

    dev.jobqueue.v1.LeasedJob message() {
        return message;
    }

    Codec codec() {
        return codec;
    }

    /** Its kind, id and attempt, for logs. */
    @Override
    public String toString() {
        return "%s job %s, attempt %d".formatted(kind(), id(), attempt());
    }
}
