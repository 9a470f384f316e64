package dev.jobqueue;

import dev.jobqueue.v1.CancelJobsRequest;

/** How to cancel many jobs: {@link Client#cancelJobs}. */
public final class CancelJobs {
    /** A dry run: nothing changes. */
    public static final CancelJobs DRY_RUN = builder().build();

    private final CancelJobsRequest request;
    private final boolean mayRepeat;

    private CancelJobs(CancelJobsRequest request, boolean mayRepeat) {
        this.request = request;
        this.mayRepeat = mayRepeat;
    }

    /** Begins a dry run; {@link Builder#force} makes it a change. */
    public static Builder builder() {
        return new Builder();
    }

    CancelJobsRequest request(JobFilter filter) {
        return request.toBuilder().setFilter(filter.message()).build();
    }

    boolean mayRepeat() {
        return mayRepeat;
    }

    /** Describes a cancel. */
    public static final class Builder extends BulkOptions<Builder> {
        private final CancelJobsRequest.Builder request = CancelJobsRequest.newBuilder();

        private Builder() {}

        @Override
        Builder self() {
            return this;
        }

        /** Why, for workers and people; at most 255 characters. */
        public Builder reason(String reason) {
            request.setReason(reason);
            return this;
        }

        /** How to do it. */
        public CancelJobs build() {
            request.setForce(force).setPerSecond(perSecond).setMaxJobs(maxJobs).setRequestId(requestId);
            if (expected != null) {
                request.setExpected(expected);
            }
            return new CancelJobs(request.build(), mayRepeat());
        }
    }
}
