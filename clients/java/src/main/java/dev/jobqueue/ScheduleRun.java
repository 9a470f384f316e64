package dev.jobqueue;

import java.time.Instant;

/**
 * What became of a tick, or of several that were skipped together.
 *
 * @param tickAt the tick; of a run by hand: when it was asked for; of several: the last of them
 * @param nth 0: it is of the schedule itself; 1 and more: by hand or of a backfill
 * @param decidedAt when it was decided
 * @param outcome what became of it
 * @param jobId the job that it enqueued; empty: none
 * @param note why, for people; empty: the outcome says it all
 * @param ticks how many ticks it stands for
 * @param cause what it came from
 */
public record ScheduleRun(
        Instant tickAt,
        int nth,
        Instant decidedAt,
        Outcome outcome,
        String jobId,
        String note,
        int ticks,
        Cause cause) {
    /** What became of a tick, or of a run by hand. */
    public enum Outcome {
        /** Something that this version of the library does not know. */
        UNSPECIFIED,
        /** The job was enqueued, or found by its {@link Unique}. */
        FIRED,
        /** A job of the schedule had not ended. */
        SKIPPED_OVERLAP,
        /** It was missed, and is not caught up. */
        SKIPPED_CATCH_UP,
        /** The schedule has been paused by its failures before it came to it. */
        SKIPPED_PAUSED_BY_FAILURES,
        /** It waits for the end of a job. */
        BUFFERED,
        /** It waited, and a later one took its place. */
        REPLACED_IN_BUFFER,
        /** The job does not fit any more, for example the schema of its kind: {@code note} says why. */
        REFUSED
    }

    /** What a run came from. */
    public enum Cause {
        /** Something that this version of the library does not know. */
        UNSPECIFIED,
        /** Its time came. */
        BY_TIME,
        /** {@link Schedules#run}. */
        BY_HAND,
        /** {@link Schedules#backfill}. */
        BY_BACKFILL
    }

    static ScheduleRun of(dev.jobqueue.v1.ScheduleRun message) {
        return new ScheduleRun(
                Times.of(message.getTickAt()),
                message.getNth(),
                Times.of(message.getDecidedAt()),
                Names.of(Outcome.class, message.getOutcome().name()),
                message.getJobId(),
                message.getNote(),
                message.getTicks(),
                Names.of(Cause.class, message.getCause().name()));
    }
}
