package dev.jobqueue;

import java.time.Duration;
import java.util.Objects;

/**
 * What becomes of ticks that can't simply fire.
 *
 * @param overlap what becomes of a tick while a job of the schedule has not ended; UNSPECIFIED: BUFFER_ONE
 * @param catchUpWindow how old a tick may be that is caught up, 0 to 400 days; null: 1 h
 * @param catchUp what becomes of ticks that were missed; UNSPECIFIED: LATEST
 * @param pauseAfterFailures after so many failed jobs in a row the schedule is paused, 1..1000; 0: it never is
 * @param keepRuns how many of its runs are kept, 1..10000; 0: 100
 */
public record SchedulePolicy(
        Overlap overlap, Duration catchUpWindow, CatchUp catchUp, int pauseAfterFailures, int keepRuns) {
    /** What holds where nothing is said. */
    public static final SchedulePolicy DEFAULT =
            new SchedulePolicy(Overlap.UNSPECIFIED, null, CatchUp.UNSPECIFIED, 0, 0);

    /** What becomes of a tick while a job of the schedule has not ended. */
    public enum Overlap {
        /** BUFFER_ONE; or something that this version of the library does not know. */
        UNSPECIFIED,
        /** It fires, beside the other. */
        ALLOW,
        /** It is left out. */
        SKIP,
        /** It waits for the end of the job. A later one takes its place. */
        BUFFER_ONE;

        dev.jobqueue.v1.SchedulePolicy.Overlap message() {
            return this == UNSPECIFIED
                    ? dev.jobqueue.v1.SchedulePolicy.Overlap.OVERLAP_UNSPECIFIED
                    : dev.jobqueue.v1.SchedulePolicy.Overlap.valueOf(name());
        }
    }

    /** What becomes of ticks that were missed, since no server or no database was there. */
    public enum CatchUp {
        /** LATEST; or something that this version of the library does not know. */
        UNSPECIFIED,
        /** The newest of them fires. */
        LATEST,
        /** All of them fire, one after the other. Not together with SKIP. */
        ALL,
        /** None of them fires. */
        NONE;

        dev.jobqueue.v1.SchedulePolicy.CatchUp message() {
            return this == UNSPECIFIED
                    ? dev.jobqueue.v1.SchedulePolicy.CatchUp.CATCH_UP_UNSPECIFIED
                    : dev.jobqueue.v1.SchedulePolicy.CatchUp.valueOf(name());
        }
    }

    /** Nothing is null but the window. */
    public SchedulePolicy {
        Objects.requireNonNull(overlap, "overlap");
        Objects.requireNonNull(catchUp, "catchUp");
    }

    /** The same, with this for a tick while a job has not ended. */
    public SchedulePolicy withOverlap(Overlap overlap) {
        return new SchedulePolicy(overlap, catchUpWindow, catchUp, pauseAfterFailures, keepRuns);
    }

    /** The same, with this for ticks that were missed, and are not older than the window; null: 1 h. */
    public SchedulePolicy withCatchUp(CatchUp catchUp, Duration window) {
        return new SchedulePolicy(overlap, window, catchUp, pauseAfterFailures, keepRuns);
    }

    /** The same, paused after so many failed jobs in a row; 0: never. */
    public SchedulePolicy withPauseAfterFailures(int failures) {
        return new SchedulePolicy(overlap, catchUpWindow, catchUp, failures, keepRuns);
    }

    /** The same, of which so many runs are kept; 0: 100. */
    public SchedulePolicy withKeepRuns(int runs) {
        return new SchedulePolicy(overlap, catchUpWindow, catchUp, pauseAfterFailures, runs);
    }

    dev.jobqueue.v1.SchedulePolicy message() {
        var message = dev.jobqueue.v1.SchedulePolicy.newBuilder()
                .setOverlap(overlap.message())
                .setCatchUp(catchUp.message())
                .setPauseAfterFailures(pauseAfterFailures)
                .setKeepRuns(keepRuns);
        if (catchUpWindow != null) {
            message.setCatchUpWindow(Times.message(catchUpWindow));
        }
        return message.build();
    }

    static SchedulePolicy of(dev.jobqueue.v1.SchedulePolicy message) {
        return new SchedulePolicy(
                Names.of(Overlap.class, message.getOverlap().name()),
                Times.maybe(message.hasCatchUpWindow(), message.getCatchUpWindow())
                        .orElse(null),
                Names.of(CatchUp.class, message.getCatchUp().name()),
                message.getPauseAfterFailures(),
                message.getKeepRuns());
    }
}
