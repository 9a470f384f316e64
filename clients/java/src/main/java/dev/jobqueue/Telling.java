package dev.jobqueue;

import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;

/**
 * Tells an {@link Observer}, one event at a time and in their order, in a thread of its own: it is the program's, and must
 * hold up no heartbeat and no call. The thread ends when nothing was told for a while.
 */
final class Telling {
    /** So many events wait at most; more are dropped, and counted. */
    static final int MOST = 10_000;

    private final Observer observer;
    private final ThreadPoolExecutor thread;
    private final AtomicLong dropped = new AtomicLong();
    private final AtomicBoolean failed = new AtomicBoolean();

    /** The observer may be null: nothing is told, and nothing is made for it. */
    Telling(Observer observer) {
        this.observer = observer;
        if (observer == null) {
            thread = null;
            return;
        }
        thread = new ThreadPoolExecutor(
                1,
                1,
                10,
                TimeUnit.SECONDS,
                new LinkedBlockingQueue<>(MOST),
                Threads.daemons("jobqueue-observer-"),
                (event, full) -> dropped.incrementAndGet());
        thread.allowCoreThreadTimeOut(true);
    }

    /** Whether there is an observer. Without one no event need be made. */
    boolean on() {
        return observer != null;
    }

    /** Tells it of an event, later. Does not wait. */
    void tell(Consumer<Observer> event) {
        if (observer != null) {
            thread.execute(() -> call(event));
        }
    }

    private void call(Consumer<Observer> event) {
        try {
            event.accept(observer);
        } catch (Throwable error) {
            if (!failed.getAndSet(true)) {
                Worker.LOG.log(
                        System.Logger.Level.ERROR,
                        "the observer has failed; it is told on, and this is not said again",
                        error);
            }
        }
    }

    /** How many events were dropped. */
    long dropped() {
        return dropped.get();
    }

    /** Waits a while until what came before was told. */
    void flush(Duration within) {
        if (observer == null) {
            return;
        }
        var told = new CountDownLatch(1);
        thread.execute(told::countDown);
        try {
            told.await(within.toNanos(), TimeUnit.NANOSECONDS);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
