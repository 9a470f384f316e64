package dev.jobqueue;

import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * A connection to a JobQueue server. Make one and keep it; it may be used by many threads at once.
 *
 * <p>Every method may throw a {@link JobQueueException}. Reads, and what changes nothing when done twice, are tried again
 * while no server answers; so is an enqueue that carries an idempotency key, and no other. A method waits for its answer;
 * an interrupt cancels the call and throws {@link java.util.concurrent.CancellationException}, and the thread stays
 * interrupted. {@link #async} has the same methods without waiting.
 */
public final class Client implements Enqueuer, AutoCloseable {
    private final Calls calls;
    private final Codec codec;
    private final Telling telling;
    private final Duration deadline;
    private final List<Middleware> middleware;
    private final Encodings encodings;
    private final AsyncClient async;

    private Client(
            Calls calls,
            Codec codec,
            Telling telling,
            List<Middleware> middleware,
            Encodings encodings,
            Duration deadline) {
        this.calls = calls;
        this.codec = codec;
        this.telling = telling;
        this.middleware = middleware;
        this.encodings = encodings;
        this.deadline = deadline;
        async = new AsyncClient(calls, codec, telling, middleware, encodings, deadline);
    }

    /**
     * A client without TLS and tokens; it connects at the first call.
     *
     * @param target the server's address, for example {@code 127.0.0.1:50051} or {@code dns:///jobs.internal:50051}
     * @throws JobQueueException.InvalidRequest it is no host with a port, nor of a scheme of gRPC
     */
    public static Client of(String target) {
        return builder(target).build();
    }

    /**
     * Begins a client for the server of an address.
     *
     * @throws JobQueueException.InvalidRequest it is no host with a port, nor of a scheme of gRPC
     */
    public static Builder builder(String target) {
        return new Builder(target);
    }

    /**
     * Begins a client from the environment, by the names of the command line: {@code JOBQUEUE_SERVER} (default {@code
     * 127.0.0.1:50051}), {@code JOBQUEUE_TOKEN}, and for TLS {@code JOBQUEUE_TLS_ROOTS} (a PEM file, or {@code public}),
     * {@code JOBQUEUE_TLS_CLIENT_CERT} and {@code JOBQUEUE_TLS_CLIENT_KEY}.
     *
     * @throws IllegalArgumentException of the files of a certificate one is not named
     * @throws java.io.UncheckedIOException a file can't be read
     */
    public static Builder fromEnv() {
        return from(new Environment(System.getenv()));
    }

    static Builder from(Environment environment) {
        var builder = builder(environment.server()).credentials(environment);
        builder.ofEnvironment = true;
        return builder;
    }

    /** The same client with another limit for each call, all tries together. Closing either closes both. */
    public Client withDeadline(Duration deadline) {
        return new Client(calls, codec, telling, middleware, encodings, Objects.requireNonNull(deadline, "deadline"));
    }

    /** The same methods without waiting. */
    public AsyncClient async() {
        return async;
    }

    /** Ends the connection and every call on it. */
    @Override
    public void close() {
        calls.channel.shutdownNow();
    }

    /**
     * Enqueues one job. Once it returns, the job is committed.
     *
     * <p>Without a key an error may leave open whether the job was enqueued. With one the client repeats the call safely,
     * and so may you. The job is as it was enqueued; if the key was used before, as it is now, and {@code replayed()};
     * if another job holds the name of {@link NewJob.Builder#unique}, that job, and {@code uniqueAction()} says what was done with it.
     *
     * @throws EncodingRequired the kind takes encrypted payloads alone, and this client does not encrypt
     * @throws KeyUnknown the encodings have no primary key
     * @throws IllegalArgumentException of a client with encodings: the payload makes the job unique
     */
    @Override
    public Job enqueue(NewJob job) {
        return Futures.await(async.enqueue(job));
    }

    /**
     * Enqueues many jobs, in batches of up to 1000 and 3 MiB; each batch all or none. A batch of which each job has a key
     * is tried again where one without may not be. With middleware or encodings all are read before the first is sent.
     *
     * @return one for each job, in their order
     * @throws JobQueueException {@code enqueued()} has the jobs of the batches before, which are committed; the paths in
     *     {@code violations()} count from the first job of all
     * @throws EncodingRequired a kind takes encrypted payloads alone, and this client does not encrypt
     * @throws KeyUnknown the encodings have no primary key
     * @throws IllegalArgumentException of a client with encodings: a payload makes its job unique
     */
    @Override
    public List<EnqueueResult> enqueueMany(Collection<NewJob> jobs) {
        return Futures.await(async.enqueueMany(jobs));
    }

    /** Reads a job, in full. */
    public Job get(String id) {
        return Futures.await(async.get(id));
    }

    /** All jobs that match, newest first, read page by page as they are asked for. */
    public Stream<Job> list(Filter filter) {
        return Pages.stream(token -> listPage(filter, token), Page::jobs, Page::nextPageToken);
    }

    /** One page of jobs, newest first. An empty token: the first one. */
    public Page listPage(Filter filter, String pageToken) {
        return Futures.await(async.listPage(filter, pageToken));
    }

    /** {@link #cancel(String, String)} without a reason. */
    public Cancellation cancel(String id) {
        return cancel(id, "");
    }

    /** Cancels a job: a waiting job at once; of a running one the server asks its worker. The reason is for people. */
    public Cancellation cancel(String id, String reason) {
        return Futures.await(async.cancel(id, reason));
    }

    /** Makes a terminal job QUEUED again. It keeps its history; its failures and losses become 0. */
    public Job retry(String id) {
        return Futures.await(async.retry(id));
    }

    /** Lets a job go that was enqueued with {@code hold}: it waits for its time and a worker, as any job. */
    public Job release(String id) {
        return Futures.await(async.release(id));
    }

    /** Deletes a terminal job and its history. */
    public void delete(String id) {
        Futures.await(async.delete(id));
    }

    /** {@link #waitFor(String, Duration)} without end. */
    public Job waitFor(String id) {
        return waitFor(id, Times.FOREVER);
    }

    /**
     * Waits until a job has ended.
     *
     * @return the job, in full, with a terminal status
     * @throws JobQueueException.WaitTimeout it was not over in time. After a second or more it has a summary that says why:
     *     a server is asked for it, which takes a second more at most
     */
    public Job waitFor(String id, Duration timeout) {
        return Futures.await(async.waitFor(id, timeout));
    }

    /**
     * Asks why a job waits, and what would start it.
     *
     * @throws JobQueueException.JobNotFound no job has this id
     */
    public Explanation explain(String id) {
        return Futures.await(async.explain(id));
    }

    /**
     * Watches jobs; nothing is sent before the watch is used.
     *
     * <p>Each change of a job is followed by the job as it then is, or as it is later: steps may be skipped, a terminal
     * status is not, unless the job was retried or deleted meanwhile. With ids each job is answered as it is,
     * then whenever it changes; without, what changes from {@link Watch#begin} on is told, for ever.
     */
    public Watch watch(WatchFilter filter) {
        return new Watch(calls.channel, calls.options, filter, deadline, codec, encodings);
    }

    /** Asks how the queues are doing: what happens, what waits, who works, what is wrong. */
    public Overview overview() {
        return Futures.await(async.overview());
    }

    /**
     * Asks so every 2 s; nothing is sent before the watch is used. It goes on until it is closed, and tries for as long as the
     * deadline while no server answers.
     */
    public OverviewWatch watchOverview() {
        return new OverviewWatch(calls.channel, calls.options, deadline);
    }

    /**
     * Asks what happened to jobs in a time, in steps.
     *
     * @throws JobQueueException.InvalidRequest {@code since} is not before {@code until}, or the step makes more than 720 points
     */
    public Stats stats(StatsQuery query) {
        return Futures.await(async.stats(query));
    }

    /**
     * Counts the jobs that {@link #list} lists.
     *
     * <p>The server counts for 2 s at most, and keeps the answer for a minute. It reads each job, so it is for a single
     * question; for what is shown all the time there are {@link #overview} and {@link #stats}.
     */
    public JobCount countJobs(Filter filter) {
        return Futures.await(async.countJobs(filter));
    }

    /** The servers that run on the database, by name. */
    public List<ServerInfo> listServers() {
        return Futures.await(async.listServers());
    }

    /** Declares a kind, or replaces it as a whole. */
    public Kind putKind(Kind kind) {
        return Futures.await(async.putKind(kind));
    }

    /** {@link #syncKinds(Collection)} of these. */
    public List<SyncedKind> syncKinds(JobKind<?, ?>... kinds) {
        return syncKinds(List.of(kinds));
    }

    /**
     * Tells the server what typed kinds are: for each one its version, and its schemas where it has them.
     *
     * <p>Of the rest it says {@code maxAttempts}, {@code timeout}, {@code retryPolicy} and {@code slotWeight} where the
     * declaration has them; what it does not name stays as an operator set it. A client with encodings says that payloads may
     * be encoded, but for kinds that say otherwise. A kind of which the server has a higher version stays as it is. One that
     * the server does not know is made. It takes a call for each kind, one after the other.
     *
     * @return what was done, in the same order
     * @throws JobQueueException.InvalidRequest a schema is no JSON Schema, or too large
     * @throws JobQueueException.NotAllowed the caller may not declare a kind: that takes OPERATE on it in all queues. Those
     *     before it are declared
     * @throws JobQueueException.ServersDiffer an older server runs, which would replace what is not named
     * @throws JobQueueException.NotSupported the server is older, and has done so
     */
    public List<SyncedKind> syncKinds(Collection<? extends JobKind<?, ?>> kinds) {
        return Futures.await(async.syncKinds(kinds));
    }

    /** All kinds, in order of their names. */
    public List<Kind> listKinds() {
        return Futures.await(async.listKinds());
    }

    /** All queues, in order of their names. */
    public List<Queue> listQueues() {
        return Futures.await(async.listQueues());
    }

    /**
     * Reads a queue.
     *
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in it
     */
    public Queue getQueue(String name) {
        return Futures.await(async.getQueue(name));
    }

    /**
     * Asks how many slots of workers a queue wants. The answer may be a second old.
     *
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in it
     */
    public QueueDemand getQueueDemand(String name) {
        return Futures.await(async.getQueueDemand(name));
    }

    /** The workers of all servers that match, those first that came last. */
    public List<WorkerSession> listWorkers(WorkerFilter filter) {
        return Futures.await(async.listWorkers(filter));
    }

    /**
     * Reads a worker, with the jobs that it holds.
     *
     * @throws JobQueueException.WorkerNotFound no open session has this number
     */
    public WorkerSession getWorker(String sessionId) {
        return Futures.await(async.getWorker(sessionId));
    }

    /** {@link #drainWorker(String, String)} without a reason. */
    public WorkerSession drainWorker(String sessionId) {
        return drainWorker(sessionId, "");
    }

    /**
     * Gives a worker no more jobs, for good. It finishes what it holds; then its operator stops it. The reason is for people.
     *
     * @throws JobQueueException.WorkerNotFound no open session has this number
     * @throws JobQueueException.NotAllowed it takes something on which these credentials permit no OPERATE
     * @throws JobQueueException.ServersDiffer an older server runs, which would give it jobs all the same
     */
    public WorkerSession drainWorker(String sessionId, String reason) {
        return Futures.await(async.drainWorker(sessionId, reason));
    }

    /** {@link #pauseQueue(String, String)} without a reason. */
    public Queue pauseQueue(String name) {
        return pauseQueue(name, "");
    }

    /** Stops the claiming of jobs from a queue. Running jobs continue. The reason is for people: {@link #explain} tells it. */
    public Queue pauseQueue(String name, String reason) {
        return Futures.await(async.pauseQueue(name, reason));
    }

    /** Lets jobs be claimed from a queue again. */
    public Queue resumeQueue(String name) {
        return Futures.await(async.resumeQueue(name));
    }

    /**
     * Changes what a queue allows of its jobs, and of those of one key, and how long it keeps ended ones. All servers know it
     * when this returns.
     */
    public Queue updateQueue(String name, QueueChange change) {
        return Futures.await(async.updateQueue(name, change));
    }

    /**
     * Reads the keys of a queue that have jobs, or of which something is said.
     *
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in it
     */
    public List<QueueKey> listQueueKeys(String queue, QueueKeys which) {
        return Futures.await(async.listQueueKeys(queue, which));
    }

    /**
     * Reads one key of a queue, with the jobs that hold it. Every key is there, also one without jobs.
     *
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in it
     */
    public QueueKey getQueueKey(String queue, String key) {
        return Futures.await(async.getQueueKey(queue, key));
    }

    /**
     * Gives one key of a queue a limit of its own, or pauses it.
     *
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in it
     * @throws JobQueueException.EtagMismatch the key was changed since its etag was read
     */
    public QueueKey updateQueueKey(String queue, String key, QueueKeyChange change) {
        return Futures.await(async.updateQueueKey(queue, key, change));
    }

    /**
     * Lets a key of a queue go on with its next job, though one that failed or was cancelled blocks it: the id of that
     * job, which stays as it ended.
     */
    public String unblockQueueKey(String queue, String key) {
        return Futures.await(async.unblockQueueKey(queue, key));
    }

    /** {@link #retryJobs(JobFilter, RetryJobs)} as a dry run. */
    public Operation retryJobs(JobFilter filter) {
        return retryJobs(filter, RetryJobs.DRY_RUN);
    }

    /**
     * Makes many jobs that have ended QUEUED again, by an operation that goes on without this program. Without {@code force}
     * nothing changes, and the answer has how many match and some of them.
     *
     * @throws JobQueueException.FilterChanged not about as many as {@code expected} match
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in the queue to which they are to go
     */
    public Operation retryJobs(JobFilter filter, RetryJobs how) {
        return Futures.await(async.retryJobs(filter, how));
    }

    /** {@link #cancelJobs(JobFilter, CancelJobs)} as a dry run. */
    public Operation cancelJobs(JobFilter filter) {
        return cancelJobs(filter, CancelJobs.DRY_RUN);
    }

    /**
     * Cancels many jobs that have not ended, by an operation that goes on without this program. Without {@code force} nothing
     * changes, and the answer has how many match and some of them.
     *
     * @throws JobQueueException.FilterChanged not about as many as {@code expected} match
     */
    public Operation cancelJobs(JobFilter filter, CancelJobs how) {
        return Futures.await(async.cancelJobs(filter, how));
    }

    /** {@link #deleteJobs(JobFilter, DeleteJobs)} as a dry run. */
    public Operation deleteJobs(JobFilter filter) {
        return deleteJobs(filter, DeleteJobs.DRY_RUN);
    }

    /**
     * Deletes many jobs that have ended, by an operation that goes on without this program. Without {@code force} nothing
     * changes, and the answer has how many match and some of them.
     *
     * @throws JobQueueException.FilterChanged not about as many as {@code expected} match
     */
    public Operation deleteJobs(JobFilter filter, DeleteJobs how) {
        return Futures.await(async.deleteJobs(filter, how));
    }

    /**
     * Changes many jobs that wait, by an operation that goes on without this program. Without {@code force} nothing changes, and
     * the answer has how many match and some of them.
     *
     * @throws JobQueueException.FilterChanged not about as many as {@code expected} match
     * @throws JobQueueException.QueueNotFound no job was ever enqueued in the queue to which they are to go
     * @throws JobQueueException.ServersDiffer an older server runs, which does not know such operations
     */
    public Operation updateJobs(JobFilter filter, UpdateJobs how) {
        return Futures.await(async.updateJobs(filter, how));
    }

    /**
     * Reads an operation.
     *
     * @throws JobQueueException.OperationNotFound there is none of this name
     */
    public Operation getOperation(String name) {
        return Futures.await(async.getOperation(name));
    }

    /** The operations that are kept, newest first: your own, or with ADMIN those of the namespace. */
    public List<Operation> listOperations() {
        return Futures.await(async.listOperations());
    }

    /** {@link #waitOperation(String, Duration)} without end. */
    public Operation waitOperation(String name) {
        return waitOperation(name, Times.FOREVER);
    }

    /**
     * Waits until an operation is done. After the timeout the answer is the operation as it then is.
     *
     * @throws JobQueueException.OperationNotFound there is none of this name
     */
    public Operation waitOperation(String name, Duration timeout) {
        return Futures.await(async.waitOperation(name, timeout));
    }

    /**
     * Asks an operation to stop after the step that it is in. What it has done stays done.
     *
     * @throws JobQueueException.OperationNotFound there is none of this name
     */
    public void cancelOperation(String name) {
        Futures.await(async.cancelOperation(name));
    }

    /**
     * Deletes an operation that is done.
     *
     * @throws JobQueueException.OperationNotDone it is not
     * @throws JobQueueException.OperationNotFound there is none of this name
     */
    public void deleteOperation(String name) {
        Futures.await(async.deleteOperation(name));
    }

    /** The methods about schedules: jobs, and the times at which they are enqueued. */
    public Schedules schedules() {
        return new Schedules(async.schedules());
    }

    /** Makes a client. */
    public static final class Builder extends Access<Builder> {
        private final String target;
        /** That of a worker; null: its own. */
        private Connection connection;

        private Duration deadline = Duration.ofSeconds(30);
        private boolean adaptive;
        private boolean ofEnvironment;

        private Builder(String target) {
            this.target = Targets.checked(Objects.requireNonNull(target, "target"));
        }

        @Override
        Builder self() {
            return this;
        }

        Builder connection(Connection connection) {
            this.connection = connection;
            return this;
        }

        /** The limit for each call, all tries together. Default: 30 s. */
        public Builder deadline(Duration deadline) {
            this.deadline = Objects.requireNonNull(deadline, "deadline");
            return this;
        }

        /**
         * Whether enqueues wait for their turns within the client while the server says that it is nearly full.
         *
         * <p>At most 64 are in flight at first: hints and refusals make that fewer, at least 1, answers without them more, up
         * to 1000. What is over that waits in the order of the calls, and the wait is part of the call's deadline. The client
         * refuses nothing by itself. A batch is one call. Default: false, nothing waits.
         */
        public Builder adaptive(boolean adaptive) {
            this.adaptive = adaptive;
            return this;
        }

        /** The client; it connects at the first call. */
        public Client build() {
            var access = connection == null ? connection() : connection;
            var window = adaptive ? new Window() : null;
            var calls = new Calls(access.channel(target), access.options(), target, ofEnvironment, window);
            return new Client(calls, codec(), new Telling(observer()), middleware(), encodings(), deadline);
        }
    }
}
