package dev.jobqueue;

import dev.jobqueue.v1.UpdateJobsRequest;
import java.time.Duration;
import java.time.Instant;

/** What to change of many jobs that wait: {@link Client#updateJobs}. */
public final class UpdateJobs {
    private final UpdateJobsRequest request;
    private final boolean mayRepeat;

    private UpdateJobs(UpdateJobsRequest request, boolean mayRepeat) {
        this.request = request;
        this.mayRepeat = mayRepeat;
    }

    /** Begins a dry run; {@link Builder#force} makes it a change. */
    public static Builder builder() {
        return new Builder();
    }

    UpdateJobsRequest request(JobFilter filter) {
        return request.toBuilder().setFilter(filter.message()).build();
    }

    boolean mayRepeat() {
        return mayRepeat;
    }

    /** Describes a change of jobs that wait. */
    public static final class Builder extends BulkOptions<Builder> {
        private final UpdateJobsRequest.Builder request = UpdateJobsRequest.newBuilder();

        private Builder() {}

        @Override
        Builder self() {
            return this;
        }

        /** Theirs from now on, -10..10. Default: each keeps its own. */
        public Builder priority(int priority) {
            request.setPriority(priority);
            return this;
        }

        /** When they may start. Replaces a delay. */
        public Builder runAt(Instant runAt) {
            request.setRunAt(Times.message(runAt));
            return this;
        }

        /** How long after the change they may start; zero: now. Replaces a moment. */
        public Builder delay(Duration delay) {
            request.setDelay(Times.message(delay));
            return this;
        }

        /** With a moment or a delay: each starts at a time that is drawn from so long after it. */
        public Builder spread(Duration spread) {
            request.setSpread(Times.message(spread));
            return this;
        }

        /** The queue in which they wait from now on, which must exist. Default: each stays in its own. */
        public Builder toQueue(String queue) {
            request.setToQueue(queue);
            return this;
        }

        /** Theirs from now on, one more than a job's failures at least. Default: each keeps its own. */
        public Builder maxAttempts(int maxAttempts) {
            request.setMaxAttempts(maxAttempts);
            return this;
        }

        /** What to change, and how. */
        public UpdateJobs build() {
            request.setForce(force).setPerSecond(perSecond).setMaxJobs(maxJobs).setRequestId(requestId);
            if (expected != null) {
                request.setExpected(expected);
            }
            return new UpdateJobs(request.build(), mayRepeat());
        }
    }
}
