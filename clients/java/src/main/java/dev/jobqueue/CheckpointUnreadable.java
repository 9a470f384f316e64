package dev.jobqueue;

/**
 * A checkpoint is not of the type that a handler reads it as. The words name the place and what would be right there, never
 * the value. Not caught, it is a failure like any other.
 */
public final class CheckpointUnreadable extends RuntimeException {
    CheckpointUnreadable(String message) {
        super(message);
    }
}
