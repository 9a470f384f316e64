package dev.jobqueue;

import dev.jobqueue.v1.RetryJobsRequest;
import java.time.Duration;
import java.time.Instant;

/** How to retry many jobs: {@link Client#retryJobs}. */
public final class RetryJobs {
    /** A dry run: nothing changes. */
    public static final RetryJobs DRY_RUN = builder().build();

    private final RetryJobsRequest request;
    private final boolean mayRepeat;

    private RetryJobs(RetryJobsRequest request, boolean mayRepeat) {
        this.request = request;
        this.mayRepeat = mayRepeat;
    }

    /** Begins a dry run; {@link Builder#force} makes it a change. */
    public static Builder builder() {
        return new Builder();
    }

    RetryJobsRequest request(JobFilter filter) {
        return request.toBuilder().setFilter(filter.message()).build();
    }

    boolean mayRepeat() {
        return mayRepeat;
    }

    /** Describes a retry. */
    public static final class Builder extends BulkOptions<Builder> {
        private final RetryJobsRequest.Builder request = RetryJobsRequest.newBuilder();

        private Builder() {}

        @Override
        Builder self() {
            return this;
        }

        /** The queue in which they wait from now on, which must exist. Default: each stays in its own. */
        public Builder toQueue(String queue) {
            request.setToQueue(queue);
            return this;
        }

        /** The earliest time at which they start. Replaces a delay. */
        public Builder runAt(Instant runAt) {
            request.setRunAt(Times.message(runAt));
            return this;
        }

        /** How long after its retry a job may start. Replaces a moment. */
        public Builder delay(Duration delay) {
            request.setDelay(Times.message(delay));
            return this;
        }

        /** Draws each start evenly from so long after the earliest. */
        public Builder spread(Duration spread) {
            request.setSpread(Times.message(spread));
            return this;
        }

        /** Each starts from the beginning, without the checkpoint that its attempts left. */
        public Builder resetCheckpoint() {
            request.setResetCheckpoint(true);
            return this;
        }

        /** One whose name another job holds is skipped; the others take theirs again. */
        public Builder respectUnique() {
            request.setRespectUnique(true);
            return this;
        }

        /** How to do it. */
        public RetryJobs build() {
            request.setForce(force).setPerSecond(perSecond).setMaxJobs(maxJobs).setRequestId(requestId);
            if (expected != null) {
                request.setExpected(expected);
            }
            return new RetryJobs(request.build(), mayRepeat());
        }
    }
}
