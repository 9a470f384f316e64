package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.protobuf.Timestamp;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import dev.jobqueue.v1.GetQueueKeyRequest;
import dev.jobqueue.v1.GetQueueKeyResponse;
import dev.jobqueue.v1.KeyHolder;
import dev.jobqueue.v1.ListQueueKeysRequest;
import dev.jobqueue.v1.ListQueueKeysResponse;
import dev.jobqueue.v1.PauseQueueRequest;
import dev.jobqueue.v1.PauseQueueResponse;
import dev.jobqueue.v1.QueueAdminGrpc;
import dev.jobqueue.v1.UnblockQueueKeyRequest;
import dev.jobqueue.v1.UnblockQueueKeyResponse;
import dev.jobqueue.v1.UpdateQueueKeyRequest;
import dev.jobqueue.v1.UpdateQueueKeyResponse;
import dev.jobqueue.v1.UpdateQueueRequest;
import dev.jobqueue.v1.UpdateQueueResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Limits of queues and keys: what is asked for, and how the answer is read. */
@Timeout(30)
class QueuesTest {
    private final BlockingQueue<Message> asked = new LinkedBlockingQueue<>();
    private final Server server = start();
    private final Client client =
            Client.builder("127.0.0.1:" + server.getPort()).build();

    private Server start() {
        try {
            return Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                    .addService(new Answering())
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

    /** A server of one queue: it answers what it was told, and refuses the etag "old". */
    private final class Answering extends QueueAdminGrpc.QueueAdminImplBase {
        @Override
        public void updateQueue(UpdateQueueRequest request, StreamObserver<UpdateQueueResponse> answer) {
            var queue = request.getQueue().toBuilder().setEtag("new").build();
            var message = UpdateQueueResponse.newBuilder().setQueue(queue).build();
            say(request, request.getQueue().getEtag(), message, answer);
        }

        @Override
        public void pauseQueue(PauseQueueRequest request, StreamObserver<PauseQueueResponse> answer) {
            var queue = dev.jobqueue.v1.Queue.newBuilder()
                    .setName(request.getName())
                    .setPaused(true);
            say(request, "", PauseQueueResponse.newBuilder().setQueue(queue).build(), answer);
        }

        /** Two pages with a key each. */
        @Override
        public void listQueueKeys(ListQueueKeysRequest request, StreamObserver<ListQueueKeysResponse> answer) {
            var first = request.getPageToken().isEmpty();
            var key = dev.jobqueue.v1.QueueKey.newBuilder()
                    .setKey(first ? "a" : "b")
                    .setWaiting(first ? 3 : 0);
            var page = ListQueueKeysResponse.newBuilder().addKeys(key).setNextPageToken(first ? "t" : "");
            say(request, "", page.build(), answer);
        }

        @Override
        public void getQueueKey(GetQueueKeyRequest request, StreamObserver<GetQueueKeyResponse> answer) {
            var seven = Timestamp.newBuilder().setSeconds(7);
            var key = dev.jobqueue.v1.QueueKey.newBuilder()
                    .setQueue(request.getQueue())
                    .setKey(request.getKey())
                    .setMaxRunning(2)
                    .setPaused(true)
                    .setPausedAt(seven)
                    .setPausedBy("ada")
                    .setLimit(2)
                    .setTaken(1)
                    .setWaiting(4)
                    .setNextStartAt(seven)
                    .addHolders(
                            KeyHolder.newBuilder().setJobId("j").setWorker("w").setSince(seven))
                    .setEtag("e")
                    .setPausedUntil(seven)
                    .setBlockedBy("f");
            say(request, "", GetQueueKeyResponse.newBuilder().setQueueKey(key).build(), answer);
        }

        @Override
        public void updateQueueKey(UpdateQueueKeyRequest request, StreamObserver<UpdateQueueKeyResponse> answer) {
            var key = request.getQueueKey().toBuilder().setEtag("new");
            var message = UpdateQueueKeyResponse.newBuilder().setQueueKey(key).build();
            say(request, request.getQueueKey().getEtag(), message, answer);
        }

        @Override
        public void unblockQueueKey(UnblockQueueKeyRequest request, StreamObserver<UnblockQueueKeyResponse> answer) {
            say(
                    request,
                    "",
                    UnblockQueueKeyResponse.newBuilder().setBlockedBy("j").build(),
                    answer);
        }

        private <A> void say(Message request, String etag, A message, StreamObserver<A> answer) {
            asked.add(request);
            if (etag.equals("old")) {
                var info = ErrorInfo.newBuilder().setReason("ETAG_MISMATCH").build();
                answer.onError(StatusProto.toStatusRuntimeException(com.google.rpc.Status.newBuilder()
                        .setCode(Code.ABORTED.getNumber())
                        .addDetails(Any.pack(info))
                        .build()));
            } else {
                answer.onNext(message);
                answer.onCompleted();
            }
        }
    }

    private List<String> maskOfTheNext() throws InterruptedException {
        return ((UpdateQueueRequest) asked.take()).getUpdateMask().getPathsList();
    }

    @Test
    void aQueueIsChangedWithItsEtag() throws Exception {
        var rate = Rate.of(10, Duration.ofMinutes(1));
        var policy = new KeyPolicy(1, rate, 9, true, KeyOrder.STRICT, OnKeyFailure.HOLD, true);
        var queue = client.updateQueue("q", QueueChange.of(policy));
        assertEquals("new", queue.etag());
        assertEquals(policy, queue.keyPolicy().orElseThrow());
        assertEquals(List.of("key_policy"), maskOfTheNext());

        var less = QueueChange.NONE.withKeyPolicy(null, "rate", "max_running").withAllowMissing();
        assertTrue(client.updateQueue("q", less).keyPolicy().isEmpty());
        // Fields of nothing change nothing.
        assertEquals(List.of(), maskOfTheNext());
        client.updateQueue("q", less.withKeyPolicy(KeyPolicy.NONE, "rate", "max_running"));
        var request = (UpdateQueueRequest) asked.take();
        assertTrue(request.getAllowMissing());
        assertEquals(
                List.of("key_policy.rate", "key_policy.max_running"),
                request.getUpdateMask().getPathsList());

        var late = QueueChange.of(policy).withEtag("old");
        assertThrows(JobQueueException.EtagMismatch.class, () -> client.updateQueue("q", late));
    }

    @Test
    void howManyJobsOfAQueueMayWaitIsChangedAndItsKeyPolicyStays() throws Exception {
        assertEquals(
                5000,
                client.updateQueue("q", QueueChange.NONE.withMaxWaiting(5000)).maxWaiting());
        var request = (UpdateQueueRequest) asked.take();
        assertEquals(5000, request.getQueue().getMaxWaiting());
        assertFalse(request.getQueue().hasKeyPolicy());
        assertEquals(List.of("max_waiting"), request.getUpdateMask().getPathsList());

        assertEquals(
                0, client.updateQueue("q", QueueChange.NONE.withMaxWaiting(0)).maxWaiting());
        assertEquals(List.of("max_waiting"), maskOfTheNext());

        var policy = new KeyPolicy(0, null, 9, false);
        var change = QueueChange.NONE.withKeyPolicy(policy, "max_waiting").withMaxWaiting(70);
        var both = client.updateQueue("q", change);
        assertEquals(List.of(9, 70), List.of(both.keyPolicy().orElseThrow().maxWaiting(), both.maxWaiting()));
        assertEquals(List.of("key_policy.max_waiting", "max_waiting"), maskOfTheNext());

        var none = client.updateQueue("q", QueueChange.of(new KeyPolicy(0, null, 0, false, null, null)));
        assertEquals(KeyPolicy.NONE, none.keyPolicy().orElseThrow());
        assertEquals(List.of("key_policy"), maskOfTheNext());
    }

    @Test
    void whatAQueueAllowsOfAllItsJobsIsChangedAsAWholeOrInPart() throws Exception {
        var limits = new Limits(40, Optional.of(new Rate(7, Duration.ofSeconds(1), 3, 0)));
        var queue = client.updateQueue("q", QueueChange.NONE.withLimits(limits));
        assertEquals(limits, queue.limits().orElseThrow());
        assertTrue(queue.keyPolicy().isEmpty());
        assertEquals(List.of("limits"), maskOfTheNext());

        client.updateQueue("q", QueueChange.NONE.withLimits(limits, "max_running"));
        assertEquals(List.of("limits.max_running"), maskOfTheNext());
        client.updateQueue("q", QueueChange.NONE.withLimits(Limits.NONE));
        assertEquals(List.of("limits"), maskOfTheNext());
        client.updateQueue("q", QueueChange.NONE.withMaxWaiting(1).withLimits(Limits.NONE, "rate"));
        assertEquals(List.of("max_waiting", "limits.rate"), maskOfTheNext());
        client.updateQueue("q", QueueChange.NONE.withMaxWaiting(1).withLimits(null, "rate"));
        assertEquals(List.of("max_waiting"), maskOfTheNext());
    }

    @Test
    void aQueueIsPausedWithAReason() throws Exception {
        assertTrue(client.pauseQueue("q", "the printer burns").paused());
        assertEquals("the printer burns", ((PauseQueueRequest) asked.take()).getReason());
        assertTrue(client.pauseQueue("q").paused());
        assertEquals("", ((PauseQueueRequest) asked.take()).getReason());
    }

    @Test
    void theKeysOfAQueueAreListedPageByPageAndNoMoreThanWereAskedFor() throws Exception {
        var keys = client.listQueueKeys("q", new QueueKeys(QueueKey.Filter.WAITING, true, 1000));
        assertEquals(List.of("a", "b"), keys.stream().map(QueueKey::key).toList());
        assertEquals(List.of(3, 0), keys.stream().map(QueueKey::waiting).toList());
        for (var token : List.of("", "t")) {
            var request = (ListQueueKeysRequest) asked.take();
            assertEquals(List.of("q", "waiting desc"), List.of(request.getQueue(), request.getOrderBy()));
            assertEquals(ListQueueKeysRequest.Only.WAITING, request.getOnly());
            assertEquals(token, request.getPageToken());
        }
        assertEquals(1, client.listQueueKeys("q", new QueueKeys(null, false, 1)).size());
        var request = (ListQueueKeysRequest) asked.take();
        assertEquals("key", request.getOrderBy());
        assertEquals(ListQueueKeysRequest.Only.ONLY_UNSPECIFIED, request.getOnly());
        assertTrue(asked.isEmpty());
    }

    @Test
    void aKeyIsReadWithTheJobsThatHoldIt() {
        var seven = Instant.ofEpochSecond(7);
        var holders = List.of(new QueueKey.Holder("j", "w", seven));
        var then = Optional.of(seven);
        var job = Optional.of("f");
        assertEquals(
                new QueueKey("q", "a/b", 2, true, then, "ada", 2, 1, 4, then, holders, "e", then, job),
                client.getQueueKey("q", "a/b"));
    }

    @Test
    void aKeyIsChangedWithItsEtagAndWhatIsNotNamedStays() throws Exception {
        var key = client.updateQueueKey("q", "a", new QueueKeyChange(5, true, ""));
        assertEquals(List.of(5, true, "new"), List.of(key.maxRunning(), key.paused(), key.etag()));
        assertTrue(key.pausedAt().isEmpty() && key.nextStartAt().isEmpty());
        client.updateQueueKey("q", "a", QueueKeyChange.limit(0));
        client.updateQueueKey("q", "a", QueueKeyChange.pause(false));
        for (var mask : List.of(List.of("max_running", "paused"), List.of("max_running"), List.of("paused"))) {
            var request = (UpdateQueueKeyRequest) asked.take();
            assertEquals(mask, request.getUpdateMask().getPathsList());
            assertEquals("a", request.getQueueKey().getKey());
        }
        var late = new QueueKeyChange(null, true, "old");
        assertThrows(JobQueueException.EtagMismatch.class, () -> client.updateQueueKey("q", "a", late));
    }

    @Test
    void aKeyIsUnblockedByItsQueueAndName() throws Exception {
        assertEquals("j", client.unblockQueueKey("q", "a/b"));
        var request = (UnblockQueueKeyRequest) asked.take();
        assertEquals(List.of("q", "a/b"), List.of(request.getQueue(), request.getKey()));
    }
}
