package dev.jobqueue.testing;

import com.google.protobuf.ByteString;
import dev.jobqueue.Codec;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.Json;
import dev.jobqueue.Middleware;
import dev.jobqueue.Stop;
import dev.jobqueue.v1.LeasedJob;
import dev.jobqueue.v1.NewJob;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;

/** The attempt that a test gives to a handler. What is not said is as in the first attempt of a plain job. */
public final class Given {
    private static final Duration WITHIN = Duration.ofSeconds(10);

    String id = UUID.randomUUID().toString();
    int attempt = 1;
    private Integer failures;
    private int maxAttempts = 3;
    byte[] checkpoint = {};
    private String queue = "default";
    private int priority;
    private Map<String, String> labels = Map.of();
    private Map<String, String> headers = Map.of();
    private String key = "";
    private Duration timeout;
    private Instant createdAt = Instant.now();
    private Json stored;
    private Codec codec;
    Stop.Reason reason = Stop.Reason.CANCEL;
    boolean stopAtStart;
    int stopAtProgress;
    Duration stopAfter;
    Duration within = WITHIN;
    boolean caught;
    List<Middleware> middleware = List.of();

    Given() {}

    /** The attempt's number, from 1, which is the default. */
    public Given attempt(int attempt) {
        if (attempt < 1) {
            throw new IllegalArgumentException("attempt is " + attempt + "; attempts count from 1");
        }
        this.attempt = attempt;
        return this;
    }

    /** How many failures there have been. Default: each earlier attempt was one. */
    public Given failures(int failures) {
        this.failures = failures;
        return this;
    }

    /** After how many failures the job ends. Default: 3. */
    public Given maxAttempts(int maxAttempts) {
        this.maxAttempts = maxAttempts;
        return this;
    }

    /** What the attempts before left behind. */
    public Given checkpoint(byte[] checkpoint) {
        this.checkpoint = checkpoint.clone();
        return this;
    }

    /** The job's id. Default: a new one. */
    public Given id(String id) {
        this.id = Objects.requireNonNull(id, "id");
        return this;
    }

    /** The queue that the job was claimed from. */
    public Given queue(String queue) {
        this.queue = Objects.requireNonNull(queue, "queue");
        return this;
    }

    /** The job's priority. */
    public Given priority(int priority) {
        this.priority = priority;
        return this;
    }

    /** The job's labels. */
    public Given labels(Map<String, String> labels) {
        this.labels = Map.copyOf(labels);
        return this;
    }

    /** The job's headers. */
    public Given headers(Map<String, String> headers) {
        this.headers = Map.copyOf(headers);
        return this;
    }

    /** The job's key. */
    public Given key(String key) {
        this.key = Objects.requireNonNull(key, "key");
        return this;
    }

    /** How long the attempt may run. It makes the handler's deadline; a server would end it. */
    public Given timeout(Duration timeout) {
        this.timeout = timeout;
        return this;
    }

    /** When the job was enqueued. Default: now. */
    public Given createdAt(Instant createdAt) {
        this.createdAt = Objects.requireNonNull(createdAt, "createdAt");
        return this;
    }

    /**
     * The payload as it is stored, in place of the one that was given, as if another program had enqueued it: of any
     * version, which {@link #headers} says, and of any shape.
     */
    public Given stored(Json payload) {
        stored = payload;
        return this;
    }

    /** Writes and reads JSON. Default: {@link Codecs#jackson}; with a worker: its own, always. */
    public Given codec(Codec codec) {
        this.codec = Objects.requireNonNull(codec, "codec");
        return this;
    }

    /** Why the handler is to stop, with one of the three that say when. Default: CANCEL. */
    public Given stop(Stop.Reason reason) {
        this.reason = Objects.requireNonNull(reason, "reason");
        return this;
    }

    /** The handler is told to stop as it begins; in an attempt after the first it then does not begin. */
    public Given stopAtStart() {
        stopAtStart = true;
        return this;
    }

    /** The handler is told to stop at this call of {@link JobContext#progress(double, String)}, counted from 1. */
    public Given stopAtProgress(int call) {
        stopAtProgress = call;
        return this;
    }

    /** The handler is told to stop after so long. */
    public Given stopAfter(Duration time) {
        stopAfter = Objects.requireNonNull(time, "time");
        return this;
    }

    /** How long the attempt may take. Default: 10 s. */
    public Given within(Duration time) {
        within = Objects.requireNonNull(time, "time");
        return this;
    }

    /** An ordinary failure is answered, and not thrown. */
    public Given caught() {
        caught = true;
        return this;
    }

    /** What goes around the handler, as around a worker's; a worker that is performed with has its own. */
    public Given middleware(Middleware... middleware) {
        this.middleware = List.of(middleware);
        return this;
    }

    /** For a worker that is there. */
    Given withoutMiddleware() {
        if (!middleware.isEmpty()) {
            throw new IllegalArgumentException("middleware can't be given here: a worker has its own");
        }
        return this;
    }

    int failuresBefore() {
        return failures == null ? attempt - 1 : failures;
    }

    /** The attempt after this one, of the same job. */
    Given next(int failures, byte[] checkpoint) {
        var next = new Given()
                .id(id)
                .attempt(attempt + 1)
                .failures(failures)
                .maxAttempts(maxAttempts)
                .checkpoint(checkpoint)
                .queue(queue)
                .priority(priority)
                .labels(labels)
                .headers(headers)
                .key(key)
                .timeout(timeout)
                .createdAt(createdAt)
                .stored(stored)
                .codec(codec())
                .within(within);
        next.caught = caught;
        return next;
    }

    Codec codec() {
        if (codec == null) {
            codec = Codecs.jackson();
        }
        return codec;
    }

    /** Whether the payload that was given is not used. */
    boolean isStored() {
        return stored != null;
    }

    /** The lease, as a server would send it, of a job as its producer would. */
    LeasedJob message(String kind, NewJob job) {
        var all = new HashMap<>(headers);
        all.putAll(job.getHeadersMap());
        var message = LeasedJob.newBuilder()
                .setLeaseId(1)
                .setId(id)
                .setAttempt(attempt)
                .setKind(kind)
                .setPayloadJson(stored == null ? payload(job) : ByteString.copyFrom(stored.bytes()))
                .setQueue(queue)
                .setMaxAttempts(maxAttempts)
                .setFailures(failuresBefore())
                .setPriority(priority)
                .putAllLabels(labels)
                .putAllHeaders(all)
                .setCheckpoint(ByteString.copyFrom(checkpoint))
                .setKey(key)
                .setCreatedAt(Stored.time(createdAt));
        if (timeout != null) {
            message.setTimeout(com.google.protobuf.Duration.newBuilder()
                    .setSeconds(timeout.getSeconds())
                    .setNanos(timeout.getNano()));
        }
        return message.build();
    }

    private static ByteString payload(NewJob job) {
        return job.hasPayloadJson() ? job.getPayloadJson() : Stored.NULL;
    }
}
