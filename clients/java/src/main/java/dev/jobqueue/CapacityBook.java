package dev.jobqueue;

import dev.jobqueue.v1.Capacity;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;

/**
 * How many jobs the worker takes: its slots, less those that handlers of an earlier session still take up. The server
 * counts the leases of its session itself; of a session that is over it knows nothing, while a handler of it may run on
 * for long.
 */
final class CapacityBook {
    private final int slots;
    private final Map<String, Integer> slotsByKind;
    final Set<Lease> orphans = new HashSet<>();
    boolean paused;

    CapacityBook(int slots, Map<String, Integer> slotsByKind) {
        this.slots = slots;
        this.slotsByKind = slotsByKind;
    }

    /** Takes a handler out. Whether it was an orphan, so that there is more capacity now. */
    boolean ended(Lease lease) {
        return orphans.remove(lease);
    }

    /** Absolute, so that nothing can leak. */
    Capacity message() {
        var taken = new HashMap<String, Integer>();
        orphans.forEach(each -> taken.merge(each.job.kind(), 1, Integer::sum));
        var capacity = Capacity.newBuilder().setSlots(paused ? 0 : Math.max(0, slots - orphans.size()));
        slotsByKind.forEach(
                (kind, most) -> capacity.putSlotsByKind(kind, Math.max(0, most - taken.getOrDefault(kind, 0))));
        return capacity.build();
    }
}
