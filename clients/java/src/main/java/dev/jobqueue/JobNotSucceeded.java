package dev.jobqueue;

import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A job has no output, since it has not ended as SUCCEEDED. The words have its reason and its last error. */
public final class JobNotSucceeded extends RuntimeException {
    private final transient Job job;

    JobNotSucceeded(Job job) {
        super(words(job));
        this.job = job;
    }

    private static String words(Job job) {
        var why = Stream.of(job.reason(), job.lastError())
                .filter(each -> !each.isEmpty())
                .collect(Collectors.joining(": "));
        return "the job %s is %s".formatted(job.id(), job.status()) + (why.isEmpty() ? "" : " (" + why + ")");
    }

    /** The job. */
    public Job job() {
        return job;
    }
}
