package dev.jobqueue;

import dev.jobqueue.v1.ExplainJobResponse;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * Why a job waits, or how it runs or ended.
 *
 * @param jobId the job's id
 * @param status the job's status
 * @param summary one sentence: why it waits, and what would start it
 * @param reasons what holds it now comes first, then what would hold it next; at least one
 * @param couldStartAt when it can start, if nothing but time is awaited; empty: not known
 * @param readAt when this was so, by the database's clock
 * @param unknown the servers that were not heard; their workers are left out
 */
public record Explanation(
        String jobId,
        Status status,
        String summary,
        List<Reason> reasons,
        Optional<Instant> couldStartAt,
        Instant readAt,
        List<String> unknown) {
    /** Keeps copies of the lists. */
    public Explanation {
        reasons = List.copyOf(reasons);
        unknown = List.copyOf(unknown);
    }

    static Explanation of(ExplainJobResponse message) {
        return new Explanation(
                message.getJobId(),
                Status.of(message.getStatus()),
                message.getSummary(),
                message.getReasonsList().stream().map(Reason::of).toList(),
                message.hasCouldStartAt() ? Optional.of(Times.of(message.getCouldStartAt())) : Optional.empty(),
                Times.of(message.getReadAt()),
                message.getUnknownList());
    }

    /**
     * One reason why a job waits.
     *
     * @param code the contract's name of it, such as {@code QUEUE_PAUSED}; {@code CODE_UNSPECIFIED}: one that this version
     *     does not know
     * @param message the same for people
     * @param unblockedBy what would end it, each enough by itself, such as {@code ResumeQueue reports}
     * @param detail what is known of it, by the getter of its code, such as {@code getPause}
     */
    public record Reason(String code, String message, List<String> unblockedBy, dev.jobqueue.v1.Reason detail) {
        /** Keeps a copy of the list. */
        public Reason {
            unblockedBy = List.copyOf(unblockedBy);
        }

        static Reason of(dev.jobqueue.v1.Reason message) {
            var code = message.getCode() == dev.jobqueue.v1.Reason.Code.UNRECOGNIZED
                    ? dev.jobqueue.v1.Reason.Code.CODE_UNSPECIFIED
                    : message.getCode();
            return new Reason(code.name(), message.getMessage(), message.getUnblockedByList(), message);
        }
    }
}
