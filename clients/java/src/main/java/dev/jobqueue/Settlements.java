package dev.jobqueue;

import dev.jobqueue.v1.Settle;
import dev.jobqueue.v1.Settled;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Keeps every outcome until its answer has come, and sends it again on a new stream. The session's lock guards it. */
final class Settlements {
    private static final int FRAME_OUTCOMES = 1000;
    // A frame may measure 4 MiB; one outcome at most 3 MiB and a little.
    private static final int FRAME_BYTES = 2 * 1024 * 1024;
    // While an answer is awaited, outcomes gather for so long, or until half of the slots wait: a frame and its answer
    // cost the server about as much as a hundred outcomes in it.
    private static final Duration LINGER = Duration.ofMillis(10);

    private final Session session;
    /** So many outcomes that wait are sent at once. */
    private final int enough;
    /** Every lease with an outcome that was not answered, whether it was sent or not. */
    final Set<Lease> kept = new LinkedHashSet<>();

    private List<Lease> waiting = new ArrayList<>();
    private final Map<Long, List<Lease>> frames = new HashMap<>();
    /** Not answered because a frame was too large for the server: while there are any, a frame holds one. */
    private final Set<Lease> suspects = new HashSet<>();

    private long seq;
    private boolean planned;
    private final Backoff waits = new Backoff(Duration.ofMillis(100), Duration.ofSeconds(5));

    Settlements(Session session, int slots) {
        this.session = session;
        enough = Math.min(FRAME_OUTCOMES, (slots + 1) / 2);
    }

    /** Takes the outcome of a lease. */
    void add(Lease lease) {
        kept.add(lease);
        lease.place = Lease.Place.WAITING;
        waiting.add(lease);
        if (frames.isEmpty() || waiting.size() >= enough) {
            flush();
        } else if (!planned) {
            planned = true;
            session.later(LINGER.toNanos(), () -> {
                planned = false;
                flush();
            });
        }
    }

    /** Forgets an outcome: it was answered, or the lease is no longer ours. */
    void drop(Lease lease) {
        kept.remove(lease);
        lease.place = Lease.Place.DONE;
    }

    /** Sends what waits. */
    void flush() {
        if (!session.maySettle()) {
            return; // at stay() or restart()
        }
        var ready = waiting;
        waiting = new ArrayList<>();
        ready.removeIf(each -> each.place != Lease.Place.WAITING);
        suspects.removeIf(each -> each.place == Lease.Place.DONE);
        for (var from = 0; from < ready.size(); ) {
            from += sendFrame(ready, from);
        }
    }

    /** Sends one frame of as many of these as it takes, at least one, and says how many those are. */
    private int sendFrame(List<Lease> ready, int from) {
        var frame = Settle.newBuilder().setSeq(++seq);
        var room = FRAME_BYTES;
        var to = from;
        var most = suspects.isEmpty() ? FRAME_OUTCOMES : 1;
        for (; to < ready.size() && to - from < most; to++) {
            var lease = ready.get(to);
            if (lease.outcome == null) {
                frame.addSucceeded(lease.id);
                continue;
            }
            room -= lease.outcome.getSerializedSize();
            if (room < 0 && to > from) {
                break;
            }
            frame.addOutcomes(lease.outcome);
        }
        var sent = List.copyOf(ready.subList(from, to));
        frames.put(seq, sent);
        sent.forEach(each -> each.place = Lease.Place.SENT);
        session.sendSettle(frame.build());
        return sent.size();
    }

    /**
     * Takes the leases of a frame out. They are still kept: the session decides what an answer means, and drops them or
     * sends them again.
     */
    List<Lease> answered(Settled settled) {
        var sent = frames.remove(settled.getSeq());
        if (settled.getExceptionsCount() == 0) {
            waits.reset();
        }
        return sent == null
                ? List.of()
                : sent.stream().filter(each -> each.place == Lease.Place.SENT).toList();
    }

    /**
     * The stream has ended for a frame that is larger than the server takes: from now on each outcome goes alone.
     *
     * @return the lease whose outcome is too large by itself; null: the frame held several
     */
    Lease tooLarge() {
        List<Lease> largest = List.of();
        var size = -1;
        for (var sent : frames.values()) {
            var sum = sent.stream().mapToInt(Lease::outcomeBytes).sum();
            if (sum > size) {
                size = sum;
                largest = sent;
            }
            sent.stream().filter(each -> each.place == Lease.Place.SENT).forEach(suspects::add);
        }
        if (largest.size() != 1) {
            return null;
        }
        var lease = largest.get(0);
        return lease.place == Lease.Place.SENT && lease.outcome != null ? lease : null;
    }

    /** Sends outcomes again after a while that grows: the server could not commit them. */
    void againLater(List<Lease> leases) {
        leases.forEach(each -> each.place = Lease.Place.HELD_BACK);
        session.later(waits.next(), () -> {
            for (var each : leases) {
                // A restart in between has sent it already; a revocation has dropped it.
                if (each.place == Lease.Place.HELD_BACK) {
                    add(each);
                }
            }
        });
    }

    /** Sends everything on a new stream, whose frames are counted from 1. */
    void restart() {
        frames.clear();
        seq = 0;
        waiting = new ArrayList<>(kept);
        waiting.forEach(each -> each.place = Lease.Place.WAITING);
        flush();
    }
}
