import com.fasterxml.jackson.databind.ObjectMapper;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.UUID;
import java.util.concurrent.Executors;

/**
 * A web application with its worker in one process: a request enqueues and is answered at once, one asks for the end.
 *
 * <pre>java -cp "target/classes:target/lib/*" EmbedHttp</pre>
 *
 * <p>It makes both requests itself, and ends in the order that loses nothing: first no more requests, then the worker drains,
 * then the client closes. For Spring Boot there is a starter, which does all of this: docs/recipes/spring-boot.md.
 */
class EmbedHttp {
    static final String QUEUE = "example-embed-http";
    static final ObjectMapper JSON = new ObjectMapper();

    record Report(String of) {}

    static final JobKind<Report, String> REPORT = JobKind.define("example_report", Report.class, String.class)
            .queue(QUEUE)
            .build();

    static String report(Report payload, JobContext context) {
        return "report of " + payload.of();
    }

    record Asked(String of, String attempt) {}

    record Accepted(String id) {}

    record Found(Status status, String report) {}

    record Problem(String error) {}

    /** POST /reports enqueues. */
    static void post(Client client, HttpExchange request) throws IOException {
        var asked = JSON.readValue(request.getRequestBody(), Asked.class);
        // A client who asks twice gets one job: its own key would stand in a header.
        var job = REPORT.job(new Report(asked.of())).idempotencyKey("report " + asked.of() + " " + asked.attempt());
        answer(request, 202, new Accepted(client.enqueue(job.build()).id()));
    }

    /** GET /reports/ID says how the job stands. */
    static void get(Client client, HttpExchange request) throws IOException {
        var path = request.getRequestURI().getPath();
        try {
            var job = client.get(path.substring(path.lastIndexOf('/') + 1));
            answer(
                    request,
                    200,
                    new Found(job.status(), job.output(String.class).orElse(null)));
        } catch (JobQueueException.JobNotFound error) {
            answer(request, 404, new Problem("no such report"));
        }
    }

    static void answer(HttpExchange request, int code, Object body) throws IOException {
        var bytes = JSON.writeValueAsBytes(body);
        request.getResponseHeaders().set("Content-Type", "application/json");
        request.sendResponseHeaders(code, bytes.length);
        request.getResponseBody().write(bytes);
        request.close();
    }

    /** What a user's browser would do. */
    static void requests(URI reports) throws IOException, InterruptedException {
        var http = HttpClient.newHttpClient();
        var asked = JSON.writeValueAsString(new Asked("May", UUID.randomUUID().toString()));
        var post = HttpRequest.newBuilder(reports).POST(BodyPublishers.ofString(asked));
        var accepted = http.send(post.build(), BodyHandlers.ofString());
        System.out.println(accepted.statusCode());
        var id = JSON.readValue(accepted.body(), Accepted.class).id();

        var get = HttpRequest.newBuilder(URI.create(reports + "/" + id)).build();
        while (true) {
            var found = JSON.readValue(http.send(get, BodyHandlers.ofString()).body(), Found.class);
            if (found.status().isTerminal()) {
                System.out.println(found.status() + " " + found.report());
                return;
            }
            Thread.sleep(50);
        }
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        var json = Codecs.jackson();
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .codec(json)
                        .syncKinds(true)
                        .build()) {
            worker.handle(REPORT, EmbedHttp::report);
            new Thread(worker::serve).start();
            client.syncKinds(REPORT);

            var http = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 0);
            var threads = Executors.newCachedThreadPool();
            http.setExecutor(threads);
            http.createContext("/reports", request -> {
                if (request.getRequestMethod().equals("POST")) {
                    post(client, request);
                } else {
                    get(client, request);
                }
            });
            http.start();
            try {
                requests(URI.create("http://127.0.0.1:" + http.getAddress().getPort() + "/reports"));
            } finally {
                http.stop(1); // so many seconds for requests that run
                threads.shutdown();
            }
        }
    }
}
