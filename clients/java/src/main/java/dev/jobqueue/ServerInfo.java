package dev.jobqueue;

import java.time.Duration;
import java.time.Instant;
import java.util.Optional;

/**
 * A server that runs on the database.
 *
 * @param id the number of its start
 * @param name its name
 * @param version its version
 * @param level what servers that run together must know
 * @param startedAt when it was started
 * @param heardAt when it was heard last
 * @param heartbeatAge how long ago that is
 * @param self whether it is the one that answered
 * @param sessions the sessions of workers that are connected to it
 * @param slots their slots
 * @param freeSlots of these, the free ones
 */
public record ServerInfo(
        String id,
        String name,
        String version,
        int level,
        Optional<Instant> startedAt,
        Optional<Instant> heardAt,
        Optional<Duration> heartbeatAge,
        boolean self,
        int sessions,
        int slots,
        int freeSlots) {
    static ServerInfo of(dev.jobqueue.v1.Server message) {
        return new ServerInfo(
                message.getId(),
                message.getName(),
                message.getVersion(),
                message.getLevel(),
                Times.maybe(message.hasStartedAt(), message.getStartedAt()),
                Times.maybe(message.hasHeardAt(), message.getHeardAt()),
                Times.maybe(message.hasHeartbeatAge(), message.getHeartbeatAge()),
                message.getSelf(),
                message.getSessions(),
                message.getSlots(),
                message.getFreeSlots());
    }
}
