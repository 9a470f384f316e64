package dev.jobqueue;

import java.lang.reflect.Type;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * A job as it was when it was read. Payload, output, headers and failed attempts are left out in lists and watches that
 * do not ask for them.
 */
public final class Job {
    private final dev.jobqueue.v1.Job message;
    private final boolean replayed;
    private final Unique.Action uniqueAction;
    private final Codec codec;
    /** What the client's encodings made of it; null: it has none. */
    private final Reading reading;

    Job(dev.jobqueue.v1.Job message, Codec codec, boolean replayed, Unique.Action uniqueAction) {
        this(message, codec, replayed, uniqueAction, null);
    }

    Job(dev.jobqueue.v1.Job message, Codec codec, boolean replayed, Unique.Action uniqueAction, Reading reading) {
        this.message = message;
        this.codec = codec;
        this.replayed = replayed;
        this.uniqueAction = uniqueAction;
        this.reading = reading;
    }

    /** What encodings could not decode; null: it was decoded, or in plain text. */
    record Reading(Encoded payload, Encoded output) {
        static final Reading PLAIN = new Reading(null, null);
    }

    static Job of(dev.jobqueue.v1.Job message, Codec codec) {
        return new Job(message, codec, false, null);
    }

    /** Its id. Sorts by the time of enqueuing. */
    public String id() {
        return message.getId();
    }

    /** The job's kind. */
    public String kind() {
        return message.getKind();
    }

    /** The queue in which the job waits. */
    public String queue() {
        return message.getQueue();
    }

    /** Where it is in its life. */
    public Status status() {
        return Status.of(message.getStatus());
    }

    /** Whether the job has ended. */
    public boolean isTerminal() {
        return status().isTerminal();
    }

    /** -10..10, higher first. */
    public int priority() {
        return message.getPriority();
    }

    /** How often it was claimed; never goes down. */
    public int attempts() {
        return message.getAttempts();
    }

    /** After how many failures the job ends as FAILED_PERMANENT. */
    public int maxAttempts() {
        return message.getMaxAttempts();
    }

    /** How many attempts failed or timed out. */
    public int failures() {
        return message.getFailures();
    }

    /** How many attempts ended because their worker was lost. */
    public int losses() {
        return message.getLosses();
    }

    /**
     * The payload as it was enqueued, byte for byte; if {@link #encodedPayload} is there, the envelope that it was put into.
     * Empty: it was left out.
     */
    public Optional<Json> payload() {
        return message.hasPayloadJson() ? Optional.of(new Json(message.getPayloadJson())) : Optional.empty();
    }

    /** What stands for a payload that is encoded and was not decoded: it says why. */
    public Optional<Encoded> encodedPayload() {
        return Optional.ofNullable(
                reading == null ? Envelope.encoded(message.getPayloadJson(), Encoded.NO_ENCODINGS) : reading.payload());
    }

    /** The same for the output. */
    public Optional<Encoded> encodedOutput() {
        return Optional.ofNullable(
                reading == null ? Envelope.encoded(message.getOutputJson(), Encoded.NO_ENCODINGS) : reading.output());
    }

    private static Json decoded(Json text, Optional<Encoded> encoded) {
        if (encoded.isPresent()) {
            throw encoded.get();
        }
        return text;
    }

    /**
     * The payload, read by the client's codec. Empty: it was left out.
     *
     * @throws IllegalArgumentException it does not fit the type
     * @throws Encoded it is encoded, and the client has not decoded it
     */
    public <T> Optional<T> payload(Class<T> type) {
        return payload((Type) type);
    }

    /**
     * The same for a type with arguments, such as that of {@code List<Item>}.
     *
     * @throws IllegalArgumentException it does not fit the type
     */
    public <T> Optional<T> payload(Type type) {
        return payload().map(text -> read("payload", decoded(text, encodedPayload()), type));
    }

    /**
     * The output as its handler gave it, byte for byte; if {@link #encodedOutput} is there, the envelope that it was put
     * into. Empty: there is none, or it was left out.
     */
    public Optional<Json> output() {
        return message.hasOutputJson() ? Optional.of(new Json(message.getOutputJson())) : Optional.empty();
    }

    /**
     * The output, read by the client's codec. Empty: there is none, or it was left out.
     *
     * @throws IllegalArgumentException it does not fit the type
     * @throws Encoded it is encoded, and the client has not decoded it
     */
    public <T> Optional<T> output(Class<T> type) {
        return output((Type) type);
    }

    /**
     * The same for a type with arguments, such as that of {@code List<Item>}.
     *
     * @throws IllegalArgumentException it does not fit the type
     */
    public <T> Optional<T> output(Type type) {
        return output().map(text -> read("output", decoded(text, encodedOutput()), type));
    }

