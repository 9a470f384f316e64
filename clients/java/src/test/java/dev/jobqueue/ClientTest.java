package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import com.google.rpc.BadRequest;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import dev.jobqueue.v1.BatchEnqueueJobsRequest;
import dev.jobqueue.v1.BatchEnqueueJobsResponse;
import dev.jobqueue.v1.EnqueueJobRequest;
import dev.jobqueue.v1.EnqueueJobResponse;
import dev.jobqueue.v1.EnqueueResult;
import dev.jobqueue.v1.Estimate;
import dev.jobqueue.v1.ExplainJobRequest;
import dev.jobqueue.v1.ExplainJobResponse;
import dev.jobqueue.v1.GetJobRequest;
import dev.jobqueue.v1.GetJobResponse;
import dev.jobqueue.v1.GetQueueDemandRequest;
import dev.jobqueue.v1.GetQueueDemandResponse;
import dev.jobqueue.v1.InsightGrpc;
import dev.jobqueue.v1.JobQueueGrpc;
import dev.jobqueue.v1.ListJobsRequest;
import dev.jobqueue.v1.ListJobsResponse;
import dev.jobqueue.v1.PauseDetail;
import dev.jobqueue.v1.Reason;
import dev.jobqueue.v1.WaitJobRequest;
import dev.jobqueue.v1.WaitJobResponse;
import dev.jobqueue.v1.WatchJobsRequest;
import dev.jobqueue.v1.WatchJobsResponse;
import io.grpc.Context;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.time.Instant;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(30)
class ClientTest {
    private final BlockingQueue<Message> asked = new LinkedBlockingQueue<>();
    private final BlockingQueue<String> tokens = new LinkedBlockingQueue<>();
    /** What is answered, in their order: a message, a RuntimeException, or null for no answer at all. */
    private final BlockingQueue<Object> answers = new LinkedBlockingQueue<>();

    private final CompletableFuture<Void> cancelled = new CompletableFuture<>();
    private final Server server = start();
    private final Client client = builder().build();

    private static final Object SILENCE = new Object();

    private Client.Builder builder() {
        return Client.builder("127.0.0.1:" + server.getPort());
    }

