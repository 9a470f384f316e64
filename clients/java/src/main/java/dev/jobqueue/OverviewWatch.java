package dev.jobqueue;

import dev.jobqueue.v1.InsightGrpc;
import dev.jobqueue.v1.WatchOverviewRequest;
import dev.jobqueue.v1.WatchOverviewResponse;
import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import java.time.Duration;
import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Tells how the queues are doing, every 2 s. Made by {@link Client#watchOverview}; for one thread, but {@link #close}, by which
 * another one may end it.
 *
 * <p>A stream that breaks is opened again. Waiting for the next overview may throw a {@link JobQueueException}, where no server
 * answered within the deadline or another stream is of no use, and a {@link CancellationException} when the thread is
 * interrupted.
 */
public final class OverviewWatch implements Iterator<Overview>, Iterable<Overview>, AutoCloseable {
    // The server answers every 2 s.
    private static final long SILENCE_S = 30;

    private final ManagedChannel channel;
    private final CallOptions options;
    private final Duration patience;
    private final Backoff waits = new Backoff(Duration.ofMillis(50), Duration.ofSeconds(2));
    private final Object lock = new Object();
    /** Null: none is open. Guarded by the lock. */
    private Reader reader;
    /** Guarded by the lock. */
    private boolean closed;
    // Looked at, and not yet told.
    private Overview next;
    private boolean away;
    private long awaySince;

    OverviewWatch(ManagedChannel channel, CallOptions options, Duration patience) {
        this.channel = channel;
        this.options = options;
        this.patience = patience;
    }

    /** This watch: an iteration goes on where the one before ended. */
    @Override
    public Iterator<Overview> iterator() {
        return this;
    }

    /** Waits for the next overview. False: the watch or the client was closed. */
    @Override
    public boolean hasNext() {
        while (next == null) {
            Reader stream;
            synchronized (lock) {
                // A client that was closed opens no stream again.
                if (closed || channel.isShutdown()) {
                    return false;
                }
                if (reader == null) {
                    reader = new Reader();
                }
                stream = reader;
            }
            try {
                next = Overview.of(stream.read().getOverview());
                away = false;
                waits.reset();
            } catch (JobQueueException failure) {
                end();
                pause(failure);
            } catch (InterruptedException error) {
                throw interrupted();
            }
        }
        return true;
    }

    /** How the queues are doing. */
    @Override
    public Overview next() {
        if (!hasNext()) {
            throw new NoSuchElementException("the watch was closed");
        }
        var told = next;
        next = null;
        return told;
    }

    /** Ends the watch, also one that is waited for. */
    @Override
    public void close() {
        synchronized (lock) {
            closed = true;
            lock.notifyAll();
        }
        end();
    }

    private void end() {
        synchronized (lock) {
            if (reader != null) {
                reader.call.cancel("the watch was closed", null);
                reader = null;
            }
        }
    }

    /** Waits before another stream, or throws where another one is of no use, or it took too long. */
    private void pause(JobQueueException failure) {
        synchronized (lock) {
            if (closed || channel.isShutdown()) {
                return;
            }
            var wait = Watch.isCut(failure) ? waits.next() : Calls.pauseAfter(failure, waits);
            if (wait < 0) {
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
                TimeUnit.NANOSECONDS.timedWait(lock, wait);
            } catch (InterruptedException error) {
                throw interrupted();
            }
        }
        channel.resetConnectBackoff();
    }

    private CancellationException interrupted() {
        end();
        Thread.currentThread().interrupt();
        return new CancellationException("interrupted while the next overview was awaited");
    }

    /** One stream, asked for one answer after the other. */
    private final class Reader extends ClientCall.Listener<WatchOverviewResponse> {
        private final ClientCall<WatchOverviewRequest, WatchOverviewResponse> call;
        private final LinkedBlockingQueue<Object> came = new LinkedBlockingQueue<>();
        private Metadata headers;

        Reader() {
            call = channel.newCall(InsightGrpc.getWatchOverviewMethod(), options);
            call.start(this, Calls.headers(Calls.trace(options)));
            call.sendMessage(WatchOverviewRequest.getDefaultInstance());
            call.halfClose();
        }

        WatchOverviewResponse read() throws InterruptedException {
            call.request(1);
            var found = came.poll(SILENCE_S, TimeUnit.SECONDS);
            if (found == null) {
                throw Errors.unavailable("nothing was heard of the server for %d s".formatted(SILENCE_S));
            }
            if (found instanceof JobQueueException failure) {
                throw failure;
            }
            return (WatchOverviewResponse) found;
        }

        @Override
        public void onHeaders(Metadata received) {
            headers = received;
        }

        @Override
        public void onMessage(WatchOverviewResponse message) {
            came.add(message);
        }

        @Override
        public void onClose(io.grpc.Status status, Metadata trailers) {
            came.add(status.isOk() ? Errors.unavailable("the stream has ended") : Errors.of(status, headers, trailers));
        }
    }
}
