package dev.jobqueue;

import java.time.Instant;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** Which jobs to change. What is set must all match; a filter of which nothing is set is refused. */
public final class JobFilter {
    private final dev.jobqueue.v1.JobFilter message;

    private JobFilter(dev.jobqueue.v1.JobFilter message) {
        this.message = message;
    }

    /** Begins one of which nothing is set. */
    public static Builder builder() {
        return new Builder();
    }

    dev.jobqueue.v1.JobFilter message() {
        return message;
    }

    /** Describes the jobs to change. */
    public static final class Builder {
        private final dev.jobqueue.v1.JobFilter.Builder message = dev.jobqueue.v1.JobFilter.newBuilder();

        private Builder() {}

        /** Only these jobs, at most 1000. */
        public Builder ids(String... ids) {
            return ids(List.of(ids));
        }

        /** Only these jobs, at most 1000. */
        public Builder ids(Collection<String> ids) {
            message.clearIds().addAllIds(ids);
            return this;
        }

        /** Only jobs of this queue. */
        public Builder queue(String queue) {
            message.setQueue(queue);
            return this;
        }

        /** Only jobs of this kind. */
        public Builder kind(String kind) {
            message.setKind(kind);
            return this;
        }

        /**
         * Only jobs with one of these statuses. Default: for a retry FAILED_PERMANENT or CANCELLED, for a cancel any that has
         * not ended, for a delete any that has, for an update QUEUED or RETRYING.
         */
        public Builder status(Status... status) {
            message.clearStatus();
            for (var each : status) {
                message.addStatus(each.message());
            }
            return this;
        }

        /** Only jobs that have all these labels. */
        public Builder labels(Map<String, String> labels) {
            message.clearLabels();
            labels.forEach((name, value) -> message.addLabels(name + "=" + value));
            return this;
        }

        /** Only jobs enqueued then or later. */
        public Builder createdAfter(Instant moment) {
            message.setCreatedAfter(Times.message(moment));
            return this;
        }

        /** Only jobs enqueued before. */
        public Builder createdBefore(Instant moment) {
            message.setCreatedBefore(Times.message(moment));
            return this;
        }

        /** Only jobs that ended then or later. */
        public Builder endedAfter(Instant moment) {
            message.setEndedAfter(Times.message(moment));
            return this;
        }

        /** Only jobs that ended before. */
        public Builder endedBefore(Instant moment) {
            message.setEndedBefore(Times.message(moment));
            return this;
        }

        /** Only jobs that ended for one of these reasons, such as {@code ATTEMPTS_EXHAUSTED}. */
        public Builder reason(String... reasons) {
            message.clearReason().addAllReason(List.of(reasons));
            return this;
        }

        /** Only jobs whose last attempt that failed did so with an error of this type. */
        public Builder errorType(String type) {
            message.setErrorType(type);
            return this;
        }

        /** All jobs, if nothing else is set. */
        public Builder everything() {
            message.setEverything(true);
            return this;
        }

        /** The filter. */
        public JobFilter build() {
            return new JobFilter(message.build());
        }
    }
}
