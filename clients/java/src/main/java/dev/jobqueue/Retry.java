package dev.jobqueue;

import java.time.Duration;
import java.util.Objects;

/** A failure that says itself when the next attempt should be, as long as the job has attempts left. */
public final class Retry extends Ending {
    private final transient Duration after;

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

    Duration after() {
        return after;
    }
}
