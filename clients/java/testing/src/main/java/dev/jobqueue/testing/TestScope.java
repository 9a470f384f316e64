package dev.jobqueue.testing;

import dev.jobqueue.Client;
import dev.jobqueue.Codec;
import dev.jobqueue.Codecs;
import dev.jobqueue.Filter;
import dev.jobqueue.Job;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import dev.jobqueue.internal.TestHooks;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Collectors;

/**
 * A namespace of a real server, for one test. It sees its own jobs, kinds and queues alone.
 *
 * <pre>{@code
 * try (var scope = server.openScope()) {
 *     scope.client().putKind(Kind.of("welcome"));
 *     signUp(scope.client(), "ada@example.org");
 *     scope.assertEnqueued(Wanted.of("welcome").payload(Map.of("to", "ada@example.org")));
 *     scope.runUntilIdle(worker);
 * }
 * }</pre>
 */
public final class TestScope implements AutoCloseable {
    private static final long POLL_MILLIS = 20;
    // So many jobs a failed assertion shows.
    private static final int SHOWN = 20;

    private final TestServer server;
    private final String namespace = "t-" + UUID.randomUUID().toString().replace("-", "");
    private final String key;
    private final Codec codec = Codecs.jackson();
    private final Client client;
    private boolean closed;

    TestScope(TestServer server) {
        this.server = server;
        key = server.open(namespace);
        client = Client.builder(server.target()).token(key).codec(codec).build();
    }

    /** The server's address. */
    public String target() {
        return server.target();
    }

    /** The name of the namespace. */
    public String namespace() {
        return namespace;
    }

    /** A key that permits everything in it. */
    public String key() {
        return key;
    }

    /** A client of it, whose codec is {@link Codecs#jackson}. */
    public Client client() {
        return client;
    }

    /** What {@link Client#fromEnv} and {@link Worker#fromEnv} need, and the command {@code jobqueue}. */
    public Map<String, String> environment() {
        return Map.of("JOBQUEUE_SERVER", target(), "JOBQUEUE_TOKEN", key);
    }

    /** Begins a worker of the scope, whose codec is {@link Codecs#jackson}. */
    public Worker.Builder worker() {
        return Worker.builder(target()).token(key).codec(codec);
    }

    /** Closes the client and disables the namespace. */
    @Override
    public void close() {
        if (!closed) {
            closed = true;
            client.close();
            server.disable(namespace);
        }
    }

    /** The jobs of the scope that have not ended, the oldest first, with their payloads. */
    public List<Job> enqueued() {
        return enqueued(Wanted.LIVE);
    }

    /** The same with one of these statuses; none: any. */
    public List<Job> enqueued(List<Status> status) {
        var filter =
                Filter.builder().status(status.toArray(Status[]::new)).full().pageSize(1000);
        var found = new ArrayList<>(client.list(filter.build()).toList());
        Collections.reverse(found);
        return List.copyOf(found);
    }

    /** {@link #assertEnqueued(Wanted)} of a kind alone. */
    public List<Job> assertEnqueued(String kind) {
        return assertEnqueued(Wanted.of(kind));
    }

    /**
     * The jobs that are so, judged here, by values.
     *
     * @throws AssertionError there are none, or not so many; it shows what there is
     */
    public List<Job> assertEnqueued(Wanted wanted) {
        var ends = System.nanoTime() + wanted.within.toNanos();
        while (true) {
            var all = enqueued(wanted.status);
            var found = all.stream().filter(job -> wanted.holds(job, codec)).toList();
            if (wanted.count == null ? !found.isEmpty() : found.size() == wanted.count) {
                return found;
            }
            if (System.nanoTime() - ends >= 0) {
                var said = found.isEmpty() ? "no job" : found.size() == 1 ? "1 job" : found.size() + " jobs";
                throw new AssertionError(said + " of " + wanted.words(codec)
                        + (wanted.count == null ? "" : ", not " + wanted.count) + shown(all));
            }
            pause();
        }
    }

    /** {@link #assertNotEnqueued(Wanted)} of a kind alone. */
    public void assertNotEnqueued(String kind) {
        assertNotEnqueued(Wanted.of(kind));
    }

