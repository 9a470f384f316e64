package dev.jobqueue;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import dev.jobqueue.v1.BackfillMetadata;
import dev.jobqueue.v1.BulkMetadata;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * A change of many jobs, or a backfill of a schedule. Of a backfill all that is counted is ticks, not jobs.
 *
 * @param name {@code operations/} and an id; empty in a dry run
 * @param verb the method that made it, such as {@code RetryJobs} or {@code BackfillSchedule}
 * @param state how it stands
 * @param done whether it goes on no more
 * @param dryRun whether nothing is changed
 * @param looked how many jobs were looked at
 * @param changed how many jobs were changed; of a backfill: how many ticks fired
 * @param skipped how many jobs matched and were changed by another caller just before their turn; of a backfill: how many
 *     ticks did not fire
 * @param estimate how many jobs matched when they were counted
 * @param estimateCapped whether counting ended at its bound: more may match
 * @param perSecond the limit that it was given; 0: none
 * @param maxJobs the limit that it was given, of jobs or of ticks; 0: none
 * @param sampleIds the first jobs that matched, 20 at most
 * @param createdAt when it was made; empty in a dry run
 * @param updatedAt when it last changed jobs, or was changed itself
 * @param endedAt when it was done
 * @param error why it ended early; empty: it did not
 * @param schedule the schedule of a backfill; empty: it is no backfill
 * @param startAt the beginning of a backfill
 * @param endAt the end of a backfill
 * @param lastAt the last tick of a backfill that was decided; empty: none was yet
 */
public record Operation(
        String name,
        String verb,
        State state,
        boolean done,
        boolean dryRun,
        long looked,
        long changed,
        long skipped,
        long estimate,
        boolean estimateCapped,
        int perSecond,
        long maxJobs,
        List<String> sampleIds,
        Optional<Instant> createdAt,
        Optional<Instant> updatedAt,
        Optional<Instant> endedAt,
        String error,
        Optional<String> schedule,
        Optional<Instant> startAt,
        Optional<Instant> endAt,
        Optional<Instant> lastAt) {
    /** How an operation stands. */
    public enum State {
        /** Something that this version of the library does not know. */
        UNSPECIFIED,
        /** No server works on it yet. */
        WAITING,
        /** A server works on it. */
        RUNNING,
        /** It is done. */
        SUCCEEDED,
        /** It was cancelled; what it had done stays done. */
        CANCELLED,
        /** It ended early: {@code error} says why. */
        FAILED;

        static State of(dev.jobqueue.v1.BulkState state) {
            return Names.of(State.class, state.name().replaceFirst("^BULK_STATE_", ""));
        }
    }

    /** Keeps a copy of the list. */
    public Operation {
        sampleIds = List.copyOf(sampleIds);
    }

    static Operation of(com.google.longrunning.Operation message) {
        var error = message.hasError() ? message.getError().getMessage() : "";
        if (message.getMetadata().is(BackfillMetadata.class)) {
            var told = told(message.getMetadata(), BackfillMetadata.class, BackfillMetadata.getDefaultInstance());
            return new Operation(
                    message.getName(),
                    "BackfillSchedule",
                    State.of(told.getState()),
                    message.getDone(),
                    told.getValidateOnly(),
                    told.getLooked(),
                    told.getFired(),
                    told.getSkipped(),
                    told.getEstimate(),
                    told.getEstimateCapped(),
                    told.getPerSecond(),
                    told.getMaxTicks(),
                    List.of(),
                    Times.maybe(told.hasCreatedAt(), told.getCreatedAt()),
                    Times.maybe(told.hasUpdatedAt(), told.getUpdatedAt()),
                    Times.maybe(told.hasEndedAt(), told.getEndedAt()),
                    error,
                    Optional.of(told.getSchedule()),
                    Times.maybe(told.hasStartAt(), told.getStartAt()),
                    Times.maybe(told.hasEndAt(), told.getEndAt()),
                    Times.maybe(told.hasLastAt(), told.getLastAt()));
        }
        var told = told(message.getMetadata(), BulkMetadata.class, BulkMetadata.getDefaultInstance());
        return new Operation(
                message.getName(),
                told.getVerb(),
                State.of(told.getState()),
                message.getDone(),
                told.getDryRun(),
                told.getLooked(),
                told.getChanged(),
                told.getSkipped(),
                told.getEstimate(),
                told.getEstimateCapped(),
                told.getPerSecond(),
                told.getMaxJobs(),
                told.getSampleIdsList(),
                Times.maybe(told.hasCreatedAt(), told.getCreatedAt()),
                Times.maybe(told.hasUpdatedAt(), told.getUpdatedAt()),
                Times.maybe(told.hasEndedAt(), told.getEndedAt()),
                error,
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    /** What an operation says of itself; nothing where that is of a sort that this version does not know. */
    private static <M extends Message> M told(Any metadata, Class<M> type, M nothing) {
        try {
            return metadata.is(type) ? metadata.unpack(type) : nothing;
        } catch (InvalidProtocolBufferException garbled) {
            return nothing;
        }
    }
}
