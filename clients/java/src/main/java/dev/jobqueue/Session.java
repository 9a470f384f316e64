package dev.jobqueue;

import dev.jobqueue.v1.Delivery;
import dev.jobqueue.v1.Drain;
import dev.jobqueue.v1.Heartbeat;
import dev.jobqueue.v1.Hello;
import dev.jobqueue.v1.LeaseRequest;
import dev.jobqueue.v1.LeaseResponse;
import dev.jobqueue.v1.PayloadFormat;
import dev.jobqueue.v1.Resume;
import dev.jobqueue.v1.Settle;
import dev.jobqueue.v1.Subscription;
import dev.jobqueue.v1.Welcome;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.BooleanSupplier;

/**
 * The worker's session, over all its streams: its leases, and what each frame of the server does to them. One lock guards
 * all of it; nothing under the lock blocks, and no code of the
 * program's runs under it.
 */
final class Session {
    // Where Welcome does not say them.
    private static final Duration DEFAULT_BEAT = Duration.ofSeconds(5);
    private static final Duration DEFAULT_TTL = Duration.ofSeconds(30);

    final Worker.Settings settings;
    final Handlers handlers;
    final Telling telling;
    final System.Logger log = Worker.LOG;
    final ReentrantLock lock = new ReentrantLock();
    /** Signalled at every change that {@link #until} may wait for. */
    final Condition changed = lock.newCondition();
    /** Signalled where a stream may be wanted. Apart from the other, or each job that ends would wake the link. */
    final Condition wanted = lock.newCondition();

    final ScheduledThreadPoolExecutor timers = Threads.timers();

    final Map<Long, Lease> leases = new LinkedHashMap<>();
    final CapacityBook capacity;
    final Settlements settlements;
    final ProgressReports progress = new ProgressReports(this);
    final Attempts attempts = new Attempts(this);
    final Answers answers = new Answers(this);

    LeaseStream stream;
    long id;
    String token = "";
    Duration beat = DEFAULT_BEAT;
    /** The server has heard of the session after the newest frame was sent that it has answered; in nanoseconds. */
    private long heard;

    private long helloSent;
    private final Map<Long, Long> beatsSent = new LinkedHashMap<>();
    private volatile Duration ttl = DEFAULT_TTL;
    /** A timer looks whether the worker is cut off. */
    private boolean losing;

    private long beatSeq;
    private long pongSeq;
    /** On the newest stream. */
    long delivered;
    /** Came on the old stream after the Hello of a new one, which does not name their leases. */
    List<Delivery> crossed = new ArrayList<>();
    /** Takes no more jobs, on this stream and on those that follow. */
    boolean draining;
    /** While a new stream is opened nothing is settled on the old one, so that both sides know what was said. */
    boolean moving;
    /** The worker has left; timers that still run do nothing. */
    boolean closed;

    private WorkerStatus.State state = WorkerStatus.State.STARTING;
    private Instant since = Instant.now();
    /** The same by the nanoseconds of this process, of which no clock that is set changes anything. */
    private long sinceNanos = System.nanoTime();

    /** When the timers' thread has last had the lock; where health is asked for. */
    volatile long ticked = sinceNanos;

    private String server = "";
    /** When the newest frame came, by the nanoseconds of this process, once a server has welcomed the worker. */
    private long lastFrame;

    private List<String> unknownKinds = List.of();
    private String lastError = "";

    /** What the last session of the same worker knew of its kinds is said once alone. */
    Session(Worker.Settings settings, Handlers handlers, Telling telling, boolean paused, List<String> unknownKinds) {
        this.settings = settings;
        this.handlers = handlers;
        this.telling = telling;
        this.unknownKinds = unknownKinds;
        settlements = new Settlements(this, settings.concurrency());
        capacity = new CapacityBook(settings.concurrency(), handlers.slotsByKind());
        capacity.paused = paused;
    }

    /** Runs something under the lock. */
    void locked(Runnable what) {
        lock.lock();
        try {
            what.run();
        } finally {
            lock.unlock();
        }
    }

