package dev.jobqueue;

/**
 * The handler stopped: because it was asked to, or for a reason of its own. The job ends CANCELLED; at the end of a drain
 * it goes back, uncharged.
 */
public final class Cancelled extends Ending {
    /** Stops with these words, which are for the code that catches it. */
    public Cancelled(String message) {
        super(message, null);
    }
}
