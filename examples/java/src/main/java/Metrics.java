import static java.nio.charset.StandardCharsets.UTF_8;

import com.sun.net.httpserver.HttpServer;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Discard;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import dev.jobqueue.micrometer.MicrometerObserver;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.List;

/**
 * A worker whose attempts are counted on a page for Prometheus, under the names that the worker service has.
 *
 * <pre>java -cp "target/classes:target/lib/*" Metrics</pre>
 */
class Metrics {
    static final String QUEUE = "example-metrics";

    record Work(boolean fails) {}

    static final JobKind<Work, Void> WORK =
            JobKind.define("example_work", Work.class).queue(QUEUE).build();

    static Void work(Work payload, JobContext context) {
        if (payload.fails()) {
            throw new Discard("this can never be done");
        }
        return null;
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        var registry = new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
        var page = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
        page.createContext("/metrics", request -> {
            var text = registry.scrape().getBytes(UTF_8);
            request.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4; charset=utf-8");
            request.sendResponseHeaders(200, text.length);
            request.getResponseBody().write(text);
            request.close();
        });
        page.start();
        try {
            runJobs(MicrometerObserver.of(registry));
            show(URI.create("http://127.0.0.1:" + page.getAddress().getPort() + "/metrics"));
        } finally {
            page.stop(0);
        }
    }

    /** The worker hears of the end of a job a little later than who waits for it. Once it is closed, all is counted. */
    static void runJobs(MicrometerObserver observer) {
        var json = Codecs.jackson();
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .codec(json)
                        .syncKinds(true)
                        .observer(observer)
                        .build()) {
            worker.handle(WORK, Metrics::work);
            new Thread(worker::serve).start();

            client.syncKinds(WORK);
            for (var fails : List.of(false, true, false)) {
                var job = client.enqueue(WORK, new Work(fails));
                client.waitFor(job.id(), Duration.ofMinutes(1));
            }
        }
    }

    /** What Prometheus reads. */
    static void show(URI address) throws IOException, InterruptedException {
        var page =
                HttpClient.newHttpClient().send(HttpRequest.newBuilder(address).build(), BodyHandlers.ofLines());
        page.body().filter(line -> line.startsWith("worker_jobs")).forEach(System.out::println);
    }
}
