package dev.jobqueue;

import com.google.protobuf.ByteString;
import dev.jobqueue.v1.Progress;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.Consumer;

/** What a handler is given beside its job: when to stop, and what it may say meanwhile. For any thread. */
public final class JobContext {
    private static final int MESSAGE_BYTES = 1024;
    private static final int CHECKPOINT_BYTES = 64 * 1024;
    private static final int FOLLOW_UPS = 100;
    // With an output of 1 MiB the outcome still fits into a message of 4 MiB.
    private static final int FOLLOW_UPS_BYTES = 2 * 1024 * 1024;
    // One id from the first caller to the last handler.
    private static final List<String> INHERITED = List.of("x-request-id", "traceparent");

    private static final String TRACEPARENT = INHERITED.get(1);

    private volatile LeasedJob job;
    private final Codec codec;
    private final Executor executor;
    private final Consumer<Progress.Builder> report;
    private final Instant deadline;
    private final Object guard = new Object();
    // Made when it is asked for: most handlers never look.
    private CompletableFuture<Stop> cancelled;
    private volatile Stop stop;
    // That of the handler's span, where it has one.
    private volatile String traceparent;
    private final List<dev.jobqueue.v1.NewJob> followUps = new ArrayList<>(0);
    private int followUpBytes;
    // What middleware has seen is what is enqueued.
    private boolean passed;
    // What encodes; null: the worker has no encodings.
    private volatile Coding.Begun begun;

    JobContext(LeasedJob job, Codec codec, Executor executor, Consumer<Progress.Builder> report) {
        this.job = job;
        this.codec = codec;
        this.executor = executor;
        this.report = report;
        deadline = job.timeout().map(Instant.now()::plus).orElse(null);
    }

    /** The job, whose attempt this is. */
    public LeasedJob job() {
        return job;
    }

    /** Whether the handler should stop: cancelled by a caller, lease revoked, or the worker's grace is over. */
    public boolean isCancelled() {
        return stop != null;
    }

    /** Why the handler should stop. Empty: it should not. A later reason replaces an earlier one. */
    public Optional<Stop> stop() {
        return Optional.ofNullable(stop);
    }

    /** Completes when the handler should stop, with the reason. */
    public CompletableFuture<Stop> cancelled() {
        synchronized (guard) {
            if (cancelled == null) {
                cancelled = stop == null ? new CompletableFuture<>() : CompletableFuture.completedFuture(stop);
            }
            return cancelled.copy();
        }
    }

    /**
     * Ends the attempt here if the handler should stop.
     *
     * @throws Cancelled it should
     */
    public void throwIfCancelled() {
        var why = stop;
        if (why != null) {
            throw new Cancelled(why.words());
        }
    }

    /** When the attempt times out, by this host's clock; the server decides by its own. Empty: never. */
    public Optional<Instant> deadline() {
        return Optional.ofNullable(deadline);
    }

    /** How long until the deadline; negative when it is over. Empty: there is none. */
    public Optional<Duration> remaining() {
        return deadline().map(at -> Duration.between(Instant.now(), at));
    }

    /**
     * Reports how far the attempt is. Returns at once. What comes within 100 ms replaces it; the last one before a broken
     * connection may be lost.
     *
     * @param fraction 0..1, of the whole
     * @param message what the attempt does now, for people; cut at 1 KiB
     */
    public void progress(double fraction, String message) {
        // Written so that it refuses NaN as well.
        if (!(fraction >= 0 && fraction <= 1)) {
            throw new IllegalArgumentException("fraction is " + fraction + "; it is 0..1, of the whole");
        }
        report.accept(Progress.newBuilder().setFraction(fraction).setMessage(Text.cut(message, MESSAGE_BYTES)));
    }

    /** Says how far the attempt is; what it does stays as it was said last. */
    public void progress(double fraction) {
        progress(fraction, "");
    }

    /** Says what the attempt does; how far it is stays as it was said last. */
    public void progress(String message) {
        report.accept(Progress.newBuilder().setMessage(Text.cut(message, MESSAGE_BYTES)));
    }

    /**
     * Stores data for the job's next attempt, which reads it as {@link LeasedJob#checkpoint}. Returns at once.
     *
     * <p>The newest one counts. It is there for sure once the attempt ends by an outcome of this worker; where the worker
     * is lost, the last tenths of a second may be lost with it.
     *
     * @param data in any form, at most 64 KiB; null or empty: takes back what was left
     * @throws IllegalArgumentException it is longer
     */
    public void saveCheckpoint(byte[] data) {
        save(data == null ? ByteString.EMPTY : ByteString.copyFrom(data));
    }

