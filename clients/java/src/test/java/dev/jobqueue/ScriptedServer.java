package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import com.google.protobuf.ByteString;
import dev.jobqueue.v1.CancelLeases;
import dev.jobqueue.v1.Control;
import dev.jobqueue.v1.Delivery;
import dev.jobqueue.v1.GoAway;
import dev.jobqueue.v1.Goodbye;
import dev.jobqueue.v1.Hello;
import dev.jobqueue.v1.JobQueueGrpc;
import dev.jobqueue.v1.LeaseRequest;
import dev.jobqueue.v1.LeaseResponse;
import dev.jobqueue.v1.Pong;
import dev.jobqueue.v1.RevokeLeases;
import dev.jobqueue.v1.Settle;
import dev.jobqueue.v1.SettleResult;
import dev.jobqueue.v1.Settled;
import dev.jobqueue.v1.Welcome;
import io.grpc.BindableService;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Server;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A server whose every frame the test says. */
final class ScriptedServer extends JobQueueGrpc.JobQueueImplBase implements AutoCloseable {
    private final Server server;
    private final BlockingQueue<Stream> streams = new LinkedBlockingQueue<>();

    /** With other services beside that of jobs. */
    ScriptedServer(BindableService... more) {
        try {
            var builder = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                    .addService(this);
            List.of(more).forEach(builder::addService);
            server = builder.build().start();
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    String address() {
        return "127.0.0.1:" + server.getPort();
    }

    @Override
    public void close() {
        server.shutdownNow();
    }

    @Override
    public StreamObserver<LeaseRequest> lease(StreamObserver<LeaseResponse> answers) {
        var stream = new Stream(answers);
        streams.add(stream);
        return stream;
    }

    /** The next stream that a worker opens, with its Hello read. */
    Stream accept() throws InterruptedException {
        var stream = streams.poll(10, TimeUnit.SECONDS);
        assertNotNull(stream, "no stream was opened");
        stream.hello = stream.next().getHello();
        return stream;
    }

    /** The same, welcomed. */
    Stream open() throws InterruptedException {
        var stream = accept();
        stream.welcome("token");
        return stream;
    }

    /** The text of a number as an id. */
    static String id(long number) {
        return "00000000-0000-7000-8000-%012d".formatted(number);
    }

    /** A job of the kind {@code k} whose lease, id and payload are this number. */
    static dev.jobqueue.v1.LeasedJob.Builder job(long number) {
        return dev.jobqueue.v1.LeasedJob.newBuilder()
                .setLeaseId(number)
                .setId(id(number))
                .setAttempt(1)
                .setKind("k")
                .setQueue("default")
                .setMaxAttempts(3)
                .setPayloadJson(ByteString.copyFromUtf8(Long.toString(number)));
    }

    /** One stream of a worker. */
    static final class Stream implements StreamObserver<LeaseRequest> {
        Hello hello;
        private final StreamObserver<LeaseResponse> answers;
        private final BlockingQueue<LeaseRequest> frames = new LinkedBlockingQueue<>();
        private long deliveries;

        private Stream(StreamObserver<LeaseResponse> answers) {
            this.answers = answers;
        }

        @Override
        public void onNext(LeaseRequest frame) {
            frames.add(frame);
        }

        @Override
        public void onError(Throwable error) {
            // The worker has left.
        }

        @Override
        public void onCompleted() {
            answers.onCompleted();
        }

        LeaseRequest next() throws InterruptedException {
            var frame = frames.poll(10, TimeUnit.SECONDS);
            assertNotNull(frame, "no frame came");
            return frame;
        }

        /** The next frame of a sort; others are passed over. */
        LeaseRequest next(LeaseRequest.FrameCase sort) throws InterruptedException {
            while (true) {
                var frame = next();
                if (frame.getFrameCase() == sort) {
                    return frame;
                }
            }
        }

        Settle settle() throws InterruptedException {
            return next(LeaseRequest.FrameCase.SETTLE).getSettle();
        }

        /** The one outcome of the next Settle. */
        dev.jobqueue.v1.Outcome outcome() throws InterruptedException {
            var settle = settle();
            assertEquals(List.of(), settle.getSucceededList());
            assertEquals(1, settle.getOutcomesCount());
            settled(settle);
            return settle.getOutcomes(0);
        }

        synchronized void send(LeaseResponse.Builder frame) {
            answers.onNext(frame.build());
        }

        void welcome(String token) {
            welcome(token, Duration.ofSeconds(5));
        }

        void welcome(String token, Duration beat, String... unknownKinds) {
            welcome(Welcome.newBuilder()
                    .setSessionToken(token)
                    .setHeartbeatInterval(Times.message(beat))
                    .addAllUnknownKinds(List.of(unknownKinds)));
        }

        void welcome(Welcome.Builder welcome) {
            send(LeaseResponse.newBuilder().setWelcome(welcome.setSessionId(7).setServer("scripted")));
        }

        void pong(long seq) {
            send(LeaseResponse.newBuilder().setPong(Pong.newBuilder().setSeq(seq)));
        }

        void deliver(dev.jobqueue.v1.LeasedJob.Builder... jobs) {
            var delivery = Delivery.newBuilder().setSeq(++deliveries);
            for (var each : jobs) {
                delivery.addJobs(each);
            }
            send(LeaseResponse.newBuilder().setDelivery(delivery));
        }

        void settled(Settle settle, SettleResult... exceptions) {
            send(LeaseResponse.newBuilder()
                    .setSettled(Settled.newBuilder().setSeq(settle.getSeq()).addAllExceptions(List.of(exceptions))));
        }

        void cancel(long lease) {
            var cancel = CancelLeases.newBuilder().addLeaseIds(lease).setReason("a test");
            send(LeaseResponse.newBuilder().setControl(Control.newBuilder().setCancel(cancel)));
        }

        void revoke(long lease, String reason) {
            var revoke = RevokeLeases.newBuilder().addLeaseIds(lease).setReason(reason);
            send(LeaseResponse.newBuilder().setControl(Control.newBuilder().setRevoke(revoke)));
        }

        void goAway() {
            send(LeaseResponse.newBuilder().setGoAway(GoAway.newBuilder().setReason("DRAINING")));
        }

        void goodbye() {
            send(LeaseResponse.newBuilder().setGoodbye(Goodbye.getDefaultInstance()));
            synchronized (this) {
                answers.onCompleted();
            }
        }

        synchronized void end(io.grpc.Status status) {
            answers.onError(status.asRuntimeException());
        }
    }
}
