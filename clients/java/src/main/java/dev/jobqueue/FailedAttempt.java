package dev.jobqueue;

import java.time.Instant;

/**
 * One attempt that did not succeed.
 *
 * @param attempt its number in its job, from 1
 * @param reason why it ended: HANDLER_FAILED, TIMED_OUT or SESSION_LOST; more may be added
 * @param errorType the error's type as the worker named it; empty: not given
 * @param error what went wrong, in words
 * @param worker the name of the worker that ran it
 * @param startedAt when it was claimed, by the database's clock
 * @param endedAt when it ended, by the database's clock
 */
public record FailedAttempt(
        int attempt, String reason, String errorType, String error, String worker, Instant startedAt, Instant endedAt) {
    static FailedAttempt of(dev.jobqueue.v1.FailedAttempt message) {
        return new FailedAttempt(
                message.getAttempt(),
                message.getReason(),
                message.getErrorType(),
                message.getError(),
                message.getWorker(),
                Times.of(message.getStartedAt()),
                Times.of(message.getEndedAt()));
    }
}
