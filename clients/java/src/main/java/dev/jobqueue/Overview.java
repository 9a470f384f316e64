package dev.jobqueue;

import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * How the queues are doing, at most 2 s ago.
 *
 * @param readAt when it was so, by the database's clock
 * @param window over how much time flows are counted
 * @param flow what happens to jobs, of all queues together
 * @param depth how many jobs have not ended, of all queues together
 * @param queues at most 200, the one whose job has been due for longest first
 * @param queuesLeftOut how many more there are
 * @param workers those of all servers
 * @param servers all that have not signed off
 * @param warnings what is wrong, the worst first
 */
public record Overview(
        Instant readAt,
        Duration window,
        Flow flow,
        Depth depth,
        List<QueueOverview> queues,
        int queuesLeftOut,
        Workers workers,
        List<ServerInfo> servers,
        List<Warning> warnings) {
    /** Keeps copies of the lists. */
    public Overview {
        queues = List.copyOf(queues);
        servers = List.copyOf(servers);
        warnings = List.copyOf(warnings);
    }

    static Overview of(dev.jobqueue.v1.Overview message) {
        return new Overview(
                Times.of(message.getReadAt()),
                Times.of(message.getWindow()),
                Flow.of(message.getFlow()),
                Depth.of(message.getDepth()),
                message.getQueuesList().stream().map(QueueOverview::of).toList(),
                message.getQueuesLeftOut(),
                Workers.of(message.getWorkers()),
                message.getServersList().stream().map(ServerInfo::of).toList(),
                message.getWarningsList().stream().map(Warning::of).toList());
    }

    /**
     * How many jobs have not ended.
     *
     * @param queued those that wait and did not fail yet
     * @param retrying those that wait for another attempt
     * @param running those that run
     * @param held of those that wait, the ones that are held back
     * @param capped whether the server stopped counting somewhere, so that there may be more
     * @param oldestDueAge for how long the first of the waiting jobs has been due; empty: none is due
     */
    public record Depth(
            int queued, int retrying, int running, int held, boolean capped, Optional<Duration> oldestDueAge) {
        static Depth of(dev.jobqueue.v1.Depth message) {
            return new Depth(
                    message.getQueued(),
                    message.getRetrying(),
                    message.getRunning(),
                    message.getHeld(),
                    message.getCapped(),
                    Times.maybe(message.hasOldestDueAge(), message.getOldestDueAge()));
        }
    }

    /**
     * How a queue is doing.
     *
     * @param queue its name
     * @param paused whether its jobs may not be claimed
     * @param pause who paused it; empty: it is not paused
     * @param depth how many of its jobs have not ended
     * @param flow what happens to its jobs
     * @param workers the sessions of workers that take its jobs
     * @param slots their slots, which may take jobs of other queues too
     * @param freeSlots of these, the free ones
     */
    public record QueueOverview(
            String queue,
            boolean paused,
            Optional<Pause> pause,
            Depth depth,
            Flow flow,
            int workers,
            int slots,
            int freeSlots) {
        static QueueOverview of(dev.jobqueue.v1.QueueOverview message) {
            return new QueueOverview(
                    message.getQueue(),
                    message.getPaused(),
                    message.hasPause() ? Optional.of(Pause.of(message.getPause())) : Optional.empty(),
                    Depth.of(message.getDepth()),
                    Flow.of(message.getFlow()),
                    message.getWorkers(),
                    message.getSlots(),
                    message.getFreeSlots());
        }
    }

    /**
     * Who paused a queue.
     *
     * @param since when
     * @param by who
     * @param reason why, for people
     */
    public record Pause(Instant since, String by, String reason) {
        static Pause of(dev.jobqueue.v1.PauseDetail message) {
            return new Pause(Times.of(message.getSince()), message.getBy(), message.getReason());
        }
    }

    /**
     * The sessions of workers of all servers.
     *
     * @param sessions how many there are
     * @param silent those that are not connected, and may come back
     * @param draining those that take no more jobs
     * @param slots their slots
     * @param freeSlots of these, the free ones
     */
    public record Workers(int sessions, int silent, int draining, int slots, int freeSlots) {
        static Workers of(dev.jobqueue.v1.WorkersOverview message) {
            return new Workers(
                    message.getSessions(),
                    message.getSilent(),
                    message.getDraining(),
                    message.getSlots(),
                    message.getFreeSlots());
        }
    }

    /**
     * Something that is wrong, or may be, and what would end it.
     *
     * @param code what it is
     * @param message the same for people
     * @param queue the queue that it is about; empty: it is about none
     * @param since since when; empty: it is not known
     * @param remedy what would end it
     */
    public record Warning(Code code, String message, String queue, Optional<Instant> since, String remedy) {
        /** What is wrong, or may be. */
        public enum Code {
            /** Something that this version of the library does not know. */
            UNSPECIFIED,
            /** A queue is paused, and jobs wait in it. */
            PAUSED_WITH_JOBS,
            /** Jobs of a queue are due, and no connected worker takes them. */
            WORKERS_MISSING,
            /** Jobs of a queue are due, and every slot of the workers that take them is taken. */
            SLOTS_TAKEN,
            /** Attempts were lost with their workers. */
            WORKERS_LOST,
            /** A server was not heard, and did not sign off. */
            SERVER_SILENT,
            /** Servers of different versions or levels run together. */
            SERVERS_DIFFER,
            /** A transaction of the database has been open for so long that it makes claims slow. */
            LONG_SNAPSHOT,
            /** Keys of a queue in strict order are blocked by jobs that failed. */
            KEYS_BLOCKED,
            /** The server that answers could not write its statistics. */
            STATS_BEHIND,
            /** Nothing is handed out and no schedule fires until an operator resumes. */
            STANDING_STILL
        }

        static Warning of(dev.jobqueue.v1.Warning message) {
            return new Warning(
                    Names.of(Code.class, message.getCode().name()),
                    message.getMessage(),
                    message.getQueue(),
                    Times.maybe(message.hasSince(), message.getSince()),
                    message.getRemedy());
        }
    }
}
