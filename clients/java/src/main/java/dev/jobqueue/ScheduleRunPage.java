package dev.jobqueue;

import java.util.List;

/**
 * One page of runs, those that were decided last first.
 *
 * @param runs its runs
 * @param nextPageToken gives the next page; empty: this was the last one
 */
public record ScheduleRunPage(List<ScheduleRun> runs, String nextPageToken) {
    /** Keeps a copy of the list. */
    public ScheduleRunPage {
        runs = List.copyOf(runs);
    }
}
