package dev.jobqueue;

import dev.jobqueue.v1.GetQueueDemandResponse;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Optional;

/**
 * How many slots of workers a queue wants.
 *
 * @param runnable the jobs that could start now if there were slots
 * @param capped whether the server stopped counting these at its bound, so that there may be more
 * @param running the jobs that run
 * @param held the jobs that are held back
 * @param heldByKey of these, the jobs that wait for their key
 * @param later the jobs that are due later
 * @param paused the jobs that are due, while the queue is paused
 * @param beyondLimit the jobs that are due, and more than the queue lets run
 * @param workers the sessions that take jobs of the queue
 * @param slots their slots
 * @param freeSlots of these, the free ones
 * @param oldestRunnableAge for how long the first runnable job has been due; empty: there is none
 * @param wantedSlots how many slots it wants: {@code running} and {@code runnable} together
 * @param moreWorkersWouldHelp whether jobs could run now and no slot is free for them
 * @param why why, for people
 * @param readAt when this was so, by the database's clock
 * @param unknown the servers that were not heard; their workers are left out
 * @param arrivalsPerSecond how many jobs were enqueued in each second of the last minute
 * @param endsPerSecond how many jobs ended in each second of the last minute
 */
public record QueueDemand(
        int runnable,
        boolean capped,
        int running,
        int held,
        int heldByKey,
        int later,
        int paused,
        int beyondLimit,
        int workers,
        int slots,
        int freeSlots,
        Optional<Duration> oldestRunnableAge,
        int wantedSlots,
        boolean moreWorkersWouldHelp,
        String why,
        Instant readAt,
        List<String> unknown,
        double arrivalsPerSecond,
        double endsPerSecond) {
    /** Keeps a copy of the list. */
    public QueueDemand {
        unknown = List.copyOf(unknown);
    }

    static QueueDemand of(GetQueueDemandResponse message) {
        return new QueueDemand(
                message.getRunnable(),
                message.getCapped(),
                message.getRunning(),
                message.getHeld(),
                message.getHeldByKey(),
                message.getLater(),
                message.getPaused(),
                message.getBeyondLimit(),
                message.getWorkers(),
                message.getSlots(),
                message.getFreeSlots(),
                message.hasOldestRunnableAge()
                        ? Optional.of(Times.of(message.getOldestRunnableAge()))
                        : Optional.empty(),
                message.getWantedSlots(),
                message.getMoreWorkersWouldHelp(),
                message.getWhy(),
                Times.of(message.getReadAt()),
                message.getUnknownList(),
                message.getArrivalsPerSecond(),
                message.getEndsPerSecond());
    }
}
