package dev.jobqueue;

import dev.jobqueue.v1.BatchEnqueueJobsRequest;
import dev.jobqueue.v1.BulkGrpc;
import dev.jobqueue.v1.CancelJobRequest;
import dev.jobqueue.v1.CancelJobResponse;
import dev.jobqueue.v1.DeleteJobRequest;
import dev.jobqueue.v1.DrainWorkerRequest;
import dev.jobqueue.v1.EnqueueJobRequest;
import dev.jobqueue.v1.ExplainJobRequest;
import dev.jobqueue.v1.GetJobRequest;
import dev.jobqueue.v1.GetJobResponse;
import dev.jobqueue.v1.GetOverviewRequest;
import dev.jobqueue.v1.GetQueueDemandRequest;
import dev.jobqueue.v1.GetQueueKeyRequest;
import dev.jobqueue.v1.GetQueueRequest;
import dev.jobqueue.v1.GetWorkerRequest;
import dev.jobqueue.v1.InsightGrpc;
import dev.jobqueue.v1.JobQueueGrpc;
import dev.jobqueue.v1.ListJobsResponse;
import dev.jobqueue.v1.ListKindsRequest;
import dev.jobqueue.v1.ListQueuesRequest;
import dev.jobqueue.v1.ListServersRequest;
import dev.jobqueue.v1.PauseQueueRequest;
import dev.jobqueue.v1.PayloadFormat;
import dev.jobqueue.v1.PutKindRequest;
import dev.jobqueue.v1.QueueAdminGrpc;
import dev.jobqueue.v1.ReleaseJobRequest;
import dev.jobqueue.v1.ReleaseJobResponse;
import dev.jobqueue.v1.ResumeQueueRequest;
import dev.jobqueue.v1.RetryJobRequest;
import dev.jobqueue.v1.RetryJobResponse;
import dev.jobqueue.v1.UnblockQueueKeyRequest;
import dev.jobqueue.v1.UnblockQueueKeyResponse;
import dev.jobqueue.v1.WaitJobRequest;
import dev.jobqueue.v1.WaitJobResponse;
import io.grpc.MethodDescriptor;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;

/**
 * The methods of a {@link Client} without waiting: each answers a future, whose exception is a {@link JobQueueException}, or
 * what else the method of the client throws. Cancelling the future cancels the call.
 */
public final class AsyncClient {
    // The longest that one call of WaitJob waits; more is done by calling again.
    private static final Duration ONE_WAIT = Duration.ofSeconds(30);
    // A wait of so long that ends without an end of the job asks why, for so long.
    private static final Duration WORTH_ASKING = Duration.ofSeconds(1);
    private static final Duration TO_SAY_WHY = Duration.ofSeconds(1);
    private static final int PAGE = 1000;
    private static final int READ_AT_ONCE = 16;
    private static final PayloadFormat JSON = PayloadFormat.PAYLOAD_FORMAT_JSON;

    private final Calls calls;
    private final Codec codec;
    private final Telling telling;
    private final List<Middleware> middleware;
    /** Null: there are none. */
    private final Encodings encodings;

    private final Duration deadline;
    private final Operations operations = new Operations(this);

    AsyncClient(
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
    }

    /** See {@link Client#enqueue(NewJob)}. */
    public CompletableFuture<Job> enqueue(NewJob job) {
        return Futures.begun(() -> middleware.isEmpty()
                ? send(job)
                : through(
                        List.of(job.written(codec, "job")),
                        jobs -> send(jobs.get(0)),
                        sent -> List.of(new EnqueueResult(sent.id(), sent.replayed(), sent.uniqueAction()))));
    }

    private CompletableFuture<Job> send(NewJob job) {
        if (encodings == null) {
            return sendAsItIs(job, deadline);
        }
        var ends = ends(deadline);
        return Futures.then(
                keyed(encodings.jobs(List.of(job), codec, at -> "job"), ends),
                encoded -> sendAsItIs(encoded.get(0), left(ends)));
    }

    private static long ends(Duration limit) {
        return System.nanoTime() + Times.nanosOf(limit);
    }

    private static Duration left(long ends) {
        return Duration.ofNanos(Math.max(0, ends - System.nanoTime()));
    }