    /** Runs something under the lock after so many nanoseconds, unless the worker has left by then. */
    void later(long nanos, Runnable what) {
        if (!closed) {
            timers.schedule(() -> whileOpen(what), nanos, TimeUnit.NANOSECONDS);
        }
    }

    void whileOpen(Runnable what) {
        locked(() -> {
            if (!closed) {
                what.run();
            }
        });
    }

    // The rest is called with the lock held.

    /** The first frame of a stream: opens the session, or resumes it where there is one. */
    LeaseRequest.Builder hello() {
        helloSent = System.nanoTime();
        var hello = Hello.newBuilder()
                .setWorker(settings.name())
                .setCapacity(capacity.message())
                .putAllLabels(settings.labels())
                .setClient("jobqueue-java/" + Worker.VERSION)
                .setPayloadFormat(PayloadFormat.PAYLOAD_FORMAT_JSON);
        for (var queue : settings.queues()) {
            hello.addSubscriptions(Subscription.newBuilder().setQueue(queue).addAllKinds(handlers.kinds()));
        }
        if (settings.sessionTtl() != null) {
            hello.setSessionTtl(Times.message(settings.sessionTtl()));
        }
        if (!token.isEmpty()) {
            var resume = Resume.newBuilder().setSessionToken(token).setLastDelivery(delivered);
            for (var each : leases.values()) {
                if (each.place == Lease.Place.RUNNING) {
                    resume.addHeld(each.held());
                }
            }
            settlements.kept.forEach(each -> resume.addUnanswered(each.held()));
            hello.setResume(resume);
        }
        return LeaseRequest.newBuilder().setHello(hello);
    }

    /** Goes on, or begins, on this stream. */
    void welcome(Welcome welcome, LeaseStream on) {
        stream = on;
        var before = id;
        var beforeAt = server;
        server = welcome.getServer();
        lastFrame = System.nanoTime();
        knowsNot(welcome.getUnknownKindsList());
        moving = false;
        id = welcome.getSessionId();
        token = welcome.getSessionToken();
        beat = Times.of(welcome.getHeartbeatInterval());
        if (beat.isNegative() || beat.isZero()) {
            beat = DEFAULT_BEAT;
        }
        ttl = Times.of(welcome.getSessionTtl());
        if (ttl.isNegative() || ttl.isZero()) {
            ttl = DEFAULT_TTL;
        }
        heard = helloSent;
        beatsSent.clear();
        if (settings.stopWhenLost() && !losing) {
            losing = true;
            later(ttl.toNanos(), this::stopIfLost);
        }
        beatSeq = 0;
        pongSeq = 0;
        delivered = 0;
        crossed.clear(); // Hello did not name them: they went back uncharged, and may run elsewhere by now
        for (var each : welcome.getRevokedList()) {
            attempts.revoke(each.getLeaseId(), "the session went on without it");
        }
        settlements.restart();
        // Names revoked handlers that still run, so that their slots are not given away.
        heartbeat();
        if (draining) {
            sendDrain();
        } else {
            sayCapacity();
        }
        if (state != WorkerStatus.State.SERVING || before != id || !beforeAt.equals(server)) {
            become(WorkerStatus.State.SERVING);
        }
        changed.signalAll();
    }

    /** Is in another state, or at another server. A worker that drains does so until it has ended. */
    void become(WorkerStatus.State next) {
        var ends = next == WorkerStatus.State.ENDED || next == WorkerStatus.State.REFUSED;
        var becomes = draining && !ends ? WorkerStatus.State.DRAINING : next;
        if (becomes != state) {
            state = becomes;
            since = Instant.now();
            sinceNanos = System.nanoTime();
        }
        if (telling.on()) {
            var status = status();
            telling.tell(observer -> observer.sessionChanged(status));
        }
    }

    /** It has no stream, for this reason. */
    void broken(String why, boolean refused) {
        lastError = why;
        var next = WorkerStatus.State.REFUSED;
        if (!refused) {
            next = server.isEmpty() ? WorkerStatus.State.STARTING : WorkerStatus.State.RECONNECTING;
        }
        if (next != state && !draining) {
            become(next);
        }
    }

