package dev.jobqueue;

import dev.jobqueue.v1.ListWorkersRequest;
import java.util.List;

/**
 * Chooses workers to list. What is set must all match.
 *
 * @param queue those that take jobs of it; empty: of any
 * @param kind those that take jobs of it; empty: of any
 * @param name those whose name begins so
 * @param state those in one of these states; none: in any
 */
public record WorkerFilter(String queue, String kind, String name, List<WorkerSession.State> state) {
    /** Every worker. */
    public static final WorkerFilter ALL = new WorkerFilter("", "", "", List.of());

    /** Keeps a copy of the list. */
    public WorkerFilter {
        state = List.copyOf(state);
    }

    /** The same, that take jobs of this queue. */
    public WorkerFilter withQueue(String queue) {
        return new WorkerFilter(queue, kind, name, state);
    }

    /** The same, that take jobs of this kind. */
    public WorkerFilter withKind(String kind) {
        return new WorkerFilter(queue, kind, name, state);
    }

    /** The same, whose name begins so. */
    public WorkerFilter withName(String name) {
        return new WorkerFilter(queue, kind, name, state);
    }

    /** The same, in one of these states. */
    public WorkerFilter withState(WorkerSession.State... state) {
        return new WorkerFilter(queue, kind, name, List.of(state));
    }

    ListWorkersRequest message(int pageSize, String pageToken) {
        var request = ListWorkersRequest.newBuilder()
                .setQueue(queue)
                .setKind(kind)
                .setName(name)
                .setPageSize(pageSize)
                .setPageToken(pageToken);
        state.forEach(each -> request.addState(each.message()));
        return request.build();
    }
}