    /** What may have to wait for a key, for no longer than its call may take. */
    private static <A> CompletableFuture<A> keyed(CompletableFuture<A> coded, long ends) {
        return Futures.within(
                coded,
                ends - System.nanoTime(),
                () -> Errors.of(
                        io.grpc.Status.DEADLINE_EXCEEDED.withDescription(
                                "a key of the encodings has not come within the deadline of the call"),
                        null,
                        null));
    }

    /** The same within the limit of a call that begins now. */
    <A> CompletableFuture<A> keyed(CompletableFuture<A> coded) {
        return keyed(coded, ends(deadline));
    }

    private CompletableFuture<Job> sendAsItIs(NewJob job, Duration limit) {
        var request = EnqueueJobRequest.newBuilder()
                .setJob(job.message(codec, "job", true))
                .setPayloadFormat(JSON)
                .build();
        var ends = ends(limit);
        var call = told(
                List.of(request.getJob()),
                calls.enqueue(JobQueueGrpc.getEnqueueJobMethod(), request, job.keyed(), limit));
        if (encodings == null) {
            return Futures.map(
                    call,
                    answer -> new Job(
                            answer.getJob(), codec, answer.getReplayed(), Unique.Action.of(answer.getUniqueAction())));
        }
        return Futures.then(
                call,
                answer -> keyed(
                        encodings.read(
                                answer.getJob(),
                                codec,
                                answer.getReplayed(),
                                Unique.Action.of(answer.getUniqueAction())),
                        ends));
    }

    /** The job in what a call answers, decoded where there are encodings. */
    private <A> CompletableFuture<Job> read(CompletableFuture<A> call, Function<A, dev.jobqueue.v1.Job> job) {
        return read(call, job, deadline);
    }

    /** The same of a call that began now with this limit. */
    private <A> CompletableFuture<Job> read(
            CompletableFuture<A> call, Function<A, dev.jobqueue.v1.Job> job, Duration limit) {
        if (encodings == null) {
            return Futures.map(call, answer -> Job.of(job.apply(answer), codec));
        }
        var ends = ends(limit);
        return Futures.then(call, answer -> keyed(encodings.read(job.apply(answer), codec, false, null), ends));
    }

    /** See {@link Client#enqueueMany}. */
    public CompletableFuture<List<EnqueueResult>> enqueueMany(Collection<NewJob> jobs) {
        return Futures.begun(() -> middleware.isEmpty() || jobs.isEmpty() ? sendMany(jobs) : throughAll(jobs));
    }

    private CompletableFuture<List<EnqueueResult>> throughAll(Collection<NewJob> jobs) {
        var written = new ArrayList<NewJob>(jobs.size());
        for (var each : jobs) {
            written.add(each.written(codec, "jobs[" + written.size() + "]"));
        }
        return through(List.copyOf(written), this::sendMany, results -> results);
    }

    /** Takes the jobs of one call through the middleware, and then sends them. */
    private <A> CompletableFuture<A> through(
            List<NewJob> jobs,
            Function<List<NewJob>, CompletableFuture<A>> send,
            Function<A, List<EnqueueResult>> results) {
        var result = new CompletableFuture<A>();
        var sent = new AtomicReference<A>();
        Enqueues.through(middleware, jobs, changed -> {
                    if (result.isCancelled()) {
                        throw new CancellationException("the call was cancelled");
                    }
                    var call = send.apply(changed);
                    Futures.cancelWith(result, call);
                    return call.thenApply(answer -> {
                        sent.set(answer);
                        return results.apply(answer);
                    });
                })
                .whenComplete((done, error) -> {
                    if (error == null) {
                        result.complete(sent.get());
                    } else {
                        result.completeExceptionally(Endings.unwrapped(error));
                    }
                });
        return result;
    }

    private CompletableFuture<List<EnqueueResult>> sendMany(Collection<NewJob> jobs) {
        if (encodings == null) {
            return sendManyAsTheyAre(jobs, deadline);
        }
        var ends = ends(deadline);
        return Futures.then(
                keyed(encodings.jobs(jobs, codec, at -> "jobs[" + at + "]"), ends),
                encoded -> sendManyAsTheyAre(encoded, left(ends)));
    }

    /** Within this limit the first batch, each other one within that of a call. */
    private CompletableFuture<List<EnqueueResult>> sendManyAsTheyAre(Collection<NewJob> jobs, Duration limit) {
        var messages = new ArrayList<dev.jobqueue.v1.NewJob>(jobs.size());
        // All first, so that one that can't be written leaves none of them enqueued.
        for (var each : jobs) {
            messages.add(each.message(codec, "jobs[" + messages.size() + "]", true));
        }
        var result = new CompletableFuture<List<EnqueueResult>>();
        nextBatch(messages, new ArrayList<>(messages.size()), result, limit);
        return result;
    }