    /** The worker has left; by an error, or by null. */
    void end(RuntimeException error) {
        if (error != null) {
            lastError = String.valueOf(error.getMessage());
        }
        // Of those that a session throws, these are what a server says that refuses it.
        become(error instanceof JobQueueException ? WorkerStatus.State.REFUSED : WorkerStatus.State.ENDED);
    }

    WorkerStatus status() {
        var runs = running();
        return new WorkerStatus(
                state,
                server,
                id,
                since,
                server.isEmpty()
                        ? Optional.empty()
                        : Optional.of(Instant.now().minusNanos(System.nanoTime() - lastFrame)),
                capacity.message().getSlots(),
                runs.size(),
                capacity.orphans.size(),
                handlers.kinds(),
                unknownKinds,
                lastError,
                telling.dropped());
    }

    /** Notes each second that the session goes on. */
    void tick() {
        ticked = System.nanoTime();
        timers.scheduleWithFixedDelay(() -> locked(() -> ticked = System.nanoTime()), 1, 1, TimeUnit.SECONDS);
    }

    /** Whether the session goes on, with a server or without one. Called without the lock. */
    boolean live() {
        var patience = Math.max(ttl.toNanos(), DEFAULT_TTL.toNanos());
        return System.nanoTime() - ticked <= patience;
    }

    /** Whether the worker takes jobs, or will soon again. */
    boolean ready() {
        return state == WorkerStatus.State.SERVING
                || (state == WorkerStatus.State.RECONNECTING && System.nanoTime() - sinceNanos < ttl.toNanos());
    }

    private void knowsNot(List<String> kinds) {
        var sorted = kinds.stream().sorted().toList();
        if (!sorted.isEmpty() && !sorted.equals(unknownKinds)) {
            var words = sorted.size() == 1
                    ? "the server knows no kind \"{0}\": no job of it can be enqueued; declare it"
                    : "the server knows no kinds \"{0}\": no job of them can be enqueued; declare each";
            log.log(
                    System.Logger.Level.WARNING,
                    words + " by syncKinds or PutKind (jobqueue kinds put {1})",
                    String.join("\", \"", sorted),
                    sorted.get(0));
        }
        unknownKinds = sorted;
    }

    /** Goes on with the old stream, if there is one: no other was found. */
    void stay() {
        moving = false;
        settlements.flush();
        var came = crossed;
        crossed = new ArrayList<>();
        if (stream != null) {
            // Not begun after all: the server that refused may have taken the session over, and then each of these went
            // back and may run elsewhere. A release by a lease that is over is told so, and does no harm.
            came.forEach(each -> attempts.take(each, false));
        }
        changed.signalAll();
    }

    /** The stream is gone, and nothing has taken its place yet. */
    void lost() {
        stream = null;
        crossed.clear();
        wake();
    }

    /** The server has ended the session, or does not know it any more. What it still held went back. */
    void over() {
        var held = List.copyOf(leases.values());
        leases.clear();
        token = "";
        moving = false;
        crossed.clear();
        var gone = 0;
        for (var each : held) {
            if (each.place != Lease.Place.DONE) { // those of revoked leases were told already
                gone++;
                attempts.giveUp(each, "the session is over");
            }
            if (each.alive) {
                capacity.orphans.add(each);
            }
        }
        if (gone > 0) {
            log.log(
                    System.Logger.Level.WARNING,
                    "the session is over; {0} jobs went back, their handlers are stopped",
                    gone);
        }
        wake();
    }

    /** A Welcome is awaited that would begin a session. */
    boolean opening() {
        return moving && token.isEmpty();
    }

    /** It drains and the server keeps nothing of it; there is nothing left to say. */
    boolean finished() {
        return draining && token.isEmpty();
    }

