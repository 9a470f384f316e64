package dev.jobqueue;

import java.util.List;

/**
 * One page of a list, newest first. It may be short, even empty, and still have a next one.
 *
 * @param jobs its jobs
 * @param nextPageToken gives the next page; empty: this was the last one
 */
public record Page(List<Job> jobs, String nextPageToken) {
    /** Keeps a copy of the list. */
    public Page {
        jobs = List.copyOf(jobs);
    }
}