    private void nextBatch(
            List<dev.jobqueue.v1.NewJob> jobs,
            List<EnqueueResult> done,
            CompletableFuture<List<EnqueueResult>> result,
            Duration limit) {
        if (done.size() == jobs.size() || result.isDone()) {
            result.complete(List.copyOf(done));
            return;
        }
        var batch = Batches.cut(jobs, done.size());
        // A batch of which each job has a key may be tried again.
        var keyed = batch.stream().noneMatch(job -> job.getIdempotencyKey().isEmpty());
        var request = BatchEnqueueJobsRequest.newBuilder().addAllJobs(batch).build();
        var call = told(batch, calls.enqueue(JobQueueGrpc.getBatchEnqueueJobsMethod(), request, keyed, limit));
        Futures.cancelWith(result, call);
        call.whenComplete((answer, error) -> {
            if (error != null) {
                var failure = error instanceof JobQueueException known ? Batches.rebased(known, done) : error;
                result.completeExceptionally(failure);
                return;
            }
            answer.getResultsList()
                    .forEach(each -> done.add(new EnqueueResult(
                            each.getId(), each.getReplayed(), Unique.Action.of(each.getUniqueAction()))));
            nextBatch(jobs, done, result, deadline);
        });
    }

    /** Tells the observer how a call ends that enqueues these jobs. */
    private <A> CompletableFuture<A> told(List<dev.jobqueue.v1.NewJob> jobs, CompletableFuture<A> call) {
        if (telling.on()) {
            var began = System.nanoTime();
            call.whenComplete((answer, error) -> {
                var took = Duration.ofNanos(System.nanoTime() - began);
                var failure = error instanceof JobQueueException known ? known : null;
                if (error != null && failure == null) {
                    return; // cancelled by the caller
                }
                var counts = new LinkedHashMap<List<String>, Integer>();
                jobs.forEach(each -> counts.merge(List.of(each.getKind(), queueOf(each)), 1, Integer::sum));
                counts.forEach((which, count) ->
                        telling.tell(observer -> observer.enqueued(count, which.get(0), which.get(1), took, failure)));
            });
        }
        return call;
    }

    private static String queueOf(dev.jobqueue.v1.NewJob job) {
        return job.getQueue().isEmpty() ? "default" : job.getQueue();
    }

    /** See {@link Client#get}. */
    public CompletableFuture<Job> get(String id) {
        var request =
                GetJobRequest.newBuilder().setId(id).setPayloadFormat(JSON).build();
        return read(call(JobQueueGrpc.getGetJobMethod(), request, true), GetJobResponse::getJob);
    }

    /** See {@link Client#listPage}. */
    public CompletableFuture<Page> listPage(Filter filter, String pageToken) {
        var call = call(JobQueueGrpc.getListJobsMethod(), filter.request(pageToken), true);
        if (encodings == null) {
            return Futures.map(
                    call,
                    answer -> new Page(
                            answer.getJobsList().stream()
                                    .map(each -> Job.of(each, codec))
                                    .toList(),
                            answer.getNextPageToken()));
        }
        var ends = ends(deadline);
        return Futures.then(call, answer -> {
            var read = new CompletableFuture<Page>();
            nextReads(answer, new ArrayList<>(answer.getJobsCount()), read);
            return keyed(read, ends);
        });
    }

    /** Decodes a page, so many at once: each may have a key of its own, for which a function of the program is asked. */
    private void nextReads(ListJobsResponse answer, List<Job> read, CompletableFuture<Page> result) {
        while (read.size() < answer.getJobsCount() && !result.isDone()) {
            var end = Math.min(answer.getJobsCount(), read.size() + READ_AT_ONCE);
            var jobs = answer.getJobsList().subList(read.size(), end).stream()
                    .map(each -> encodings.read(each, codec, false, null))
                    .toList();
            var all = CompletableFuture.allOf(jobs.toArray(CompletableFuture[]::new));
            if (!all.isDone()) {
                all.whenComplete((done, error) -> {
                    try {
                        jobs.forEach(each -> read.add(each.join()));
                        nextReads(answer, read, result);
                    } catch (Throwable failure) {
                        result.completeExceptionally(Endings.unwrapped(failure));
                    }
                });
                return;
            }
            jobs.forEach(each -> read.add(each.join()));
        }
        result.complete(new Page(List.copyOf(read), answer.getNextPageToken()));
    }

