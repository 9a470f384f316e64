package dev.jobqueue;

import java.util.Optional;

/**
 * Makes spans of a worker's attempts, and says which trace a call belongs to. That of OpenTelemetry is in the artifact
 * {@code jobqueue-opentelemetry}, so that who has no traces does not get it. For any thread.
 */
public interface Tracer {
    /**
     * The span of an attempt, before its handler runs and in its thread. Empty: it has none.
     *
     * @param lease the number of its lease
     */
    Optional<Span> begin(LeasedJob job, long lease);

    /** The {@code traceparent} of what is current in this thread, which a call made here carries. Empty: nothing. */
    Optional<String> traceparent();

    /** The span of one attempt. */
    interface Span {
        /** What follow-ups of the job carry. */
        String traceparent();

        /** Makes it the current one of this thread, until what is answered is closed. */
        Scope enter();

        /** The handler has ended, in any thread; what it answered by a stage included. */
        void end(End how);
    }

    /** Where a span is the current one. */
    interface Scope extends AutoCloseable {
        @Override
        void close();
    }

    /**
     * How a handler has ended.
     *
     * @param outcome {@code succeeded}, {@code failed}, {@code cancelled}, {@code snoozed}, {@code released}, or
     *     {@code revoked}: it was dropped, since the lease was another's by then
     * @param errorType of a failure; otherwise empty, as the next two
     * @param error its words
     * @param stack where it was thrown
     */
    record End(String outcome, String errorType, String error, String stack) {
        /** Of an outcome; null is a success without output. */
        static End of(dev.jobqueue.v1.Outcome.Builder outcome, Stop stop) {
            var failure = outcome == null ? dev.jobqueue.v1.Failure.getDefaultInstance() : outcome.getFailure();
            var word = stop != null && stop.reason() == Stop.Reason.REVOKED ? "revoked" : word(outcome);
            return new End(word, failure.getErrorType(), failure.getError(), failure.getStack());
        }

        private static String word(dev.jobqueue.v1.Outcome.Builder outcome) {
            if (outcome == null) {
                return "succeeded";
            }
            return switch (outcome.getOutcomeCase()) {
                case FAILURE -> "failed";
                case CANCELLATION -> "cancelled";
                case SNOOZE -> "snoozed";
                case RELEASE -> "released";
                case SUCCESS, OUTCOME_NOT_SET -> "succeeded";
            };
        }
    }
}
