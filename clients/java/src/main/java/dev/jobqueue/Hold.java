package dev.jobqueue;

/** What a job that is held back waits for. */
public enum Hold {
    /** Something that this version of the library does not know. */
    UNSPECIFIED,
    /** {@link Client#release}. */
    HAND;

    static Hold of(dev.jobqueue.v1.Job.Hold hold) {
        return switch (hold) {
            case HAND -> HAND;
            case HOLD_UNSPECIFIED, UNRECOGNIZED -> UNSPECIFIED;
        };
    }
}