    Codec codec() {
        return codec;
    }

    private <T> T read(String what, Json text, Type type) {
        try {
            return codec.read(text.bytes(), type);
        } catch (Exception error) {
            if (codec == NoCodec.INSTANCE) {
                throw (IllegalStateException) error;
            }
            throw new IllegalArgumentException(
                    "the %s of the %s job does not fit %s: %s"
                            .formatted(what, kind(), type.getTypeName(), error.getMessage()),
                    error);
        }
    }

    /** Why it ended, for example ATTEMPTS_EXHAUSTED. Empty while it is not over and when it succeeded. */
    public String reason() {
        return message.getReason();
    }

    /** What the newest unsuccessful attempt said. Empty: none failed. */
    public String lastError() {
        return message.getLastError();
    }

    /** The earliest moment at which it may be claimed, with delay and backoff counted in. */
    public Instant runAt() {
        return Times.of(message.getRunAt());
    }

    /** When it was enqueued, by the database's clock. */
    public Instant createdAt() {
        return Times.of(message.getCreatedAt());
    }

    /** When its state last changed, by the database's clock. */
    public Instant updatedAt() {
        return Times.of(message.getUpdatedAt());
    }

    /** When it became terminal. Empty until then. */
    public Optional<Instant> finishedAt() {
        return message.hasFinishedAt() ? Optional.of(Times.of(message.getFinishedAt())) : Optional.empty();
    }

    /** When the current attempt was claimed. Empty unless it runs. */
    public Optional<Instant> lockedAt() {
        return message.hasLockedAt() ? Optional.of(Times.of(message.getLockedAt())) : Optional.empty();
    }

    /** The name of the worker that runs the current attempt. Empty unless it runs. */
    public String lockedBy() {
        return message.getLockedBy();
    }

    /** Whether its cancelling was asked for. */
    public boolean cancelRequested() {
        return message.getCancelRequested();
    }

    /** The key that it was enqueued under. Empty: none. */
    public String idempotencyKey() {
        return message.getIdempotencyKey();
    }

    /** The key by which its queue may limit it. Empty: none. */
    public String key() {
        return message.getKey();
    }

    /** How long one attempt may run. Empty: no limit. */
    public Optional<Duration> timeout() {
        return message.hasTimeout() ? Optional.of(Times.of(message.getTimeout())) : Optional.empty();
    }

    /** Its own wait between attempts. Empty: the kind's or the default one is used. */
    public Optional<RetryPolicy> retryPolicy() {
        return message.hasRetryPolicy() ? Optional.of(RetryPolicy.of(message.getRetryPolicy())) : Optional.empty();
    }

    /** The producer's own labels. */
    public Map<String, String> labels() {
        return message.getLabelsMap();
    }

    /** The producer's headers, with {@code x-request-id} and {@code traceparent} of the enqueuing call. */
    public Map<String, String> headers() {
        return message.getHeadersMap();
    }

    /** Every attempt that failed, timed out or was lost, oldest first. */
    public List<FailedAttempt> failedAttempts() {
        return message.getFailedAttemptsList().stream().map(FailedAttempt::of).toList();
    }

    /** What the newest attempt last said of how far it is. Empty: nothing yet. */
    public Optional<JobProgress> progress() {
        return message.hasProgress() ? Optional.of(JobProgress.of(message.getProgress())) : Optional.empty();
    }

    /** What it waits for before it is in line for a worker. Empty: it is not held back. */
    public Optional<Hold> hold() {
        return message.hasHold() ? Optional.of(Hold.of(message.getHold())) : Optional.empty();
    }

    /** The name that it was enqueued with ({@link Unique}). Empty: it is not unique, or its payload makes the name. */
    public String uniqueKey() {
        return message.getUniqueKey();
    }

    /** Of the answer to an enqueue: whether the job was there before, by its idempotency key. */
    public boolean replayed() {
        return replayed;
    }

    /**
     * Of the answer to an enqueue: what was done with this job, which holds the name of the one that was to be enqueued
     * ({@link Unique}); null: that one was stored, or {@link #replayed()}.
     */
    public Unique.Action uniqueAction() {
        return uniqueAction;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Job job
                && job.message.equals(message)
                && job.replayed == replayed
                && job.uniqueAction == uniqueAction
                && Objects.equals(job.reading, reading);
    }

    @Override
    public int hashCode() {
        return message.hashCode();
    }

    /** Its kind, id and status, for logs. */
    @Override
    public String toString() {
        return "%s job %s (%s)".formatted(kind(), id(), status());
    }
}
