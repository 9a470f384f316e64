package dev.jobqueue;

import java.util.EnumMap;
import java.util.Map;

/**
 * A queue as it was when it was read.
 *
 * @param name its name
 * @param paused whether no job may be claimed from it
 * @param running how many of its jobs run
 * @param depths its jobs that are not over, by QUEUED, RETRYING and RUNNING
 * @param held its jobs that are held back, by what they wait for; they count in depths too
 */
public record Queue(
        String name, boolean paused, int running, Map<Status, QueueDepth> depths, Map<Hold, HoldDepth> held) {
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
        return new Queue(message.getName(), message.getPaused(), message.getRunning(), depths, held);
    }
}
