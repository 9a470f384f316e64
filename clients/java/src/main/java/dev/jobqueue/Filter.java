package dev.jobqueue;

import dev.jobqueue.v1.CountJobsRequest;
import dev.jobqueue.v1.JobView;
import dev.jobqueue.v1.ListJobsRequest;
import dev.jobqueue.v1.PayloadFormat;
import java.time.Instant;
import java.util.Map;

/** Chooses jobs to list. What is set must all match. */
public final class Filter {
    /** Every job. */
    public static final Filter ALL = builder().build();

    private final ListJobsRequest request;

    private Filter(ListJobsRequest request) {
        this.request = request;
    }

    /** Begins one that matches every job. */
    public static Builder builder() {
        return new Builder();
    }

    ListJobsRequest request(String pageToken) {
        return request.toBuilder().setPageToken(pageToken).build();
    }

    /** The jobs that it lists, to be counted. */
    CountJobsRequest count() {
        var count = CountJobsRequest.newBuilder()
                .setQueue(request.getQueue())
                .setKind(request.getKind())
                .addAllStatus(request.getStatusList())
                .addAllLabels(request.getLabelsList());
        if (request.hasCreatedAfter()) {
            count.setCreatedAfter(request.getCreatedAfter());
        }
        if (request.hasCreatedBefore()) {
            count.setCreatedBefore(request.getCreatedBefore());
        }
        return count.build();
    }

    /** Describes the jobs to list. */
    public static final class Builder {
        private final ListJobsRequest.Builder request = ListJobsRequest.newBuilder()
                .setView(JobView.JOB_VIEW_BASIC)
                .setPayloadFormat(PayloadFormat.PAYLOAD_FORMAT_JSON);

        private Builder() {}

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

        /** Only jobs with one of these statuses. */
        public Builder status(Status... status) {
            request.clearStatus();
            for (var each : status) {
                request.addStatus(each.message());
            }
            return this;
        }

        /** Only jobs that have all these labels. */
        public Builder labels(Map<String, String> labels) {
            request.clearLabels();
            labels.forEach((name, value) -> request.addLabels(name + "=" + value));
            return this;
        }

        /** Only jobs enqueued then or later. */
        public Builder createdAfter(Instant moment) {
            request.setCreatedAfter(Times.message(moment));
            return this;
        }

        /** Only jobs enqueued before. */
        public Builder createdBefore(Instant moment) {
            request.setCreatedBefore(Times.message(moment));
            return this;
        }

        /** With payloads, outputs, headers and failed attempts. */
        public Builder full() {
            request.setView(JobView.JOB_VIEW_FULL);
            return this;
        }

        /** How many jobs one call reads. Default 50; above 1000: 1000. */
        public Builder pageSize(int size) {
            request.setPageSize(size);
            return this;
        }

        /** The filter. */
        public Filter build() {
            return new Filter(request.build());
        }
    }
}
