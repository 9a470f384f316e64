package dev.jobqueue;

import dev.jobqueue.v1.NewJob;
import java.util.List;
import java.util.regex.Pattern;

/** Cuts many jobs into batches that a server takes. */
final class Batches {
    private static final int JOBS = 1000;
    // A message may have 4 MiB.
    private static final int BYTES = 3 * 1024 * 1024;
    private static final Pattern PATH = Pattern.compile("\\bjobs\\[(\\d+)\\]");

    private Batches() {}

    /** The jobs of the next batch from an index on, at least one. */
    static List<NewJob> cut(List<NewJob> jobs, int from) {
        var bytes = 0;
        var to = from;
        while (to < jobs.size() && to - from < JOBS) {
            bytes += jobs.get(to).getSerializedSize();
            if (to > from && bytes > BYTES) {
                break;
            }
            to++;
        }
        return jobs.subList(from, to);
    }

    /** The error of a batch with its paths counted from the first job of all, and with the results before it. */
    static JobQueueException rebased(JobQueueException error, List<EnqueueResult> before) {
        if (before.isEmpty()) {
            return error;
        }
        var violations = error.violations().stream()
                .map(each -> new FieldViolation(
                        PATH.matcher(each.field())
                                .replaceAll(
                                        found -> "jobs[" + (Integer.parseInt(found.group(1)) + before.size()) + "]"),
                        each.description()))
                .toList();
        var rebased = Errors.withViolations(error, violations);
        rebased.enqueued(before);
        return rebased;
    }
}
