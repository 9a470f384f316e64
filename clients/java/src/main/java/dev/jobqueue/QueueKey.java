package dev.jobqueue;

import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * One key of a queue ({@link NewJob}), as it was when it was read.
 *
 * @param queue the queue's name
 * @param key the key
 * @param maxRunning how many of its jobs run at once, instead of what the queue allows; 0: as many as the queue allows
 * @param paused whether no more of its jobs are let in
 * @param pausedAt since when; empty: it is not paused
 * @param pausedBy the principal who paused it; empty: it is not known
 * @param limit how many of its jobs may be in line or run at once; 0: no limit
 * @param taken how many were let in: they are in line or run
 * @param waiting how many wait for it
 * @param nextStartAt when the rate lets the next one in; empty: an end must come first, or none waits
 * @param holders of those that were let in, at most 20; empty in lists
 * @param etag stands for this version of maxRunning and paused, for {@link Client#updateQueueKey}
 * @param pausedUntil until when a worker has paused it ({@link Retry#pauseKey}); empty: none has
 * @param blockedBy the job that failed or was cancelled and blocks it ({@link OnKeyFailure#HOLD}); empty: none does
 */
public record QueueKey(
        String queue,
        String key,
        int maxRunning,
        boolean paused,
        Optional<Instant> pausedAt,
        String pausedBy,
        int limit,
        int taken,
        int waiting,
        Optional<Instant> nextStartAt,
        List<Holder> holders,
        String etag,
        Optional<Instant> pausedUntil,
        Optional<String> blockedBy) {
    /** Keeps a copy of the list. */
    public QueueKey {
        holders = List.copyOf(holders);
    }

    /** Which keys to list. */
    public enum Filter {
        /** Of which as many jobs are in line or run as are allowed. */
        AT_LIMIT,
        /** That are paused. */
        PAUSED,
        /** That jobs wait for. */
        WAITING,
        /** That a job blocks which failed or was cancelled. */
        BLOCKED
    }

    /**
     * A job that counts against what its queue allows of its key.
     *
     * @param jobId the job's id
     * @param worker who runs it; empty: it is in line
     * @param since since when it runs, or is in line
     */
    public record Holder(String jobId, String worker, Instant since) {}

    static QueueKey of(dev.jobqueue.v1.QueueKey message) {
        return new QueueKey(
                message.getQueue(),
                message.getKey(),
                message.getMaxRunning(),
                message.getPaused(),
                message.hasPausedAt() ? Optional.of(Times.of(message.getPausedAt())) : Optional.empty(),
                message.getPausedBy(),
                message.getLimit(),
                message.getTaken(),
                message.getWaiting(),
                message.hasNextStartAt() ? Optional.of(Times.of(message.getNextStartAt())) : Optional.empty(),
                message.getHoldersList().stream()
                        .map(each -> new Holder(each.getJobId(), each.getWorker(), Times.of(each.getSince())))
                        .toList(),
                message.getEtag(),
                message.hasPausedUntil() ? Optional.of(Times.of(message.getPausedUntil())) : Optional.empty(),
                Optional.of(message.getBlockedBy()).filter(job -> !job.isEmpty()));
    }
}
