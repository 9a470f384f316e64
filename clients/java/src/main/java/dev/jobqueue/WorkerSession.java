package dev.jobqueue;

import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A worker, as far as the caller may read what it takes.
 *
 * @param sessionId the number of its session
 * @param name its name, which need not be unique
 * @param labels its own labels
 * @param client its client library
 * @param address the IP address from which it connected last
 * @param principal on whose behalf it works
 * @param server the server that has its stream
 * @param takes the kinds, by queue
 * @param slots how many slots it has; 0: none, or it makes calls and bounds nothing
 * @param freeSlots of these, the free ones
 * @param held how many jobs it holds; up to 2 s old
 * @param state what it does
 * @param openedAt when its session was opened
 * @param silentSince when it was heard last; empty: it is heard
 * @param endsAt when its session ends if it is not heard before; empty: it is heard
 * @param drain why it takes no more jobs; empty: it takes some
 * @param jobs what it holds, of {@link Client#getWorker} and {@link Client#drainWorker} alone
 */
public record WorkerSession(
        String sessionId,
        String name,
        Map<String, String> labels,
        String client,
        String address,
        String principal,
        String server,
        Map<String, List<String>> takes,
        int slots,
        int freeSlots,
        int held,
        State state,
        Instant openedAt,
        Optional<Instant> silentSince,
        Optional<Instant> endsAt,
        Optional<Drain> drain,
        List<HeldJob> jobs) {
    /** What a worker does. */
    public enum State {
        /** Something that this version of the library does not know. */
        UNSPECIFIED,
        /** It is connected, and takes jobs. */
        CONNECTED,
        /** It takes no more jobs. */
        DRAINING,
        /** It is not heard, and may come back. */
        SILENT;

        dev.jobqueue.v1.Worker.State message() {
            return this == UNSPECIFIED
                    ? dev.jobqueue.v1.Worker.State.STATE_UNSPECIFIED
                    : dev.jobqueue.v1.Worker.State.valueOf(name());
        }
    }

    /** Keeps copies of the maps and of the list. */
    public WorkerSession {
        labels = Map.copyOf(labels);
        takes = Map.copyOf(takes);
        jobs = List.copyOf(jobs);
    }

    static WorkerSession of(dev.jobqueue.v1.Worker message) {
        var takes = new LinkedHashMap<String, List<String>>();
        message.getTakesList().forEach(each -> takes.put(each.getQueue(), List.copyOf(each.getKindsList())));
        return new WorkerSession(
                message.getSessionId(),
                message.getName(),
                message.getLabelsMap(),
                message.getClient(),
                message.getAddress(),
                message.getPrincipal(),
                message.getServer(),
                takes,
                message.getSlots(),
                message.getFreeSlots(),
                message.getHeld(),
                Names.of(State.class, message.getState().name()),
                Times.of(message.getOpenedAt()),
                Times.maybe(message.hasSilentSince(), message.getSilentSince()),
                Times.maybe(message.hasEndsAt(), message.getEndsAt()),
                message.hasDrain() ? Optional.of(Drain.of(message.getDrain())) : Optional.empty(),
                message.getJobsList().stream().map(HeldJob::of).toList());
    }

    /**
     * Since when and why a worker takes no more jobs.
     *
     * @param since since when
     * @param by who asked for it; empty: it is shutting down by itself
     * @param reason why, for people
     */
    public record Drain(Instant since, String by, String reason) {
        static Drain of(dev.jobqueue.v1.WorkerDrain message) {
            return new Drain(Times.of(message.getSince()), message.getBy(), message.getReason());
        }
    }

    /**
     * A job that a worker holds.
     *
     * @param jobId its id
     * @param queue its queue
     * @param kind its kind
     * @param attempt which attempt it is
     * @param since since when
     * @param deadlineAt when the attempt times out; empty: it may run as long as it likes
     * @param cancelRequested whether the worker was asked to stop it
     */
    public record HeldJob(
            String jobId,
            String queue,
            String kind,
            int attempt,
            Instant since,
            Optional<Instant> deadlineAt,
            boolean cancelRequested) {
        static HeldJob of(dev.jobqueue.v1.WorkerJob message) {
            return new HeldJob(
                    message.getJobId(),
                    message.getQueue(),
                    message.getKind(),
                    message.getAttempt(),
                    Times.of(message.getSince()),
                    Times.maybe(message.hasDeadlineAt(), message.getDeadlineAt()),
                    message.getCancelRequested());
        }
    }
}
