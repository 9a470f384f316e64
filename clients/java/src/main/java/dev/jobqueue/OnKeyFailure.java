package dev.jobqueue;

/** What becomes of a key in strict order whose job failed for good or was cancelled. */
public enum OnKeyFailure {
    /** {@link #CONTINUE}, if there is an order; or something that this version of the library does not know. */
    UNSPECIFIED,
    /** The next job goes. */
    CONTINUE,
    /** The key is blocked, until that job is retried or deleted, or {@link Client#unblockQueueKey}. */
    HOLD,
    /** The jobs that wait for the key are cancelled. */
    CANCEL_REST;

    dev.jobqueue.v1.OnKeyFailure message() {
        return dev.jobqueue.v1.OnKeyFailure.valueOf("ON_KEY_FAILURE_" + name());
    }

    static OnKeyFailure of(dev.jobqueue.v1.OnKeyFailure failure) {
        return switch (failure) {
            case ON_KEY_FAILURE_CONTINUE -> CONTINUE;
            case ON_KEY_FAILURE_HOLD -> HOLD;
            case ON_KEY_FAILURE_CANCEL_REST -> CANCEL_REST;
            case ON_KEY_FAILURE_UNSPECIFIED, UNRECOGNIZED -> UNSPECIFIED;
        };
    }
}
