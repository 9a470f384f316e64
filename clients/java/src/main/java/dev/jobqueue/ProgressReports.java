package dev.jobqueue;

import dev.jobqueue.v1.LeaseRequest;
import dev.jobqueue.v1.Progress;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Gathers what handlers say, so that a chatty one costs no more than a quiet one: the newest of each lease, ten times a
 * second at most. The session's lock guards it.
 */
final class ProgressReports {
    private static final Duration INTERVAL = Duration.ofMillis(100);

    private final Session session;
    private final Map<Long, Progress.Builder> newest = new LinkedHashMap<>();

    ProgressReports(Session session) {
        this.session = session;
    }

    /** Takes a report; what it does not say stays as it was. */
    void put(long id, Progress.Builder report) {
        if (newest.isEmpty()) {
            session.later(INTERVAL.toNanos(), this::flush);
        }
        var kept = newest.computeIfAbsent(id, key -> Progress.newBuilder().setLeaseId(key));
        if (report.hasFraction()) {
            kept.setFraction(report.getFraction());
        }
        if (!report.getMessage().isEmpty()) {
            kept.setMessage(report.getMessage());
        }
        if (report.hasCheckpoint()) {
            kept.setCheckpoint(report.getCheckpoint());
        }
    }

    /** Sends a checkpoint that waits: behind the outcome it would come too late for the next attempt. */
    void beforeSettling(long id) {
        var kept = newest.get(id);
        if (kept != null && kept.hasCheckpoint()) {
            newest.remove(id);
            send(kept);
        }
    }

    private void flush() {
        var reports = List.copyOf(newest.values());
        newest.clear();
        reports.forEach(this::send);
    }

    private void send(Progress.Builder report) {
        session.send(LeaseRequest.newBuilder().setProgress(report));
    }
}
