package dev.jobqueue;

import dev.jobqueue.v1.HeldLease;
import dev.jobqueue.v1.Outcome;

/**
 * One lease in this process: from its delivery until its outcome was answered and its handler has ended. The session's
 * lock guards it.
 */
final class Lease {
    /** Where a lease stands on the way of its outcome. */
    enum Place {
        /** No outcome yet. */
        RUNNING,
        /** Goes with the next Settle frame. */
        WAITING,
        /** In a Settle frame that was not answered yet. */
        SENT,
        /** Was told TRY_AGAIN, and waits for its turn. */
        HELD_BACK,
        /** Answered, or dropped. */
        DONE
    }

    final long id;
    final LeasedJob job;
    /** What the observer is told of it; null: there is none. */
    Observer.Attempt attempt;

    JobContext context;
    Handlers.Entry handler;
    HandlerRun run;
    Place place = Place.RUNNING;
    /** With a place beyond RUNNING: null is a success without output. */
    Outcome outcome;
    /** Its handler runs, and so takes up a slot, whatever became of the lease. */
    boolean alive = true;
    /** When it was delivered, and how long its handler ran once it has ended; in nanoseconds. */
    final long started = System.nanoTime();

    long took;
    /** How often the server has called an outcome of it INVALID. */
    int corrections;

    Lease(long id, LeasedJob job) {
        this.id = id;
        this.job = job;
    }

    /** Its three numbers, for Resume. */
    HeldLease held() {
        return HeldLease.newBuilder()
                .setLeaseId(id)
                .setJobId(job.id())
                .setAttempt(job.attempt())
                .build();
    }

    /** How many bytes its outcome has. A success without output has none of its own. */
    int outcomeBytes() {
        return outcome == null ? 0 : outcome.getSerializedSize();
    }

    /** Takes an outcome, and names the lease in it. */
    void settle(Outcome.Builder given) {
        outcome = given == null ? null : given.setLeaseId(id).build();
    }
}
