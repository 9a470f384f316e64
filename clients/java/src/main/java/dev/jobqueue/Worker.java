package dev.jobqueue;

import java.net.InetAddress;
import java.net.UnknownHostException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ThreadFactory;

/**
 * Runs jobs: holds one stream to a server, is handed jobs over it, and runs a handler for each in a thread of its own.
 * Making one connects to nothing.
 *
 * <p>A lost server is no error: jobs run on, and the worker tries again for ever. {@link #run} and {@link #serve} throw
 * what no other try will mend: the first server refused the worker, for example for a queue's name.
 */
public final class Worker implements AutoCloseable {
    static final String VERSION = "0.1.0";
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
            Observer observer) {}

    private final Settings settings;
    private final Handlers handlers = new Handlers();
    private final Object guard = new Object();
    private Session session;
    private Link link;
    private CountDownLatch left;
    private boolean paused;
    private boolean closed;

    private Worker(Settings settings) {
        this.settings = settings;
    }

    /** Begins a worker for the server of an address, and for more to be tried when it is lost. */
    public static Builder builder(String target, String... more) {
        return new Builder(target, more);
    }

    /** {@link #handle(String, HandlerOptions, Handler)} with the defaults. */
    public Worker handle(String kind, Handler handler) {
        return handle(kind, HandlerOptions.DEFAULT, handler);
    }

    /**
     * Makes a function the handler of a kind.
     *
     * @throws IllegalArgumentException the kind has one already
     * @throws IllegalStateException the worker runs
     */
    public Worker handle(String kind, HandlerOptions options, Handler handler) {
        return add(kind, new Handlers.Entry(Objects.requireNonNull(handler, "handler"), null, options));
    }

    /** {@link #handleAsync(String, HandlerOptions, AsyncHandler)} with the defaults. */
    public Worker handleAsync(String kind, AsyncHandler handler) {
        return handleAsync(kind, HandlerOptions.DEFAULT, handler);
    }

    /** {@link #handle(String, HandlerOptions, Handler)} for a function that answers before its attempt is over. */
    public Worker handleAsync(String kind, HandlerOptions options, AsyncHandler handler) {
        return add(kind, new Handlers.Entry(null, Objects.requireNonNull(handler, "handler"), options));
    }

    private Worker add(String kind, Handlers.Entry entry) {
        synchronized (guard) {
            if (session != null) {
                throw new IllegalStateException("the worker runs: give it its handlers before");
            }
            handlers.add(kind, entry);
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

    /** {@link #run} without signals: until {@link #stop}, {@link #close} or an interrupt, of which each drains. */
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
            session = new Session(settings, handlers.copy());
            kept = link = new Link(session);
            done = left = new CountDownLatch(1);
            session.capacity.paused = paused;
        }
        try {
            serve(kept);
        } finally {
            synchronized (guard) {
                session = null;
                link = null;
            }
            done.countDown();
        }
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

    /** Begins to drain, and does not wait: {@link #run} and {@link #serve} return when it is through. */
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
    }

    /** Takes no more jobs until {@link #resume}; running ones run on. */
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
        private Observer observer = new Observer() {};

        private Builder(String target, String... more) {
            targets.add(Objects.requireNonNull(target, "target"));
            targets.addAll(List.of(more));
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

        /** Is told of starts and ends, for metrics. Default: none. */
        public Builder observer(Observer observer) {
            this.observer = Objects.requireNonNull(observer, "observer");
            return this;
        }

        /** The worker; it connects when it runs. */
        public Worker build() {
            return new Worker(new Settings(
                    List.copyOf(targets),
                    connection(),
                    codec(),
                    threads == null ? Threads.perTask() : Threads.perTask(threads),
                    queues,
                    concurrency,
                    name == null ? defaultName() : name,
                    labels,
                    sessionTtl,
                    shutdownGrace,
                    stopWhenLost,
                    observer));
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
