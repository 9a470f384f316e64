package dev.jobqueue;

/** An envelope is damaged, was made for another kind, job or purpose, or by another key of the same name. */
public final class Undecodable extends RuntimeException {
    /** With these words, which should not have the value. */
    public Undecodable(String message) {
        super(message);
    }
}
