package dev.jobqueue;

/** What a job that is held back waits for. */
public enum Hold {
    /** Something that this version of the library does not know. */
    UNSPECIFIED,
    /** Its key: as many jobs of the key run as the queue allows, or its rate allows no more now. */
    KEY,
    /** Its run_at, and then its key. */
    TIME,
    /** {@link Client#release}. */
    HAND;

    static Hold of(dev.jobqueue.v1.Job.Hold hold) {
        return switch (hold) {
            case KEY -> KEY;
            case TIME -> TIME;
            case HAND -> HAND;
            case HOLD_UNSPECIFIED, UNRECOGNIZED -> UNSPECIFIED;
        };
    }
}
