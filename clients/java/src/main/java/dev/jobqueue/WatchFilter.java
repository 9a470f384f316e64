package dev.jobqueue;

import dev.jobqueue.v1.JobView;
import dev.jobqueue.v1.PayloadFormat;
import dev.jobqueue.v1.WatchJobsRequest;
import java.util.Collection;
import java.util.List;
import java.util.Map;

/** Chooses jobs to watch. What is set must all match. */
public final class WatchFilter {
    private final WatchJobsRequest request;

    private WatchFilter(WatchJobsRequest request) {
        this.request = request;
    }

    /** Begins one that matches every job. */
    public static Builder builder() {
        return new Builder();
    }

    WatchJobsRequest request() {
        return request;
    }

    /** Describes the jobs to watch. */
    public static final class Builder {
        private final WatchJobsRequest.Builder request = WatchJobsRequest.newBuilder()
                .setView(JobView.JOB_VIEW_BASIC)
                .setPayloadFormat(PayloadFormat.PAYLOAD_FORMAT_JSON);

        private Builder() {}

        /** Only these jobs, at most 1000. The watch then ends when all are over. */
        public Builder ids(String... ids) {
            return ids(List.of(ids));
        }

        /** Only these jobs, at most 1000. The watch then ends when all are over. */
        public Builder ids(Collection<String> ids) {
            request.clearIds().addAllIds(ids);
            return this;
        }

        /** Only jobs of this queue. */
        public Builder queue(String queue) {
            request.setQueue(queue);
            return this;
        }

        /** Only jobs of this kind. */
        public Builder kind(String kind) {
            request.setKind(kind);
            return this;
        }

        /** Only jobs that have all these labels. */
        public Builder labels(Map<String, String> labels) {
            request.clearLabels();
            labels.forEach((name, value) -> request.addLabels(name + "=" + value));
            return this;
        }

        /** With payloads, outputs, headers and failed attempts. */
        public Builder full() {
            request.setView(JobView.JOB_VIEW_FULL);
            return this;
        }

        /** Goes on after another watch for the same jobs. */
        public Builder resumeToken(String token) {
            request.setResumeToken(token);
            return this;
        }

        /** The filter. */
        public WatchFilter build() {
            return new WatchFilter(request.build());
        }
    }
}