    /** See {@link Client#cancel(String, String)}. */
    public CompletableFuture<Cancellation> cancel(String id, String reason) {
        var request = CancelJobRequest.newBuilder()
                .setId(id)
                .setReason(reason)
                .setPayloadFormat(JSON)
                .build();
        var call = call(JobQueueGrpc.getCancelJobMethod(), request, false);
        return Futures.map(
                read(call, CancelJobResponse::getJob),
                job -> new Cancellation(job, call.join().getPending()));
    }

    /** See {@link Client#retry}. */
    public CompletableFuture<Job> retry(String id) {
        var request =
                RetryJobRequest.newBuilder().setId(id).setPayloadFormat(JSON).build();
        return read(call(JobQueueGrpc.getRetryJobMethod(), request, false), RetryJobResponse::getJob);
    }

    /** See {@link Client#release}. */
    public CompletableFuture<Job> release(String id) {
        var request =
                ReleaseJobRequest.newBuilder().setId(id).setPayloadFormat(JSON).build();
        return read(call(JobQueueGrpc.getReleaseJobMethod(), request, false), ReleaseJobResponse::getJob);
    }

    /** See {@link Client#delete}. */
    public CompletableFuture<Void> delete(String id) {
        var request = DeleteJobRequest.newBuilder().setId(id).build();
        return Futures.map(call(JobQueueGrpc.getDeleteJobMethod(), request, false), answer -> null);
    }

    /** See {@link Client#waitFor(String, Duration)}. */
    public CompletableFuture<Job> waitFor(String id, Duration timeout) {
        var result = new CompletableFuture<Job>();
        waitAgain(id, timeout, System.nanoTime() + Times.nanosOf(timeout), result);
        return result;
    }

    private void waitAgain(String id, Duration timeout, long ends, CompletableFuture<Job> result) {
        var left = Math.max(0, ends - System.nanoTime());
        var wait = Duration.ofNanos(Math.min(ONE_WAIT.toNanos(), left));
        var request = WaitJobRequest.newBuilder()
                .setId(id)
                .setTimeout(Times.message(wait))
                .setPayloadFormat(JSON)
                .build();
        // Time for the answer to come back, after the server has waited; and a restart of it costs a retry, not the
        // wait.
        var call = read(
                calls.call(JobQueueGrpc.getWaitJobMethod(), request, true, wait.plus(deadline)),
                WaitJobResponse::getJob,
                wait.plus(deadline));
        Futures.cancelWith(result, call);
        call.whenComplete((job, error) -> {
            if (error != null) {
                result.completeExceptionally(Endings.unwrapped(error));
                return;
            }
            if (job.isTerminal()) {
                result.complete(job);
            } else if (System.nanoTime() - ends >= 0) {
                waitEnded(job, timeout, result);
            } else if (!result.isDone()) {
                waitAgain(id, timeout, ends, result);
            }
        });
    }

    /** Says why the job has not ended, where a server tells it soon. */
    private void waitEnded(Job job, Duration timeout, CompletableFuture<Job> result) {
        var words = "job %s is %s and not over after %s s".formatted(job.id(), job.status(), timeout.toMillis() / 1e3);
        if (timeout.compareTo(WORTH_ASKING) < 0) {
            result.completeExceptionally(Errors.waitTimeout(words, job, ""));
            return;
        }
        var why = explain(job.id(), deadline.compareTo(TO_SAY_WHY) < 0 ? deadline : TO_SAY_WHY);
        Futures.cancelWith(result, why);
        why.whenComplete((explanation, error) -> result.completeExceptionally(
                Errors.waitTimeout(words, job, error == null ? explanation.summary() : "")));
    }

    /** See {@link Client#explain}. */
    public CompletableFuture<Explanation> explain(String id) {
        return explain(id, deadline);
    }

    private CompletableFuture<Explanation> explain(String id, Duration limit) {
        var request = ExplainJobRequest.newBuilder().setId(id).build();
        return Futures.map(calls.call(InsightGrpc.getExplainJobMethod(), request, true, limit), Explanation::of);
    }

