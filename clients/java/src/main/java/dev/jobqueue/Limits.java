package dev.jobqueue;

import java.util.Optional;

/**
 * What a queue or a kind allows of all its jobs together; 0: no limit.
 *
 * @param maxRunning how many of them run at once, over all workers and servers, 1..1000000
 * @param rate how many of them start in a time; empty: any number
 */
public record Limits(int maxRunning, Optional<Rate> rate) {
    /** None at all. */
    public static final Limits NONE = new Limits(0, Optional.empty());

    static Limits of(dev.jobqueue.v1.Limits message) {
        var rate = message.hasRate() ? Optional.of(Rate.of(message.getRate())) : Optional.<Rate>empty();
        return new Limits(message.getMaxRunning(), rate);
    }

    dev.jobqueue.v1.Limits message() {
        var message = dev.jobqueue.v1.Limits.newBuilder().setMaxRunning(maxRunning);
        rate.ifPresent(each -> message.setRate(each.message()));
        return message.build();
    }
}
