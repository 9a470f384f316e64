package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.rpc.Code;
import dev.jobqueue.v1.PutKindRequest;
import dev.jobqueue.v1.PutKindResponse;
import dev.jobqueue.v1.QueueAdminGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** What a server is told of kinds; what a real one makes of it is in the tests of the test kit. */
@Timeout(30)
class SyncKindsTest {
    private static final Json SCHEMA = Json.of("{\"type\":\"object\"}");
    private static final JobKind<String, Void> BARE =
            JobKind.define("bare", String.class).build();
    private static final JobKind<String, Void> WHOLE = JobKind.define("whole", String.class)
            .version(3)
            .schema(SCHEMA)
            .outputSchema(SCHEMA)
            .maxAttempts(5)
            .timeout(Duration.ofMinutes(1))
            .retryPolicy(new RetryPolicy(Duration.ofSeconds(1), null))
            .slotWeight(4)
            .queue("q")
            .priority(3)
            .build();

    private final BlockingQueue<PutKindRequest> asked = new LinkedBlockingQueue<>();
    /** How each call is answered, in their order; then with what was asked. */
    private final BlockingQueue<Function<PutKindRequest, PutKindResponse>> answers = new LinkedBlockingQueue<>();

    private final ScriptedServer server = new ScriptedServer(new QueueAdminGrpc.QueueAdminImplBase() {
        @Override
        public void putKind(PutKindRequest request, StreamObserver<PutKindResponse> answer) {
            asked.add(request);
            var next = answers.poll();
            try {
                answer.onNext(next == null ? same(request) : next.apply(request));
                answer.onCompleted();
            } catch (RuntimeException error) {
                answer.onError(error);
            }
        }
    });
    private final Client client = Client.of(server.address());

    private static PutKindResponse same(PutKindRequest request) {
        return PutKindResponse.newBuilder().setKind(request.getKind()).build();
    }

    private static Function<PutKindRequest, PutKindResponse> ofVersion(int version, boolean unchanged) {
        return request -> PutKindResponse.newBuilder()
                .setKind(request.getKind().toBuilder().setVersion(version))
                .setUnchanged(unchanged)
                .build();
    }

    private static Function<PutKindRequest, PutKindResponse> refusing(Code code) {
        return request -> {
            throw StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                    .setCode(code.getNumber())
                    .setMessage("no")
                    .build());
        };
    }

    @AfterEach
    void end() {
        client.close();
        server.close();
    }

    @Test
    void whatADeclarationNamesIsSaidAndNothingElse() throws Exception {
        client.syncKinds(BARE, WHOLE);
        var bare = asked.take();
        assertEquals(List.of("version"), bare.getUpdateMask().getPathsList());
        assertEquals(
                dev.jobqueue.v1.Kind.newBuilder().setName("bare").setVersion(1).build(), bare.getKind());
        assertTrue(bare.getOnlyNewer());
        var whole = asked.take();
        assertEquals(
                Set.of("version", "schema", "output_schema", "max_attempts", "timeout", "retry_policy", "slot_weight"),
                Set.copyOf(whole.getUpdateMask().getPathsList()));
        assertEquals(
                dev.jobqueue.v1.Kind.newBuilder()
                        .setName("whole")
                        .setVersion(3)
                        .setSchemaJson(ByteString.copyFromUtf8("{\"x-payload-version\":3,\"type\":\"object\"}"))
                        .setOutputSchemaJson(SCHEMA.raw())
                        .setMaxAttempts(5)
                        .setTimeout(Times.message(Duration.ofMinutes(1)))
                        .setRetryPolicy(new RetryPolicy(Duration.ofSeconds(1), null).message())
                        .setSlotWeight(4)
                        .build(),
                whole.getKind());
    }

    @Test
    void theReportSaysWhatWasChangedWhatWasSoBeforeAndWhatIsNewer() {
        answers.add(ofVersion(3, false));
        answers.add(ofVersion(3, true));
        answers.add(ofVersion(4, true));
        var synced = client.syncKinds(WHOLE, WHOLE, WHOLE);
        assertEquals(
                List.of(true, false, false),
                synced.stream().map(SyncedKind::changed).toList());
        assertEquals(
                List.of(false, false, true),
                synced.stream().map(SyncedKind::newer).toList());
        assertEquals(4, synced.get(2).kind().version());
        assertEquals(SCHEMA, synced.get(0).kind().outputSchema());
    }

    @Test
    void aServerThatIsTooOldIsNamedAndOneThatRefusesStopsThereWithItsWords() {
        answers.add(ofVersion(0, false));
        var error = assertThrows(JobQueueException.NotSupported.class, () -> client.syncKinds(WHOLE, BARE));
        assertTrue(
                error.getMessage().contains("the server is older than syncKinds: it replaced all that was declared"),
                error.getMessage());
        assertEquals(1, asked.size());
        answers.add(ofVersion(3, false));
        answers.add(refusing(Code.PERMISSION_DENIED));
        assertThrows(JobQueueException.NotAllowed.class, () -> client.syncKinds(WHOLE, BARE, WHOLE));
        assertEquals(3, asked.size());
    }

    private Worker.Builder worker() {
        return Worker.builder(server.address()).codec(Codecs.jackson());
    }

    private CompletableFuture<Void> serve(Worker worker) {
        return CompletableFuture.runAsync(worker::serve, task -> new Thread(task).start());
    }

    @Test
    void aWorkerDeclaresItsTypedKindsBeforeItTakesJobsAndWaitsForAServer() throws Exception {
        answers.add(refusing(Code.UNAVAILABLE));
        answers.add(refusing(Code.INTERNAL));
        try (var log = new TestLog();
                var worker = worker().syncKinds(true)
                        .build()
                        .handle(WHOLE, (payload, context) -> null)
                        .handle("untyped", (job, context) -> null)) {
            var served = serve(worker);
            server.open();
            assertEquals(3, asked.size());
            asked.forEach(each -> assertEquals("whole", each.getKind().getName()));
            assertEquals(List.of("the kind whole is synced"), log.with("the kind whole"));
            worker.stop(Duration.ZERO);
            server.close();
            served.exceptionally(error -> null).get(20, TimeUnit.SECONDS);
        }
    }

    @Test
    void aWorkerDeclaresNothingUnlessItIsToldTo() throws Exception {
        var worker = worker().build().handle(WHOLE, (payload, context) -> null);
        var served = serve(worker);
        server.open().goodbye();
        worker.stop(Duration.ZERO);
        server.close();
        served.get(20, TimeUnit.SECONDS);
        assertNull(asked.poll());
    }

    @Test
    void aWorkerThatMayNotDeclareItsKindsEndsAndOneThatIsStoppedMeanwhileLeaves() throws Exception {
        answers.add(refusing(Code.PERMISSION_DENIED));
        var refused = worker().syncKinds(true).build().handle(WHOLE, (payload, context) -> null);
        assertThrows(JobQueueException.NotAllowed.class, refused::serve);
        assertEquals(WorkerStatus.State.REFUSED, refused.status().state());

        asked.clear();
        for (var tries = 0; tries < 1000; tries++) {
            answers.add(refusing(Code.UNAVAILABLE));
        }
        var waiting = worker().syncKinds(true).build().handle(WHOLE, (payload, context) -> null);
        var served = serve(waiting);
        asked.take();
        waiting.stop();
        served.get(20, TimeUnit.SECONDS);
        assertEquals(WorkerStatus.State.ENDED, waiting.status().state());
    }
}
