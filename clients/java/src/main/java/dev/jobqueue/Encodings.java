package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.function.IntFunction;

/**
 * What payloads, outputs and checkpoints go through before they are sent, and back when they are read:
 *
 * <pre>{@code
 * var encodings = Encodings.of(new Zstd().over(2048), AesGcm.of(Map.of("2026-10", key), "2026-10"));
 * var client = Client.builder("127.0.0.1:50051").encodings(encodings).build();
 * var worker = Worker.builder("127.0.0.1:50051").encodings(encodings).build();
 * }</pre>
 *
 * <p>The same object may be given to clients and workers. What is there in plain text is read as it is.
 */
public final class Encodings {
    /** Whether payloads, outputs and checkpoints of a kind are encoded. */
    public enum Rule {
        /** They never are. */
        NEVER,
        /** They are where a program has encodings, and the server is told so. */
        ALLOWED,
        /** Its payloads must be encrypted. */
        REQUIRED
    }

    private static final byte[] NO_KEY = {};
    private static final ByteString NULL = ByteString.copyFromUtf8("null");

    private final List<Encoding> steps;
    private final Map<String, Encoding> byName = new LinkedHashMap<>();
    private final boolean keyedCompression;

    private Encodings(List<Encoding> steps, boolean keyedCompression) {
        this.steps = steps;
        this.keyedCompression = keyedCompression;
        for (var each : steps) {
            if (each.name().isEmpty()) {
                throw new IllegalArgumentException("encodings: the name of a %s is empty"
                        .formatted(each.getClass().getName()));
            }
            byName.put(each.name(), each);
        }
        if (steps.isEmpty() || byName.size() != steps.size()) {
            throw new IllegalArgumentException("encodings must be a list of different ones, and not empty");
        }
        if (steps.subList(0, steps.size() - 1).stream().anyMatch(Encodings::encrypts)) {
            throw new IllegalArgumentException(
                    "encodings: what encrypts is the last one, since nothing compresses its output");
        }
    }

    /** {@link #of(List)} of these. */
    public static Encodings of(Encoding... encodings) {
        return of(List.of(encodings));
    }

    /**
     * These, applied from the first to the last. One that encrypts is the last one.
     *
     * @throws IllegalArgumentException there is none, two have the same name, or something comes after one that encrypts
     */
    public static Encodings of(List<? extends Encoding> encodings) {
        return new Encodings(List.copyOf(encodings), false);
    }

    /**
     * The same, which compress jobs with an idempotency key of their own too, or do not, as it is by default. The same call
     * again is then another request ({@link JobQueueException.IdempotencyKeyReused}) as soon as another version of the
     * library makes other bytes.
     */
    public Encodings keyedCompression(boolean compress) {
        return new Encodings(steps, compress);
    }

    private static boolean encrypts(Encoding each) {
        return !each.keyId().isEmpty();
    }

    /** Whether one of them encrypts. */
    boolean encrypts() {
        return encrypts(last());
    }

    private Encoding last() {
        return steps.get(steps.size() - 1);
    }

    /** What encodes with the key that is the primary one now; fails with {@link KeyUnknown} if nothing has it. */
    CompletableFuture<Sealer> sealer() {
        return key(last(), last().keyId()).thenApply(key -> new Sealer(steps, key, keyedCompression));
    }

    private static CompletableFuture<byte[]> key(Encoding of, String keyId) {
        if (keyId.isEmpty()) {
            return CompletableFuture.completedFuture(NO_KEY);
        }
        try {
            return of.key(keyId).toCompletableFuture();
        } catch (Throwable error) {
            return CompletableFuture.failedFuture(error);
        }
    }

    /**
     * Jobs to enqueue, with their payloads as they are now, encoded, but for those of kinds that never are.
     *
     * @param path where each stands in the request
     * @return fails with what {@link #sealed} throws, and with {@link KeyUnknown}
     */
    CompletableFuture<List<NewJob>> jobs(Collection<NewJob> jobs, Codec codec, IntFunction<String> path) {
        return jobs(jobs, codec, path, null);
    }

    /** The same; keyedBy stands for the idempotency key of those without one, null for none. */
    CompletableFuture<List<NewJob>> jobs(
            Collection<NewJob> jobs, Codec codec, IntFunction<String> path, String keyedBy) {
        // A key may come late, and the caller goes on with what it has given.
        var written = new ArrayList<NewJob>(jobs.size());
        try {
            for (var each : jobs) {
                written.add(each.written(codec, path.apply(written.size())));
            }
        } catch (Throwable error) {
            return CompletableFuture.failedFuture(error);
        }
        return sealer().thenApply(sealer -> {
            var sealed = new ArrayList<NewJob>(written.size());
            for (var each : written) {
                sealed.add(sealed(sealer, each, codec, path.apply(sealed.size()), keyedBy));
            }
            return sealed;
        });
    }

    /**
     * One of them.
     *
     * @throws EncodingRequired its kind wants encrypted payloads, and nothing here encrypts
     * @throws IllegalArgumentException its payload makes it unique, or looks like an envelope and is left as it is
     * @throws JobQueueException.InvalidRequest its payload can't be written as JSON
     */
    NewJob sealed(Sealer sealer, NewJob job, Codec codec, String path, String keyedBy) {
        if (job.payload() instanceof Json read && read.encoded() != null) {
            // Encoded once more it would be decoded to an envelope.
            throw read.encoded();
        }
        if (job.rule() == Rule.NEVER) {
            return job;
        }
        if (job.rule() == Rule.REQUIRED && !encrypts()) {
            throw new EncodingRequired(
                    "the kind %s takes encrypted payloads alone; these encodings don't encrypt".formatted(job.kind()));
        }
        if (job.isUniqueByPayload()) {
            throw new IllegalArgumentException(
                    ("the payload makes the job of kind %s unique, and the server can't look into one that is encoded:"
                                    + " give Unique.key, which the kind may compute")
                            .formatted(job.kind()));
        }
        var text = job.written(codec, path).payload() instanceof Json json ? json.raw() : NULL;
        var key = job.idempotencyKey().isEmpty() ? keyedBy : job.idempotencyKey();
        return job.sealed(new Json(sealer.sealed(text, Place.payload(job.kind()), key)));
    }

