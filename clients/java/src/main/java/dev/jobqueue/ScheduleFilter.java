package dev.jobqueue;

import dev.jobqueue.v1.ListSchedulesRequest;
import java.util.Map;

/**
 * Chooses schedules to list. What is set must all match.
 *
 * @param kind only those whose jobs are of this kind; empty: of any
 * @param queue only those whose jobs go into this queue; empty: into any
 * @param paused only those that are paused, or those that are not; null: both
 * @param labels only those with all of these labels
 * @param pageSize the most schedules in a page; 0: 50; above 1000: 1000
 */
public record ScheduleFilter(String kind, String queue, Boolean paused, Map<String, String> labels, int pageSize) {
    /** Every schedule. */
    public static final ScheduleFilter ALL = new ScheduleFilter("", "", null, Map.of(), 0);

    /** Keeps a copy of the map. */
    public ScheduleFilter {
        labels = Map.copyOf(labels);
    }

    /** The same, of this kind. */
    public ScheduleFilter withKind(String kind) {
        return new ScheduleFilter(kind, queue, paused, labels, pageSize);
    }

    /** The same, of this queue. */
    public ScheduleFilter withQueue(String queue) {
        return new ScheduleFilter(kind, queue, paused, labels, pageSize);
    }

    /** The same, paused or not. */
    public ScheduleFilter withPaused(boolean paused) {
        return new ScheduleFilter(kind, queue, paused, labels, pageSize);
    }

    /** The same, with all of these labels. */
    public ScheduleFilter withLabels(Map<String, String> labels) {
        return new ScheduleFilter(kind, queue, paused, labels, pageSize);
    }

    /** The same, in pages of so many. */
    public ScheduleFilter withPageSize(int size) {
        return new ScheduleFilter(kind, queue, paused, labels, size);
    }

    ListSchedulesRequest message(String pageToken) {
        var request = ListSchedulesRequest.newBuilder()
                .setKind(kind)
                .setQueue(queue)
                .setPageSize(pageSize)
                .setPageToken(pageToken);
        if (paused != null) {
            request.setPaused(paused);
        }
        labels.forEach((name, value) -> request.addLabels(name + "=" + value));
        return request.build();
    }
}
