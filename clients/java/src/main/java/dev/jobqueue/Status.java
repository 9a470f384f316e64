package dev.jobqueue;

/** Where a job is in its life. */
public enum Status {
    /** One that this version of the library does not know, or none. */
    UNSPECIFIED,
    /** Waits for its first attempt, or for another one that was not caused by a failure or a lost worker. */
    QUEUED,
    /** A worker holds a lease on it. */
    RUNNING,
    /** Terminal: its handler succeeded. */
    SUCCEEDED,
    /** Waits for another attempt after a failure or a lost worker. */
    RETRYING,
    /** Terminal: the job failed and gets no more attempts. */
    FAILED_PERMANENT,
    /** Terminal: it was cancelled. */
    CANCELLED;

    /** Whether the job has ended. */
    public boolean isTerminal() {
        return this == SUCCEEDED || this == FAILED_PERMANENT || this == CANCELLED;
    }

    static Status of(dev.jobqueue.v1.Job.Status status) {
        return switch (status) {
            case QUEUED -> QUEUED;
            case RUNNING -> RUNNING;
            case SUCCEEDED -> SUCCEEDED;
            case RETRYING -> RETRYING;
            case FAILED_PERMANENT -> FAILED_PERMANENT;
            case CANCELLED -> CANCELLED;
            case STATUS_UNSPECIFIED, UNRECOGNIZED -> UNSPECIFIED;
        };
    }

    dev.jobqueue.v1.Job.Status message() {
        return this == UNSPECIFIED
                ? dev.jobqueue.v1.Job.Status.STATUS_UNSPECIFIED
                : dev.jobqueue.v1.Job.Status.valueOf(name());
    }
}