    private Server start() {
        try {
            return Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                    .addService(new Answering())
                    .addService(new Explaining())
                    .intercept(new ServerInterceptor() {
                        @Override
                        public <Q, A> ServerCall.Listener<Q> interceptCall(
                                ServerCall<Q, A> call, Metadata metadata, ServerCallHandler<Q, A> next) {
                            var key = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
                            if (metadata.containsKey(key)) {
                                tokens.add(metadata.get(key));
                            }
                            return next.startCall(call, metadata);
                        }
                    })
                    .build()
                    .start();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @AfterEach
    void end() {
        client.close();
        server.shutdownNow();
    }

    @SuppressWarnings("unchecked")
    private <A> void answer(Message request, StreamObserver<A> answer) {
        asked.add(request);
        var given = answers.poll();
        if (given instanceof RuntimeException error) {
            answer.onError(error);
        } else if (given != SILENCE) {
            answer.onNext((A) given);
            answer.onCompleted();
        } else {
            Context.current().addListener(context -> cancelled.complete(null), Runnable::run);
        }
    }

    private final class Explaining extends InsightGrpc.InsightImplBase {
        @Override
        public void explainJob(ExplainJobRequest request, StreamObserver<ExplainJobResponse> answer) {
            answer(request, answer);
        }

        @Override
        public void getQueueDemand(GetQueueDemandRequest request, StreamObserver<GetQueueDemandResponse> answer) {
            answer(request, answer);
        }
    }

    private final class Answering extends JobQueueGrpc.JobQueueImplBase {
        @Override
        public void enqueueJob(EnqueueJobRequest request, StreamObserver<EnqueueJobResponse> answer) {
            answer(request, answer);
        }

        @Override
        public void batchEnqueueJobs(BatchEnqueueJobsRequest request, StreamObserver<BatchEnqueueJobsResponse> answer) {
            answer(request, answer);
        }

        @Override
        public void getJob(GetJobRequest request, StreamObserver<GetJobResponse> answer) {
            answer(request, answer);
        }

        @Override
        public void listJobs(ListJobsRequest request, StreamObserver<ListJobsResponse> answer) {
            answer(request, answer);
        }

        @Override
        public void waitJob(WaitJobRequest request, StreamObserver<WaitJobResponse> answer) {
            answer(request, answer);
        }

        @Override
        public void watchJobs(WatchJobsRequest request, StreamObserver<WatchJobsResponse> answer) {
            asked.add(request);
            for (var given = answers.poll(); given != null; given = answers.poll()) {
                if (given instanceof RuntimeException error) {
                    answer.onError(error);
                    return;
                }
                answer.onNext((WatchJobsResponse) given);
            }
            answer.onCompleted();
        }
    }

    private static dev.jobqueue.v1.Job.Builder job(String id) {
        return dev.jobqueue.v1.Job.newBuilder().setId(id).setKind("k");
    }

    private static RuntimeException refusal(Code code, String reason, Message... details) {
        var status =
                com.google.rpc.Status.newBuilder().setCode(code.getNumber()).setMessage("no");
        status.addDetails(Any.pack(ErrorInfo.newBuilder()
                .setReason(reason)
                .putMetadata("status", "X")
                .build()));
        for (var each : details) {
            status.addDetails(Any.pack(each));
        }
        return StatusProto.toStatusRuntimeException(status.build());
    }

    private static RuntimeException away() {
        return refusal(Code.UNAVAILABLE, "DATABASE_AWAY");
    }

    @Test
    void aUniqueJobGoesOutWithItsNameAndTheOneThatWasKeptComesBack() throws Exception {
        answers.add(EnqueueJobResponse.newBuilder()
                .setJob(job("1"))
                .setUniqueAction(dev.jobqueue.v1.Unique.Action.KEPT)
                .build());
        var unique = Unique.payload("/user/id")
                .scope(Unique.Scope.NAMESPACE)
                .until(Unique.Until.PERIOD)
                .period(Duration.ofMinutes(1))
                .rejecting();
        var enqueued = client.enqueue(NewJob.builder("k").unique(unique).build());
        assertEquals(Unique.Action.KEPT, enqueued.uniqueAction());
        var sent = ((EnqueueJobRequest) asked.take()).getJob().getUnique();
        assertEquals(List.of("/user/id"), sent.getPayloadFieldsList());
        assertEquals(dev.jobqueue.v1.Unique.Scope.NAMESPACE, sent.getScope());
        assertEquals(dev.jobqueue.v1.Unique.Until.PERIOD, sent.getUntil());
        assertEquals(60, sent.getPeriod().getSeconds());
        assertEquals(dev.jobqueue.v1.Unique.OnConflict.REJECT, sent.getOnConflict());
        assertEquals("user-7", Unique.key("user-7").message().getKey());
        var replacing =
                unique.replacing(Unique.Field.PAYLOAD, Unique.Field.RUN_AT).message();
        assertEquals(dev.jobqueue.v1.Unique.OnConflict.REPLACE, replacing.getOnConflict());
        assertEquals(dev.jobqueue.v1.Unique.Field.RUN_AT, replacing.getReplace(1));
        var debouncing = unique.debouncing(Duration.ofSeconds(2)).message();
        assertEquals(dev.jobqueue.v1.Unique.OnConflict.DEBOUNCE, debouncing.getOnConflict());
        assertEquals(2, debouncing.getMaxDelay().getSeconds());
        for (var action : Unique.Action.values()) {
            assertEquals(action, Unique.Action.of(dev.jobqueue.v1.Unique.Action.valueOf(action.name())));
        }
        assertNull(Unique.Action.of(dev.jobqueue.v1.Unique.Action.ACTION_UNSPECIFIED));
    }

    @Test
    void theUsualNamesOfWorkAreWhatTheySay() {
        var hour = Duration.ofHours(1);
        assertEquals(Unique.payload(), Unique.whileWaiting());
        assertEquals(Unique.key("n"), Unique.whileWaiting("n"));
        assertEquals(Unique.payload().until(Unique.Until.ENDS), Unique.whileLive());
        assertEquals(Unique.key("n").until(Unique.Until.ENDS), Unique.whileLive("n"));
        var throttled = Unique.key("n").until(Unique.Until.PERIOD).period(hour);
        assertEquals(throttled, Unique.throttle(hour, "n"));
        assertEquals(Unique.payload().until(Unique.Until.PERIOD).period(hour), Unique.throttle(hour));
        assertEquals(Unique.key("n").debouncing(hour, Unique.Field.PAYLOAD), Unique.debounce(hour, "n"));
        assertEquals(Unique.payload().debouncing(null, Unique.Field.PAYLOAD), Unique.debounce(null));
    }

    @Test
    void anEnqueueWithAKeyIsRepeatedUnderTheSameKey() throws Exception {
        answers.add(away());
        answers.add(EnqueueJobResponse.newBuilder()
                .setJob(job("1"))
                .setReplayed(true)
                .build());
        var enqueued = client.enqueue(
                NewJob.builder("k").payload(Json.of("[ 1 ]")).idempotent().build());
        assertEquals("1", enqueued.id());
        assertTrue(enqueued.replayed());
        var first = (EnqueueJobRequest) asked.take();
        assertEquals("[ 1 ]", first.getJob().getPayloadJson().toStringUtf8());
        assertNotEquals("", first.getJob().getIdempotencyKey());
        assertEquals(first, asked.take());
    }

    @Test
    void anEnqueueWithoutAKeyIsNotRepeated() {
        answers.add(away());
        assertThrows(JobQueueException.Unavailable.class, () -> client.enqueue("k", null));
        assertEquals(1, asked.size());
    }

    @Test
    void aRefusalSaysAllThatTheServerSaid() {
        answers.add(refusal(
                Code.INVALID_ARGUMENT,
                "PAYLOAD_INVALID",
                BadRequest.newBuilder()
                        .addFieldViolations(BadRequest.FieldViolation.newBuilder()
                                .setField("job.payload.to")
                                .setDescription("is missing"))
                        .build(),
                RetryInfo.newBuilder()
                        .setRetryDelay(com.google.protobuf.Duration.newBuilder().setSeconds(2))
                        .build()));
        var error = assertThrows(JobQueueException.PayloadInvalid.class, () -> client.enqueue("k", null));
        assertEquals("PAYLOAD_INVALID", error.reason());
        assertEquals(List.of(new FieldViolation("job.payload.to", "is missing")), error.violations());
        assertEquals(Duration.ofSeconds(2), error.retryAfter().orElseThrow());
        assertEquals("X", error.metadata().get("status"));
        assertEquals("PAYLOAD_INVALID: no (job.payload.to: is missing)", error.getMessage());
        // A reader of the trace looks for the caller.
        assertTrue(
                List.of(error.getStackTrace()).stream()
                        .anyMatch(each -> each.getClassName().equals(ClientTest.class.getName())),
                "the trace does not name the caller");
    }

    @Test
    void eachReasonAndEachCodeHasItsClass() {
        answers.add(refusal(Code.NOT_FOUND, "JOB_NOT_FOUND"));
        assertThrows(JobQueueException.JobNotFound.class, () -> client.get("1"));
        answers.add(refusal(Code.NOT_FOUND, "SCHEDULE_NOT_FOUND"));
        assertThrows(JobQueueException.ScheduleNotFound.class, () -> client.get("1"));
        answers.add(refusal(Code.ALREADY_EXISTS, "SCHEDULE_EXISTS"));
        assertThrows(JobQueueException.ScheduleExists.class, () -> client.get("1"));
        answers.add(refusal(Code.FAILED_PRECONDITION, "SCHEDULES_FULL"));
        assertThrows(JobQueueException.SchedulesFull.class, () -> client.get("1"));
        answers.add(refusal(Code.FAILED_PRECONDITION, "QUEUE_KEYS_FULL"));
        assertThrows(JobQueueException.QueueKeysFull.class, () -> client.get("1"));
        answers.add(refusal(Code.NOT_FOUND, "WORKER_NOT_FOUND"));
        assertThrows(JobQueueException.WorkerNotFound.class, () -> client.get("1"));
        answers.add(refusal(Code.FAILED_PRECONDITION, "FILTER_CHANGED"));
        assertThrows(JobQueueException.FilterChanged.class, () -> client.get("1"));
        answers.add(refusal(Code.NOT_FOUND, "A_LATER_ONE"));
        assertThrows(JobQueueException.NotFound.class, () -> client.get("1"));
        answers.add(refusal(Code.PERMISSION_DENIED, ""));
        assertThrows(JobQueueException.NotAllowed.class, () -> client.get("1"));
        answers.add(refusal(Code.ABORTED, ""));
        var error = assertThrows(JobQueueException.class, () -> client.get("1"));
        assertEquals(JobQueueException.class, error.getClass());
        // One that says when to come back is overload; one that does not is final.
        answers.add(refusal(Code.RESOURCE_EXHAUSTED, "QUEUE_FULL"));
        assertThrows(JobQueueException.Overloaded.class, () -> client.get("1"));
    }

    @Test
    void aBacklogThatIsFullIsOverloadTriedAgainWhereTheServerSaysWhen() {
        var soon = RetryInfo.newBuilder()
                .setRetryDelay(com.google.protobuf.Duration.newBuilder().setNanos(1_000_000))
                .build();
        answers.add(refusal(Code.RESOURCE_EXHAUSTED, "QUEUE_BACKLOG_FULL", soon));
        answers.add(refusal(Code.RESOURCE_EXHAUSTED, "KEY_BACKLOG_FULL", soon));
        answers.add(refusal(Code.RESOURCE_EXHAUSTED, "QUEUE_BACKLOG_FULL"));
        JobQueueException.Overloaded error =
                assertThrows(JobQueueException.QueueBacklogFull.class, () -> client.get("1"));
        assertEquals(3, asked.size());
        assertEquals("QUEUE_BACKLOG_FULL", error.reason());
        answers.add(refusal(Code.RESOURCE_EXHAUSTED, "KEY_BACKLOG_FULL"));
        error = assertThrows(JobQueueException.KeyBacklogFull.class, () -> client.get("1"));
        assertEquals("KEY_BACKLOG_FULL", error.reason());
    }

    @Test
    void aReadIsRepeatedUntilTheDeadlineAndThenSaysTheCause() {
        IntStream.range(0, 100).forEach(i -> answers.add(away()));
        var error = assertThrows(JobQueueException.Unavailable.class, () -> client.withDeadline(Duration.ofSeconds(2))
                .get("1"));
        assertTrue(error.getMessage().endsWith("; tried again until the deadline"), error.getMessage());
        assertTrue(asked.size() > 1);
    }

    @Test
    void manyJobsGoInBatchesAndAnErrorCountsFromTheFirst() throws Exception {
        var first = BatchEnqueueJobsResponse.newBuilder();
        IntStream.range(0, 1000)
                .forEach(i -> first.addResults(EnqueueResult.newBuilder().setId("" + i)));
        answers.add(first.build());
        answers.add(refusal(
                Code.INVALID_ARGUMENT,
                "FIELD_INVALID",
                BadRequest.newBuilder()
                        .addFieldViolations(BadRequest.FieldViolation.newBuilder()
                                .setField("jobs[1].priority")
                                .setDescription("is 11"))
                        .build()));
        var jobs = IntStream.range(0, 1002).mapToObj(i -> NewJob.of("k")).toList();
        var error = assertThrows(JobQueueException.InvalidRequest.class, () -> client.enqueueMany(jobs));
        assertEquals("jobs[1001].priority", error.violations().get(0).field());
        assertEquals(1000, error.enqueued().size());
        assertEquals(1000, ((BatchEnqueueJobsRequest) asked.take()).getJobsCount());
        assertEquals(2, ((BatchEnqueueJobsRequest) asked.take()).getJobsCount());
    }

    /** Adds a header, keeps how many jobs it saw, and refuses those with the label {@code no}. */
    private static final class Marks implements Middleware {
        final List<Integer> seen = new java.util.ArrayList<>();
        final Thread caller = Thread.currentThread();

        @Override
        public java.util.concurrent.CompletionStage<List<dev.jobqueue.EnqueueResult>> enqueue(
                List<NewJob> jobs, NextEnqueue next) {
            assertEquals(caller, Thread.currentThread());
            seen.add(jobs.size());
            if (jobs.stream().anyMatch(job -> job.labels().containsKey("no"))) {
                throw new SecurityException("not these");
            }
            return next.enqueue(
                    jobs.stream().map(job -> job.withHeaders(Map.of("by", "a"))).toList());
        }
    }

    @Test
    void aMiddlewareIsCalledOnceForACallHoweverOftenItIsTried() throws Exception {
        var marks = new Marks();
        try (var client = builder().middleware(marks).build()) {
            answers.add(away());
            answers.add(EnqueueJobResponse.newBuilder().setJob(job("1")).build());
            assertEquals(
                    "1",
                    client.enqueue(NewJob.builder("k").idempotent().build()).id());
            var first = ((EnqueueJobRequest) asked.take()).getJob();
            assertEquals(first, ((EnqueueJobRequest) asked.take()).getJob());
            assertEquals("a", first.getHeadersOrThrow("by"));
            assertFalse(first.getIdempotencyKey().isEmpty());

            for (var size : List.of(1000, 500)) {
                var batch = BatchEnqueueJobsResponse.newBuilder();
                IntStream.range(0, size)
                        .forEach(
                                i -> batch.addResults(EnqueueResult.newBuilder().setId("" + i)));
                answers.add(batch.build());
            }
            var jobs = IntStream.range(0, 1500).mapToObj(i -> NewJob.of("k")).toList();
            assertEquals(1500, client.enqueueMany(jobs).size());
            assertEquals(List.of(), client.enqueueMany(List.of()));
            assertEquals(1000, ((BatchEnqueueJobsRequest) asked.take()).getJobsCount());
            assertEquals(
                    "a", ((BatchEnqueueJobsRequest) asked.take()).getJobs(499).getHeadersOrThrow("by"));
            assertEquals(List.of(1, 1500), marks.seen);

            answers.add(refusal(Code.INVALID_ARGUMENT, "FIELD_INVALID"));
            assertThrows(JobQueueException.InvalidRequest.class, () -> client.enqueue(NewJob.of("k")));
        }
    }

    @Test
    void whatAMiddlewareThrowsEndsTheCallAndNothingWasSent() {
        try (var client = builder().middleware(new Marks()).build()) {
            var no = NewJob.builder("k").labels(Map.of("no", "1")).build();
            assertEquals(
                    "not these",
                    assertThrows(SecurityException.class, () -> client.enqueue(no))
                            .getMessage());
            assertThrows(SecurityException.class, () -> client.enqueueMany(List.of(NewJob.of("k"), no)));
            var error = assertThrows(
                    java.util.concurrent.ExecutionException.class,
                    () -> client.async().enqueue(no).get());
            assertEquals(SecurityException.class, error.getCause().getClass());
            assertTrue(asked.isEmpty());
        }
    }

    @Test
    void cancellingAnEnqueueWithMiddlewareCancelsItsCall() throws Exception {
        try (var client = builder().middleware(new Marks()).build()) {
            answers.add(SILENCE);
            var call = client.async().enqueue(NewJob.of("k"));
            asked.take();
            call.cancel(true);
            cancelled.get(10, TimeUnit.SECONDS);
        }
    }

    @Test
    void aListReadsNoPageBeforeItIsAskedFor() {
        answers.add(ListJobsResponse.newBuilder()
                .addJobs(job("1"))
                .setNextPageToken("t")
                .build());
        answers.add(ListJobsResponse.newBuilder().setNextPageToken("u").build());
        answers.add(ListJobsResponse.newBuilder().addJobs(job("2")).build());
        var jobs = client.list(Filter.builder().queue("q").build()).iterator();
        assertEquals("1", jobs.next().id());
        assertEquals(1, asked.size());
        assertEquals("2", jobs.next().id());
        assertFalse(jobs.hasNext());
        assertEquals(
                List.of("", "t", "u"),
                asked.stream()
                        .map(each -> ((ListJobsRequest) each).getPageToken())
                        .toList());
    }

    @Test
    void aWaitAsksAgainAndAtTheEndSaysHowTheJobStands() throws Exception {
        var running = job("1").setStatus(dev.jobqueue.v1.Job.Status.RUNNING);
        IntStream.range(0, 1000)
                .forEach(i ->
                        answers.add(WaitJobResponse.newBuilder().setJob(running).build()));
        var error = assertThrows(JobQueueException.WaitTimeout.class, () -> client.waitFor("1", Duration.ofMillis(20)));
        assertTrue(
                error.getMessage().contains("maybe no worker takes its kind, which explain(id) tells"),
                error.getMessage());
        assertEquals(Status.RUNNING, error.job().status());
        answers.clear();
        answers.add(WaitJobResponse.newBuilder()
                .setJob(running.clone().setStatus(dev.jobqueue.v1.Job.Status.SUCCEEDED))
                .build());
        assertTrue(client.waitFor("1", Duration.ofSeconds(5)).isTerminal());
    }

    @Test
    void cancellingTheFutureCancelsTheCall() throws Exception {
        answers.add(SILENCE);
        var future = client.async().waitFor("1", Duration.ofMinutes(1));
        asked.take();
        future.cancel(true);
        cancelled.get(10, TimeUnit.SECONDS);
    }

    @Test
    void anInterruptCancelsTheCallAndStays() throws Exception {
        answers.add(SILENCE);
        var interrupted = new CompletableFuture<Boolean>();
        var thread = new Thread(() -> {
            assertThrows(CancellationException.class, () -> client.get("1"));
            interrupted.complete(Thread.currentThread().isInterrupted());
        });
        thread.start();
        asked.take();
        thread.interrupt();
        assertTrue(interrupted.get(10, TimeUnit.SECONDS));
        cancelled.get(10, TimeUnit.SECONDS);
    }

    @Test
    void aWatchGoesOnWhereItBroke() throws Exception {
        answers.add(WatchJobsResponse.newBuilder().setResumeToken("a").build());
        answers.add(WatchJobsResponse.newBuilder()
                .setResumeToken("b")
                .setJob(job("1"))
                .build());
        answers.add(away());
        Iterator<Job> watch = client.watch(WatchFilter.builder().ids("1", "2").build());
        assertEquals("1", watch.next().id());
        assertEquals("b", ((Watch) watch).resumeToken());
        answers.add(WatchJobsResponse.newBuilder()
                .setResumeToken("c")
                .setJob(job("2"))
                .build());
        assertEquals("2", watch.next().id());
        assertFalse(watch.hasNext());
        asked.take();
        assertEquals("b", ((WatchJobsRequest) asked.take()).getResumeToken());
    }

    @Test
    void theTokenIsAskedForAtEveryCall() throws Exception {
        var made = List.of("one", "two").iterator();
        try (var other = builder().token(made::next).build()) {
            for (var want : List.of("Bearer one", "Bearer two")) {
                answers.add(GetJobResponse.newBuilder().setJob(job("1")).build());
                other.get("1");
                assertEquals(want, tokens.take());
            }
        }
    }

    @Test
    void aJobIsExplainedAndAQueuesDemandIsTold() {
        answers.add(ExplainJobResponse.newBuilder()
                .setJobId("j1")
                .setStatus(dev.jobqueue.v1.Job.Status.QUEUED)
                .addReasons(Reason.newBuilder()
                        .setCode(Reason.Code.QUEUE_PAUSED)
                        .addUnblockedBy("ResumeQueue q")
                        .setPause(PauseDetail.newBuilder().setBy("ada")))
                .addReasons(Reason.newBuilder().setCodeValue(99))
                .build());
        var found = client.explain("j1");
        assertEquals("j1", found.jobId());
        assertEquals(Status.QUEUED, found.status());
        assertEquals("QUEUE_PAUSED", found.reasons().get(0).code());
        assertEquals(List.of("ResumeQueue q"), found.reasons().get(0).unblockedBy());
        assertEquals("ada", found.reasons().get(0).detail().getPause().getBy());
        assertEquals("CODE_UNSPECIFIED", found.reasons().get(1).code());
        assertTrue(found.couldStartAt().isEmpty());

        answers.add(GetQueueDemandResponse.newBuilder()
                .setRunnable(3)
                .setHeld(4)
                .setHeldByKey(3)
                .setWantedSlots(5)
                .setOldestRunnableAge(com.google.protobuf.Duration.newBuilder().setSeconds(60))
                .build());
        var demand = client.getQueueDemand("q");
        assertEquals(5, demand.wantedSlots());
        assertEquals(List.of(4, 3), List.of(demand.held(), demand.heldByKey()));
        assertEquals(Duration.ofMinutes(1), demand.oldestRunnableAge().orElseThrow());
    }

    @Test
    void anExplanationSaysWhenTheJobMayStartAndADemandWhatCameAndEnded() {
        var earliest = Timestamp.newBuilder().setSeconds(60);
        var estimate = Estimate.newBuilder().setAhead(7).setEndsPerSecond(1.5).setEarliestAt(earliest);
        answers.add(ExplainJobResponse.newBuilder().setEstimate(estimate).build());
        var found = client.explain("j1").estimate().orElseThrow();
        assertEquals(new Explanation.Estimate(7, false, 1.5, Instant.ofEpochSecond(60), Optional.empty()), found);
        estimate.setCapped(true).setLatestAt(Timestamp.newBuilder().setSeconds(90));
        answers.add(ExplainJobResponse.newBuilder().setEstimate(estimate).build());
        found = client.explain("j1").estimate().orElseThrow();
        assertEquals(Instant.ofEpochSecond(90), found.latestAt().orElseThrow());
        assertTrue(found.capped());
        answers.add(ExplainJobResponse.getDefaultInstance());
        assertTrue(client.explain("j1").estimate().isEmpty());

        answers.add(GetQueueDemandResponse.newBuilder()
                .setBeyondLimit(4)
                .setArrivalsPerSecond(2.5)
                .setEndsPerSecond(0.5)
                .build());
        var demand = client.getQueueDemand("q");
        assertEquals(List.of(2.5, 0.5), List.of(demand.arrivalsPerSecond(), demand.endsPerSecond()));
        assertEquals(4, demand.beyondLimit());
    }

    @Test
    void whatCantBeWrittenIsNotSent() {
        var error = assertThrows(JobQueueException.InvalidRequest.class, () -> client.enqueue("k", 1));
        assertEquals("job.payload", error.violations().get(0).field());
        assertTrue(asked.isEmpty());
    }

    @Test
    void theFirstCallThatFindsNoServerSaysOnceWhatToDo() throws IOException {
        int port;
        try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            port = socket.getLocalPort();
        }
        var address = "127.0.0.1:" + port;
        try (var lonely = Client.of(address)) {
            var hint = "; nothing answers at " + address + "; start a server by \"make run\" or \"jobqueue-server\"";
            var error = assertThrows(JobQueueException.Unavailable.class, () -> lonely.enqueue("k", Json.of("1")));
            assertTrue(error.getMessage().endsWith(hint), error.getMessage());
            var again = assertThrows(JobQueueException.Unavailable.class, () -> lonely.enqueue("k", Json.of("1")));
            assertFalse(again.getMessage().contains("nothing answers"), again.getMessage());
            var environment = new Environment(Map.of("JOBQUEUE_SERVER", address));
            try (var named = Client.from(environment).build()) {
                var told = assertThrows(JobQueueException.Unavailable.class, () -> named.enqueue("k", Json.of("1")));
                assertTrue(told.getMessage().endsWith(hint + ", or set JOBQUEUE_SERVER"), told.getMessage());
            }
        }
        // A server has answered: it is away, and was not forgotten.
        answers.add(EnqueueJobResponse.getDefaultInstance());
        client.enqueue("k", Json.of("1"));
        answers.add(away());
        var error = assertThrows(JobQueueException.Unavailable.class, () -> client.enqueue("k", Json.of("1")));
        assertFalse(error.getMessage().contains("nothing answers"), error.getMessage());
    }

    @Test
    void payloadAndOutputOfAJobAreReadByTheCodecAlsoAsTypesWithArguments() {
        var mapper = new ObjectMapper();
        var codec =
                Codec.of(mapper::writeValueAsBytes, (json, type) -> mapper.readValue(json, mapper.constructType(type)));
        try (var typed = builder().codec(codec).build()) {
            answers.add(GetJobResponse.newBuilder()
                    .setJob(dev.jobqueue.v1.Job.newBuilder()
                            .setKind("k")
                            .setPayloadJson(ByteString.copyFromUtf8("{\"number\": 21}"))
                            .setOutputJson(ByteString.copyFromUtf8("[{\"number\": 42}]")))
                    .build());
            var job = typed.get("j1");
            assertEquals(new Item(21), job.payload(Item.class).orElseThrow());
            Optional<List<Item>> output = job.output(new TypeReference<List<Item>>() {}.getType());
            assertEquals(List.of(new Item(42)), output.orElseThrow());
            var error = assertThrows(IllegalArgumentException.class, () -> job.output(Item.class));
            assertTrue(error.getMessage().startsWith("the output of the k job does not fit"), error.getMessage());

            answers.add(GetJobResponse.newBuilder()
                    .setJob(dev.jobqueue.v1.Job.newBuilder().setKind("k"))
                    .build());
            assertTrue(typed.get("j2").output(Item.class).isEmpty());
        }
    }

    record Item(int number) {}

    @Test
    void anObserverIsToldOfEnqueuesByKindAndQueue() throws Exception {
        var told = new LinkedBlockingQueue<String>();
        var observer = new Observer() {
            @Override
            public void enqueued(int count, String kind, String queue, Duration took, JobQueueException error) {
                told.add("%d %s %s %s".formatted(count, kind, queue, error == null ? "" : error.reason()));
            }
        };
        try (var observed = builder().observer(observer).build()) {
            answers.add(EnqueueJobResponse.getDefaultInstance());
            observed.enqueue("k", Json.of("1"));
            // Calls that end one right after the other may be told in either order.
            assertEquals("1 k default ", told.poll(10, TimeUnit.SECONDS));
            answers.add(refusal(Code.INVALID_ARGUMENT, "KIND_UNKNOWN"));
            assertThrows(JobQueueException.KindUnknown.class, () -> observed.withDeadline(Duration.ofSeconds(5))
                    .enqueueMany(List.of(
                            NewJob.of("k"),
                            NewJob.builder("k").queue("q").build(),
                            NewJob.builder("k").queue("q").build())));
            for (var want : List.of("1 k default KIND_UNKNOWN", "2 k q KIND_UNKNOWN")) {
                assertEquals(want, told.poll(10, TimeUnit.SECONDS));
            }
        }
    }

    @Test
    void theEnvironmentSaysWhereTheServerIsAndWhoAsks() throws Exception {
        var environment = new Environment(Map.of(
                "JOBQUEUE_SERVER",
                "127.0.0.1:" + server.getPort(),
                "JOBQUEUE_TOKEN",
                "jq_1",
                "JOBQUEUE_TLS_ROOTS",
                ""));
        answers.add(GetJobResponse.getDefaultInstance());
        try (var named = Client.from(environment).build()) {
            named.get("j1");
        }
        assertEquals("Bearer jq_1", tokens.take());
        assertEquals("127.0.0.1:50051", new Environment(Map.of()).server());
        assertTrue(new Environment(Map.of("JOBQUEUE_TLS_ROOTS", "public")).tls().isPresent());
        for (var wrong : List.of(
                Map.of("JOBQUEUE_TLS_ROOTS", "public", "JOBQUEUE_TLS_CLIENT_CERT", "a.pem"),
                Map.of("JOBQUEUE_TLS_CLIENT_CERT", "a.pem", "JOBQUEUE_TLS_CLIENT_KEY", "b.pem"))) {
            var error = assertThrows(IllegalArgumentException.class, () -> new Environment(wrong).tls());
            assertTrue(error.getMessage().contains("JOBQUEUE_TLS_"), error.getMessage());
        }
        assertThrows(
                UncheckedIOException.class,
                () -> new Environment(Map.of("JOBQUEUE_TLS_ROOTS", "/no/such/file.pem")).tls());
    }
}
