package dev.jobqueue;

import dev.jobqueue.v1.JobQueueGrpc;
import dev.jobqueue.v1.LeaseRequest;
import dev.jobqueue.v1.LeaseResponse;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import java.util.concurrent.Future;

/**
 * One Lease stream, on a connection of its own: a worker that leaves a server must not come back to it over the connection
 * that it left. The session's lock guards it; nothing in it blocks.
 */
final class LeaseStream {
    final String target;
    /** When it was opened, by the nanoseconds of this process. */
    long opened;
    /** Sends its heartbeats. */
    Future<?> heart;
    /** Why it could not be opened. */
    JobQueueException failure;

    private final ManagedChannel channel;
    private final ClientCall<LeaseRequest, LeaseResponse> call;
    private boolean closed;
    private long lastDelivery;
    private long receipted;

    LeaseStream(String target, Access.Connection connection) {
        this.target = target;
        channel = connection.channel(target);
        call = channel.newCall(
                JobQueueGrpc.getLeaseMethod(), CallOptions.DEFAULT.withCallCredentials(connection.token()));
    }

    /** Begins; the first frame is the caller's to send. */
    void start(Link link) {
        call.start(
                new ClientCall.Listener<>() {
                    private Metadata headers;

                    @Override
                    public void onHeaders(Metadata received) {
                        headers = received;
                    }

                    @Override
                    public void onMessage(LeaseResponse frame) {
                        call.request(1);
                        link.received(LeaseStream.this, frame);
                    }

                    @Override
                    public void onClose(io.grpc.Status status, Metadata trailers) {
                        link.closed(LeaseStream.this, status, headers, trailers);
                    }
                },
                new Metadata());
        call.request(1);
    }

    /** Sends a frame, with the receipt of what was delivered. */
    void send(LeaseRequest.Builder frame) {
        if (!closed) {
            receipted = lastDelivery;
            call.sendMessage(frame.setLastDelivery(lastDelivery).build());
        }
    }

    /** Notes a delivery that was seen. */
    void delivered(long seq) {
        lastDelivery = seq;
    }

    /** Sends a bare receipt, unless another frame has carried it. */
    void receipt() {
        if (receipted < lastDelivery) {
            send(LeaseRequest.newBuilder());
        }
    }

    /** Ends it at once. */
    void close() {
        if (!closed) {
            closed = true;
            if (heart != null) {
                heart.cancel(false);
            }
            call.cancel("the worker left this stream", null);
            channel.shutdownNow();
        }
    }
}
