package dev.jobqueue;

import static java.lang.System.Logger.Level.ERROR;
import static java.lang.System.Logger.Level.WARNING;

import dev.jobqueue.v1.Delivery;
import dev.jobqueue.v1.Outcome;
import dev.jobqueue.v1.Progress;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;

/** The session's part that runs handlers and stops them. Unless it says otherwise all is called with the lock held. */
final class Attempts {
    // A receipt is due within 20 ms of a delivery; some of that is for the wire, the rest for a Settle that carries it.
    private static final long RECEIPT_AFTER = TimeUnit.MILLISECONDS.toNanos(12);

    // An attempt after the first may be one that ends the process: its handler waits until its receipt is on its way.
    // gRPC writes what it was given in a thread of its own, and does not say when it has.
    private static final long WRITTEN_AFTER = TimeUnit.MILLISECONDS.toNanos(1);

    private final Session session;
    private final ConcurrentLinkedQueue<Runnable> ends = new ConcurrentLinkedQueue<>();
    private final AtomicBoolean collecting = new AtomicBoolean();
    private List<HandlerRun> begun = new ArrayList<>();

    Attempts(Session session) {
        this.session = session;
    }

    void deliver(Delivery delivery) {
        if (session.moving) {
            // Nor receipted: what the new stream's Hello has not seen must not look as if it had been.
            session.crossed.add(delivery);
            return;
        }
        take(delivery, !session.draining);
    }

    /** Makes leases of a delivery, and begins them or gives them back. */
    void take(Delivery delivery, boolean begin) {
        var on = session.stream;
        session.delivered = delivery.getSeq();
        on.delivered(delivery.getSeq());
        session.later(RECEIPT_AFTER, on::receipt);
        var later = new ArrayList<HandlerRun>();
        for (var message : delivery.getJobsList()) {
            var job = new LeasedJob(message, session.settings.codec());
            var lease = new Lease(message.getLeaseId(), job);
            session.leases.put(lease.id, lease);
            session.started(lease);
            lease.handler = session.handlers.get(job.kind());
            if (lease.handler == null) {
                session.log.log(ERROR, "{0}: delivered, but its kind has no handler here; it goes back", job);
            }
            if (lease.handler == null || !begin) {
                ended(lease, Endings.released()); // or it crossed our Drain or a move on the wire
                continue;
            }
            lease.context = new JobContext(
                    job, session.settings.codec(), session.settings.executor(), report -> report(lease, report));
            lease.run = new HandlerRun(lease, session.settings, this::end);
            (message.getAttempt() == 1 ? begun : later).add(lease.run);
        }
        if (!later.isEmpty()) {
            on.receipt();
            session.timers.schedule(() -> later.forEach(this::start), WRITTEN_AFTER, TimeUnit.NANOSECONDS);
        }
    }

    /** The handlers to start once the lock is given up. */
    List<HandlerRun> takeBegun() {
        var taken = begun;
        begun = new ArrayList<>();
        return taken;
    }

    /** Starts a handler. Called without the lock: making threads takes a while. */
    void start(HandlerRun run) {
        try {
            session.settings.executor().execute(run);
        } catch (RejectedExecutionException | OutOfMemoryError error) {
            var words = "no thread could be had: " + error.getMessage();
            session.locked(
                    () -> ended(run.lease, Endings.failed(error.getClass().getName(), words)));
        }
    }

    /**
     * A handler has ended. Called without the lock, and by many at once: one of them takes it for all who have ended
     * meanwhile, or they would stand in line for it.
     */
    private void end(Lease lease, Outcome.Builder outcome) {
        ends.add(() -> ended(lease, outcome));
        if (collecting.compareAndSet(false, true)) {
            session.locked(() -> {
                collecting.set(false);
                for (var each = ends.poll(); each != null; each = ends.poll()) {
                    each.run();
                }
            });
        }
    }

    /** A handler has ended; null is a success without output. */
    private void ended(Lease lease, Outcome.Builder outcome) {
        lease.alive = false;
        lease.took = System.nanoTime() - lease.started;
        if (session.capacity.ended(lease)) {
            session.sayCapacity(); // of a session that is over: its slot is free again
        } else if (lease.place == Lease.Place.DONE) {
            session.leases.remove(lease.id, lease);
        } else if (lease.place == Lease.Place.RUNNING) {
            lease.settle(outcome);
            session.progress.beforeSettling(lease.id);
            session.settlements.add(lease);
        }
        session.changed.signalAll();
    }

    /** Called without the lock. */
    private void report(Lease lease, Progress.Builder report) {
        session.whileOpen(() -> {
            // A number is unique in one session only: an orphan's may meanwhile be another's.
            if (session.leases.get(lease.id) == lease && lease.place == Lease.Place.RUNNING && lease.alive) {
                session.progress.put(lease.id, report);
            }
        });
    }

    void cancel(long id, String reason) {
        var lease = session.leases.get(id);
        if (lease == null || !lease.alive || lease.context.isCancelled()) {
            return;
        }
        stop(lease, Stop.Reason.CANCEL, "the job is to be cancelled" + (reason.isEmpty() ? "" : ": " + reason));
    }

    void revoke(long id, String reason) {
        var lease = session.leases.get(id);
        if (lease == null || (lease.alive && lease.place == Lease.Place.DONE)) {
            return; // it is said again as long as the handler runs
        }
        session.log.log(WARNING, "{0}: the lease was revoked: {1}", lease.job, reason);
        giveUp(lease, reason);
        if (!lease.alive) {
            session.leases.remove(id);
        }
        session.changed.signalAll();
    }

    /** Drops the outcome of a lease that is no longer ours, and stops its handler. */
    void giveUp(Lease lease, String reason) {
        if (lease.place != Lease.Place.DONE) {
            if (lease.alive) {
                lease.took = System.nanoTime() - lease.started;
            }
            session.finished(lease, Observer.Outcome.ERROR, "the lease was revoked: " + reason);
        }
        session.settlements.drop(lease);
        if (lease.alive) {
            stop(lease, Stop.Reason.REVOKED, "the lease was revoked: " + reason);
        }
    }

    void stop(Lease lease, Stop.Reason reason, String words) {
        lease.context.tell(new Stop(reason, words));
        lease.run.interrupt();
    }
}
