package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.Message;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import dev.jobqueue.v1.QueueAdminGrpc;
import dev.jobqueue.v1.UpdateQueueRequest;
import dev.jobqueue.v1.UpdateQueueResponse;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Limits of queues: what is asked for, and how the answer is read. */
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
        assertEquals(5000, client.updateQueue("q", QueueChange.NONE.withMaxWaiting(5000)).maxWaiting());
        var request = (UpdateQueueRequest) asked.take();
        assertEquals(5000, request.getQueue().getMaxWaiting());
        assertFalse(request.getQueue().hasKeyPolicy());
        assertEquals(List.of("max_waiting"), request.getUpdateMask().getPathsList());

        assertEquals(0, client.updateQueue("q", QueueChange.NONE.withMaxWaiting(0)).maxWaiting());
        assertEquals(List.of("max_waiting"), maskOfTheNext());

        var policy = new KeyPolicy(0, null, 9, false);
        var change = QueueChange.NONE.withKeyPolicy(policy, "max_waiting").withMaxWaiting(70);
        var both = client.updateQueue("q", change);
        assertEquals(
                List.of(9, 70),
                List.of(both.keyPolicy().orElseThrow().maxWaiting(), both.maxWaiting()));
        assertEquals(List.of("key_policy.max_waiting", "max_waiting"), maskOfTheNext());

        client.updateQueue("q", QueueChange.of(KeyPolicy.NONE));
        assertEquals(List.of("key_policy"), maskOfTheNext());
    }
}
