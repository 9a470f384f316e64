package dev.jobqueue;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Runs jobs: holds one stream to a server, is handed jobs over it, and runs a handler for each in a thread of its own.
 * Making one connects to nothing.
 *
 * <p>A lost server is no error: jobs run on, and the worker tries again for ever. {@link #run} and {@link #serve} throw
 * what no other try will mend: the first server refused the worker, for example for a queue's name.
 */
public final class Worker implements AutoCloseable {
    /** The version of this library. */
    public static final String VERSION = "0.1.0";

    static final System.Logger LOG = System.getLogger("dev.jobqueue");

    /** What a worker was told at its making. */
    record Settings(
            List<String> targets,
            Access.Connection connection,
            Codec codec,
            Executor executor,
            List<String> queues,
            int concurrency,
            String name,
            Map<String, String> labels,
            Duration sessionTtl,
            Duration shutdownGrace,
            boolean stopWhenLost,
            InetSocketAddress health,
            List<Middleware> middleware,
            Encodings encodings,
            boolean syncKinds) {}

    final Settings settings;
    private final Telling telling;
    private final Instant made = Instant.now();
    final Handlers handlers = new Handlers();
    private final Object guard = new Object();
    /** The typed kinds that it has handlers of. */
    private final List<JobKind<?, ?>> typed = new ArrayList<>();

    private volatile Session session;
    /** How the last session ended; null: none has. */
    private volatile WorkerStatus last;
    /** It ended by an error. */
    private volatile boolean failed;

    private Health health;
    private Link link;
    private CountDownLatch left;
    private boolean paused;
    private boolean closed;

    private Worker(Settings settings, Observer observer, boolean paused) {
        this.settings = settings;
        this.paused = paused;
        telling = new Telling(observer);
    }

    /**
     * Begins a worker for the server of an address, and for more to be tried when it is lost.
     *
     * @throws JobQueueException.InvalidRequest one is no host with a port, nor of a scheme of gRPC
     */
    public static Builder builder(String target, String... more) {
        return new Builder(target, more);
    }

    /**
     * Begins a worker from the environment, by the names of the command line: {@code JOBQUEUE_SERVER} (default {@code
     * 127.0.0.1:50051}), {@code JOBQUEUE_TOKEN}, and for TLS {@code JOBQUEUE_TLS_ROOTS} (a PEM file, or {@code public}),
     * {@code JOBQUEUE_TLS_CLIENT_CERT} and {@code JOBQUEUE_TLS_CLIENT_KEY}. Of the worker service it
     * reads {@code JOBQUEUE_QUEUES}, with commas between them, {@code JOBQUEUE_WORKER_NAME} and {@code WORKER_CONCURRENCY}, where
     * they are set.
     *
     * @throws IllegalArgumentException a value is out of its range, or of the files of a certificate one is not named
     * @throws java.io.UncheckedIOException a file can't be read
     */
    public static Builder fromEnv() {
        return from(new Environment(System.getenv()));
    }

    static Builder from(Environment environment) {
        var builder = builder(environment.server()).credentials(environment);
        var queues = environment.get("JOBQUEUE_QUEUES").stream()
                .flatMap(all -> Stream.of(all.split(",")))
                .map(String::strip)
                .filter(each -> !each.isEmpty())
                .toArray(String[]::new);
        if (queues.length > 0) {
            builder.queues(queues);
        }
        environment.get("JOBQUEUE_WORKER_NAME").ifPresent(builder::name);
        environment.get("WORKER_CONCURRENCY").ifPresent(jobs -> builder.concurrency(whole("WORKER_CONCURRENCY", jobs)));
        return builder;
    }

    private static int whole(String name, String value) {
        try {
            return Integer.parseInt(value);
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException("%s is \"%s\"; it is a number".formatted(name, value), error);
        }
    }

    /** {@link #handle(String, HandlerOptions, Handler)} with the defaults. */
    public Worker handle(String kind, Handler handler) {
        return handle(kind, HandlerOptions.DEFAULT, handler);
    }

    /**
     * Makes a function the handler of a kind.
     *
     * @throws IllegalArgumentException the kind has one already, which is named
     * @throws IllegalStateException the worker runs
     */
    public Worker handle(String kind, HandlerOptions options, Handler handler) {
        Objects.requireNonNull(handler, "handler");
        return add(List.of(kind), new Handlers.Entry(handler, null, options, handler), null);
    }

    /** {@link #handle(JobKind, HandlerOptions, TypedHandler)} with the defaults. */
    public <P, O> Worker handle(JobKind<P, O> kind, TypedHandler<? super P, ? extends O> handler) {
        return handle(kind, HandlerOptions.DEFAULT, handler);
    }

    /**
     * Makes a function the handler of a typed kind, and of its older names. It is called with payloads of the kind's type
     * alone. A payload that is not what its version says ends its job, FAILED_PERMANENT, as {@link PayloadUnreadable}; one
     * of a later version is put off, 20 times by 15 s to 2 min, and fails then as {@link PayloadTooNew}.
     *
     * @throws IllegalArgumentException the kind has one already, which is named; or the worker has no codec, and the kind is
     *     not of {@link Json} alone
     * @throws EncodingRequired the kind takes encrypted payloads alone, and the worker does not encrypt
     * @throws IllegalStateException the worker runs
     */
    public <P, O> Worker handle(
            JobKind<P, O> kind, HandlerOptions options, TypedHandler<? super P, ? extends O> handler) {
        Objects.requireNonNull(handler, "handler");
        return add(kind, new Handlers.Entry(kind.taking(handler), null, options, handler));
    }

    /** {@link #handleAsync(String, HandlerOptions, AsyncHandler)} with the defaults. */
    public Worker handleAsync(String kind, AsyncHandler handler) {
        return handleAsync(kind, HandlerOptions.DEFAULT, handler);
    }

    /** {@link #handle(String, HandlerOptions, Handler)} for a function that answers before its attempt is over. */
    public Worker handleAsync(String kind, HandlerOptions options, AsyncHandler handler) {
        Objects.requireNonNull(handler, "handler");
        return add(List.of(kind), new Handlers.Entry(null, handler, options, handler), null);
    }

    /** {@link #handleAsync(JobKind, HandlerOptions, TypedAsyncHandler)} with the defaults. */
    public <P, O> Worker handleAsync(JobKind<P, O> kind, TypedAsyncHandler<? super P, O> handler) {
        return handleAsync(kind, HandlerOptions.DEFAULT, handler);
    }

    /** {@link #handle(JobKind, HandlerOptions, TypedHandler)} for a function that answers before its attempt is over. */
    public <P, O> Worker handleAsync(
            JobKind<P, O> kind, HandlerOptions options, TypedAsyncHandler<? super P, O> handler) {
        Objects.requireNonNull(handler, "handler");
        return add(kind, new Handlers.Entry(null, kind.takingAsync(handler), options, handler));
    }

    private static List<String> names(JobKind<?, ?> kind) {
        return Stream.concat(Stream.of(kind.name()), kind.aliases().stream()).toList();
    }

    private Worker add(JobKind<?, ?> kind, Handlers.Entry entry) {
        var encodings = settings.encodings();
        if (kind.rule() == Encodings.Rule.REQUIRED && (encodings == null || !encodings.encrypts())) {
            throw new EncodingRequired(
                    "the kind %s takes encrypted payloads alone: give the worker encodings that encrypt"
                            .formatted(kind.name()));
        }
        if (settings.codec() == NoCodec.INSTANCE && kind.needsCodec()) {
            throw new IllegalArgumentException(
                    "%s can't be read and written without a codec: make the worker with one, such as Codecs.jackson()"
                            .formatted(kind));
        }
        synchronized (guard) {
            add(names(kind), entry, kind.rule());
            typed.add(kind);
            return this;
        }
    }

    private Worker add(List<String> names, Handlers.Entry entry, Encodings.Rule rule) {
        synchronized (guard) {
            if (session != null) {
                throw new IllegalStateException("the worker runs: give it its handlers before");
            }
            var around = settings.middleware().isEmpty() ? entry : Around.added(entry, settings.middleware(), names);
            var coded = settings.encodings() == null
                    ? around
                    : Coding.of(settings.encodings(), rule).around(around);
            handlers.add(names, coded, settings.queues());
            return this;
        }
    }

    /**
     * Serves until SIGTERM or Ctrl-C, then drains and returns: no new jobs, running ones finish within the grace, others
     * go back uncharged. A second signal ends the process at once, in a runtime with the module {@code jdk.unsupported}.
     */
    public void run() {
        var signals = Signals.handle(this::stop);
        try {
            serve();
        } finally {
            signals.close();
        }
    }

    /**
     * {@link #run} without signals: until {@link #stop}, {@link #close} or an interrupt, of which each drains. A program that
     * does more than this gives it a thread: {@code new Thread(worker::serve).start()}.
     *
     * @throws IllegalStateException there are no handlers, the worker runs already or is closed, or the address of
     *     {@link Builder#health} can't be listened on
     */
    public void serve() {
        Link kept;
        CountDownLatch done;
        synchronized (guard) {
            if (handlers.isEmpty()) {
                throw new IllegalStateException("the worker has no handlers: give it one by handle()");
            }
            if (session != null || closed) {
                throw new IllegalStateException(closed ? "the worker is closed" : "the worker runs already");
            }
            if (settings.health() != null && health == null) {
                health = new Health(settings.health(), this);
            }
            failed = false;
            var unknown = last == null ? List.<String>of() : last.unknownKinds();
            var begun = new Session(settings, handlers.copy(), telling, paused, unknown);
            if (health != null) {
                begun.tick();
            }
            session = begun;
            kept = link = new Link(begun, settings.syncKinds() ? List.copyOf(typed) : List.of());
            done = left = new CountDownLatch(1);
        }
        RuntimeException failure = null;
        try {
            serve(kept);
        } catch (RuntimeException error) {
            failure = error;
            throw error;
        } finally {
            synchronized (guard) {
                ended(session, failure);
                session = null;
                link = null;
            }
            telling.flush(Duration.ofSeconds(1));
            done.countDown();
        }
    }

    /** A session has ended; by an error, or by null. */
    private void ended(Session over, RuntimeException error) {
        over.locked(() -> {
            over.end(error);
            last = over.status();
        });
        failed = error != null;
        // After an error it goes on to say so, until the worker is closed or the process ends.
        if (!failed) {
            closeHealth();
        }
    }

    private void closeHealth() {
        if (health != null) {
            health.close();
            health = null;
        }
    }

    /** How the worker is now. */
    public WorkerStatus status() {
        var running = session;
        if (running == null) {
            return idle();
        }
        running.lock.lock();
        try {
            return running.status();
        } finally {
            running.lock.unlock();
        }
    }

    private WorkerStatus idle() {
        var ended = last;
        if (ended != null) {
            return ended;
        }
        List<String> kinds;
        boolean idle;
        synchronized (guard) {
            kinds = handlers.kinds();
            idle = paused;
        }
        return new WorkerStatus(
                WorkerStatus.State.STARTING,
                "",
                0,
                made,
                Optional.empty(),
                idle ? 0 : settings.concurrency(),
                0,
                0,
                kinds,
                List.of(),
                "",
                0);
    }

    /** What {@code /readyz} or {@code /livez} answers. A session that gives no answer in time is not well. */
    Health.Answer health(boolean readiness, Duration within) {
        var running = session;
        if (running == null) {
            return new Health.Answer(!readiness && !failed, idle().asJson().text() + "\n");
        }
        try {
            if (running.lock.tryLock(within.toNanos(), TimeUnit.NANOSECONDS)) {
                try {
                    return new Health.Answer(
                            readiness ? running.ready() : running.live(),
                            running.status().asJson().text() + "\n");
                } finally {
                    running.lock.unlock();
                }
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        return new Health.Answer(!readiness && running.live(), "{}\n");
    }

    private void serve(Link kept) {
        var keeper = new Keeper(kept);
        keeper.start();
        var interrupted = false;
        while (true) {
            try {
                keeper.join();
                break;
            } catch (InterruptedException error) {
                // Once drains, twice ends.
                if (interrupted) {
                    kept.end();
                } else {
                    stop();
                }
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        keeper.rethrow();
    }

    /** Holds the session, in a thread that is never interrupted. */
    private static final class Keeper extends Thread {
        private final Link link;
        private Throwable failure;

        Keeper(Link link) {
            super("jobqueue-worker");
            setDaemon(true);
            this.link = link;
        }

        @Override
        public void run() {
            try {
                link.run();
            } catch (InterruptedException | RuntimeException | Error error) {
                failure = error;
            }
        }

        void rethrow() {
            if (failure instanceof JobQueueException known) {
                known.fillInStackTrace();
                throw known;
            }
            if (failure != null) {
                throw new IllegalStateException("the worker has failed", failure);
            }
        }
    }

    /**
     * Begins to drain, and does not wait: {@link #run} and {@link #serve} return when it is through. Without effect on a worker
     * that does not run yet.
     */
    public void stop() {
        stop(settings.shutdownGrace());
    }

    /** {@link #stop()} with another grace for the handlers. */
    public void stop(Duration grace) {
        Objects.requireNonNull(grace, "grace");
        synchronized (guard) {
            if (link != null) {
                var leaving = link;
                var drain = new Thread(() -> leaving.drain(grace), "jobqueue-drain");
                drain.setDaemon(true);
                drain.start();
            }
        }
    }

    /** Drains, and waits until it is through. The worker can't be used any more. An interrupt ends the waiting. */
    @Override
    public void close() {
        CountDownLatch ends;
        synchronized (guard) {
            closed = true;
            ends = left;
        }
        stop();
        if (ends != null) {
            try {
                ends.await();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }
        synchronized (guard) {
            if (session == null) {
                closeHealth();
            }
        }
    }

    /** Takes no more jobs until {@link #resume}, also where it does not run yet; running ones run on. */
    public void pause() {
        pause(true);
    }

    /** Takes jobs again. */
    public void resume() {
        pause(false);
    }

    private void pause(boolean value) {
        synchronized (guard) {
            paused = value;
            if (session != null) {
                var running = session;
                running.locked(() -> {
                    running.capacity.paused = value;
                    running.sayCapacity();
                });
            }
        }
    }

    /** Makes a worker. */
    public static final class Builder extends Access<Builder> {
        private final List<String> targets = new ArrayList<>();
        private List<String> queues = List.of("default");
        private int concurrency = 8;
        private String name;
        private Map<String, String> labels = Map.of();
        private Duration sessionTtl;
        private Duration shutdownGrace = Duration.ofSeconds(30);
        private boolean stopWhenLost;
        private ThreadFactory threads;
        private Executor executor;
        private boolean paused;
        private InetSocketAddress health;
        private boolean syncKinds;

        private Builder(String target, String... more) {
            targets.add(Objects.requireNonNull(target, "target"));
            targets.addAll(List.of(more));
            targets.forEach(Targets::checked);
        }

        @Override
        Builder self() {
            return this;
        }

        /** Which queues to take jobs from. They take turns. Default: {@code default}. */
        public Builder queues(String... queues) {
            this.queues = List.of(queues);
            check(queues.length > 0, "queues is empty: name at least one, for example \"default\"");
            return this;
        }

        /** How many jobs run at once, 1..10,000. Default 8. */
        public Builder concurrency(int concurrency) {
            check(concurrency >= 1 && concurrency <= 10_000, "concurrency is " + concurrency + "; it is 1 to 10000");
            this.concurrency = concurrency;
            return this;
        }

        /** For people; shown as {@link Job#lockedBy}; 1..128 characters. Default: host and process id. */
        public Builder name(String name) {
            var length = name.codePointCount(0, name.length());
            check(length >= 1 && length <= 128, "name has " + length + " characters; it has 1 to 128");
            this.name = name;
            return this;
        }

        /** The worker's own labels, for people. */
        public Builder labels(Map<String, String> labels) {
            this.labels = Map.copyOf(labels);
            return this;
        }

        /**
         * How long the worker may be silent before its jobs are given to others, 5 s to 1 h. Default: the server's, 30 s.
         */
        public Builder sessionTtl(Duration ttl) {
            check(
                    ttl.compareTo(Duration.ofSeconds(5)) >= 0 && ttl.compareTo(Duration.ofHours(1)) <= 0,
                    "sessionTtl is " + ttl + "; it is 5 seconds to 1 hour");
            sessionTtl = ttl;
            return this;
        }

        /** How long a drain lets handlers run on before it stops them and gives their jobs back. Default: 30 s. */
        public Builder shutdownGrace(Duration grace) {
            check(!grace.isNegative(), "shutdownGrace is " + grace + "; it must not be negative");
            shutdownGrace = grace;
            return this;
        }

        /**
         * Whether a worker that has heard no server for its session's ttl, by its own monotonic clock, stops its handlers
         * ({@link Stop.Reason#LOST}): their jobs may run elsewhere by now. What they answer is sent all the same if the
         * session can be resumed; one that stopped for it gives its job back. Default: false, they run on.
         */
        public Builder stopWhenLost(boolean stop) {
            stopWhenLost = stop;
            return this;
        }

        /** Makes the threads of handlers. Default: virtual ones where the runtime has them, else daemons. */
        public Builder threads(ThreadFactory threads) {
            this.threads = Objects.requireNonNull(threads, "threads");
            return this;
        }

        /** Runs handlers in these threads. */
        Builder executor(Executor executor) {
            this.executor = executor;
            return this;
        }

        private Executor executor() {
            if (executor != null) {
                return executor;
            }
            return threads == null ? Threads.perTask() : Threads.perTask(threads);
        }

        /** Whether the worker takes no jobs before {@link Worker#resume}. Default: false. */
        public Builder paused(boolean paused) {
            this.paused = paused;
            return this;
        }

        /**
         * Answers {@code /livez} and {@code /readyz} over HTTP at an address of this host, such as {@code 127.0.0.1:8081},
         * while the worker runs; after an error until it is closed. It takes a runtime with the module {@code
         * jdk.httpserver}. Default: off.
         *
         * <p>{@code /livez} is 200 unless the session has stood still for the longer of its ttl and 30 s, or has ended by an
         * error; never because a server is away. {@code /readyz} is 200 while the worker serves, or has been without a
         * server for less than the ttl; else 503. Both have {@link Worker#status} as JSON.
         *
         * @throws IllegalArgumentException it is no address and port
         */
        public Builder health(String address) {
            health = Health.address(address);
            return this;
        }

        /**
         * Whether the worker tells the server what its typed kinds are, as {@link Client#syncKinds} does, before it takes jobs.
         * Its key then needs OPERATE on them in all queues. It waits for a server as it does for its session. Default: false.
         */
        public Builder syncKinds(boolean sync) {
            syncKinds = sync;
            return this;
        }

        /** The worker; it connects when it runs. */
        public Worker build() {
            return new Worker(
                    new Settings(
                            List.copyOf(targets),
                            connection(),
                            codec(),
                            executor(),
                            queues,
                            concurrency,
                            name == null ? defaultName() : name,
                            labels,
                            sessionTtl,
                            shutdownGrace,
                            stopWhenLost,
                            health,
                            middleware(),
                            encodings(),
                            syncKinds),
                    observer(),
                    paused);
        }

        private static String defaultName() {
            var host = "localhost";
            try {
                host = InetAddress.getLocalHost().getHostName();
            } catch (UnknownHostException error) {
                // A host that does not know its own name has a process id all the same.
            }
            return host.substring(0, Math.min(100, host.length())) + ":"
                    + ProcessHandle.current().pid();
        }

        private static void check(boolean right, String otherwise) {
            if (!right) {
                throw new IllegalArgumentException(otherwise);
            }
        }
    }
}
