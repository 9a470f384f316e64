package dev.jobqueue;

/**
 * What a queue allows of the jobs of one key ({@link NewJob.Builder#key}). 0 and null: no limit.
 *
 * @param maxRunning how many of them run at once, 1..1000000
 * @param rate how many of them start in a time
 * @param maxWaiting how many of them may wait for the key
 * @param requireKey whether a job without a key is refused
 * @param order in what order they start; {@link KeyOrder#STRICT} lets one run at once
 * @param onFailure what becomes of a key in strict order whose job failed for good or was cancelled
 * @param fair whether keys take turns, so that one with many jobs delays another by a round at most
 */
public record KeyPolicy(
        int maxRunning,
        Rate rate,
        int maxWaiting,
        boolean requireKey,
        KeyOrder order,
        OnKeyFailure onFailure,
        boolean fair) {
    /** One that limits nothing. */
    public static final KeyPolicy NONE = new KeyPolicy(0, null, 0, false);

    /** Null is unspecified. */
    public KeyPolicy {
        order = order == null ? KeyOrder.UNSPECIFIED : order;
        onFailure = onFailure == null ? OnKeyFailure.UNSPECIFIED : onFailure;
    }

    /** A policy without an order. */
    public KeyPolicy(int maxRunning, Rate rate, int maxWaiting, boolean requireKey) {
        this(maxRunning, rate, maxWaiting, requireKey, KeyOrder.UNSPECIFIED, OnKeyFailure.UNSPECIFIED);
    }

    /** A policy whose keys take no turns. */
    public KeyPolicy(
            int maxRunning, Rate rate, int maxWaiting, boolean requireKey, KeyOrder order, OnKeyFailure onFailure) {
        this(maxRunning, rate, maxWaiting, requireKey, order, onFailure, false);
    }

    dev.jobqueue.v1.KeyPolicy message() {
        var message = dev.jobqueue.v1.KeyPolicy.newBuilder()
                .setMaxRunning(maxRunning)
                .setMaxWaiting(maxWaiting)
                .setRequireKey(requireKey);
        if (order != KeyOrder.UNSPECIFIED) {
            message.setOrder(order.message());
        }
        if (onFailure != OnKeyFailure.UNSPECIFIED) {
            message.setOnFailure(onFailure.message());
        }
        if (fair) {
            message.setFair(true);
        }
        if (rate != null) {
            message.setRate(rate.message());
        }
        return message.build();
    }

    static KeyPolicy of(dev.jobqueue.v1.KeyPolicy message) {
        return new KeyPolicy(
                message.getMaxRunning(),
                message.hasRate() ? Rate.of(message.getRate()) : null,
                message.getMaxWaiting(),
                message.getRequireKey(),
                KeyOrder.of(message.getOrder()),
                OnKeyFailure.of(message.getOnFailure()),
                message.getFair());
    }
}
