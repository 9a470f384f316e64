package dev.jobqueue;

import java.time.Duration;
import java.util.Map;
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
 * @param version that of the payloads' form, 1..1000000; 0: it has none
 * @param outputSchema the JSON Schema of its outputs, for people and tools; null: nothing is said of them
 * @param annotations what else its owners say of it, at most 16, with names of 1..64 characters and values of at most 1 KiB
 */
public record Kind(
        String name,
        Json schema,
        RetryPolicy retryPolicy,
        int maxAttempts,
        Duration timeout,
        Limits limits,
        int slotWeight,
        int version,
        Json outputSchema,
        Map<String, String> annotations) {
    /** Checks that there is a name, and keeps a copy of the map. */
    public Kind {
        Objects.requireNonNull(name, "name");
        annotations = Map.copyOf(annotations);
    }

    /** One that takes every payload, with the defaults. */
    public static Kind of(String name) {
        return new Kind(name, null, null, 0, null, null, 0, 0, null, Map.of());
    }

    /** The same, with this schema. */
    public Kind withSchema(Json schema) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, with this wait between attempts. */
    public Kind withRetryPolicy(RetryPolicy retryPolicy) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, with so many failures. */
    public Kind withMaxAttempts(int maxAttempts) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, with this limit for an attempt. */
    public Kind withTimeout(Duration timeout) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, with these limits for all of its jobs together. */
    public Kind withLimits(Limits limits) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, of whose jobs each takes so many slots of a worker. */
    public Kind withSlotWeight(int slotWeight) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, of this version. */
    public Kind withVersion(int version) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, with this schema of outputs. */
    public Kind withOutputSchema(Json outputSchema) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    /** The same, with these annotations in place of its own. */
    public Kind withAnnotations(Map<String, String> annotations) {
        return new Kind(
                name,
                schema,
                retryPolicy,
                maxAttempts,
                timeout,
                limits,
                slotWeight,
                version,
                outputSchema,
                annotations);
    }

    static Kind of(dev.jobqueue.v1.Kind message) {
        return new Kind(
                message.getName(),
                message.hasSchemaJson() ? new Json(message.getSchemaJson()) : null,
                message.hasRetryPolicy() ? RetryPolicy.of(message.getRetryPolicy()) : null,
                message.getMaxAttempts(),
                message.hasTimeout() ? Times.of(message.getTimeout()) : null,
                message.hasLimits() ? Limits.of(message.getLimits()) : null,
                message.getSlotWeight(),
                message.getVersion(),
                message.hasOutputSchemaJson() ? new Json(message.getOutputSchemaJson()) : null,
                message.getAnnotationsMap());
    }

    dev.jobqueue.v1.Kind message() {
        var message = dev.jobqueue.v1.Kind.newBuilder()
                .setName(name)
                .setMaxAttempts(maxAttempts)
                .setSlotWeight(slotWeight)
                .setVersion(version)
                .putAllAnnotations(annotations);
        if (schema != null) {
            message.setSchemaJson(schema.raw());
        }
        if (outputSchema != null) {
            message.setOutputSchemaJson(outputSchema.raw());
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
