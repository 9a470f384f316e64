package dev.jobqueue;

import static java.lang.System.Logger.Level.ERROR;
import static java.lang.System.Logger.Level.WARNING;

import java.time.Duration;
import java.util.List;
import java.util.function.BooleanSupplier;

/** The steps of a drain after its frame. The session's lock is held, and given up while it waits. */
final class Leaving {
    static final String WORDS = "the worker is shutting down";

    // How long a handler that was told to stop at the end of the grace may take for it.
    private static final Duration UNWIND = Duration.ofSeconds(2);
    // How long the last answers, and then Goodbye, are waited for.
    private static final Duration ANSWERS_WITHIN = Duration.ofSeconds(5);

    private final Session session;

    Leaving(Session session) {
        this.session = session;
    }

    void await(Duration grace) throws InterruptedException {
        // A session that is just being opened may have been given jobs: it is drained as well.
        session.until(ANSWERS_WITHIN, () -> !session.opening());
        BooleanSupplier idle = () -> session.running().isEmpty();
        if (!session.until(grace, idle)) {
            stopHandlers();
            session.until(UNWIND, idle);
            giveBack();
        }
        if (!session.until(ANSWERS_WITHIN, session.settlements.kept::isEmpty)) {
            session.log.log(ERROR, "outcomes were not answered; their jobs run again when the session ends");
        } else if (!session.until(ANSWERS_WITHIN, () -> session.stream == null || session.finished())) {
            session.log.log(WARNING, "the server said no Goodbye");
        }
    }

    private void stopHandlers() {
        var running = session.running();
        session.log.log(WARNING, "{0} handlers still run at the end of the grace; they are stopped", running.size());
        for (var each : running) {
            if (each.place == Lease.Place.RUNNING) {
                session.attempts.stop(each, Stop.Reason.SHUTDOWN, WORDS);
            }
        }
    }

    private void giveBack() {
        for (var each : List.copyOf(session.leases.values())) {
            if (each.alive && each.place == Lease.Place.RUNNING) {
                session.log.log(WARNING, "{0}: the handler did not stop in time; its job goes back", each.job);
                each.took = System.nanoTime() - each.started;
                each.settle(Endings.released());
                session.settlements.add(each);
            }
        }
    }
}
