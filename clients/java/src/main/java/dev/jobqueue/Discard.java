package dev.jobqueue;

/** A failure that no later attempt can mend: the job ends FAILED_PERMANENT, NOT_RETRYABLE. */
public final class Discard extends Ending {
    /** Fails with these words. */
    public Discard(String message) {
        super(message, null);
    }

    /** Fails for a cause. */
    public Discard(Throwable cause) {
        super(Endings.words(cause), cause);
    }
}
