package dev.jobqueue;

import java.time.Duration;
import java.util.Objects;

/** "Not now": the job goes back and is handed out again after a delay. Costs it no try. */
public final class Snooze extends Ending {
    private final transient Duration delay;

    /** Puts the job off by at most 400 days. */
    public Snooze(Duration delay) {
        super("snoozed for " + delay, null);
        this.delay = Objects.requireNonNull(delay, "delay");
    }

    Duration delay() {
        return delay;
    }
}
