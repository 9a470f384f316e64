package dev.jobqueue;

import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A job, and the times at which it is enqueued, as it was when it was read.
 *
 * @param name its name
 * @param spec when it is due
 * @param job what each tick enqueues. Without a payload, and without headers: the caller may not see them, or it was read
 *     in a list; {@link Schedules#update} refuses such a job. Of a client with encodings that can't decode its payload, that
 *     is an {@link Encoded}, which {@code update} throws
 * @param policy what becomes of ticks that can't simply fire
 * @param labels by which schedules can be listed
 * @param paused whether it has no ticks
 * @param pauseNote why, for people
 * @param nextAt its next tick; empty: it is paused, or has none any more
 * @param lastAt the last tick that was decided; empty: there was none yet
 * @param upcoming the next 5 ticks, as if it were not paused; none in lists
 * @param lastRun what was decided last; empty: nothing, or it is not kept any more
 * @param fired how many jobs it has enqueued
 * @param skippedInARow how many ticks in a row did not fire, up to now
 * @param failuresInARow how many of its jobs in a row failed for good, where {@code policy.pauseAfterFailures} is set
 * @param openJobIds its newest jobs, 100 at most, that had not ended at its last tick
 * @param bufferedAt the tick that waits for the end of a job; empty: none does
 * @param etag stands for this version of what callers set; a tick does not change it
 * @param createdAt when it was made
 * @param updatedAt when a caller changed it last
 */
public record Schedule(
        String name,
        ScheduleSpec spec,
        NewJob job,
        SchedulePolicy policy,
        Map<String, String> labels,
        boolean paused,
        String pauseNote,
        Optional<Instant> nextAt,
        Optional<Instant> lastAt,
        List<ScheduleTick> upcoming,
        Optional<ScheduleRun> lastRun,
        long fired,
        int skippedInARow,
        int failuresInARow,
        List<String> openJobIds,
        Optional<Instant> bufferedAt,
        String etag,
        Instant createdAt,
        Instant updatedAt) {
    /** Keeps copies of the map and of the lists. */
    public Schedule {
        labels = Map.copyOf(labels);
        upcoming = List.copyOf(upcoming);
        openJobIds = List.copyOf(openJobIds);
    }

    static Schedule of(dev.jobqueue.v1.Schedule message) {
        return of(message, NewJob.of(message.getJob()).undecoded());
    }

    /** With its job, as encodings have made it. */
    static Schedule of(dev.jobqueue.v1.Schedule message, NewJob job) {
        return new Schedule(
                message.getName(),
                ScheduleSpec.of(message.getSpec()),
                job,
                SchedulePolicy.of(message.getPolicy()),
                message.getLabelsMap(),
                message.getPaused(),
                message.getPauseNote(),
                Times.maybe(message.hasNextAt(), message.getNextAt()),
                Times.maybe(message.hasLastAt(), message.getLastAt()),
                message.getUpcomingList().stream().map(ScheduleTick::of).toList(),
                message.hasLastRun() ? Optional.of(ScheduleRun.of(message.getLastRun())) : Optional.empty(),
                message.getFired(),
                message.getSkippedInARow(),
                message.getFailuresInARow(),
                message.getOpenJobIdsList(),
                Times.maybe(message.hasBufferedAt(), message.getBufferedAt()),
                message.getEtag(),
                Times.of(message.getCreatedAt()),
                Times.of(message.getUpdatedAt()));
    }
}
