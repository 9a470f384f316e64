package dev.jobqueue;

import java.util.List;

/**
 * One page of schedules, in order of their names. It may be short, even empty, and still have a next one.
 *
 * @param schedules its schedules
 * @param nextPageToken gives the next page; empty: this was the last one
 */
public record SchedulePage(List<Schedule> schedules, String nextPageToken) {
    /** Keeps a copy of the list. */
    public SchedulePage {
        schedules = List.copyOf(schedules);
    }
}
