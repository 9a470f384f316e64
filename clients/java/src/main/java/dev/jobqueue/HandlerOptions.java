package dev.jobqueue;

/**
 * What can be said of a handler.
 *
 * @param slots how many jobs of its kind run at once, within the worker's concurrency; 0: no bound of its own
 * @param interrupt whether its thread is interrupted, or its stage cancelled, when it should stop; if not it looks at its
 *     context
 */
public record HandlerOptions(int slots, boolean interrupt) {
    /** No bound of its own, and interrupted. */
    public static final HandlerOptions DEFAULT = new HandlerOptions(0, true);

    /** Checks the slots. */
    public HandlerOptions {
        if (slots < 0 || slots > 10_000) {
            throw new IllegalArgumentException("slots is " + slots + "; it is 1 to 10000, or 0 for no bound");
        }
    }

    /** So many jobs of the kind at once. */
    public static HandlerOptions slots(int slots) {
        return new HandlerOptions(slots, true);
    }

    /** The same, but told to stop by its context alone. */
    public HandlerOptions withoutInterrupt() {
        return new HandlerOptions(slots, false);
    }
}
