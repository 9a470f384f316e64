package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.grpc.Grpc;
import io.grpc.HandlerRegistry;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.Server;
import io.grpc.ServerCall;
import io.grpc.ServerMethodDefinition;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Which calls of operators are made again while no server answers: those that change nothing when they are done twice. */
@Timeout(120)
class TriedAgainTest {
    private final BlockingQueue<String> asked = new LinkedBlockingQueue<>();
    private final Server server = start();
    private final Client client = Client.of("127.0.0.1:" + server.getPort());

    private Server start() {
        try {
            return Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                    .fallbackHandlerRegistry(new Unavailable())
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

    /** Has every method: it is away at the first call, and refuses what comes again. */
    private final class Unavailable extends HandlerRegistry {
        @Override
        public ServerMethodDefinition<?, ?> lookupMethod(String method, String authority) {
            var descriptor = MethodDescriptor.newBuilder(new Bytes(), new Bytes())
                    .setType(MethodDescriptor.MethodType.UNARY)
                    .setFullMethodName(method)
                    .build();
            return ServerMethodDefinition.create(descriptor, (call, headers) -> {
                asked.add(method);
                call.close(
                        asked.size() == 1 ? io.grpc.Status.UNAVAILABLE : io.grpc.Status.INVALID_ARGUMENT,
                        new Metadata());
                return new ServerCall.Listener<>() {};
            });
        }
    }

    private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
        @Override
        public InputStream stream(byte[] value) {
            return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
            return new byte[0];
        }
    }

    /** How often each of them is asked for. */
    private void asks(int times, Map<String, Runnable> calls) {
        calls.forEach((method, call) -> {
            asked.clear();
            assertThrows(JobQueueException.class, call::run, method);
            assertEquals(times, asked.size(), method);
            assertEquals(method.replaceFirst(" .*", ""), asked.peek().replaceFirst(".*/", ""));
        });
    }

    @Test
    void ofSchedulesReadsAndWhatMayBeDoneTwice() {
        var schedules = client.schedules();
        var spec = ScheduleSpec.every(Duration.ofHours(1));
        var change = ScheduleChange.NONE.withSpec(spec);
        var span = Backfill.of(Instant.EPOCH, Instant.EPOCH);
        var again = new LinkedHashMap<String, Runnable>();
        again.put("GetSchedule", () -> schedules.get("s"));
        again.put("ListSchedules", () -> schedules.list(ScheduleFilter.ALL).toList());
        again.put("UpdateSchedule", () -> schedules.update("s", change));
        again.put("PauseSchedule", () -> schedules.pause("s"));
        again.put("ResumeSchedule", () -> schedules.resume("s"));
        again.put("RunSchedule by id", () -> schedules.run("s", SchedulePolicy.Overlap.UNSPECIFIED, "r"));
        again.put("BackfillSchedule by id", () -> schedules.backfill("s", span.withRequestId("r")));
        again.put("BackfillSchedule dry", () -> schedules.backfill("s", span.withValidateOnly(true)));
        again.put("ListScheduleRuns", () -> schedules.runs("s").toList());
        again.put("PreviewSchedule", () -> schedules.preview(spec, 1));
        asks(2, again);
        var once = new LinkedHashMap<String, Runnable>();
        once.put("CreateSchedule", () -> schedules.create("s", spec, NewJob.of("k")));
        once.put("UpdateSchedule by etag", () -> schedules.update("s", change.withEtag("e")));
        once.put("DeleteSchedule", () -> schedules.delete("s"));
        once.put("RunSchedule", () -> schedules.run("s"));
        once.put("BackfillSchedule", () -> schedules.backfill("s", span));
        asks(1, once);
    }

    @Test
    void ofChangesOfManyJobsDryRunsAndThoseThatHaveAnId() {
        var filter = JobFilter.builder().everything().build();
        var again = new LinkedHashMap<String, Runnable>();
        again.put("RetryJobs", () -> client.retryJobs(filter));
        again.put("CancelJobs", () -> client.cancelJobs(filter));
        again.put("DeleteJobs", () -> client.deleteJobs(filter));
        again.put(
                "UpdateJobs",
                () -> client.updateJobs(filter, UpdateJobs.builder().priority(1).build()));
        again.put(
                "RetryJobs by id",
                () -> client.retryJobs(
                        filter, RetryJobs.builder().force().requestId("r").build()));
        again.put("GetOperation", () -> client.getOperation("operations/1"));
        again.put("ListOperations", () -> client.listOperations());
        again.put("WaitOperation", () -> client.waitOperation("operations/1"));
        again.put("CancelOperation", () -> client.cancelOperation("operations/1"));
        asks(2, again);
        var once = new LinkedHashMap<String, Runnable>();
        once.put(
                "RetryJobs",
                () -> client.retryJobs(filter, RetryJobs.builder().force().build()));
        once.put(
                "CancelJobs",
                () -> client.cancelJobs(filter, CancelJobs.builder().force().build()));
        once.put(
                "DeleteJobs",
                () -> client.deleteJobs(filter, DeleteJobs.builder().force().build()));
        once.put(
                "UpdateJobs",
                () -> client.updateJobs(
                        filter, UpdateJobs.builder().force().priority(1).build()));
        once.put("DeleteOperation", () -> client.deleteOperation("operations/1"));
        asks(1, once);
    }

    @Test
    void ofWorkersAll() {
        var again = new LinkedHashMap<String, Runnable>();
        again.put("ListWorkers", () -> client.listWorkers(WorkerFilter.ALL));
        again.put("GetWorker", () -> client.getWorker("1"));
        again.put("DrainWorker", () -> client.drainWorker("1"));
        asks(2, again);
    }

    @Test
    void ofStatisticsAll() {
        var again = new LinkedHashMap<String, Runnable>();
        again.put("GetOverview", () -> client.overview());
        again.put("WatchOverview", () -> client.watchOverview().next());
        again.put("QueryStats", () -> client.stats(StatsQuery.LAST_HOUR));
        again.put("CountJobs", () -> client.countJobs(Filter.ALL));
        again.put("ListServers", () -> client.listServers());
        asks(2, again);
    }
}
