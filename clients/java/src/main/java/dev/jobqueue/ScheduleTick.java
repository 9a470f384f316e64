package dev.jobqueue;

import java.time.Instant;

/**
 * A time at which a schedule is due.
 *
 * @param tickAt the tick
 * @param localTime the same in the schedule's time zone with its offset, such as {@code 2026-10-25T02:30:00+02:00}
 * @param rule whether a change of clocks decided it
 */
public record ScheduleTick(Instant tickAt, String localTime, Rule rule) {
    /** What clocks that are changed mean for a tick. */
    public enum Rule {
        /** Nothing; or something that this version of the library does not know. */
        UNSPECIFIED,
        /** It is due at a time of day that is left out, and so right after it. */
        AFTER_GAP,
        /** Its time of day comes twice, and this is the first one. */
        FIRST_OF_TWO,
        /** Its time of day comes twice, and this is the second one. */
        SECOND_OF_TWO
    }

    static ScheduleTick of(dev.jobqueue.v1.ScheduleTick message) {
        return new ScheduleTick(
                Times.of(message.getTickAt()),
                message.getLocalTime(),
                Names.of(Rule.class, message.getRule().name()));
    }
}
