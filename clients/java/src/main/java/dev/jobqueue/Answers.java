package dev.jobqueue;

import static java.lang.System.Logger.Level.ERROR;
import static java.lang.System.Logger.Level.WARNING;

import dev.jobqueue.v1.SettleResult;
import dev.jobqueue.v1.Settled;
import java.util.ArrayList;
import java.util.HashMap;

/** The session's part that reads what became of outcomes. All is called with the lock held. */
final class Answers {
    private final Session session;

    Answers(Session session) {
        this.session = session;
    }

    void settled(Settled settled) {
        var results = new HashMap<Long, SettleResult>();
        settled.getExceptionsList().forEach(each -> results.put(each.getLeaseId(), each));
        var again = new ArrayList<Lease>();
        for (var lease : session.settlements.answered(settled)) {
            var result = results.get(lease.id);
            switch (result == null ? SettleResult.Verdict.APPLIED : result.getVerdict()) {
                case APPLIED, ALREADY_APPLIED -> {
                    logFailure(lease, result);
                    forget(
                            lease,
                            Observer.Outcome.of(lease.outcome, result),
                            session.telling.on() ? failure(lease) : "");
                }
                case TRY_AGAIN -> again.add(lease);
                case INVALID -> correct(lease, result.getMessage());
                default -> {
                    session.log.log(
                            WARNING,
                            "{0}: the outcome was not taken: {1} {2}",
                            lease.job,
                            result.getVerdict(),
                            result.getMessage());
                    forget(lease, Observer.Outcome.ERROR, "the outcome was not taken: " + result.getVerdict());
                }
            }
        }
        if (!again.isEmpty()) {
            session.settlements.againLater(again);
        }
        session.changed.signalAll();
    }

    /** The server called an outcome malformed. A failure says so instead, and if that is no better, a release. */
    private void correct(Lease lease, String message) {
        session.log.log(ERROR, "{0}: the server refused the outcome: {1}", lease.job, message);
        switch (++lease.corrections) {
            case 1 -> lease.settle(Endings.failed("InvalidOutcome", "the handler's outcome was refused: " + message));
            case 2 -> lease.settle(Endings.released());
            default -> {
                forget(lease, Observer.Outcome.ERROR, "the server refused the outcome: " + message);
                return;
            }
        }
        session.settlements.add(lease);
    }

    /** The stream has ended because a frame was larger than the server takes. */
    void tooLarge(JobQueueException error) {
        var lease = session.settlements.tooLarge();
        if (lease != null) {
            correct(
                    lease,
                    "it has %d bytes, more than the server takes at once (%s)"
                            .formatted(lease.outcomeBytes(), error.getMessage()));
        }
    }

    /** What failed, of an outcome that is a failure. */
    private static String failure(Lease lease) {
        if (lease.outcome == null || !lease.outcome.hasFailure()) {
            return "";
        }
        return lease.outcome.getFailure().getErrorType() + ": "
                + lease.outcome.getFailure().getError();
    }

    private void forget(Lease lease, Observer.Outcome outcome, String error) {
        session.finished(lease, outcome, error);
        session.settlements.drop(lease);
        if (!lease.alive) {
            session.leases.remove(lease.id);
        }
    }

    private void logFailure(Lease lease, SettleResult result) {
        if (lease.outcome == null || !lease.outcome.hasFailure()) {
            return;
        }
        var failure = lease.outcome.getFailure();
        var retried = result != null && result.getStatus() == dev.jobqueue.v1.Job.Status.RETRYING;
        session.log.log(
                retried ? WARNING : ERROR,
                "{0}: {1}: {2}: {3}{4}",
                lease.job,
                retried ? "failed, is tried again at " + Times.of(result.getRunAt()) : "failed for good",
                failure.getErrorType(),
                failure.getError(),
                failure.getStack().isEmpty() ? "" : "\n" + failure.getStack());
    }
}
