package dev.jobqueue;

import java.time.Duration;

/**
 * How many jobs may start in a time.
 *
 * @param count so many in each period, 1..1000000
 * @param period 1 ms to 24 h, in whole milliseconds
 * @param burst so many may start at once after a pause; 0: what the rate lets start in 50 ms, 1 at least
 * @param mostInAPeriod in answers: the most that start in any span as long as the period
 */
public record Rate(int count, Duration period, int burst, int mostInAPeriod) {
    /** So many in each period, with the default burst. */
    public static Rate of(int count, Duration period) {
        return new Rate(count, period, 0, 0);
    }

    dev.jobqueue.v1.Rate message() {
        return dev.jobqueue.v1.Rate.newBuilder()
                .setCount(count)
                .setPeriod(Times.message(period))
                .setBurst(burst)
                .build();
    }

    static Rate of(dev.jobqueue.v1.Rate message) {
        return new Rate(
                message.getCount(), Times.of(message.getPeriod()), message.getBurst(), message.getMostInAPeriod());
    }
}
