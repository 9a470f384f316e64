package dev.jobqueue;

import com.google.protobuf.FieldMask;
import dev.jobqueue.v1.UpdateQueueRequest;
import java.util.List;

/**
 * What to change of a queue.
 *
 * @param keyPolicy the new policy; {@link KeyPolicy#NONE}: keys limit nothing any longer; null: it stays
 * @param fields those of the policy that are changed, as the contract calls them, such as {@code max_running}; empty: all;
 *     without a policy they change nothing
 * @param maxWaiting how many of its jobs may wait before enqueues are refused, 1..1000000; 0: any number; null: as it is
 * @param limits what it allows of all its jobs together; {@link Limits#NONE}: anything; null: they stay
 * @param limitFields those of the limits that are changed, as the contract calls them, such as {@code rate}; empty: all;
 *     without limits they change nothing
 * @param retention how long its jobs can be read after their end; {@link Retention#DEFAULT}: as those of every queue; null: it
 *     stays
 * @param retentionFields those of the retention that are changed, as the contract calls them, such as {@code succeeded};
 *     empty: all; without a retention they change nothing
 * @param etag {@link Queue#etag}: the queue is changed only if it still has it; empty: whatever was changed since
 * @param allowMissing whether a queue that was never used is made
 */
public record QueueChange(
        KeyPolicy keyPolicy,
        List<String> fields,
        Integer maxWaiting,
        Limits limits,
        List<String> limitFields,
        Retention retention,
        List<String> retentionFields,
        String etag,
        boolean allowMissing) {
    /** Nothing, whatever was changed since. */
    public static final QueueChange NONE =
            new QueueChange(null, List.of(), null, null, List.of(), null, List.of(), "", false);

    /** Keeps copies of the lists. */
    public QueueChange {
        fields = List.copyOf(fields);
        limitFields = List.copyOf(limitFields);
        retentionFields = List.copyOf(retentionFields);
    }

    /** A change of the policy alone. */
    public QueueChange(KeyPolicy keyPolicy, List<String> fields, String etag, boolean allowMissing) {
        this(keyPolicy, fields, null, null, List.of(), null, List.of(), etag, allowMissing);
    }

    /** The whole policy, whatever was changed since. */
    public static QueueChange of(KeyPolicy keyPolicy) {
        return NONE.withKeyPolicy(keyPolicy);
    }

    /** The same, with this policy, or these fields of it. */
    public QueueChange withKeyPolicy(KeyPolicy keyPolicy, String... fields) {
        return new QueueChange(
                keyPolicy,
                List.of(fields),
                maxWaiting,
                limits,
                limitFields,
                retention,
                retentionFields,
                etag,
                allowMissing);
    }

    /** The same, and so many of its jobs may wait; 0: any number. */
    public QueueChange withMaxWaiting(int maxWaiting) {
        return new QueueChange(
                keyPolicy, fields, maxWaiting, limits, limitFields, retention, retentionFields, etag, allowMissing);
    }

    /** The same, with these limits for all its jobs together, or these fields of them. */
    public QueueChange withLimits(Limits limits, String... fields) {
        return new QueueChange(
                keyPolicy,
                this.fields,
                maxWaiting,
                limits,
                List.of(fields),
                retention,
                retentionFields,
                etag,
                allowMissing);
    }

    /** The same, with these times for its ended jobs, or these fields of them. */
    public QueueChange withRetention(Retention retention, String... fields) {
        return new QueueChange(
                keyPolicy,
                this.fields,
                maxWaiting,
                limits,
                limitFields,
                retention,
                List.of(fields),
                etag,
                allowMissing);
    }

    /** The same, if the queue still has this etag. */
    public QueueChange withEtag(String etag) {
        return new QueueChange(
                keyPolicy, fields, maxWaiting, limits, limitFields, retention, retentionFields, etag, allowMissing);
    }

    /** The same, which makes a queue that was never used. */
    public QueueChange withAllowMissing() {
        return new QueueChange(
                keyPolicy, fields, maxWaiting, limits, limitFields, retention, retentionFields, etag, true);
    }

    UpdateQueueRequest message(String name) {
        var queue = dev.jobqueue.v1.Queue.newBuilder().setName(name).setEtag(etag);
        var mask = FieldMask.newBuilder();
        if (keyPolicy != null) {
            queue.setKeyPolicy(keyPolicy.message());
            fields.forEach(each -> mask.addPaths("key_policy." + each));
            if (fields.isEmpty()) {
                mask.addPaths("key_policy");
            }
        }
        if (maxWaiting != null) {
            queue.setMaxWaiting(maxWaiting);
            mask.addPaths("max_waiting");
        }
        if (limits != null) {
            queue.setLimits(limits.message());
            limitFields.forEach(each -> mask.addPaths("limits." + each));
            if (limitFields.isEmpty()) {
                mask.addPaths("limits");
            }
        }
        if (retention != null) {
            queue.setRetention(retention.message());
            retentionFields.forEach(each -> mask.addPaths("retention." + each));
            if (retentionFields.isEmpty()) {
                mask.addPaths("retention");
            }
        }
        return UpdateQueueRequest.newBuilder()
                .setQueue(queue)
                .setUpdateMask(mask)
                .setAllowMissing(allowMissing)
                .build();
    }
}
