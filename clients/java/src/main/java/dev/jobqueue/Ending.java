package dev.jobqueue;

/**
 * What a handler throws when its attempt should end otherwise than by success or an ordinary failure. Any other exception
 * is a failure that counts against the job's attempts and is tried again after a backoff.
 */
public abstract sealed class Ending extends RuntimeException permits Cancelled, Discard, Retry, Snooze {
    Ending(String message, Throwable cause) {
        super(message, cause);
    }
}
