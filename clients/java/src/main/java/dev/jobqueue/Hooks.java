package dev.jobqueue;

import com.google.longrunning.Operation;
import com.google.longrunning.WaitOperationRequest;
import com.google.protobuf.InvalidProtocolBufferException;
import dev.jobqueue.internal.TestHooks;
import dev.jobqueue.v1.BulkGrpc;
import dev.jobqueue.v1.BulkResult;
import dev.jobqueue.v1.JobFilter;
import dev.jobqueue.v1.Outcome;
import dev.jobqueue.v1.Progress;
import dev.jobqueue.v1.Success;
import dev.jobqueue.v1.UpdateJobsRequest;
import io.grpc.MethodDescriptor;
import io.grpc.protobuf.ProtoUtils;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Function;

/** Opens what the test kit needs: the worker's own way from a leased job to an outcome. */
final class Hooks extends TestHooks {
    private static final Executor SHARED = Threads.perTask();
    // The stubs of this service are in no artifact that the client has.
    private static final MethodDescriptor<WaitOperationRequest, Operation> WAIT_OPERATION =
            MethodDescriptor.<WaitOperationRequest, Operation>newBuilder()
                    .setType(MethodDescriptor.MethodType.UNARY)
                    .setFullMethodName("google.longrunning.Operations/WaitOperation")
                    .setRequestMarshaller(ProtoUtils.marshaller(WaitOperationRequest.getDefaultInstance()))
                    .setResponseMarshaller(ProtoUtils.marshaller(Operation.getDefaultInstance()))
                    .build();

    private Hooks() {}

    /** Found by its name. */
    static TestHooks hooks() {
        return new Hooks();
    }

    @Override
    public Set<String> kinds(Worker worker) {
        return Set.copyOf(worker.handlers.kinds());
    }

    @Override
    public Set<String> queues(Worker worker) {
        return Set.copyOf(worker.settings.queues());
    }

    @Override
    public Worker like(Worker worker, String target, String token, Consumer<Throwable> thrown) {
        var made = Worker.builder(target)
                .token(token)
                .codec(worker.settings.codec())
                .queues(worker.settings.queues().toArray(String[]::new))
                .concurrency(worker.settings.concurrency())
                .executor(worker.settings.executor())
                .build();
        BiConsumer<JobContext, Throwable> failed = (context, error) -> {
            if (!(context.isCancelled() && Endings.stoppedBy(error))) {
                thrown.accept(error);
            }
        };
        for (var kind : worker.handlers.kinds()) {
            made.handlers.add(List.of(kind), watched(worker.handlers.get(kind), failed), worker.settings.queues());
        }
        return made;
    }

    @Override
    public <Q, A> A call(Client client, MethodDescriptor<Q, A> method, Q request) {
        return Futures.await(client.async().call(method, request, false));
    }

