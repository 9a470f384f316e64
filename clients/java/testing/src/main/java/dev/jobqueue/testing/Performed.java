package dev.jobqueue.testing;

import com.google.protobuf.ByteString;
import com.google.protobuf.Duration;
import dev.jobqueue.Job;
import dev.jobqueue.Json;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * What an attempt came to: what the worker would have told the server.
 *
 * @param <O> what the output is
 */
public final class Performed<O> {
    /** How an attempt has ended. */
    public enum Outcome {
        /** It has its output. */
        SUCCEEDED,
        /** It counts against the job's attempts. */
        FAILED,
        /** It failed, and there is no later attempt. */
        DISCARDED,
        /** The job goes back, for later. */
        SNOOZED,
        /** The handler stopped, since it was asked to or by its own wish. */
        CANCELLED,
        /** The job goes back, uncharged. */
        RELEASED
    }

    /** Performs the next attempt of the same job. */
    @FunctionalInterface
    interface Next<O> {
        Performed<O> perform(Performed<O> before, Consumer<Given> changes) throws Exception;
    }

    private final dev.jobqueue.v1.Outcome message;
    private final O output;
    private final List<Report> progress;
    private final List<ByteString> checkpoints;
    private final List<Job> followUps;
    private final Given given;
    private final Next<O> next;

    Performed(
            dev.jobqueue.v1.Outcome message,
            O output,
            List<Report> progress,
            List<ByteString> checkpoints,
            List<Job> followUps,
            Given given,
            Next<O> next) {
        this.message = message;
        this.output = output;
        this.progress = List.copyOf(progress);
        this.checkpoints = List.copyOf(checkpoints);
        this.followUps = List.copyOf(followUps);
        this.given = given;
        this.next = next;
    }

    /** How it has ended. */
    public Outcome outcome() {
        return switch (message.getOutcomeCase()) {
            case SUCCESS, OUTCOME_NOT_SET -> Outcome.SUCCEEDED;
            case FAILURE -> message.getFailure().getPermanent() ? Outcome.DISCARDED : Outcome.FAILED;
            case SNOOZE -> Outcome.SNOOZED;
            case CANCELLATION -> Outcome.CANCELLED;
            case RELEASE -> Outcome.RELEASED;
        };
    }

    /** What it returned, after JSON; of a typed kind, of the type. Null: nothing. */
    public O output() {
        return output;
    }

    /** The same as JSON text. Empty: nothing. */
    public Optional<Json> outputJson() {
        var success = message.getSuccess();
        return success.hasOutputJson()
                ? Optional.of(Json.of(success.getOutputJson().toByteArray()))
                : Optional.empty();
    }

    /** What went wrong, as the job's last error would have it. Empty: nothing. */
    public String error() {
        // As a server keeps it.
        return message.getFailure().getError().replace('\0', '\uFFFD');
    }

    /** The name of the exception's class. Empty: nothing went wrong. */
    public String errorType() {
        return message.getFailure().getErrorType();
    }

    /** Where it went wrong, as text. */
    public String stack() {
        return message.getFailure().getStack();
    }

    /** What {@link dev.jobqueue.Retry} asked for. */
    public Optional<java.time.Duration> retryAfter() {
        var failure = message.getFailure();
        return failure.hasRetryAfter() ? Optional.of(span(failure.getRetryAfter())) : Optional.empty();
    }

    /** How long no job of the key starts, by {@link dev.jobqueue.Retry#pauseKey}. Empty: the key goes on. */
    public Optional<java.time.Duration> pauseKey() {
        return message.hasPauseKey() ? Optional.of(span(message.getPauseKey())) : Optional.empty();
    }

    /** What {@link dev.jobqueue.Snooze} asked for. */
    public Optional<java.time.Duration> delay() {
        return message.hasSnooze() ? Optional.of(span(message.getSnooze().getDelay())) : Optional.empty();
    }

    private static java.time.Duration span(Duration span) {
        return java.time.Duration.ofSeconds(span.getSeconds(), span.getNanos());
    }

    /** What was reported, in order. A server is told the newest of each 100 ms. */
    public List<Report> progress() {
        return progress;
    }

    /** The checkpoints that were saved, in order. */
    public List<byte[]> checkpoints() {
        return checkpoints.stream().map(ByteString::toByteArray).toList();
    }

    /** What the next attempt would read: the newest checkpoint that was saved, or that of before. Empty: none. */
    public byte[] checkpoint() {
        return checkpoints.isEmpty()
                ? given.checkpoint.clone()
                : checkpoints.get(checkpoints.size() - 1).toByteArray();
    }

    /** The jobs that are enqueued in the transaction of this one's success, as they would wait then. */
    public List<Job> followUps() {
        return followUps;
    }

    /** The attempt's number. */
    public int attempt() {
        return given.attempt;
    }

    /** How many failures there had been before. */
    public int failures() {
        return given.failuresBefore();
    }

    /** {@link #again(Consumer)} without changes. */
    public Performed<O> again() throws Exception {
        return again(given -> {});
    }

    /**
     * Performs the next attempt of the same job, with its checkpoint, and its failures as they would be. When it is to stop
     * is not kept.
     *
     * @throws Exception as {@link Testing#perform}
     */
    public Performed<O> again(Consumer<Given> changes) throws Exception {
        return next.perform(this, changes);
    }

    /** What the next attempt is given. */
    Given next(int failed) {
        return given.next(failures() + failed, checkpoint());
    }

    /** How it has ended, for the messages of tests. */
    @Override
    public String toString() {
        return error().isEmpty() ? outcome().toString() : "%s: %s: %s".formatted(outcome(), errorType(), error());
    }
}
