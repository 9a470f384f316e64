package dev.jobqueue.testing;

import dev.jobqueue.Codec;
import dev.jobqueue.Codecs;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.Enqueuer;
import dev.jobqueue.FieldViolation;
import dev.jobqueue.Job;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import dev.jobqueue.internal.TestHooks;
import io.grpc.Status.Code;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.regex.Pattern;

/**
 * Stands for a {@link dev.jobqueue.Client} in a unit test of code that enqueues. For any thread.
 *
 * <p>It checks names, ranges and JSON, answers a QUEUED job with a new id, and replays idempotency keys. A server checks
 * more: schemas, permissions, limits, unique names. What else a client does it does not have: it would have to guess what a
 * server does.
 */
public final class RecordingClient implements Enqueuer {
    private static final Pattern NAME = Pattern.compile("[a-z0-9][a-z0-9_.-]{0,127}");
    private static final int PAYLOAD_BYTES = 1024 * 1024;

    private record Keyed(dev.jobqueue.v1.NewJob request, dev.jobqueue.v1.Job job) {}

    private final Codec codec;
    private final List<Middleware> middleware;
    private final List<Job> jobs = new ArrayList<>();
    private final Map<String, Keyed> keyed = new HashMap<>();

    /** One that writes payloads by {@link Codecs#jackson}. */
    public RecordingClient() {
        this(Codecs.jackson());
    }

    /** One that writes payloads by a codec. */
    public RecordingClient(Codec codec) {
        this(codec, List.of());
    }

    /** One with middleware around its enqueues, as a client's; the first is the outermost one. */
    public RecordingClient(Middleware... middleware) {
        this(Codecs.jackson(), List.of(middleware));
    }

    /** Both. */
    public RecordingClient(Codec codec, List<? extends Middleware> middleware) {
        this.codec = Objects.requireNonNull(codec, "codec");
        this.middleware = List.copyOf(middleware);
    }

    /** What was enqueued, in order, as a server would have stored it; a replay is no second one. */
    public synchronized List<Job> jobs() {
        return List.copyOf(jobs);
    }

    /**
     * As {@link dev.jobqueue.Client#enqueue(NewJob)}.
     *
     * @throws dev.jobqueue.JobQueueException.InvalidRequest a field is out of its range, or the payload is no JSON
     * @throws dev.jobqueue.JobQueueException.IdempotencyKeyReused the key was used for another request
     */
    @Override
    public Job enqueue(NewJob job) {
        if (middleware.isEmpty()) {
            return keep(checked(job, "job"));
        }
        var kept = new ArrayList<Job>(1);
        through(List.of(written(job, "job")), jobs -> {
            kept.add(keep(checked(jobs.get(0), "job")));
            return kept;
        });
        return kept.get(0);
    }

    private NewJob written(NewJob job, String path) {
        return TestHooks.get().written(job, codec, path);
    }

    private List<EnqueueResult> through(List<NewJob> jobs, Function<List<NewJob>, List<Job>> keep) {
        return TestHooks.get().through(middleware, jobs, changed -> results(keep.apply(changed)));
    }

    /** As {@link dev.jobqueue.Client#enqueueMany}, all or none. */
    @Override
    public List<EnqueueResult> enqueueMany(Collection<NewJob> many) {
        if (middleware.isEmpty() || many.isEmpty()) {
            return results(keepMany(many));
        }
        var written = new ArrayList<NewJob>(many.size());
        for (var each : many) {
            written.add(written(each, "jobs[" + written.size() + "]"));
        }
        return through(List.copyOf(written), this::keepMany);
    }

    private synchronized List<Job> keepMany(Collection<NewJob> many) {
        var messages = new ArrayList<dev.jobqueue.v1.NewJob>(many.size());
        for (var each : many) {
            messages.add(checked(each, "jobs[" + messages.size() + "]"));
        }
        return messages.stream().map(this::keep).toList();
    }

    private static List<EnqueueResult> results(List<Job> jobs) {
        return jobs.stream()
                .map(job -> new EnqueueResult(job.id(), job.replayed(), null))
                .toList();
    }

    private dev.jobqueue.v1.NewJob checked(NewJob job, String path) {
        var message = TestHooks.get().message(job, codec, path);
        check(message, path);
        if (message.hasPayloadJson()) {
            try {
                codec.read(message.getPayloadJson().toByteArray(), Object.class);
            } catch (Exception error) {
                throw invalid(List.of(new FieldViolation(path + ".payload", "must be JSON")));
            }
        }
        return message;
    }

    private synchronized Job keep(dev.jobqueue.v1.NewJob job) {
        var hooks = TestHooks.get();
        // Headers are not part of what makes two requests the same.
        var request = job.toBuilder().clearHeaders().build();
        var key = job.getIdempotencyKey();
        var before = key.isEmpty() ? null : keyed.get(key);
        if (before != null) {
            var id = before.job().getId();
            if (!before.request().equals(request)) {
                throw hooks.refused(
                        Code.ALREADY_EXISTS,
                        "IDEMPOTENCY_KEY_REUSED",
                        "the key was used for another request, whose job is %s; choose a new key for this one"
                                .formatted(id),
                        Map.of("job_id", id),
                        List.of());
            }
            return hooks.job(before.job(), codec, true);
        }
        var stored = Stored.message(job);
        if (!key.isEmpty()) {
            keyed.put(key, new Keyed(request, stored));
        }
        var kept = hooks.job(stored, codec, false);
        jobs.add(kept);
        return kept;
    }

    private static void check(dev.jobqueue.v1.NewJob job, String path) {
        var violations = new ArrayList<FieldViolation>();
        name(job.getKind(), path + ".kind", violations);
        if (!job.getQueue().isEmpty()) {
            name(job.getQueue(), path + ".queue", violations);
        }
        if (job.getPriority() < -10 || job.getPriority() > 10) {
            violations.add(new FieldViolation(path + ".priority", "must be from -10 to 10"));
        }
        if (job.getMaxAttempts() < 0 || job.getMaxAttempts() > 1000) {
            violations.add(new FieldViolation(path + ".max_attempts", "must be 1 to 1000"));
        }
        var size = job.getPayloadJson().size();
        if (size > PAYLOAD_BYTES) {
            violations.add(new FieldViolation(
                    path + ".payload", "has %d bytes; at most %d are allowed".formatted(size, PAYLOAD_BYTES)));
        }
        if (!violations.isEmpty()) {
            throw invalid(violations);
        }
    }

    private static void name(String name, String path, List<FieldViolation> violations) {
        if (!NAME.matcher(name).matches()) {
            violations.add(
                    new FieldViolation(path, "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit"));
        }
    }

    private static RuntimeException invalid(List<FieldViolation> violations) {
        var first = violations.get(0);
        return TestHooks.get()
                .refused(
                        Code.INVALID_ARGUMENT,
                        "FIELD_INVALID",
                        first.field() + ": " + first.description(),
                        Map.of(),
                        violations);
    }
}