    /** See {@link Client#overview}. */
    public CompletableFuture<Overview> overview() {
        return Futures.map(
                call(InsightGrpc.getGetOverviewMethod(), GetOverviewRequest.getDefaultInstance(), true),
                answer -> Overview.of(answer.getOverview()));
    }

    /** See {@link Client#stats}. */
    public CompletableFuture<Stats> stats(StatsQuery query) {
        return Futures.map(call(InsightGrpc.getQueryStatsMethod(), query.message(), true), Stats::of);
    }

    /** See {@link Client#countJobs}. */
    public CompletableFuture<JobCount> countJobs(Filter filter) {
        return Futures.map(call(InsightGrpc.getCountJobsMethod(), filter.count(), true), JobCount::of);
    }

    /** See {@link Client#listServers}. */
    public CompletableFuture<List<ServerInfo>> listServers() {
        return Futures.map(
                call(InsightGrpc.getListServersMethod(), ListServersRequest.getDefaultInstance(), true),
                answer -> answer.getServersList().stream().map(ServerInfo::of).toList());
    }

    /** See {@link Client#putKind}. */
    public CompletableFuture<Kind> putKind(Kind kind) {
        var request = PutKindRequest.newBuilder()
                .setKind(kind.message())
                .setPayloadFormat(JSON)
                .build();
        return Futures.map(call(QueueAdminGrpc.getPutKindMethod(), request, true), answer -> Kind.of(answer.getKind()));
    }

    /** See {@link Client#syncKinds(Collection)}. */
    public CompletableFuture<List<SyncedKind>> syncKinds(Collection<? extends JobKind<?, ?>> kinds) {
        var requests =
                kinds.stream().map(each -> each.declaration(encodings != null)).toList();
        var result = new CompletableFuture<List<SyncedKind>>();
        nextKind(requests, new ArrayList<>(requests.size()), result);
        return result;
    }

    private void nextKind(
            List<PutKindRequest> requests, List<SyncedKind> done, CompletableFuture<List<SyncedKind>> result) {
        if (done.size() == requests.size() || result.isDone()) {
            result.complete(List.copyOf(done));
            return;
        }
        var request = requests.get(done.size());
        var call = call(QueueAdminGrpc.getPutKindMethod(), request, true);
        Futures.cancelWith(result, call);
        call.whenComplete((answer, error) -> {
            if (error != null) {
                result.completeExceptionally(error);
                return;
            }
            var stored = Kind.of(answer.getKind());
            var version = request.getKind().getVersion();
            if (stored.version() < version) {
                result.completeExceptionally(Errors.notSupported(
                        ("the server is older than syncKinds: it replaced all that was declared of the kind %s;"
                                        + " upgrade it, and set its settings again")
                                .formatted(stored.name())));
                return;
            }
            done.add(new SyncedKind(
                    stored, !answer.getUnchanged(), answer.getUnchanged() && stored.version() > version));
            nextKind(requests, done, result);
        });
    }

    /** See {@link Client#listKinds}. */
    public CompletableFuture<List<Kind>> listKinds() {
        return pages(token -> {
            var request = ListKindsRequest.newBuilder()
                    .setPageSize(PAGE)
                    .setPageToken(token)
                    .setPayloadFormat(JSON)
                    .build();
            return Futures.map(call(QueueAdminGrpc.getListKindsMethod(), request, true), answer -> {
                var kinds = answer.getKindsList().stream().map(Kind::of).toList();
                return Map.entry(kinds, answer.getNextPageToken());
            });
        });
    }

    /** See {@link Client#listQueues}. */
    public CompletableFuture<List<Queue>> listQueues() {
        return pages(token -> {
            var request = ListQueuesRequest.newBuilder()
                    .setPageSize(PAGE)
                    .setPageToken(token)
                    .build();
            return Futures.map(call(QueueAdminGrpc.getListQueuesMethod(), request, true), answer -> {
                var queues = answer.getQueuesList().stream().map(Queue::of).toList();
                return Map.entry(queues, answer.getNextPageToken());
            });
        });
    }

    /** All of a list, page by page. */
    <A> CompletableFuture<List<A>> pages(Function<String, CompletableFuture<Map.Entry<List<A>, String>>> page) {
        var result = new CompletableFuture<List<A>>();
        nextPage(page, "", new ArrayList<>(), result);
        return result;
    }