    /** Does what a frame says. An unknown one is ignored. */
    void handle(LeaseResponse frame) {
        lastFrame = System.nanoTime();
        switch (frame.getFrameCase()) {
            case DELIVERY -> attempts.deliver(frame.getDelivery());
            case SETTLED -> answers.settled(frame.getSettled());
            case PONG -> pong(frame.getPong().getSeq());
            case CONTROL -> {
                var cancel = frame.getControl().getCancel();
                cancel.getLeaseIdsList().forEach(lease -> attempts.cancel(lease, cancel.getReason()));
                var revoke = frame.getControl().getRevoke();
                revoke.getLeaseIdsList().forEach(lease -> attempts.revoke(lease, revoke.getReason()));
            }
            default -> {}
        }
    }

    /** Sends one. False: the last two were not answered, and the stream is as good as dead. */
    boolean heartbeat() {
        if (beatSeq - pongSeq >= 2) {
            return false;
        }
        settlements.flush();
        var heartbeat = Heartbeat.newBuilder().setSeq(++beatSeq);
        beatsSent.put(beatSeq, System.nanoTime());
        for (var each : leases.values()) {
            // Those that are settled and wait for the answer alone are no longer held: they should free their slots.
            if (each.alive || each.place != Lease.Place.SENT) {
                heartbeat.addHeld(each.id);
            }
        }
        send(LeaseRequest.newBuilder().setHeartbeat(heartbeat));
        return true;
    }

    private void pong(long seq) {
        pongSeq = Math.max(pongSeq, seq);
        for (var each = beatsSent.entrySet().iterator(); each.hasNext(); ) {
            var beat = each.next();
            if (beat.getKey() > pongSeq) {
                return;
            }
            heard = beat.getValue();
            each.remove();
        }
    }

    /** Stops the handlers if no server can have heard of the session for its ttl, and else looks again. */
    private void stopIfLost() {
        losing = false;
        if (token.isEmpty()) {
            return;
        }
        var left = heard + ttl.toNanos() - System.nanoTime();
        if (left > 0) {
            losing = true;
            later(left, this::stopIfLost);
            return;
        }
        var lost = running().stream()
                .filter(each -> each.place == Lease.Place.RUNNING)
                .toList();
        log.log(
                System.Logger.Level.WARNING,
                "no server was heard for the session''s ttl of {0} s; {1} handlers are stopped",
                ttl.toSeconds(),
                lost.size());
        lost.forEach(each -> attempts.stop(each, Stop.Reason.LOST, "the worker is cut off"));
    }

    void send(LeaseRequest.Builder frame) {
        if (stream != null) {
            stream.send(frame);
        }
    }

    boolean maySettle() {
        return stream != null && !moving;
    }

    void sendSettle(Settle settle) {
        send(LeaseRequest.newBuilder().setSettle(settle));
    }

    void sendDrain() {
        send(LeaseRequest.newBuilder().setDrain(Drain.newBuilder().setReason("the worker is shutting down")));
    }

    void sayCapacity() {
        send(LeaseRequest.newBuilder().setCapacity(capacity.message()));
    }

    /** Every lease whose handler runs, those of earlier sessions included. */
    List<Lease> running() {
        var running = new ArrayList<Lease>(capacity.orphans);
        leases.values().stream().filter(each -> each.alive).forEach(running::add);
        return running;
    }

    void started(Lease lease) {
        if (telling.on()) {
            var attempt = lease.attempt = Observer.Attempt.of(lease.job);
            telling.tell(observer -> observer.attemptStarted(attempt));
        }
    }

    void finished(Lease lease, Observer.Outcome outcome, String error) {
        if (telling.on()) {
            var took = Duration.ofNanos(lease.took);
            telling.tell(observer -> observer.attemptEnded(lease.attempt, outcome, took, error));
        }
    }

    void wake() {
        changed.signalAll();
        wanted.signalAll();
    }

    /** Waits until a condition on the session holds. False: it did not in time. */
    boolean until(Duration within, BooleanSupplier condition) throws InterruptedException {
        var left = Times.nanosOf(within);
        while (!condition.getAsBoolean()) {
            if (left <= 0) {
                return false;
            }
            left = changed.awaitNanos(left);
        }
        return true;
    }
}
