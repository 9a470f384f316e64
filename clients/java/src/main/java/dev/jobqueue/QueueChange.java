package dev.jobqueue;

import com.google.protobuf.FieldMask;
import dev.jobqueue.v1.UpdateQueueRequest;
import java.util.List;

/**
 * What to change of a queue.
 *
 * @param keyPolicy the new policy; null: keys limit nothing any longer
 * @param fields those of the policy that are changed, as the contract calls them, such as {@code max_running}; empty: all
 * @param etag {@link Queue#etag}: the queue is changed only if it still has it; empty: whatever was changed since
 * @param allowMissing whether a queue that was never used is made
 */
public record QueueChange(KeyPolicy keyPolicy, List<String> fields, String etag, boolean allowMissing) {
    /** Keeps a copy of the list. */
    public QueueChange {
        fields = List.copyOf(fields);
    }

    /** The whole policy, whatever was changed since. */
    public static QueueChange of(KeyPolicy keyPolicy) {
        return new QueueChange(keyPolicy, List.of(), "", false);
    }

    UpdateQueueRequest message(String name) {
        var queue = dev.jobqueue.v1.Queue.newBuilder().setName(name).setEtag(etag);
        if (keyPolicy != null) {
            queue.setKeyPolicy(keyPolicy.message());
        }
        var mask = FieldMask.newBuilder();
        if (fields.isEmpty()) {
            mask.addPaths("key_policy");
        }
        fields.forEach(each -> mask.addPaths("key_policy." + each));
        return UpdateQueueRequest.newBuilder()
                .setQueue(queue)
                .setUpdateMask(mask)
                .setAllowMissing(allowMissing)
                .build();
    }
}
