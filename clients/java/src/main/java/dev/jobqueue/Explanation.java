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
 * @param estimate when it may start, where it waits for its turn alone; empty: it waits for something else, or no job of
 *     the queue ended in the last minute
 */
public record Explanation(
        String jobId,
        Status status,
        String summary,
        List<Reason> reasons,
        Optional<Instant> couldStartAt,
        Instant readAt,
        List<String> unknown,
        Optional<Estimate> estimate) {
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
                message.getUnknownList(),
                message.hasEstimate() ? Optional.of(Estimate.of(message.getEstimate())) : Optional.empty());
    }

    /**
     * When a job may start, if the jobs of its queue go on ending as they did in the last minute.
     *
     * @param ahead the jobs that go before it
     * @param capped whether the server stopped counting these at its bound, so that there may be more
     * @param endsPerSecond how many jobs ended in each second of the last minute
     * @param earliestAt it hardly starts before this
     * @param latestAt it hardly starts after this; empty: too few jobs ended to say so, or {@code capped}
     */
    public record Estimate(
            int ahead, boolean capped, double endsPerSecond, Instant earliestAt, Optional<Instant> latestAt) {
        static Estimate of(dev.jobqueue.v1.Estimate message) {
            return new Estimate(
                    message.getAhead(),
                    message.getCapped(),
                    message.getEndsPerSecond(),
                    Times.of(message.getEarliestAt()),
                    message.hasLatestAt() ? Optional.of(Times.of(message.getLatestAt())) : Optional.empty());
        }
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
