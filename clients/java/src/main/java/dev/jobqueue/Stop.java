package dev.jobqueue;

/**
 * Why a handler should stop.
 *
 * @param reason which of these
 * @param words the same for people
 */
public record Stop(Reason reason, String words) {
    /** The reasons. */
    public enum Reason {
        /** Somebody asked for the job to be cancelled: the handler's answer decides. */
        CANCEL,
        /** The lease is no longer this worker's: whatever the handler answers is dropped. */
        REVOKED,
        /** The worker leaves and its grace is over: the job goes back, uncharged. */
        SHUTDOWN,
        /**
         * No server was heard for the session's ttl, of a worker with {@code stopWhenLost}: the job may run elsewhere by
         * now.
         */
        LOST
    }
}
