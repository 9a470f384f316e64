package dev.jobqueue;

import dev.jobqueue.v1.QueryStatsResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.List;

/**
 * What happened to jobs, in steps.
 *
 * @param since from when on
 * @param step how much time a point stands for
 * @param series at most 20, those with most jobs first
 * @param seriesLeftOut how many more there are
 * @param readAt when it was asked, by the database's clock
 */
public record Stats(Instant since, Duration step, List<Series> series, int seriesLeftOut, Instant readAt) {
    /** Keeps a copy of the list. */
    public Stats {
        series = List.copyOf(series);
    }

    static Stats of(QueryStatsResponse message) {
        return new Stats(
                Times.of(message.getSince()),
                Times.of(message.getStep()),
                message.getSeriesList().stream().map(Series::of).toList(),
                message.getSeriesLeftOut(),
                Times.of(message.getReadAt()));
    }

    /**
     * Statistics of a queue, of a kind, of both, or of all.
     *
     * @param queue the queue; empty: all that were asked for
     * @param kind the kind; empty: all that were asked for
     * @param points by time; steps in which nothing happened are left out
     * @param totals of the whole time
     */
    public record Series(String queue, String kind, List<Point> points, StatTotals totals) {
        /** Keeps a copy of the list. */
        public Series {
            points = List.copyOf(points);
        }

        static Series of(dev.jobqueue.v1.Series message) {
            return new Series(
                    message.getQueue(),
                    message.getKind(),
                    message.getPointsList().stream().map(Point::of).toList(),
                    StatTotals.of(message.getTotals()));
        }
    }

    /**
     * A step.
     *
     * @param at where it begins
     * @param totals what happened in it
     */
    public record Point(Instant at, StatTotals totals) {
        static Point of(dev.jobqueue.v1.Point message) {
            return new Point(Times.of(message.getAt()), StatTotals.of(message.getTotals()));
        }
    }
}