    private <A> void nextPage(
            Function<String, CompletableFuture<Map.Entry<List<A>, String>>> page,
            String token,
            List<A> read,
            CompletableFuture<List<A>> result) {
        var call = page.apply(token);
        Futures.cancelWith(result, call);
        call.whenComplete((answer, error) -> {
            if (error != null) {
                result.completeExceptionally(error instanceof CompletionException ? error.getCause() : error);
                return;
            }
            read.addAll(answer.getKey());
            if (answer.getValue().isEmpty()) {
                result.complete(List.copyOf(read));
            } else if (!result.isDone()) {
                nextPage(page, answer.getValue(), read, result);
            }
        });
    }

    /** See {@link Client#getQueue}. */
    public CompletableFuture<Queue> getQueue(String name) {
        var request = GetQueueRequest.newBuilder().setName(name).build();
        return Futures.map(
                call(QueueAdminGrpc.getGetQueueMethod(), request, true), answer -> Queue.of(answer.getQueue()));
    }

    /** See {@link Client#getQueueDemand}. */
    public CompletableFuture<QueueDemand> getQueueDemand(String name) {
        var request = GetQueueDemandRequest.newBuilder().setQueue(name).build();
        return Futures.map(call(InsightGrpc.getGetQueueDemandMethod(), request, true), QueueDemand::of);
    }

    /** See {@link Client#listWorkers}. */
    public CompletableFuture<List<WorkerSession>> listWorkers(WorkerFilter filter) {
        return pages(token ->
                Futures.map(call(InsightGrpc.getListWorkersMethod(), filter.message(PAGE, token), true), answer -> {
                    var workers = answer.getWorkersList().stream()
                            .map(WorkerSession::of)
                            .toList();
                    return Map.entry(workers, answer.getNextPageToken());
                }));
    }

    /** See {@link Client#getWorker}. */
    public CompletableFuture<WorkerSession> getWorker(String sessionId) {
        var request = GetWorkerRequest.newBuilder().setSessionId(sessionId).build();
        return Futures.map(
                call(InsightGrpc.getGetWorkerMethod(), request, true), answer -> WorkerSession.of(answer.getWorker()));
    }

    /** See {@link Client#drainWorker(String)}. */
    public CompletableFuture<WorkerSession> drainWorker(String sessionId) {
        return drainWorker(sessionId, "");
    }

    /** See {@link Client#drainWorker(String, String)}. */
    public CompletableFuture<WorkerSession> drainWorker(String sessionId, String reason) {
        var request = DrainWorkerRequest.newBuilder()
                .setSessionId(sessionId)
                .setReason(reason)
                .build();
        return Futures.map(
                call(InsightGrpc.getDrainWorkerMethod(), request, true),
                answer -> WorkerSession.of(answer.getWorker()));
    }

    /** See {@link Client#pauseQueue(String)}. */
    public CompletableFuture<Queue> pauseQueue(String name) {
        return pauseQueue(name, "");
    }

    /** See {@link Client#pauseQueue(String, String)}. */
    public CompletableFuture<Queue> pauseQueue(String name, String reason) {
        var request =
                PauseQueueRequest.newBuilder().setName(name).setReason(reason).build();
        return Futures.map(
                call(QueueAdminGrpc.getPauseQueueMethod(), request, true), answer -> Queue.of(answer.getQueue()));
    }

    /** See {@link Client#resumeQueue}. */
    public CompletableFuture<Queue> resumeQueue(String name) {
        var request = ResumeQueueRequest.newBuilder().setName(name).build();
        return Futures.map(
                call(QueueAdminGrpc.getResumeQueueMethod(), request, true), answer -> Queue.of(answer.getQueue()));
    }

    /** See {@link Client#updateQueue}. */
    public CompletableFuture<Queue> updateQueue(String name, QueueChange change) {
        // A change that is made twice finds the etag of the first.
        return Futures.map(
                call(
                        QueueAdminGrpc.getUpdateQueueMethod(),
                        change.message(name),
                        change.etag().isEmpty()),
                answer -> Queue.of(answer.getQueue()));
    }

    /** See {@link Client#listQueueKeys}. */
    public CompletableFuture<List<QueueKey>> listQueueKeys(String queue, QueueKeys which) {
        var left = new AtomicInteger(which.most());
        return pages(token -> {
            var request = which.message(queue)
                    .setPageSize(Math.min(left.get(), PAGE))
                    .setPageToken(token)
                    .build();
            return Futures.map(call(QueueAdminGrpc.getListQueueKeysMethod(), request, true), answer -> {
                var keys = answer.getKeysList().stream().map(QueueKey::of).toList();
                var more = left.addAndGet(-keys.size()) > 0;
                return Map.entry(keys, more ? answer.getNextPageToken() : "");
            });
        });
    }

