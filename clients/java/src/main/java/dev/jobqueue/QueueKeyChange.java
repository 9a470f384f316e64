package dev.jobqueue;

import com.google.protobuf.FieldMask;
import dev.jobqueue.v1.UpdateQueueKeyRequest;

/**
 * What to change of a key.
 *
 * @param maxRunning its own limit; 0: as many as the queue allows; null: as it is
 * @param paused whether no more of its jobs are let in; null: as it is
 * @param etag {@link QueueKey#etag}: the key is changed only if it still has it; empty: whatever was changed since
 */
public record QueueKeyChange(Integer maxRunning, Boolean paused, String etag) {
    /** A limit of its own, or 0 for that of the queue, whatever was changed since. */
    public static QueueKeyChange limit(int maxRunning) {
        return new QueueKeyChange(maxRunning, null, "");
    }

    /** A pause, or its end, whatever was changed since. */
    public static QueueKeyChange pause(boolean paused) {
        return new QueueKeyChange(null, paused, "");
    }

    UpdateQueueKeyRequest message(String queue, String key) {
        var changed = dev.jobqueue.v1.QueueKey.newBuilder()
                .setQueue(queue)
                .setKey(key)
                .setEtag(etag);
        var mask = FieldMask.newBuilder();
        if (maxRunning != null) {
            changed.setMaxRunning(maxRunning);
            mask.addPaths("max_running");
        }
        if (paused != null) {
            changed.setPaused(paused);
            mask.addPaths("paused");
        }
        return UpdateQueueKeyRequest.newBuilder()
                .setQueueKey(changed)
                .setUpdateMask(mask)
                .build();
    }
}