    /**
     * What was encoded; a text that is no envelope, as it is.
     *
     * @param encrypted whether it must be encrypted
     * @return fails with {@link Undecodable} where it is damaged, was made for another place, or is not encrypted and must
     *     be; with {@link KeyUnknown} or {@link EncodingUnknown} where this program does not have what it needs
     */
    CompletableFuture<ByteString> opened(ByteString text, Place place, boolean encrypted) {
        try {
            var members = Envelope.in(text, place);
            // That what has a key's name is encrypted is looked at below.
            if (encrypted && (members == null || !(members.get("key_id") instanceof String keyId) || keyId.isEmpty())) {
                throw new Undecodable("the kind takes encrypted payloads alone");
            }
            return members == null ? CompletableFuture.completedFuture(text) : open(members, place);
        } catch (Undecodable error) {
            return CompletableFuture.failedFuture(error);
        }
    }

    private CompletableFuture<ByteString> open(Map<String, Object> members, Place place) {
        Envelope found;
        try {
            found = checked(Envelope.of(members), place);
        } catch (Undecodable | EncodingUnknown error) {
            return CompletableFuture.failedFuture(error);
        }
        var names = found.encodings();
        var last = byName.get(names.get(names.size() - 1));
        return key(last, found.keyId()).thenApply(key -> {
            var authenticated = place.authenticated(names, found.keyId());
            var data = found.data();
            for (var at = names.size() - 1; at >= 0; at--) {
                data = byName.get(names.get(at)).decode(data, key, authenticated);
            }
            return ByteString.copyFrom(data);
        });
    }

    private Envelope checked(Envelope found, Place place) {
        if (!found.contentType().equals(place.contentType())) {
            throw new Undecodable("the envelope's content_type must be " + place.contentType());
        }
        var names = found.encodings();
        for (var name : names) {
            if (!byName.containsKey(name)) {
                throw new EncodingUnknown("it was encoded by '%s', which these encodings don't have".formatted(name));
            }
        }
        if (names.subList(0, names.size() - 1).stream().map(byName::get).anyMatch(Encodings::encrypts)) {
            throw new Undecodable("what encrypts must be the last of the envelope's encodings");
        }
        if (found.keyId().isEmpty() == encrypts(byName.get(names.get(names.size() - 1)))) {
            throw new Undecodable("the envelope must have a key_id if it is encrypted, and none else");
        }
        return found;
    }

    /** The job in an answer, decoded. What can't be decoded is an {@link Encoded}, and its text the envelope. */
    CompletableFuture<Job> read(dev.jobqueue.v1.Job message, Codec codec, boolean replayed, Unique.Action action) {
        var payload = value(message.getPayloadJson(), Place.payload(message.getKind()));
        var output = value(message.getOutputJson(), Place.output(message.getKind(), message.getId()));
        if (payload == null && output == null) {
            return CompletableFuture.completedFuture(new Job(message, codec, replayed, action, Job.Reading.PLAIN));
        }
        var nothing = CompletableFuture.<Value>completedFuture(null);
        return (payload == null ? nothing : payload).thenCombine(output == null ? nothing : output, (first, second) -> {
            var read = message.toBuilder();
            if (first != null && first.text() != null) {
                read.setPayloadJson(first.text());
            }
            if (second != null && second.text() != null) {
                read.setOutputJson(second.text());
            }
            // What a producer has put into an envelope may itself look like one, and is not.
            var reading =
                    new Job.Reading(first == null ? null : first.encoded(), second == null ? null : second.encoded());
            return new Job(read.build(), codec, replayed, action, reading);
        });
    }

    /** The schedule in an answer, with its payload decoded. */
    CompletableFuture<Schedule> read(dev.jobqueue.v1.Schedule message) {
        var job = message.getJob();
        var payload = value(job.getPayloadJson(), Place.payload(job.getKind()));
        if (payload == null) {
            return CompletableFuture.completedFuture(Schedule.of(message));
        }
        return payload.thenApply(found -> Schedule.of(
                message,
                found.encoded() == null
                        ? NewJob.of(job.toBuilder().setPayloadJson(found.text()).build())
                        : NewJob.of(job).unread(found.encoded())));
    }

    /** An envelope that was read: one of them is null. */
    private record Value(ByteString text, Encoded encoded) {}

    /** Null: it is no envelope. */
    private CompletableFuture<Value> value(ByteString text, Place place) {
        var members = EnvelopeReader.read(text);
        return members == null
                ? null
                : open(members, place).handle((opened, error) -> {
                    if (error == null) {
                        return new Value(opened, null);
                    }
                    var cause = Endings.unwrapped(error);
                    var why = cause.getClass().getSimpleName() + ": " + Endings.words(cause);
                    return new Value(null, Encoded.of(members, why));
                });
    }

    /** Their names. */
    @Override
    public String toString() {
        return String.join(" + ", byName.keySet());
    }
}
