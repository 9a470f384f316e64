package dev.jobqueue;

import java.util.Map;
import java.util.Objects;

/**
 * A schedule to make, or one that a program declares for {@link Schedules#apply(java.util.Collection, String, boolean)}.
 *
 * @param name its name, such as {@code nightly-report}
 * @param spec when it is due
 * @param job what each tick enqueues, without a time and an idempotency key
 * @param policy what becomes of ticks that can't simply fire
 * @param labels by which schedules can be listed; those of its jobs stand in the job
 * @param paused whether it has no ticks until {@link Schedules#resume}; it counts only where the schedule is made
 */
public record NewSchedule(
        String name, ScheduleSpec spec, NewJob job, SchedulePolicy policy, Map<String, String> labels, boolean paused) {
    /** Keeps a copy of the map. */
    public NewSchedule {
        Objects.requireNonNull(spec, "spec");
        Objects.requireNonNull(job, "job");
        Objects.requireNonNull(policy, "policy");
        labels = Map.copyOf(labels);
    }

    /** One of which no more is said. */
    public static NewSchedule of(String name, ScheduleSpec spec, NewJob job) {
        return new NewSchedule(name, spec, job, SchedulePolicy.DEFAULT, Map.of(), false);
    }

    /** The same with this policy. */
    public NewSchedule withPolicy(SchedulePolicy policy) {
        return new NewSchedule(name, spec, job, policy, labels, paused);
    }

    /** The same with these labels. */
    public NewSchedule withLabels(Map<String, String> labels) {
        return new NewSchedule(name, spec, job, policy, labels, paused);
    }

    /** The same, paused from the beginning, or not. */
    public NewSchedule withPaused(boolean paused) {
        return new NewSchedule(name, spec, job, policy, labels, paused);
    }
}
