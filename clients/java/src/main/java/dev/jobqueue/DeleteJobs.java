package dev.jobqueue;

import dev.jobqueue.v1.DeleteJobsRequest;

/** How to delete many jobs: {@link Client#deleteJobs}. */
public final class DeleteJobs {
    /** A dry run: nothing changes. */
    public static final DeleteJobs DRY_RUN = builder().build();

    private final DeleteJobsRequest request;
    private final boolean mayRepeat;

    private DeleteJobs(DeleteJobsRequest request, boolean mayRepeat) {
        this.request = request;
        this.mayRepeat = mayRepeat;
    }

    /** Begins a dry run; {@link Builder#force} makes it a change. */
    public static Builder builder() {
        return new Builder();
    }

    DeleteJobsRequest request(JobFilter filter) {
        return request.toBuilder().setFilter(filter.message()).build();
    }

    boolean mayRepeat() {
        return mayRepeat;
    }

    /** Describes a delete. */
    public static final class Builder extends BulkOptions<Builder> {
        private Builder() {}

        @Override
        Builder self() {
            return this;
        }

        /** How to do it. */
        public DeleteJobs build() {
            var request = DeleteJobsRequest.newBuilder()
                    .setForce(force)
                    .setPerSecond(perSecond)
                    .setMaxJobs(maxJobs)
                    .setRequestId(requestId);
            if (expected != null) {
                request.setExpected(expected);
            }
            return new DeleteJobs(request.build(), mayRepeat());
        }
    }
}
