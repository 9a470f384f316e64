package dev.jobqueue;

import dev.jobqueue.v1.BackfillScheduleRequest;
import java.time.Instant;
import java.util.Objects;

/**
 * Which ticks of the past a schedule is to fire.
 *
 * @param startAt ticks at this time and later
 * @param endAt ticks before this time, which is not in the future
 * @param overlap what becomes of a tick while a job of the schedule has not ended: ALLOW or SKIP; UNSPECIFIED: ALLOW
 * @param maxTicks after so many it is done; 0: after all
 * @param validateOnly fire nothing: the answer has how many ticks there are
 * @param perSecond how many ticks a second; 0: as fast as the service takes it
 * @param requestId a text of your own: the same call again is answered the operation of the first; empty: none, and the call
 *     is not tried again when the server is away
 */
public record Backfill(
        Instant startAt,
        Instant endAt,
        SchedulePolicy.Overlap overlap,
        long maxTicks,
        boolean validateOnly,
        int perSecond,
        String requestId) {
    /** Neither end is null. */
    public Backfill {
        Objects.requireNonNull(startAt, "startAt");
        Objects.requireNonNull(endAt, "endAt");
        Objects.requireNonNull(overlap, "overlap");
        Objects.requireNonNull(requestId, "requestId");
    }

    /** All ticks from a time on, before another one. */
    public static Backfill of(Instant startAt, Instant endAt) {
        return new Backfill(startAt, endAt, SchedulePolicy.Overlap.UNSPECIFIED, 0, false, 0, "");
    }

    /** The same, with this for a tick while a job has not ended. */
    public Backfill withOverlap(SchedulePolicy.Overlap overlap) {
        return new Backfill(startAt, endAt, overlap, maxTicks, validateOnly, perSecond, requestId);
    }

    /** The same, done after so many ticks. */
    public Backfill withMaxTicks(long ticks) {
        return new Backfill(startAt, endAt, overlap, ticks, validateOnly, perSecond, requestId);
    }

    /** The same, which fires nothing and counts the ticks; or fires them. */
    public Backfill withValidateOnly(boolean validateOnly) {
        return new Backfill(startAt, endAt, overlap, maxTicks, validateOnly, perSecond, requestId);
    }

    /** The same, so many ticks a second. */
    public Backfill withPerSecond(int ticks) {
        return new Backfill(startAt, endAt, overlap, maxTicks, validateOnly, ticks, requestId);
    }

    /** The same, which may be asked for again by this text. */
    public Backfill withRequestId(String requestId) {
        return new Backfill(startAt, endAt, overlap, maxTicks, validateOnly, perSecond, requestId);
    }

    BackfillScheduleRequest message(String name) {
        return BackfillScheduleRequest.newBuilder()
                .setName(name)
                .setStartAt(Times.message(startAt))
                .setEndAt(Times.message(endAt))
                .setOverlap(overlap.message())
                .setMaxTicks(maxTicks)
                .setValidateOnly(validateOnly)
                .setPerSecond(perSecond)
                .setRequestId(requestId)
                .build();
    }
}
