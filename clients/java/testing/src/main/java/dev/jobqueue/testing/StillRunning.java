package dev.jobqueue.testing;

/** A handler has not ended in the time that the test gives it. It is told to stop. */
public final class StillRunning extends RuntimeException {
    StillRunning(String message) {
        super(message);
    }
}
