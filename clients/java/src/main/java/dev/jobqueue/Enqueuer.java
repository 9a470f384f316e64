package dev.jobqueue;

import java.util.Collection;
import java.util.List;

/**
 * What code needs that enqueues jobs and does nothing else: a {@link Client}, or in a test a recorder. See {@link
 * Client} for what each method does.
 */
public interface Enqueuer {
    /** Enqueues one job. */
    Job enqueue(NewJob job);

    /** Enqueues many jobs. */
    List<EnqueueResult> enqueueMany(Collection<NewJob> jobs);

    /** {@link #enqueue(NewJob)} of a kind and a payload: a {@link Json}, or what the codec writes. */
    default Job enqueue(String kind, Object payload) {
        return enqueue(NewJob.of(kind, payload));
    }

    /** {@link #enqueue(NewJob)} of a typed kind and a payload of it. */
    default <P> Job enqueue(JobKind<P, ?> kind, P payload) {
        return enqueue(kind.job(payload).build());
    }
}
