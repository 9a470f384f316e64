package dev.jobqueue.spring;

import dev.jobqueue.Worker;

/** A bean that has the last word about each {@link Worker.Builder}, for what no property says. */
@FunctionalInterface
public interface WorkerCustomizer {
    /** Says more of a worker, after all properties and beans. */
    void customize(Worker.Builder builder);
}