    /**
     * The same of a value, which the worker's codec writes as JSON, and the next attempt reads by {@link
     * LeasedJob#checkpointAs(Class)}.
     *
     * @throws IllegalArgumentException the codec does not write it, or it is longer
     * @throws IllegalStateException the worker has no codec
     */
    public void saveCheckpoint(Object value) {
        if (value == null || value instanceof byte[]) {
            saveCheckpoint((byte[]) value);
            return;
        }
        ByteString text;
        try {
            text = Json.encode(value, codec);
        } catch (IllegalStateException error) {
            throw error;
        } catch (Exception error) {
            throw new IllegalArgumentException(
                    "the checkpoint is no JSON: " + value.getClass().getName(), error);
        }
        save(text);
    }

    private void save(ByteString kept) {
        checkCheckpoint(kept.size());
        var coded = begun;
        if (coded != null) {
            kept = coded.checkpoint(kept);
            checkCheckpoint(kept.size());
        }
        report.accept(Progress.newBuilder().setCheckpoint(kept));
    }

    private static void checkCheckpoint(int bytes) {
        if (bytes > CHECKPOINT_BYTES) {
            throw new IllegalArgumentException(
                    "a checkpoint has at most %d bytes, not %d: store it elsewhere and leave its address"
                            .formatted(CHECKPOINT_BYTES, bytes));
        }
    }

    /**
     * Enqueues a job in the transaction that settles this one as succeeded, or not at all; at most 100, of 2 MiB in all.
     *
     * <p>It gets the request id and the trace of this job, unless it has headers of these names. It needs no idempotency
     * key: the transaction already makes it once.
     *
     * @throws IllegalStateException a {@link Middleware} calls it after its {@code next}, or where that has failed
     * @throws EncodingRequired its kind takes encrypted payloads alone, and the worker does not encrypt
     */
    public void followUp(NewJob next) {
        var coded = begun;
        // It is encoded after the handler, as the middleware has left it.
        var plain = coded == null ? next : next.ruled(null);
        var message = plain.message(codec, "follow_up", false).toBuilder();
        for (var name : INHERITED) {
            var value = traceparent != null && name.equals(TRACEPARENT)
                    ? traceparent
                    : job.headers().get(name);
            if (value != null && !message.containsHeaders(name)) {
                message.putHeaders(name, value);
            }
        }
        var made = message.build();
        synchronized (guard) {
            if (passed) {
                throw new IllegalStateException("followUp was called after a middleware's next: call it before");
            }
            if (followUps.size() >= FOLLOW_UPS) {
                throw new IllegalArgumentException("a job has at most " + FOLLOW_UPS + " follow-ups");
            }
            var bytes = followUpBytes + made.getSerializedSize();
            checkSize(bytes);
            followUpBytes = bytes;
            followUps.add(made);
            if (coded != null) {
                coded.rules.add(next.rule());
            }
        }
    }

    static void checkSize(List<dev.jobqueue.v1.NewJob> followUps) {
        checkSize(followUps.stream()
                .mapToInt(dev.jobqueue.v1.NewJob::getSerializedSize)
                .sum());
    }

    private static void checkSize(int bytes) {
        if (bytes > FOLLOW_UPS_BYTES) {
            throw new IllegalArgumentException(
                    "the follow-ups of a job may have %d bytes in all, not %d".formatted(FOLLOW_UPS_BYTES, bytes));
        }
    }

    /** The follow-ups as middleware has made them; there are no more. */
    void passed(List<dev.jobqueue.v1.NewJob> changed) {
        checkSize(changed);
        synchronized (guard) {
            passed = true;
            followUps.clear();
            followUps.addAll(changed);
        }
    }

    /** What asked for them has failed, and they are gone with it; there are no more. */
    void dropFollowUps() {
        passed(List.of());
    }

    /** Follow-ups go on with the handler's span. */
    void follow(String traceparent) {
        this.traceparent = traceparent;
    }

    /** Its job was decoded, and what comes of it is encoded from now on. */
    void begun(LeasedJob opened, Coding.Begun by) {
        job = opened;
        begun = by;
    }

    /** Null: nothing is encoded. */
    Coding.Begun begun() {
        return begun;
    }

    Codec codec() {
        return codec;
    }

    List<dev.jobqueue.v1.NewJob> takeFollowUps() {
        synchronized (guard) {
            return List.copyOf(followUps);
        }
    }

    /** Tells the handler to stop. Those that wait for it are called on a thread of the handlers, not on the caller's. */
    void tell(Stop why) {
        synchronized (guard) {
            stop = why;
            if (cancelled != null) {
                cancelled.completeAsync(() -> why, executor);
            }
        }
    }
}
