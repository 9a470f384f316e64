package dev.jobqueue;

import java.util.EnumMap;
import java.util.Map;
import java.util.Optional;

/**
 * A queue as it was when it was read.
 *
 * @param name its name
 * @param paused whether no job may be claimed from it
 * @param running how many of its jobs run
 * @param depths its jobs that are not over, by QUEUED, RETRYING and RUNNING
 * @param held its jobs that are held back, by what they wait for; they count in depths too
 * @param keyPolicy what it allows of the jobs of one key; empty: keys are marks, and limit nothing
 * @param maxWaiting how many of its jobs may wait before enqueues are refused; 0: any number
 * @param limits what it allows of all its jobs together; empty: their workers alone limit them
 * @param retention how long its jobs can be read after their end; empty: as long as those of every queue
 * @param etag stands for this version of keyPolicy, maxWaiting, limits and retention, for {@link Client#updateQueue}
 */
public record Queue(
        String name,
        boolean paused,
        int running,
        Map<Status, QueueDepth> depths,
        Map<Hold, HoldDepth> held,
        Optional<KeyPolicy> keyPolicy,
        int maxWaiting,
        Optional<Limits> limits,
        Optional<Retention> retention,
        String etag) {
    /** Keeps copies of the maps. */
    public Queue {
        depths = Map.copyOf(depths);
        held = Map.copyOf(held);
    }

    static Queue of(dev.jobqueue.v1.Queue message) {
        var depths = new EnumMap<Status, QueueDepth>(Status.class);
        message.getDepthsList().forEach(each -> depths.put(Status.of(each.getStatus()), QueueDepth.of(each)));
        var held = new EnumMap<Hold, HoldDepth>(Hold.class);
        message.getHeldList().forEach(each -> held.put(Hold.of(each.getHold()), HoldDepth.of(each)));
        var policy = message.hasKeyPolicy()
                ? Optional.of(KeyPolicy.of(message.getKeyPolicy()))
                : Optional.<KeyPolicy>empty();
        var limits = message.hasLimits() ? Optional.of(Limits.of(message.getLimits())) : Optional.<Limits>empty();
        return new Queue(
                message.getName(),
                message.getPaused(),
                message.getRunning(),
                depths,
                held,
                policy,
                message.getMaxWaiting(),
                limits,
                message.hasRetention() ? Optional.of(Retention.of(message.getRetention())) : Optional.empty(),
                message.getEtag());
    }
}
