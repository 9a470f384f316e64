package dev.jobqueue.spring;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * The settings {@code jobqueue.*}. In the environment these are the names of the command line too: {@code JOBQUEUE_SERVER},
 * {@code JOBQUEUE_TOKEN}, {@code JOBQUEUE_TLS_ROOTS}, {@code JOBQUEUE_TLS_CLIENT_CERT}, {@code JOBQUEUE_TLS_CLIENT_KEY} and
 * {@code JOBQUEUE_WORKER_NAME}. Two are not: its {@code JOBQUEUE_QUEUES} and {@code WORKER_CONCURRENCY} are {@code
 * JOBQUEUE_WORKER_QUEUES} and {@code JOBQUEUE_WORKER_CONCURRENCY} here.
 *
 * @param server Address of the server, such as 127.0.0.1:50051 or dns:///jobs.internal:50051.
 * @param token Key that is sent with every call. Without one, none is sent.
 * @param deadline Limit for each call of the client, all tries together.
 * @param afterCommitDeadline Limit for the call that enqueues the jobs of a transaction, which holds its connection.
 * @param tls How to speak TLS.
 * @param worker The worker of this process.
 */
@ConfigurationProperties("jobqueue")
public record JobQueueProperties(
        @DefaultValue("127.0.0.1:50051") String server,
        String token,
        @DefaultValue("30s") Duration deadline,
        @DefaultValue("5s") Duration afterCommitDeadline,
        @DefaultValue Tls tls,
        @DefaultValue Work worker) {
    /**
     * TLS; plain text without roots.
     *
     * @param roots PEM file of the authorities that are trusted, or "public" for those of the runtime. Without it: plain text.
     * @param clientCert PEM file of the certificate that this side shows.
     * @param clientKey PEM file of its key.
     */
    public record Tls(String roots, String clientCert, String clientKey) {}

    /**
     * The worker.
     *
     * @param enabled Whether jobs run in this process. If not, no worker is made or started.
     * @param autoStartup Whether workers start with the application.
     * @param queues Queues to take jobs from.
     * @param concurrency How many jobs run at once, 1 to 10000.
     * @param name Name of the worker for people. Default: host and process id.
     * @param labels Labels of the worker, for people.
     * @param sessionTtl How long the worker may be silent before its jobs are given to others, 5s to 1h. Default: the server's.
     * @param shutdownGrace How long handlers run on when the application ends, before they are stopped.
     * @param stopWhenLost Whether handlers are stopped once no server was heard for the session's ttl.
     * @param syncKinds Whether the server is told what the typed kinds are before the worker takes jobs.
     */
    public record Work(
            @DefaultValue("true") boolean enabled,
            @DefaultValue("true") boolean autoStartup,
            @DefaultValue("default") List<String> queues,
            @DefaultValue("8") int concurrency,
            String name,
            @DefaultValue Map<String, String> labels,
            Duration sessionTtl,
            @DefaultValue("25s") Duration shutdownGrace,
            @DefaultValue("false") boolean stopWhenLost,
            @DefaultValue("false") boolean syncKinds) {}

    /** Without the token. */
    @Override
    public String toString() {
        return "JobQueueProperties[server=%s, deadline=%s, tls=%s, worker=%s]".formatted(server, deadline, tls, worker);
    }
}
