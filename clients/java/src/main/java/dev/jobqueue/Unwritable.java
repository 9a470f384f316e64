package dev.jobqueue;

/** A value is of a type that can't be written as JSON. The words are about the type, and never have the value. */
final class Unwritable extends IllegalArgumentException {
    Unwritable(String message) {
        super(message);
    }
}
