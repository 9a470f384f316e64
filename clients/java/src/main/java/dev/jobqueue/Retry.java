package dev.jobqueue;

import java.time.Duration;
import java.util.Objects;

/** A failure that says itself when the next attempt should be, as long as the job has attempts left. */
public final class Retry extends Ending {
    private final transient Duration after;
    private transient boolean pausesKey;

    /** Fails with these words; the next attempt is due after a wait of at most 400 days. */
    public Retry(String message, Duration after) {
        super(message, null);
        this.after = Objects.requireNonNull(after, "after");
    }

    /** Fails for a cause; the next attempt is due after a wait of at most 400 days. */
    public Retry(Throwable cause, Duration after) {
        super(Endings.words(cause), cause);
        this.after = Objects.requireNonNull(after, "after");
    }

    /**
     * Lets no job of this one's key start for as long as the wait, 24 hours at most: as when a service answers 429 for all
     * that is done for a customer. Without effect if the job has no key, or its queue limits nothing by key.
     *
     * @return this, to be thrown
     */
    public Retry pauseKey() {
        pausesKey = true;
        return this;
    }

    Duration after() {
        return after;
    }

    boolean pausesKey() {
        return pausesKey;
    }
}