    @Override
    public long makeDue(Client client, List<String> ids) {
        var request = UpdateJobsRequest.newBuilder()
                .setFilter(JobFilter.newBuilder().addAllIds(ids))
                .setForce(true)
                .setDelay(com.google.protobuf.Duration.getDefaultInstance())
                .build();
        var operation = call(client, BulkGrpc.getUpdateJobsMethod(), request).getOperation();
        while (!operation.getDone()) {
            var wait = WaitOperationRequest.newBuilder()
                    .setName(operation.getName())
                    .setTimeout(Times.message(Duration.ofSeconds(10)))
                    .build();
            operation = call(client, WAIT_OPERATION, wait);
        }
        try {
            return operation.getResponse().unpack(BulkResult.class).getChanged();
        } catch (InvalidProtocolBufferException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public Codec codec(Worker worker) {
        return worker.settings.codec();
    }

    @Override
    public Worker worker(Codec codec, List<Middleware> middleware) {
        return Worker.builder("127.0.0.1:1")
                .name("test")
                .codec(codec)
                .middleware(middleware)
                .executor(SHARED)
                .build();
    }

    @Override
    public Attempt attempt(Worker worker, dev.jobqueue.v1.LeasedJob message, Consumer<Progress> report) {
        return new One(worker, message, report);
    }

    @Override
    public JobContext context(dev.jobqueue.v1.LeasedJob message, Codec codec) {
        return new JobContext(new LeasedJob(message, codec), codec, SHARED, report -> {});
    }

    @Override
    public dev.jobqueue.v1.NewJob message(NewJob job, Codec codec, String path) {
        // There is no wire on which a payload would be seen.
        return job.ruled(null).message(codec, path, false);
    }

    @Override
    public List<EnqueueResult> through(
            List<Middleware> middleware, List<NewJob> jobs, Function<List<NewJob>, List<EnqueueResult>> last) {
        return Futures.await(
                Enqueues.through(middleware, jobs, changed -> CompletableFuture.completedFuture(last.apply(changed))));
    }

    @Override
    public NewJob written(NewJob job, Codec codec, String path) {
        return job.written(codec, path);
    }

    @Override
    public Job job(dev.jobqueue.v1.Job message, Codec codec, boolean replayed) {
        return new Job(message, codec, replayed, null, Job.Reading.PLAIN);
    }

    @Override
    public JobQueueException refused(
            io.grpc.Status.Code code,
            String reason,
            String words,
            Map<String, String> metadata,
            List<FieldViolation> violations) {
        return Errors.of(new JobQueueException.Facts(words, code, reason, metadata, violations, null, ""));
    }

    /** A handler that tells what it throws, too. */
    private static Handlers.Entry watched(Handlers.Entry entry, BiConsumer<JobContext, Throwable> thrown) {
        if (entry.async() != null) {
            AsyncHandler async = (job, context) -> {
                try {
                    var stage = entry.async().run(job, context).toCompletableFuture();
                    var seen = stage.whenComplete((output, error) -> {
                        if (error != null) {
                            thrown.accept(context, Endings.unwrapped(error));
                        }
                    });
                    Futures.cancelWith(seen, stage);
                    return seen;
                } catch (Throwable error) {
                    thrown.accept(context, Endings.unwrapped(error));
                    throw error;
                }
            };
            return new Handlers.Entry(null, async, entry.options(), entry.source(), entry.coding());
        }
        Handler plain = (job, context) -> {
            try {
                return entry.plain().run(job, context);
            } catch (Throwable error) {
                thrown.accept(context, Endings.unwrapped(error));
                throw error;
            }
        };
        return new Handlers.Entry(plain, null, entry.options(), entry.source(), entry.coding());
    }

    /** One attempt. */
    private static final class One implements Attempt {
        private final Lease lease;
        private final Worker.Settings settings;
        private final Coding coding;
        private final CompletableFuture<Outcome> ended = new CompletableFuture<>();
        private volatile Throwable thrown;

        One(Worker worker, dev.jobqueue.v1.LeasedJob message, Consumer<Progress> report) {
            settings = worker.settings;
            coding = worker.handlers.get(message.getKind()).coding();
            lease = new Lease(message.getLeaseId(), new LeasedJob(sealed(message), settings.codec()));
            // What it throws is kept, since the outcome has but its words.
            lease.handler = watched(worker.handlers.get(message.getKind()), (context, error) -> thrown = error);
            lease.context = new JobContext(
                    lease.job, settings.codec(), settings.executor(), each -> report.accept(opened(each)));
            lease.run = new HandlerRun(lease, settings, (of, outcome) -> {
                of.settle(outcome);
                var settled = of.outcome == null
                        ? Outcome.newBuilder()
                                .setSuccess(Success.getDefaultInstance())
                                .build()
                        : of.outcome;
                try {
                    ended.complete(coding == null ? settled : coding.open(settled, lease.job));
                } catch (Exception error) {
                    ended.completeExceptionally(error);
                }
            });
        }

        /** As a producer and the attempts before have encoded it. */
        private dev.jobqueue.v1.LeasedJob sealed(dev.jobqueue.v1.LeasedJob message) {
            try {
                return coding == null ? message : coding.seal(message);
            } catch (RuntimeException error) {
                throw error;
            } catch (Exception error) {
                throw new IllegalStateException(error);
            }
        }

        private Progress opened(Progress.Builder told) {
            if (coding != null && told.hasCheckpoint()) {
                try {
                    told.setCheckpoint(coding.openCheckpoint(told.getCheckpoint(), lease.job));
                } catch (RuntimeException error) {
                    throw error;
                } catch (Exception error) {
                    throw new IllegalStateException(error);
                }
            }
            return told.build();
        }

        @Override
        public JobContext context() {
            return lease.context;
        }

        @Override
        public CompletableFuture<Outcome> start() {
            settings.executor().execute(lease.run);
            return ended;
        }

        @Override
        public void stop(Stop why) {
            lease.context.tell(why);
            lease.run.interrupt();
        }

        @Override
        public Throwable thrown() {
            return thrown;
        }
    }
}
