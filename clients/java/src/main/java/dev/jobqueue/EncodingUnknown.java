package dev.jobqueue;

/** Something was encoded by what this program does not have. */
public final class EncodingUnknown extends RuntimeException {
    EncodingUnknown(String message) {
        super(message);
    }
}
