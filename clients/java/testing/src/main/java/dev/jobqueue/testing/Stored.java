package dev.jobqueue.testing;

import com.google.protobuf.ByteString;
import com.google.protobuf.Timestamp;
import dev.jobqueue.Codec;
import dev.jobqueue.Job;
import dev.jobqueue.internal.TestHooks;
import dev.jobqueue.v1.Job.Hold;
import dev.jobqueue.v1.Job.Status;
import dev.jobqueue.v1.NewJob;
import java.time.Duration;
import java.time.Instant;
import java.util.UUID;

/** Jobs as a server would have stored them. */
final class Stored {
    static final ByteString NULL = ByteString.copyFromUtf8("null");
    private static final int MAX_ATTEMPTS = 3;

    private Stored() {}

    /** A job that waits, with an id of its own. */
    static dev.jobqueue.v1.Job message(NewJob job) {
        var now = Instant.now();
        var stored = dev.jobqueue.v1.Job.newBuilder()
                .setId(UUID.randomUUID().toString())
                .setKind(job.getKind())
                .setStatus(Status.QUEUED)
                .setQueue(job.getQueue().isEmpty() ? "default" : job.getQueue())
                .setPriority(job.getPriority())
                .setMaxAttempts(job.getMaxAttempts() == 0 ? MAX_ATTEMPTS : job.getMaxAttempts())
                .setPayloadJson(job.hasPayloadJson() ? job.getPayloadJson() : NULL)
                .putAllLabels(job.getLabelsMap())
                .putAllHeaders(job.getHeadersMap())
                .setIdempotencyKey(job.getIdempotencyKey())
                .setKey(job.getKey())
                .setUniqueKey(job.getUnique().getKey())
                .setCreatedAt(time(now))
                .setUpdatedAt(time(now))
                .setRunAt(time(now));
        if (job.hasRunAt()) {
            stored.setRunAt(job.getRunAt());
        } else if (job.hasDelay()) {
            var delay = job.getDelay();
            stored.setRunAt(time(now.plus(Duration.ofSeconds(delay.getSeconds(), delay.getNanos()))));
        }
        if (job.hasTimeout()) {
            stored.setTimeout(job.getTimeout());
        }
        if (job.hasRetryPolicy()) {
            stored.setRetryPolicy(job.getRetryPolicy());
        }
        if (job.getHold()) {
            stored.setHold(Hold.HAND);
        }
        return stored.build();
    }

    /** The same, as a client reads it. */
    static Job job(NewJob job, Codec codec) {
        return TestHooks.get().job(message(job), codec, false);
    }

    static Timestamp time(Instant moment) {
        return Timestamp.newBuilder()
                .setSeconds(moment.getEpochSecond())
                .setNanos(moment.getNano())
                .build();
    }
}
