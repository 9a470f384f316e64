package dev.jobqueue;

/** A kind takes encrypted payloads alone, and this program has nothing to encrypt them with. */
public final class EncodingRequired extends IllegalArgumentException {
    EncodingRequired(String message) {
        super(message);
    }
}
