package dev.jobqueue;

/**
 * A payload is of a version that is known here, and is not what that version says; or an output is not of its type. The
 * words name the place and what would be right there, never the value.
 */
public final class PayloadUnreadable extends RuntimeException {
    PayloadUnreadable(String message) {
        super(message);
    }
}
