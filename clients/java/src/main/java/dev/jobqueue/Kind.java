package dev.jobqueue;

import java.time.Duration;
import java.util.Objects;

/**
 * A sort of work. Putting one replaces it as a whole.
 *
 * @param name what jobs name, {@code [a-z0-9][a-z0-9_.-]{0,127}}
 * @param schema the JSON Schema (2020-12) of its payloads; null: every JSON value is taken
 * @param retryPolicy the wait between attempts, for jobs without their own value; null: the default
 * @param maxAttempts after how many failures a job without its own value ends, 1..1000; 0: 3
 * @param timeout how long one attempt may run, for jobs without their own value, 1 s to 7 days; null: no limit
 * @param limits what it allows of all its jobs together, over all queues; null: no limit
 * @param slotWeight how many slots of a worker each of its jobs takes, 1..1000; 0: 1
 */
public record Kind(
        String name,
        Json schema,
        RetryPolicy retryPolicy,
        int maxAttempts,
        Duration timeout,
        Limits limits,
        int slotWeight) {
    /** Checks that there is a name. */
    public Kind {
        Objects.requireNonNull(name, "name");
    }

    /** One that takes every payload, with the defaults. */
    public static Kind of(String name) {
        return new Kind(name, null, null, 0, null, null, 0);
    }

    /** The same, with this schema. */
    public Kind withSchema(Json schema) {
        return new Kind(name, schema, retryPolicy, maxAttempts, timeout, limits, slotWeight);
    }

    /** The same, with this wait between attempts. */
    public Kind withRetryPolicy(RetryPolicy retryPolicy) {
        return new Kind(name, schema, retryPolicy, maxAttempts, timeout, limits, slotWeight);
    }

    /** The same, with so many failures. */
    public Kind withMaxAttempts(int maxAttempts) {
        return new Kind(name, schema, retryPolicy, maxAttempts, timeout, limits, slotWeight);
    }

    /** The same, with this limit for an attempt. */
    public Kind withTimeout(Duration timeout) {
        return new Kind(name, schema, retryPolicy, maxAttempts, timeout, limits, slotWeight);
    }

    /** The same, with these limits for all of its jobs together. */
    public Kind withLimits(Limits limits) {
        return new Kind(name, schema, retryPolicy, maxAttempts, timeout, limits, slotWeight);
    }

    /** The same, of whose jobs each takes so many slots of a worker. */
    public Kind withSlotWeight(int slotWeight) {
        return new Kind(name, schema, retryPolicy, maxAttempts, timeout, limits, slotWeight);
    }

    static Kind of(dev.jobqueue.v1.Kind message) {
        return new Kind(
                message.getName(),
                message.hasSchemaJson() ? new Json(message.getSchemaJson()) : null,
                message.hasRetryPolicy() ? RetryPolicy.of(message.getRetryPolicy()) : null,
                message.getMaxAttempts(),
                message.hasTimeout() ? Times.of(message.getTimeout()) : null,
                message.hasLimits() ? Limits.of(message.getLimits()) : null,
                message.getSlotWeight());
    }

    dev.jobqueue.v1.Kind message() {
        var message = dev.jobqueue.v1.Kind.newBuilder()
                .setName(name)
                .setMaxAttempts(maxAttempts)
                .setSlotWeight(slotWeight);
        if (schema != null) {
            message.setSchemaJson(schema.raw());
        }
        if (retryPolicy != null) {
            message.setRetryPolicy(retryPolicy.message());
        }
        if (timeout != null) {
            message.setTimeout(Times.message(timeout));
        }
        if (limits != null) {
            message.setLimits(limits.message());
        }
        return message.build();
    }
}
