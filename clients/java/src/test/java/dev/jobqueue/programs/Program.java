package dev.jobqueue.programs;

import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.NewJob;
import dev.jobqueue.Tls;
import dev.jobqueue.Worker;
import io.grpc.ChannelCredentials;
import io.grpc.InsecureChannelCredentials;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

/** The producer and the worker of tests/clients; tests/conformance/languages.py specifies both. */
public final class Program {
    private final Map<String, String> flags =
            new HashMap<>(Map.of("queue", "default", "kind", "echo", "name", "java", "slots", "32", "workers", "1"));

    record Line(String sku, long count, double price) {}

    record Order(String customer, List<Line> lines, boolean paid, String note) {}

    record Summary(String customer, long count, Double dearest) {}

    private static final JobKind<Order, Summary> ORDER =
            JobKind.define("order", Order.class, Summary.class).build();

    private Program() {}

    /** {@code enqueue|work --server ADDRESS [--flag value ...]}. */
    public static void main(String[] arguments) throws IOException {
        var program = new Program();
        for (var at = 1; at + 1 < arguments.length; at += 2) {
            program.flags.put(arguments[at].substring(2), arguments[at + 1]);
        }
        switch (arguments[0]) {
            case "enqueue" -> program.enqueue();
            case "work" -> program.work();
            default -> throw new IllegalArgumentException("neither enqueue nor work");
        }
    }

    private String flag(String name) {
        return flags.get(name);
    }

    private ChannelCredentials transport() {
        if (!flags.containsKey("roots")) {
            return InsecureChannelCredentials.create();
        }
        return Tls.trust(Path.of(flag("roots")), Path.of(flag("cert")), Path.of(flag("key")));
    }

    /** Makes a job of each line of its input, as it is, and prints the outputs in their order, as they are. */
    private void enqueue() throws IOException {
        try (var client = Client.builder(flag("server"))
                .tls(transport())
                .codec(Codecs.jackson())
                .build()) {
            if (flag("kind").equals(ORDER.name())) {
                enqueueOrders(client);
                return;
            }
            var jobs = new ArrayList<NewJob>();
            for (var line : lines(System.in.readAllBytes())) {
                jobs.add(NewJob.builder(flag("kind"))
                        .queue(flag("queue"))
                        .payload(Json.of(line))
                        .build());
            }
            for (EnqueueResult each : client.enqueueMany(jobs)) {
                var job = client.waitFor(each.id(), Duration.ofMinutes(1));
                System.out.write(job.output().orElseThrow().bytes());
                System.out.write('\n');
            }
            System.out.flush();
        }
    }

    private void enqueueOrders(Client client) throws IOException {
        var json = new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
        for (var line : lines(System.in.readAllBytes())) {
            var job = ORDER.job(json.readValue(line, Order.class))
                    .queue(flag("queue"))
                    .build();
            var done = client.waitFor(client.enqueue(job).id(), Duration.ofMinutes(1));
            System.out.println(json.writeValueAsString(ORDER.outputOf(done)));
        }
    }

    private static Summary summarize(Order order) {
        var said =
                order.customer() + (order.paid() ? ", paid" : "") + (order.note() == null ? "" : ": " + order.note());
        var dearest = order.lines().stream().map(Line::price).max(Double::compare);
        return new Summary(said, order.lines().stream().mapToLong(Line::count).sum(), dearest.orElse(null));
    }

    private static List<byte[]> lines(byte[] text) {
        var lines = new ArrayList<byte[]>();
        var line = new ByteArrayOutputStream();
        for (var each : text) {
            if (each == '\n') {
                lines.add(line.toByteArray());
                line.reset();
            } else {
                line.write(each);
            }
        }
        if (line.size() > 0) {
            lines.add(line.toByteArray());
        }
        return lines;
    }

    /** Answers each job with its payload, or with nothing. */
    private void work() {
        var others = new ArrayList<Worker>();
        for (var i = Integer.parseInt(flag("workers")); i > 1; i--) {
            var other = worker();
            others.add(other);
            new Thread(other::serve).start();
        }
        worker().run();
        others.forEach(Worker::close);
    }

    private Worker worker() {
        var builder = Worker.builder(flag("server"))
                .tls(transport())
                .queues(flag("queue"))
                .concurrency(Integer.parseInt(flag("slots")))
                .name(flag("name"))
                .codec(Codecs.jackson());
        if (flags.containsKey("health")) {
            builder.health(flag("health"));
        }
        return builder.build()
                .handle(ORDER, (order, context) -> summarize(order))
                .handle("echo", (job, context) -> job.payload())
                .handle("noop", (job, context) -> null)
                .handle("rest", (job, context) -> {
                    Thread.sleep((long) (1000 * Double.parseDouble(job.payload().text())));
                    return null;
                })
                .handle("hold", (job, context) -> {
                    new CountDownLatch(1).await();
                    return null;
                });
    }
}
