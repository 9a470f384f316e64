package dev.jobqueue;

/** A payload is of a version that this program does not know. */
public final class PayloadTooNew extends RuntimeException {
    PayloadTooNew(String message) {
        super(message);
    }
}
