package dev.jobqueue;

import io.grpc.Metadata;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Queue;
import java.util.Set;
import java.util.concurrent.CompletableFuture;

/**
 * How many enqueues may be in flight at once, as the server's hints say: more by one a round, less by a part.
 *
 * <p>It lets so many calls go at once; the others wait for their turns, first come first. The bound grows by one for each
 * round of calls that were answered without a hint, while the bound is reached. A round that brings hints or refusals makes
 * it smaller, once however many it brings: they tell of the same. For any thread.
 */
final class Window {
    private static final Metadata.Key<String> PRESSURE =
            Metadata.Key.of("jobqueue-pressure", Metadata.ASCII_STRING_MARSHALLER);
    private static final Set<String> REFUSALS = Set.of("QUEUE_FULL", "QUEUE_BACKLOG_FULL");
    private static final double FIRST = 64;
    private static final double LEAST = 1;
    private static final double MOST = 1000;
    // What is left of the bound after a hint, and after a refusal.
    private static final double HINTED = 0.8;
    private static final double REFUSED = 0.5;

    /** How many may be in flight. The window's monitor guards this and all below. */
    private double bound;
    /** How many are. */
    private int inFlight;
    /** Grows when the bound gets smaller: what began before tells nothing of the new one. */
    private int round;
    /** The turns that wait, in their order; one that is given up goes out at once. */
    private final LinkedHashSet<Turn> line = new LinkedHashSet<>();
    /** What a thread is about to begin. */
    private final ThreadLocal<Queue<Turn>> beginning = new ThreadLocal<>();

    Window() {
        this(FIRST);
    }

    /** One with another bound at first. */
    Window(double bound) {
        this.bound = bound;
    }

    synchronized double bound() {
        return bound;
    }

    synchronized int inFlight() {
        return inFlight;
    }

    /** The turn of one more call. It has come already, or waits in the line. Leave it when the call has ended. */
    synchronized Turn turn() {
        var turn = new Turn();
        if (line.isEmpty() && inFlight < (int) bound) {
            turn.come();
            turn.come.complete(null);
        } else {
            line.add(turn);
        }
        return turn;
    }

    /** Takes from the line what there is room for. */
    private List<Turn> next() {
        if (line.isEmpty() || inFlight >= (int) bound) {
            return List.of();
        }
        var next = new ArrayList<Turn>();
        for (var each = line.iterator(); each.hasNext() && inFlight < (int) bound; each.remove()) {
            var turn = each.next();
            turn.come();
            next.add(turn);
        }
        return next;
    }

    /** Begins the calls whose turns have come. Without the monitor. */
    private void begin(List<Turn> next) {
        if (next.isEmpty()) {
            return;
        }
        var before = beginning.get();
        if (before != null) {
            // One that this thread begins has failed at once. It goes on with these: else the stack would not last.
            before.addAll(next);
            return;
        }
        var all = new ArrayDeque<>(next);
        beginning.set(all);
        try {
            for (var each = all.poll(); each != null; each = all.poll()) {
                each.come.complete(null);
            }
        } finally {
            beginning.remove();
        }
    }

    private void grow() {
        if (inFlight >= (int) bound) {
            bound = Math.min(bound + 1 / bound, MOST);
        }
    }

    /** A call that began in this round was told to slow down: this part of the bound is left. */
    private void shrink(double part, int began) {
        if (began == round) {
            round++;
            bound = Math.max(bound * part, LEAST);
        }
    }

    /** One call's turn. */
    final class Turn {
        /** Done when the call may go, or when the turn was given up. */
        final CompletableFuture<Void> come = new CompletableFuture<>();
        /** The call is in flight. */
        private boolean in;
        /** The round in which the call has begun. */
        private int began;

        private Turn() {}

        private void come() {
            inFlight++;
            in = true;
            began = round;
        }

        /** The call was answered, with these trailers. */
        void answered(Metadata trailers) {
            synchronized (Window.this) {
                if (!in) {
                    return; // cancelled by the caller
                }
                if (trailers.containsKey(PRESSURE)) {
                    shrink(HINTED, began);
                } else {
                    grow();
                }
            }
        }

        /** The call was refused; it may be sent again within the same turn. */
        void refused(JobQueueException failure) {
            synchronized (Window.this) {
                if (in && REFUSALS.contains(failure.reason())) {
                    shrink(REFUSED, began);
                    began = round;
                }
            }
        }

        /** The call is over, or gives its place in the line up: the next may go. It may be said twice. */
        void leave() {
            List<Turn> next;
            synchronized (Window.this) {
                line.remove(this);
                if (in) {
                    in = false;
                    inFlight--;
                }
                next = next();
            }
            come.complete(null);
            begin(next);
        }
    }
}
