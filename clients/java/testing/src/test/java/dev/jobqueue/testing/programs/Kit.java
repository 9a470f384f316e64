package dev.jobqueue.testing.programs;

import static dev.jobqueue.testing.Testing.perform;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.TestServer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** What the test kit of Java takes, as a suite uses it: bench/programs.py says what is measured. */
final class Kit {
    private static final int SCOPES = 20;
    private static final int PERFORMED = 200;
    private static final int SUITE = 100;
    private static final double NANOS = 1e9;

    private Kit() {}

    /** Measures, and prints the line. */
    static void tell() throws Exception {
        System.out.println(new ObjectMapper().writeValueAsString(measured()));
    }

    /** Seconds by what is measured. */
    private static Map<String, Double> measured() throws Exception {
        var found = new LinkedHashMap<String, Double>();
        var began = System.nanoTime();
        var server = TestServer.start();
        found.put("start", since(began));
        try {
            var scopes = new double[SCOPES];
            for (var each = 0; each < SCOPES; each++) {
                began = System.nanoTime();
                server.openScope().close();
                scopes[each] = since(began);
            }
            found.put("scope", median(scopes));
            began = System.nanoTime();
            for (var number = 0; number < PERFORMED; number++) {
                var done = perform(Kit::twice, Map.of("number", number));
                check(answer(2 * number), done.output());
            }
            found.put("perform", since(began));
            began = System.nanoTime();
            for (var each = 0; each < SUITE; each++) {
                withOneJob(server);
            }
            found.put("scopes", since(began));
        } finally {
            began = System.nanoTime();
            server.close();
            found.put("close", since(began));
        }
        return found;
    }

    private static void withOneJob(TestServer server) throws Exception {
        try (var scope = server.openScope()) {
            scope.client().putKind(Kind.of("twice"));
            scope.client().enqueue("twice", Map.of("number", 21));
            var worker = Worker.builder("127.0.0.1:1")
                    .codec(Codecs.jackson())
                    .build()
                    .handle("twice", Kit::twice);
            var ended = scope.runUntilIdle(worker).ended();
            check(1, ended.size());
            check(answer(42), ended.get(0).output().orElseThrow());
        }
    }

    private static Object twice(LeasedJob job, JobContext context) {
        var number = job.payload(JsonNode.class).get("number").intValue();
        return Map.of("twice", 2 * number);
    }

    private static Json answer(int twice) {
        return Json.of("{\"twice\":" + twice + "}");
    }

    /** Java runs no {@code assert} unless it is told to. */
    private static void check(Object wanted, Object found) {
        if (!wanted.equals(found)) {
            throw new AssertionError("%s, not %s".formatted(found, wanted));
        }
    }

    private static double since(long began) {
        return (System.nanoTime() - began) / NANOS;
    }

    private static double median(double[] seconds) {
        Arrays.sort(seconds);
        var half = seconds.length / 2;
        return seconds.length % 2 == 1 ? seconds[half] : (seconds[half - 1] + seconds[half]) / 2;
    }
}