    /** See {@link Client#getQueueKey}. */
    public CompletableFuture<QueueKey> getQueueKey(String queue, String key) {
        var request =
                GetQueueKeyRequest.newBuilder().setQueue(queue).setKey(key).build();
        return Futures.map(
                call(QueueAdminGrpc.getGetQueueKeyMethod(), request, true),
                answer -> QueueKey.of(answer.getQueueKey()));
    }

    /** See {@link Client#updateQueueKey}. */
    public CompletableFuture<QueueKey> updateQueueKey(String queue, String key, QueueKeyChange change) {
        // A change that is made twice finds the etag of the first.
        return Futures.map(
                call(
                        QueueAdminGrpc.getUpdateQueueKeyMethod(),
                        change.message(queue, key),
                        change.etag().isEmpty()),
                answer -> QueueKey.of(answer.getQueueKey()));
    }

    /** See {@link Client#unblockQueueKey}. */
    public CompletableFuture<String> unblockQueueKey(String queue, String key) {
        var request =
                UnblockQueueKeyRequest.newBuilder().setQueue(queue).setKey(key).build();
        return Futures.map(
                call(QueueAdminGrpc.getUnblockQueueKeyMethod(), request, false), UnblockQueueKeyResponse::getBlockedBy);
    }

    /** See {@link Client#retryJobs(JobFilter, RetryJobs)}. */
    public CompletableFuture<Operation> retryJobs(JobFilter filter, RetryJobs how) {
        return Futures.map(
                call(BulkGrpc.getRetryJobsMethod(), how.request(filter), how.mayRepeat()),
                answer -> Operation.of(answer.getOperation()));
    }

    /** See {@link Client#cancelJobs(JobFilter, CancelJobs)}. */
    public CompletableFuture<Operation> cancelJobs(JobFilter filter, CancelJobs how) {
        return Futures.map(
                call(BulkGrpc.getCancelJobsMethod(), how.request(filter), how.mayRepeat()),
                answer -> Operation.of(answer.getOperation()));
    }

    /** See {@link Client#deleteJobs(JobFilter, DeleteJobs)}. */
    public CompletableFuture<Operation> deleteJobs(JobFilter filter, DeleteJobs how) {
        return Futures.map(
                call(BulkGrpc.getDeleteJobsMethod(), how.request(filter), how.mayRepeat()),
                answer -> Operation.of(answer.getOperation()));
    }

    /** See {@link Client#updateJobs}. */
    public CompletableFuture<Operation> updateJobs(JobFilter filter, UpdateJobs how) {
        return Futures.map(
                call(BulkGrpc.getUpdateJobsMethod(), how.request(filter), how.mayRepeat()),
                answer -> Operation.of(answer.getOperation()));
    }

    /** See {@link Client#getOperation}. */
    public CompletableFuture<Operation> getOperation(String name) {
        return operations.get(name);
    }

    /** See {@link Client#listOperations}. */
    public CompletableFuture<List<Operation>> listOperations() {
        return operations.list();
    }

    /** See {@link Client#waitOperation(String, Duration)}. */
    public CompletableFuture<Operation> waitOperation(String name, Duration timeout) {
        return operations.waitFor(name, timeout);
    }

    /** See {@link Client#cancelOperation}. */
    public CompletableFuture<Void> cancelOperation(String name) {
        return operations.cancel(name);
    }

    /** See {@link Client#deleteOperation}. */
    public CompletableFuture<Void> deleteOperation(String name) {
        return operations.delete(name);
    }

    /** See {@link Client#schedules}. */
    public AsyncSchedules schedules() {
        return new AsyncSchedules(this, codec, encodings);
    }

    /** A call that the server answers after so long at the latest, and that may be repeated. */
    <Q, A> CompletableFuture<A> callWithin(MethodDescriptor<Q, A> method, Q request, Duration wait) {
        return calls.call(method, request, true, wait.plus(deadline));
    }

    <Q, A> CompletableFuture<A> call(MethodDescriptor<Q, A> method, Q request, boolean retry) {
        return calls.call(method, request, retry, deadline);
    }
}
