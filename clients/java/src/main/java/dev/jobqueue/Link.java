package dev.jobqueue;

import static java.lang.System.Logger.Level.ERROR;
import static java.lang.System.Logger.Level.INFO;
import static java.lang.System.Logger.Level.WARNING;

import dev.jobqueue.v1.LeaseResponse;
import dev.jobqueue.v1.Welcome;
import io.grpc.Metadata;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Keeps the session on a stream: connects, reconnects for ever, moves when it is asked to, and leaves. The session's lock
 * guards it.
 */
final class Link {
    private static final Duration WELCOME_WITHIN = Duration.ofSeconds(10);
    // After a stream that lived this long, the next reconnect is fast again.
    private static final Duration GOOD_AFTER = Duration.ofSeconds(5);
    // How long a server is left alone that does not take the credentials: an administrator mends it, or a new token
    // does.
    private static final Duration UNAUTHENTICATED_WAIT = Duration.ofSeconds(30);
    // How often that is said.
    private static final Duration SAY_UNAUTHENTICATED_EVERY = Duration.ofMinutes(1);

    private final Session session;
    /** What the server is told of before the first stream. */
    private final List<JobKind<?, ?>> kinds;

    private final Backoff waits = new Backoff(Duration.ofMillis(100), Duration.ofSeconds(5));
    /** How many targets were tried. */
    private int tries;
    /** Awaits its Welcome. */
    private LeaseStream opening;
    /** Another stream is wanted, or none before then, by the nanoseconds of this process. */
    private long moveAt;

    private boolean moveWanted;
    private boolean welcomed;
    private boolean saidLost;
    private boolean saidUnauthenticated;
    private long saidUnauthenticatedAt;
    /** The drain is through. */
    private boolean ended;

    Link(Session session, List<JobKind<?, ?>> kinds) {
        this.session = session;
        this.kinds = kinds;
    }

    /** Holds the session until the drain is through. */
    void run() throws InterruptedException {
        session.lock.lock();
        try {
            if (!kinds.isEmpty()) {
                new Declaring(session, kinds).run(() -> ended || session.finished());
            }
            while (!ended) {
                // A session that has drained and ended is not opened again, though handlers of it may run on.
                if ((session.stream == null || moveWanted) && !session.finished()) {
                    connect();
                } else {
                    session.wanted.await();
                }
            }
        } finally {
            session.closed = true;
            session.timers.shutdown();
            leaveStream();
            session.running().forEach(each -> session.attempts.stop(each, Stop.Reason.SHUTDOWN, Leaving.WORDS));
            session.lock.unlock();
        }
    }

    /** One try to open a stream. What fails is followed by a wait; an exception is what no other try will mend. */
    private void connect() throws InterruptedException {
        while (moveWanted && moveAt - System.nanoTime() > 0) {
            session.wanted.awaitNanos(moveAt - System.nanoTime());
            if (ended || session.finished()) {
                return;
            }
        }
        var target = session.settings
                .targets()
                .get(tries++ % session.settings.targets().size());
        var stream = unlocked(target);
        if (ended || session.finished()) {
            stream.close();
            return;
        }
        opening = stream;
        session.moving = true;
        stream.start(this);
        stream.send(session.hello());
        var inTime = session.until(WELCOME_WITHIN, () -> opening != stream || stream.failure != null || ended);
        if (opening != stream) {
            return;
        }
        opening = null;
        stream.close();
        if (!ended) {
            refused(
                    target,
                    inTime
                            ? stream.failure
                            : Errors.unavailable("no Welcome within %d s".formatted(WELCOME_WITHIN.toSeconds())));
        }
    }

    /** A stream that is not begun. Without the lock: what makes the first one of a process loads half of gRPC. */
    private LeaseStream unlocked(String target) {
        session.lock.unlock();
        try {
            return new LeaseStream(target, session.settings.connection());
        } finally {
            session.lock.lock();
        }
    }

    /** Decides what a failed try means. */
    private void refused(String target, JobQueueException failure) throws InterruptedException {
        if (failure instanceof JobQueueException.SessionUnknown) {
            sessionGone(failure);
            return;
        }
        session.stay();
        var hopeless = failure instanceof JobQueueException.InvalidRequest
                || failure instanceof JobQueueException.NotAllowed
                || failure instanceof JobQueueException.NotSupported;
        // Only before the first Welcome: later it is a fault of one server among several, or of a token that is
        // renewed.
        if (!welcomed && hopeless) {
            throw failure;
        }
        var wait = Duration.ofNanos(waits.next());
        // One that still has its old stream soon tries again: a new token may be on its way.
        if (session.stream == null) {
            session.broken(failure.getMessage(), hopeless);
            if (failure instanceof JobQueueException.Unauthenticated) {
                sayUnauthenticated(target, failure);
                wait = UNAUTHENTICATED_WAIT;
            } else {
                sayLost("can't reach " + target, failure.getMessage());
            }
        }
        session.until(wait, () -> ended);
    }

    private void sayUnauthenticated(String target, JobQueueException failure) {
        var now = System.nanoTime();
        if (!saidUnauthenticated || now - saidUnauthenticatedAt >= SAY_UNAUTHENTICATED_EVERY.toNanos()) {
            saidUnauthenticated = true;
            saidUnauthenticatedAt = now;
            session.log.log(
                    WARNING,
                    "{0} does not take the credentials: {1}: {2}; trying again each {3} s",
                    target,
                    failure.reason(),
                    failure.getMessage(),
                    UNAUTHENTICATED_WAIT.toSeconds());
        }
    }

