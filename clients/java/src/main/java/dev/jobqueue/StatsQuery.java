package dev.jobqueue;

import dev.jobqueue.v1.QueryStatsRequest;
import java.time.Duration;
import java.time.Instant;
import java.util.Objects;

/**
 * Which statistics, of what time, in which steps.
 *
 * @param queue only of this queue; empty: of every one
 * @param kind only of this kind; empty: of every one
 * @param since from then on, at most 90 days ago; null: an hour before {@code until}
 * @param until until then; null: now
 * @param step how much time a point stands for, a multiple of 10 s; null: what makes at most 360 points. The answer has the
 *     step that was taken, which is longer where what is kept of that time is coarser
 * @param groupBy by what it is split into series
 */
public record StatsQuery(String queue, String kind, Instant since, Instant until, Duration step, GroupBy groupBy) {
    /** The last hour, in one series of all. */
    public static final StatsQuery LAST_HOUR = new StatsQuery("", "", null, null, null, GroupBy.NOTHING);

    /** By what statistics are split into series. */
    public enum GroupBy {
        /** One series of all. */
        NOTHING,
        /** One for each queue. */
        QUEUE,
        /** One for each kind. */
        KIND,
        /** One for each queue and kind. */
        QUEUE_AND_KIND;

        dev.jobqueue.v1.GroupBy message() {
            return this == NOTHING
                    ? dev.jobqueue.v1.GroupBy.GROUP_BY_UNSPECIFIED
                    : dev.jobqueue.v1.GroupBy.valueOf("GROUP_BY_" + name());
        }
    }

    /** Times alone may be null. */
    public StatsQuery {
        Objects.requireNonNull(groupBy, "groupBy");
    }

    /** The same, of this queue. */
    public StatsQuery withQueue(String queue) {
        return new StatsQuery(queue, kind, since, until, step, groupBy);
    }

    /** The same, of this kind. */
    public StatsQuery withKind(String kind) {
        return new StatsQuery(queue, kind, since, until, step, groupBy);
    }

    /** The same, of the time from then on. */
    public StatsQuery withSince(Instant since) {
        return new StatsQuery(queue, kind, since, until, step, groupBy);
    }

    /** The same, of the time until then. */
    public StatsQuery withUntil(Instant until) {
        return new StatsQuery(queue, kind, since, until, step, groupBy);
    }

    /** The same, in steps of so much time. */
    public StatsQuery withStep(Duration step) {
        return new StatsQuery(queue, kind, since, until, step, groupBy);
    }

    /** The same, split so. */
    public StatsQuery withGroupBy(GroupBy groupBy) {
        return new StatsQuery(queue, kind, since, until, step, groupBy);
    }

    QueryStatsRequest message() {
        var request =
                QueryStatsRequest.newBuilder().setQueue(queue).setKind(kind).setGroupBy(groupBy.message());
        if (since != null) {
            request.setSince(Times.message(since));
        }
        if (until != null) {
            request.setUntil(Times.message(until));
        }
        if (step != null) {
            request.setStep(Times.message(step));
        }
        return request.build();
    }
}