    /**
     * Returns if no job is so.
     *
     * @throws AssertionError there is one
     */
    public void assertNotEnqueued(Wanted wanted) {
        var found = enqueued(wanted.status).stream()
                .filter(job -> wanted.holds(job, codec))
                .toList();
        if (!found.isEmpty()) {
            throw new AssertionError(
                    "%d of %s, and there should be none%s".formatted(found.size(), wanted.words(codec), shown(found)));
        }
    }

    /** What is enqueued while something runs, the oldest first. */
    public List<Job> recorded(ThrowingRunnable what) throws Exception {
        var before = enqueued(List.of()).stream().map(Job::id).collect(Collectors.toSet());
        what.run();
        return enqueued(List.of()).stream()
                .filter(job -> !before.contains(job.id()))
                .toList();
    }

    /** What may throw. */
    @FunctionalInterface
    public interface ThrowingRunnable {
        /** Runs it. */
        void run() throws Exception;
    }

    /**
     * Lets jobs start now that wait for their time or for their backoff: {@code runAt} becomes now. It is the job that
     * changes; time goes on as it does.
     *
     * @throws AssertionError one of them does not wait
     */
    public void makeDue(Job... jobs) {
        if (jobs.length == 0) { // a filter without ids would be of all jobs
            return;
        }
        var changed = TestHooks.get()
                .makeDue(client, List.of(jobs).stream().map(Job::id).toList());
        if (changed != jobs.length) {
            throw new AssertionError("%d of %d jobs waited".formatted(changed, jobs.length));
        }
    }

    /** What an ordinary failure does; Retry, Discard, Snooze and Cancelled are none. */
    public enum Failures {
        /** It ends the run, and is thrown as itself. */
        RAISE,
        /** It is the job's alone. */
        KEEP,
        /** So it is, and backoffs are made due at once. */
        RETRY
    }

    /** {@link #runUntilIdle(Worker, Failures, int, Duration)} that throws failures, for 1000 jobs and 10 s at most. */
    public Idle runUntilIdle(Worker worker) throws Exception {
        return runUntilIdle(worker, Failures.RAISE);
    }

    /** The same with failures of another sort. */
    public Idle runUntilIdle(Worker worker, Failures failures) throws Exception {
        return runUntilIdle(worker, failures, 1000, Duration.ofSeconds(10));
    }

    /**
     * Runs a worker's handlers in this process until no job that they take is due or runs, follow-ups too.
     *
     * <p>Jobs that wait for their time, a backoff, a hold or a limit are not waited for: {@link Idle#waiting} says why each
     * waits.
     *
     * @param worker its handlers, queues and slots; whatever server it is for, it serves this scope
     * @param failures what an ordinary failure does
     * @param limit so many jobs at most may be there
     * @param within how long it may take
     * @throws Exception what a handler threw
     * @throws StillRunning it takes longer; it says what runs and what is due
     * @throws AssertionError there are more jobs than the limit
     */
    public Idle runUntilIdle(Worker worker, Failures failures, int limit, Duration within) throws Exception {
        return new Working(this, worker, failures, limit).run(within);
    }

    private String shown(List<Job> jobs) {
        if (jobs.isEmpty()) {
            return ". The scope has no job of this status";
        }
        var more = jobs.size() > SHOWN ? "\n  and %d more".formatted(jobs.size() - SHOWN) : "";
        return jobs.stream()
                .limit(SHOWN)
                .map(TestScope::line)
                .collect(Collectors.joining("\n", ". There are:\n", more));
    }

    private static String line(Job job) {
        var due = Wanted.dueIn(job);
        return "  %s %s queue %s"
                        .formatted(
                                job.kind(), job.payload().map(Object::toString).orElse("null"), job.queue())
                + (job.labels().isEmpty() ? "" : " labels " + job.labels())
                + (job.key().isEmpty() ? "" : " key " + job.key())
                + (Wanted.LIVE.contains(job.status()) ? "" : ", " + job.status())
                + (due.compareTo(Duration.ofSeconds(1)) > 0
                        ? ", due in " + Duration.ofSeconds(Math.round(due.toMillis() / 1e3))
                        : "");
    }

    static void pause() {
        try {
            Thread.sleep(POLL_MILLIS);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
            throw new AssertionError("interrupted");
        }
    }
}
