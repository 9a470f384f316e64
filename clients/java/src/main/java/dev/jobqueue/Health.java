package dev.jobqueue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * Answers {@code /livez} and {@code /readyz} of a worker, in threads of its own: handlers that block hold it up as little
 * as the session.
 */
final class Health implements AutoCloseable {
    /** What is answered. */
    record Answer(boolean good, String body) {}

    private static final Duration READ_WITHIN = Duration.ofSeconds(1);

    private final Worker worker;
    private final HttpServer server;
    private final ExecutorService threads = Executors.newCachedThreadPool(Threads.daemons("jobqueue-health-"));

    /**
     * Listens, and answers.
     *
     * @throws IllegalStateException the address can't be had
     */
    Health(InetSocketAddress address, Worker worker) {
        this.worker = worker;
        try {
            // Not looked up before: a name may have another address by now.
            server = HttpServer.create(
                    new InetSocketAddress(InetAddress.getByName(address.getHostString()), address.getPort()), 0);
        } catch (IOException error) {
            threads.shutdown();
            throw new IllegalStateException(
                    "health: %s:%d can't be listened on: %s"
                            .formatted(address.getHostString(), address.getPort(), error.getMessage()),
                    error);
        }
        server.createContext("/", this::handle);
        server.setExecutor(threads);
        start();
    }

    /** The server's own thread keeps a program from its end, unless a daemon has made it. */
    private void start() {
        var started = new CountDownLatch(1);
        threads.execute(() -> {
            server.start();
            started.countDown();
        });
        try {
            started.await();
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private void handle(HttpExchange exchange) throws IOException {
        try (exchange) {
            exchange.getResponseHeaders().set("Cache-Control", "no-store");
            var path = exchange.getRequestURI().getPath();
            if (!path.equals("/livez") && !path.equals("/readyz")) {
                exchange.sendResponseHeaders(404, -1);
            } else if (!exchange.getRequestMethod().equals("GET")) {
                exchange.getResponseHeaders().set("Allow", "GET");
                exchange.sendResponseHeaders(405, -1);
            } else {
                var answer = worker.health(path.equals("/readyz"), READ_WITHIN);
                var body = answer.body().getBytes(StandardCharsets.UTF_8);
                exchange.getResponseHeaders().set("Content-Type", "application/json");
                exchange.sendResponseHeaders(answer.good() ? 200 : 503, body.length);
                exchange.getResponseBody().write(body);
            }
        }
    }

    /** Reads {@code 127.0.0.1:8081}, {@code [::1]:8081} or {@code localhost:8081}. */
    static InetSocketAddress address(String text) {
        var colon = text.lastIndexOf(':');
        var host = colon < 0 ? "" : text.substring(0, colon);
        if (host.startsWith("[") && host.endsWith("]")) {
            host = host.substring(1, host.length() - 1);
        } else if (host.contains(":")) {
            host = "";
        }
        try {
            if (!host.isEmpty()) {
                return InetSocketAddress.createUnresolved(host, Integer.parseInt(text.substring(colon + 1)));
            }
        } catch (IllegalArgumentException error) {
            // It is told below.
        }
        throw new IllegalArgumentException(
                "health is \"%s\"; it is an address and a port, such as 127.0.0.1:8081".formatted(text));
    }

    @Override
    public void close() {
        server.stop(0);
        threads.shutdown();
    }
}
