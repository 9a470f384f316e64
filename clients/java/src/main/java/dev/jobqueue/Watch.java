package dev.jobqueue;

import dev.jobqueue.v1.JobQueueGrpc;
import dev.jobqueue.v1.WatchJobsRequest;
import dev.jobqueue.v1.WatchJobsResponse;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status.Code;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Tells jobs as they change. Made by {@link Client#watch}; for one thread. An iteration ends when all jobs that were asked
 * for by their ids are over.
 *
 * <p>A stream that breaks, because a server leaves or a connection is cut, is opened anew where it ended: no change is
 * missed, and none is told again. Waiting for the next job may throw a {@link JobQueueException}, and a {@link
 * CancellationException} when the thread is interrupted.
 */
public final class Watch implements Iterator<Job>, Iterable<Job>, AutoCloseable {
    // The server answers every 10 s, also where nothing changes.
    private static final long SILENCE_S = 60;

    private final ManagedChannel channel;
    private final CallOptions options;
    private final WatchFilter filter;
    private final Duration patience;
    private final Codec codec;
    private final Encodings encodings;
    private final Backoff waits = new Backoff(Duration.ofMillis(50), Duration.ofSeconds(2));
    private final List<String> deleted = new ArrayList<>();
    private String token;
    private Reader reader;
    private WatchJobsResponse first;
    // Looked at, and not yet told.
    private Job next;
    private String nextToken;
    private boolean over;
    private long awaySince;
    private boolean away;

    Watch(
            ManagedChannel channel,
            CallOptions options,
            WatchFilter filter,
            Duration patience,
            Codec codec,
            Encodings encodings) {
        this.channel = channel;
        this.options = options;
        this.filter = filter;
        this.patience = patience;
        this.codec = codec;
        this.encodings = encodings;
        token = filter.request().getResumeToken();
    }

    /** Continues after the last answer, in another process or tomorrow's: see {@link WatchFilter.Builder#resumeToken}. */
    public String resumeToken() {
        return token;
    }

    /** Those of the ids that were asked for whose jobs were deleted meanwhile. */
    public List<String> deleted() {
        return List.copyOf(deleted);
    }

    /** Waits until the watch has begun: whatever changes after it is told. */
    public Watch begin() {
        if (first == null && next == null && !over) {
            first = answer();
        }
        return this;
    }

    /** This watch: an iteration goes on where the one before ended. */
    @Override
    public Iterator<Job> iterator() {
        return this;
    }

    /** Waits for the next change. False: all jobs that were asked for by their ids are over. */
    @Override
    public boolean hasNext() {
        while (next == null && !over) {
            var answer = first == null ? answer() : first;
            first = null;
            if (answer == null) {
                break;
            }
            if (!answer.hasJob()) {
                continue;
            }
            if (answer.getJob().getKind().isEmpty()) {
                token = answer.getResumeToken();
                deleted.add(answer.getJob().getId());
            } else {
                next = encodings == null ? Job.of(answer.getJob(), codec) : read(answer.getJob());
                nextToken = answer.getResumeToken();
            }
        }
        return next != null;
    }

    private Job read(dev.jobqueue.v1.Job message) {
        try {
            return Futures.await(encodings.read(message, codec, false, null));
        } catch (CancellationException error) {
            close(); // it is told again
            throw error;
        }
    }

    /** The job as it has become. */
    @Override
    public Job next() {
        if (!hasNext()) {
            throw new NoSuchElementException("all jobs that were watched are over");
        }
        var job = next;
        next = null;
        token = nextToken;
        return job;
    }

    /** Ends the stream. A later look goes on where it was. */
    @Override
    public void close() {
        if (reader != null) {
            reader.call.cancel("the watch was closed", null);
            reader = null;
        }
    }

    /** The next answer, of a new stream where one broke. Null: the watch is over. */
    private WatchJobsResponse answer() {
        while (true) {
            try {
                if (reader == null) {
                    if (channel.isShutdown()) {
                        throw Errors.unavailable("the client was closed");
                    }
                    reader = new Reader(
                            filter.request().toBuilder().setResumeToken(token).build());
                }
                var answer = reader.read();
                if (answer == null) {
                    over = true;
                    close();
                    return null;
                }
                if (!answer.hasJob()) {
                    token = answer.getResumeToken();
                }
                away = false;
                waits.reset();
                return answer;
            } catch (JobQueueException failure) {
                close();
                pause(failure);
            } catch (InterruptedException error) {
                throw interrupted();
            }
        }
    }

    /** Waits before another stream, or throws where another one is of no use, or it took too long. */
    private void pause(JobQueueException failure) {
        if (failure instanceof JobQueueException.WatchTokenExpired
                && filter.request().getIdsCount() > 0) {
            // Each is told as it is now, so nothing that still holds is missed.
            token = "";
            return;
        }
        var wait = isCut(failure) ? waits.next() : Calls.pauseAfter(failure, waits);
        // A client that was closed opens no stream again.
        if (wait < 0 || channel.isShutdown()) {
            throw failure;
        }
        if (!away) {
            away = true;
            awaySince = System.nanoTime();
        }
        if (System.nanoTime() - awaySince + wait >= Times.nanosOf(patience)) {
            failure.note("tried again until the deadline of " + patience.toSeconds() + " s");
            throw failure;
        }
        try {
            TimeUnit.NANOSECONDS.sleep(wait);
        } catch (InterruptedException error) {
            throw interrupted();
        }
        channel.resetConnectBackoff();
    }

    /** Whether a stream was cut, and not by a JobQueue server that had something to say. */
    static boolean isCut(JobQueueException failure) {
        return failure.reason().isEmpty()
                && (failure.code() == Code.CANCELLED
                        || failure.code() == Code.INTERNAL
                        || failure.code() == Code.UNKNOWN);
    }

    private CancellationException interrupted() {
        close();
        Thread.currentThread().interrupt();
        return new CancellationException("interrupted while the next change was awaited");
    }

    /** One stream, asked for one answer after the other. */
    private final class Reader extends ClientCall.Listener<WatchJobsResponse> {
        private final ClientCall<WatchJobsRequest, WatchJobsResponse> call;
        private final LinkedBlockingQueue<Object> came = new LinkedBlockingQueue<>();
        private Metadata headers;

        Reader(WatchJobsRequest request) {
            call = channel.newCall(JobQueueGrpc.getWatchJobsMethod(), options);
            call.start(this, Calls.headers(Calls.trace(options)));
            call.sendMessage(request);
            call.halfClose();
        }

        WatchJobsResponse read() throws InterruptedException {
            call.request(1);
            var found = came.poll(SILENCE_S, TimeUnit.SECONDS);
            if (found == null) {
                throw Errors.unavailable("the watch was silent for %d s".formatted(SILENCE_S));
            }
            if (found instanceof JobQueueException failure) {
                throw failure;
            }
            return found instanceof WatchJobsResponse answer ? answer : null;
        }

        @Override
        public void onHeaders(Metadata received) {
            headers = received;
        }

        @Override
        public void onMessage(WatchJobsResponse message) {
            came.add(message);
        }

        @Override
        public void onClose(io.grpc.Status status, Metadata trailers) {
            came.add(status.isOk() ? status : Errors.of(status, headers, trailers));
        }
    }
}
