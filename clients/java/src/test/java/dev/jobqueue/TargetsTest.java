package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.JobQueueException.InvalidRequest;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Addresses of servers. */
@Timeout(60)
class TargetsTest {
    private static final String WORDS = "INVALID_ARGUMENT: target: must be HOST:PORT, such as 127.0.0.1:50051";

    @Test
    void anAddressThatIsNoHostAndPortIsRefusedWhereClientAndWorkerAreMade() {
        for (var target :
                List.of("", " ", "localhost", "127.0.0.1:", ":50051", "a:0", "a:65536", "a:b", "a:-1", "//a")) {
            assertEquals(
                    WORDS,
                    assertThrows(InvalidRequest.class, () -> Client.of(target)).getMessage(),
                    target);
            assertThrows(InvalidRequest.class, () -> Worker.builder(target));
            assertThrows(InvalidRequest.class, () -> Worker.builder("127.0.0.1:1", target));
        }
        for (var target : List.of("http://127.0.0.1:50051", "https://a", "HTTP://a:1")) {
            var error = assertThrows(InvalidRequest.class, () -> Client.builder(target));
            assertEquals(WORDS + ", without http://", error.getMessage());
            assertEquals("target", error.violations().get(0).field());
        }
    }

    @Test
    void addressesOfGrpcsOwnSchemesAreTaken() {
        for (var target : List.of(
                "127.0.0.1:1",
                "jobs.internal:65535",
                "[::1]:50051",
                "dns:///jobs.internal:50051",
                "dns:jobs:50051",
                "unix:///run/jobqueue.sock",
                "unix:/run/jobqueue.sock",
                "xds:///jobs")) {
            Client.builder(target);
            Worker.builder(target, target);
        }
    }

    @Test
    void aClientThatReachesTheHttpPortIsToldSo() throws Exception {
        try (var web = new ServerSocket(0, 10, InetAddress.getLoopbackAddress())) {
            var answers = new Thread(() -> {
                try {
                    while (true) {
                        try (var one = web.accept()) {
                            one.getInputStream().read();
                            one.getOutputStream()
                                    .write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
                                            .getBytes(StandardCharsets.US_ASCII));
                            one.getOutputStream().flush();
                            one.shutdownOutput();
                            one.getInputStream().readAllBytes();
                        }
                    }
                } catch (java.io.IOException error) {
                    // It is closed.
                }
            });
            answers.setDaemon(true);
            answers.start();
            try (var client = Client.builder("127.0.0.1:" + web.getLocalPort())
                    .deadline(Duration.ofSeconds(5))
                    .build()) {
                var error = assertThrows(JobQueueException.class, () -> client.enqueue("k", null));
                assertTrue(
                        error.getMessage()
                                .contains(
                                        "this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS"),
                        error.getMessage());
            }
        }
    }
}
