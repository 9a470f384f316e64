package dev.jobqueue;

import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;

/**
 * When a schedule is due: by {@code cron} or by {@code every}, one of them.
 *
 * @param cron lines of cron such as {@code 30 2 * * *}, at most 20, whose union is meant
 * @param every a tick each time this span is over, 1 s to 400 days, counted from 1970-01-01T00:00:00Z; null: by cron
 * @param phase shifts the ticks of {@code every}, by less than it; null: not at all
 * @param timeZone the time zone of {@code cron}, such as {@code Europe/Berlin}; empty: {@code Etc/UTC}
 * @param startsAt it has no tick before; null: from now on
 * @param endsAt it has no tick at this time or later; null: for ever
 * @param jitter each job may start so long after its tick, at most 1 h; null: at once
 */
public record ScheduleSpec(
        List<String> cron,
        Duration every,
        Duration phase,
        String timeZone,
        Instant startsAt,
        Instant endsAt,
        Duration jitter) {
    /** Keeps a copy of the list. */
    public ScheduleSpec {
        cron = List.copyOf(cron);
    }

    /** Due by these lines of cron. */
    public static ScheduleSpec cron(String line, String... more) {
        var lines = new ArrayList<>(List.of(line));
        lines.addAll(List.of(more));
        return new ScheduleSpec(lines, null, null, "", null, null, null);
    }

    /** Due each time this span is over. */
    public static ScheduleSpec every(Duration span) {
        return new ScheduleSpec(List.of(), span, null, "", null, null, null);
    }

    /** The same, shifted by so much. */
    public ScheduleSpec withPhase(Duration phase) {
        return new ScheduleSpec(cron, every, phase, timeZone, startsAt, endsAt, jitter);
    }

    /** The same, by the clocks of this time zone. */
    public ScheduleSpec withTimeZone(String timeZone) {
        return new ScheduleSpec(cron, every, phase, timeZone, startsAt, endsAt, jitter);
    }

    /** The same, without a tick before this time. */
    public ScheduleSpec withStartsAt(Instant startsAt) {
        return new ScheduleSpec(cron, every, phase, timeZone, startsAt, endsAt, jitter);
    }

    /** The same, without a tick at this time or later. */
    public ScheduleSpec withEndsAt(Instant endsAt) {
        return new ScheduleSpec(cron, every, phase, timeZone, startsAt, endsAt, jitter);
    }

    /** The same, whose jobs may start so long after their tick. */
    public ScheduleSpec withJitter(Duration jitter) {
        return new ScheduleSpec(cron, every, phase, timeZone, startsAt, endsAt, jitter);
    }

    dev.jobqueue.v1.ScheduleSpec message() {
        var message = dev.jobqueue.v1.ScheduleSpec.newBuilder().addAllCron(cron).setTimeZone(timeZone);
        if (every != null) {
            message.setEvery(Times.message(every));
        }
        if (phase != null) {
            message.setPhase(Times.message(phase));
        }
        if (startsAt != null) {
            message.setStartsAt(Times.message(startsAt));
        }
        if (endsAt != null) {
            message.setEndsAt(Times.message(endsAt));
        }
        if (jitter != null) {
            message.setJitter(Times.message(jitter));
        }
        return message.build();
    }

    static ScheduleSpec of(dev.jobqueue.v1.ScheduleSpec message) {
        return new ScheduleSpec(
                message.getCronList(),
                Times.maybe(message.hasEvery(), message.getEvery()).orElse(null),
                Times.maybe(message.hasPhase(), message.getPhase()).orElse(null),
                message.getTimeZone(),
                Times.maybe(message.hasStartsAt(), message.getStartsAt()).orElse(null),
                Times.maybe(message.hasEndsAt(), message.getEndsAt()).orElse(null),
                Times.maybe(message.hasJitter(), message.getJitter()).orElse(null));
    }
}
