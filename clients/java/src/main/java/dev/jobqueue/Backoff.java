package dev.jobqueue;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Waits that spread callers apart. Decorrelated jitter: each is between the base and three times the one before, up to a
 * cap.
 */
final class Backoff {
    private final long base;
    private final long cap;
    private long previous;

    Backoff(Duration base, Duration cap) {
        this.base = base.toNanos();
        this.cap = cap.toNanos();
        previous = this.base;
    }

    /** How long to wait now, in nanoseconds. */
    long next() {
        previous = Math.min(cap, ThreadLocalRandom.current().nextLong(base, 3 * previous + 1));
        return previous;
    }

    /** Starts anew from the base, after a success. */
    void reset() {
        previous = base;
    }
}
