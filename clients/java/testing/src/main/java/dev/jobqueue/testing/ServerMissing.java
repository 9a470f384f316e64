package dev.jobqueue.testing;

/** There is no server for tests, or it does not start. The text says what would help. */
public final class ServerMissing extends RuntimeException {
    ServerMissing(String words, Throwable cause) {
        super(words, cause);
    }
}
