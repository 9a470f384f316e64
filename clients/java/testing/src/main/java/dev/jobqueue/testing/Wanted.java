package dev.jobqueue.testing;

import dev.jobqueue.Codec;
import dev.jobqueue.Job;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.Status;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Predicate;

/** What a job is to be: all that is said of it must hold. What is not said may be any. */
public final class Wanted {
    static final List<Status> LIVE = List.of(Status.QUEUED, Status.RUNNING, Status.RETRYING);

    private final String kind;
    private Object payload;
    private boolean anyPayload = true;
    private Map<String, Object> fields = Map.of();
    private Predicate<Job> matching;
    private String queue;
    private Map<String, String> labels = Map.of();
    private String key;
    private Duration dueIn;
    Integer count;
    List<Status> status = LIVE;
    Duration within = Duration.ZERO;

    private Wanted(String kind) {
        this.kind = Objects.requireNonNull(kind, "kind");
    }

    /** One of a kind. */
    public static Wanted of(String kind) {
        return new Wanted(kind);
    }

    /** One of a typed kind. */
    public static Wanted of(JobKind<?, ?> kind) {
        return new Wanted(kind.name());
    }

    /** Its payload, equal after JSON: a {@link Json}, or what the codec writes. */
    public Wanted payload(Object payload) {
        this.payload = payload;
        anyPayload = false;
        return this;
    }

    /** Fields of its payload with these values, equal after JSON. */
    public Wanted matching(Map<String, ?> fields) {
        this.fields = new HashMap<>(fields);
        return this;
    }

    /** What a function says of the job. */
    public Wanted matching(Predicate<Job> matching) {
        this.matching = Objects.requireNonNull(matching, "matching");
        return this;
    }

    /** Its queue. */
    public Wanted queue(String queue) {
        this.queue = queue;
        return this;
    }

    /** Labels that it has, among others. */
    public Wanted labels(Map<String, String> labels) {
        this.labels = Map.copyOf(labels);
        return this;
    }

    /** Its key. */
    public Wanted key(String key) {
        this.key = key;
        return this;
    }

    /** How long after its enqueue it may start, to a second. */
    public Wanted dueIn(Duration dueIn) {
        this.dueIn = dueIn;
        return this;
    }

    /** How many there are. Default: at least one. */
    public Wanted count(int count) {
        this.count = count;
        return this;
    }

    /** With one of these statuses; none given: any. Default: those that have not ended. */
    public Wanted status(Status... status) {
        this.status = List.of(status);
        return this;
    }

    /** How long it may take until it is there, of code that enqueues later. Default: it is there. */
    public Wanted within(Duration within) {
        this.within = Objects.requireNonNull(within, "within");
        return this;
    }

    /** Whether a job is so, with values as a codec reads them. */
    boolean holds(Job job, Codec codec) {
        return job.kind().equals(kind)
                && (anyPayload || JsonValues.same(value(job, codec), JsonValues.of(payload, codec)))
                && fieldsHold(job, codec)
                && (matching == null || matching.test(job))
                && (queue == null || queue.equals(job.queue()))
                && job.labels().entrySet().containsAll(labels.entrySet())
                && (key == null || key.equals(job.key()))
                && (dueIn == null || dueIn(job).minus(dueIn).abs().compareTo(Duration.ofSeconds(1)) < 0);
    }

    private boolean fieldsHold(Job job, Codec codec) {
        return fields.isEmpty()
                || (value(job, codec) instanceof Map<?, ?> payload
                        && fields.entrySet().stream()
                                .allMatch(each -> payload.containsKey(each.getKey())
                                        && JsonValues.same(
                                                payload.get(each.getKey()), JsonValues.of(each.getValue(), codec))));
    }

    private static Object value(Job job, Codec codec) {
        return JsonValues.read(job.payload().orElseThrow(), codec);
    }

    static Duration dueIn(Job job) {
        return job.runAt() == null || job.createdAt() == null
                ? Duration.ZERO
                : Duration.between(job.createdAt(), job.runAt());
    }

    /** What is said, for a message. */
    String words(Codec codec) {
        var said = new StringBuilder("kind " + kind);
        if (!anyPayload) {
            said.append(", payload ").append(JsonValues.text(payload, codec));
        }
        if (!fields.isEmpty()) {
            said.append(", matching ").append(JsonValues.text(fields, codec));
        }
        if (matching != null) {
            said.append(", matching a function");
        }
        if (queue != null) {
            said.append(", queue ").append(queue);
        }
        if (!labels.isEmpty()) {
            said.append(", labels ").append(labels);
        }
        if (key != null) {
            said.append(", key ").append(key);
        }
        if (dueIn != null) {
            said.append(", due in ").append(dueIn);
        }
        return said.toString();
    }
}