    /** A frame has come. Called without the lock. */
    void received(LeaseStream from, LeaseResponse frame) {
        List<HandlerRun> begun;
        session.lock.lock();
        try {
            read(from, frame);
            begun = session.attempts.takeBegun();
        } finally {
            session.lock.unlock();
        }
        begun.forEach(session.attempts::start);
    }

    private void read(LeaseStream from, LeaseResponse frame) {
        if (from == opening) {
            switch (frame.getFrameCase()) {
                case WELCOME -> opened(from, frame.getWelcome());
                case GO_AWAY, GOODBYE -> fail(from, Errors.unavailable("the server is leaving"));
                default -> {}
            }
        } else if (from == session.stream) {
            switch (frame.getFrameCase()) {
                case GO_AWAY -> {
                    var away = frame.getGoAway();
                    session.log.log(INFO, "the server asks to connect elsewhere: {0}", away.getReason());
                    moveIn(Times.nanosOf(Times.of(away.getReconnectAfter())));
                }
                case GOODBYE -> {
                    if (!session.draining) {
                        session.broken("the server has ended the session", false);
                    }
                    endSession();
                    // Or a server that always says so would be asked without a pause.
                    moveIn(waits.next());
                }
                default -> session.handle(frame);
            }
        }
    }

    private void opened(LeaseStream stream, Welcome welcome) {
        opening = null;
        if (ended) {
            stream.close();
            return;
        }
        var what = session.token.isEmpty() ? "opened" : "resumed";
        // Only now that another has taken its place.
        leaveStream();
        stream.opened = System.nanoTime();
        session.welcome(welcome, stream);
        session.log.log(
                INFO,
                "session {0} {1} at {2} ({3})",
                Long.toString(session.id),
                what,
                stream.target,
                welcome.getServer());
        welcomed = true;
        saidLost = false;
        moveWanted = false;
        var beat = session.beat.toNanos();
        stream.heart = session.timers.scheduleWithFixedDelay(
                () -> session.whileOpen(() -> beat(stream)), beat, beat, TimeUnit.NANOSECONDS);
    }

    /** A stream has ended. Called without the lock. */
    void closed(LeaseStream stream, io.grpc.Status status, Metadata headers, Metadata trailers) {
        session.locked(() -> {
            if (stream == opening) {
                fail(
                        stream,
                        status.isOk()
                                ? Errors.unavailable("the server ended the stream")
                                : Errors.of(status, headers, trailers));
            } else if (stream == session.stream && !ended) {
                var failure = status.isOk()
                        ? Errors.unavailable("the server ended it")
                        : Errors.of(status, headers, trailers);
                ended(failure);
                if (System.nanoTime() - stream.opened > GOOD_AFTER.toNanos()) {
                    waits.reset();
                } else {
                    // Or a server that welcomes and then hangs up, or knows no session, would be asked without a pause.
                    moveIn(waits.next());
                }
                stream.close();
            }
        });
    }

    /** The session's stream has ended, and not by us. */
    private void ended(JobQueueException failure) {
        if (failure instanceof JobQueueException.SessionUnknown) {
            sessionGone(failure);
            return;
        }
        if (moveWanted) {
            session.log.log(INFO, "the stream that was to be left has ended: {0}", failure.getMessage());
            dropStream();
            session.broken(failure.getMessage(), false);
        } else {
            lost(failure.getMessage());
        }
        if (failure instanceof JobQueueException.TooLarge) {
            session.answers.tooLarge(failure);
        }
    }

    private void sessionGone(JobQueueException failure) {
        session.broken(failure.getMessage(), false);
        session.log.log(WARNING, "the server has no such session any more: {0}", failure.getMessage());
        endSession();
    }

    private void fail(LeaseStream stream, JobQueueException failure) {
        stream.failure = failure;
        session.changed.signalAll();
    }

    /** Sends a heartbeat while the stream is the session's; one that does not answer is let go. */
    private void beat(LeaseStream stream) {
        if (stream == session.stream && !session.heartbeat()) {
            lost("two heartbeats were not answered");
            stream.close();
        }
    }

    private void moveIn(long nanos) {
        moveWanted = true;
        moveAt = System.nanoTime() + nanos;
        session.wake();
    }

    private void lost(String why) {
        dropStream();
        session.broken(why, false);
        sayLost("the stream was lost", why);
    }

    private void dropStream() {
        moveWanted = false;
        session.lost();
    }

    /** Says so once until there is a stream again: an hour's outage is one line, not a thousand. */
    private void sayLost(String what, String why) {
        if (!saidLost) {
            saidLost = true;
            session.log.log(
                    WARNING,
                    "{0}: {1}; trying again until a server answers, {2} jobs run on",
                    what,
                    why,
                    session.running().size());
        }
    }

    private void leaveStream() {
        if (session.stream != null) {
            session.stream.close();
            session.stream = null;
        }
    }

    /** The server has ended the session; its stream goes with it. The next one opens another, unless it drains. */
    private void endSession() {
        leaveStream();
        moveWanted = false;
        session.over();
    }

    /** Leaves at once, without a drain. */
    void end() {
        session.locked(() -> {
            ended = true;
            session.wake();
        });
    }

    /** No new jobs, finish what is held within the grace, give the rest back, wait for the answers; then the end. */
    void drain(Duration grace) {
        session.lock.lock();
        try {
            if (session.draining) {
                return;
            }
            session.draining = true;
            session.become(WorkerStatus.State.DRAINING);
            session.sendDrain();
            session.wake();
            session.log.log(INFO, "draining; handlers have {0} s", grace.toSeconds());
            new Leaving(session).await(grace);
        } catch (InterruptedException error) {
            session.log.log(ERROR, "the drain was interrupted; what runs is given up");
        } finally {
            session.lock.unlock();
        }
        end();
    }
}
