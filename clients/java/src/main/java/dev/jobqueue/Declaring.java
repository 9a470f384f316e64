package dev.jobqueue;

import static java.lang.System.Logger.Level.INFO;
import static java.lang.System.Logger.Level.WARNING;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.BooleanSupplier;

/**
 * Tells a server what a worker's kinds are, before the worker takes jobs: the first one that answers, for which it waits as
 * long as it takes. The session's lock is held.
 */
final class Declaring {
    // Then the next server is asked.
    private static final Duration DEADLINE = Duration.ofSeconds(10);

    private final Session session;
    private final List<JobKind<?, ?>> kinds;
    private final Backoff waits = new Backoff(Duration.ofMillis(100), Duration.ofSeconds(5));

    Declaring(Session session, List<JobKind<?, ?>> kinds) {
        this.session = session;
        this.kinds = kinds;
    }

    /**
     * Returns once they are synced, or once the worker is to leave.
     *
     * @throws JobQueueException a server refused it for what no other try will mend
     */
    void run(BooleanSupplier leaves) throws InterruptedException {
        var targets = session.settings.targets();
        for (var tries = 0; !leaves.getAsBoolean(); tries++) {
            var target = targets.get(tries % targets.size());
            try {
                var synced = ask(target, leaves);
                if (synced != null) {
                    synced.forEach(this::say);
                    return;
                }
            } catch (JobQueueException error) {
                var hopeless = error instanceof JobQueueException.InvalidRequest
                        || error instanceof JobQueueException.NotAllowed
                        || error instanceof JobQueueException.NotSupported;
                session.broken(error.getMessage(), hopeless);
                if (hopeless) {
                    throw error;
                }
                if (tries == 0) {
                    session.log.log(WARNING, "the kinds are not synced with {0} yet: {1}", target, error.getMessage());
                }
                session.until(Duration.ofNanos(waits.next()), leaves);
            }
        }
    }

    /** Null: the worker is to leave. */
    private List<SyncedKind> ask(String target, BooleanSupplier leaves) throws InterruptedException {
        session.lock.unlock();
        Client client;
        CompletableFuture<List<SyncedKind>> asked;
        try {
            var access = Client.builder(target)
                    .connection(session.settings.connection())
                    .deadline(DEADLINE);
            if (session.settings.encodings() != null) {
                access.encodings(session.settings.encodings());
            }
            client = access.build();
            asked = client.async().syncKinds(kinds);
            asked.whenComplete((synced, error) -> session.locked(session.changed::signalAll));
        } finally {
            session.lock.lock();
        }
        try (client) {
            session.until(Times.FOREVER, () -> asked.isDone() || leaves.getAsBoolean());
            return asked.isDone() ? Futures.await(asked) : null;
        }
    }

    private void say(SyncedKind each) {
        var kind = each.kind();
        if (each.newer()) {
            session.log.log(
                    INFO,
                    "the kind {0} is left as it is: the server has version {1} of it",
                    kind.name(),
                    kind.version());
        } else if (each.changed()) {
            session.log.log(INFO, "the kind {0} is synced", kind.name());
        }
    }
}
