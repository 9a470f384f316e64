package dev.jobqueue.spring;

import dev.jobqueue.Worker;
import dev.jobqueue.WorkerStatus;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.boot.health.contributor.Health;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.boot.health.contributor.Status;

/**
 * UP while all workers serve, or there is none to run; OUT_OF_SERVICE while one has no server yet, has had none for the ttl,
 * or leaves; DOWN once one has ended by itself.
 */
final class WorkersHealth implements HealthIndicator {
    // The server's, where no other was asked for.
    private static final Duration TTL = Duration.ofSeconds(30);

    private final JobQueueProperties.Work properties;
    private final ConfigurableListableBeanFactory beans;

    WorkersHealth(JobQueueProperties.Work properties, ConfigurableListableBeanFactory beans) {
        this.properties = properties;
        this.beans = beans;
    }

    @Override
    public Health health() {
        if (!properties.enabled()) {
            return Health.up().withDetail("worker", "disabled").build();
        }
        var whole = Status.UP;
        var details = new LinkedHashMap<String, Object>();
        for (var each : beans.getBeansOfType(Worker.class).entrySet()) {
            var status = each.getValue().status();
            if (status.kinds().isEmpty()) {
                details.put(each.getKey(), "without handlers");
                continue;
            }
            details.put(each.getKey(), details(status));
            var one = of(status);
            if (whole != Status.DOWN && one != Status.UP) {
                whole = one;
            }
        }
        return Health.status(whole).withDetails(details).build();
    }

    private Status of(WorkerStatus status) {
        var ttl = properties.sessionTtl() == null ? TTL : properties.sessionTtl();
        return switch (status.state()) {
            case SERVING -> Status.UP;
            case RECONNECTING -> status.since().plus(ttl).isAfter(Instant.now()) ? Status.UP : Status.OUT_OF_SERVICE;
            case STARTING, DRAINING -> Status.OUT_OF_SERVICE;
            case ENDED, REFUSED -> Status.DOWN;
        };
    }

    private static Map<String, Object> details(WorkerStatus status) {
        var details = new LinkedHashMap<String, Object>();
        details.put("state", status.state().toString());
        details.put("server", status.server());
        details.put("session", status.session());
        details.put("since", status.since().toString());
        status.lastHeard().ifPresent(heard -> details.put("lastHeard", heard.toString()));
        details.put("slots", status.slots());
        details.put("running", status.running());
        details.put("orphans", status.orphans());
        details.put("kinds", status.kinds());
        details.put("unknownKinds", status.unknownKinds());
        details.put("lastError", status.lastError());
        details.put("observerDropped", status.observerDropped());
        return details;
    }
}
