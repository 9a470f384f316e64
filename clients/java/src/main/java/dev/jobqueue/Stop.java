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
        /** A caller asked to cancel the job: the handler's result decides. */
        CANCEL,
        /** The lease is no longer this worker's: whatever the handler answers is dropped. */
        REVOKED,
        /** The worker shuts down and its grace has ended: the job goes back, uncharged. */
        SHUTDOWN,
        /**
         * No server was heard for the session's ttl, of a worker with {@code stopWhenLost}: the job may run elsewhere by
         * now.
         */
        LOST
    }
}
