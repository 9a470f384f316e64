package dev.jobqueue;

import com.google.protobuf.FieldMask;
import dev.jobqueue.v1.UpdateScheduleRequest;
import java.util.List;
import java.util.Map;

/**
 * What to change of a schedule. What is null stays.
 *
 * @param spec when it is due, as a whole
 * @param job what each tick enqueues, as a whole. It must have a payload; one of {@code null} is {@code Json.of("null")}
 * @param policy what becomes of ticks that can't simply fire
 * @param policyFields those of the policy that are changed, as the contract calls them, such as {@code overlap}; empty: all;
 *     without a policy they change nothing
 * @param labels all its labels
 * @param etag {@link Schedule#etag}: it is changed only if it still has it; empty: whatever was changed since
 * @param allowMissing whether a schedule that does not exist is made, of {@code spec} and {@code job}
 */
public record ScheduleChange(
        ScheduleSpec spec,
        NewJob job,
        SchedulePolicy policy,
        List<String> policyFields,
        Map<String, String> labels,
        String etag,
        boolean allowMissing) {
    /** Nothing, whatever was changed since. */
    public static final ScheduleChange NONE = new ScheduleChange(null, null, null, List.of(), null, "", false);

    /** Keeps copies of the list and of the map. */
    public ScheduleChange {
        policyFields = List.copyOf(policyFields);
        labels = labels == null ? null : Map.copyOf(labels);
    }

    /** The same, due by this. */
    public ScheduleChange withSpec(ScheduleSpec spec) {
        return new ScheduleChange(spec, job, policy, policyFields, labels, etag, allowMissing);
    }

    /** The same, with this job for each tick. */
    public ScheduleChange withJob(NewJob job) {
        return new ScheduleChange(spec, job, policy, policyFields, labels, etag, allowMissing);
    }

    /** The same, with this policy, or these fields of it. */
    public ScheduleChange withPolicy(SchedulePolicy policy, String... fields) {
        return new ScheduleChange(spec, job, policy, List.of(fields), labels, etag, allowMissing);
    }

    /** The same, with these labels. */
    public ScheduleChange withLabels(Map<String, String> labels) {
        return new ScheduleChange(spec, job, policy, policyFields, labels, etag, allowMissing);
    }

    /** The same, if the schedule still has this etag. */
    public ScheduleChange withEtag(String etag) {
        return new ScheduleChange(spec, job, policy, policyFields, labels, etag, allowMissing);
    }

    /** The same, which makes a schedule that does not exist. */
    public ScheduleChange withAllowMissing() {
        return new ScheduleChange(spec, job, policy, policyFields, labels, etag, true);
    }

    /** As it is sent; the template is that of the job, null where that is. */
    UpdateScheduleRequest.Builder message(String name, dev.jobqueue.v1.NewJob template) {
        var changed = dev.jobqueue.v1.Schedule.newBuilder().setName(name).setEtag(etag);
        var mask = FieldMask.newBuilder();
        if (spec != null) {
            changed.setSpec(spec.message());
            mask.addPaths("spec");
        }
        if (template != null) {
            changed.setJob(template);
            mask.addPaths("job");
        }
        if (policy != null) {
            changed.setPolicy(policy.message());
            policyFields.forEach(each -> mask.addPaths("policy." + each));
            if (policyFields.isEmpty()) {
                mask.addPaths("policy");
            }
        }
        if (labels != null) {
            changed.putAllLabels(labels);
            mask.addPaths("labels");
        }
        return UpdateScheduleRequest.newBuilder()
                .setSchedule(changed)
                .setUpdateMask(mask)
                .setAllowMissing(allowMissing);
    }
}
