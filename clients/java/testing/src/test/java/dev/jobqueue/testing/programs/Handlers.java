package dev.jobqueue.testing.programs;

import com.fasterxml.jackson.databind.JsonNode;
import dev.jobqueue.AesGcm;
import dev.jobqueue.Codecs;
import dev.jobqueue.Encodings;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Middleware;
import dev.jobqueue.Worker;
import dev.jobqueue.Zstd;
import java.util.List;
import java.util.Map;

/** The program of bench/programs.py: a worker whose handler reads its payload and answers it, or the test kit. */
public final class Handlers {
    private static final int SLOTS = 1000;
    private static final int KEY_BYTES = 32;

    /** What a payload is where the kind is typed. */
    record Order(int id, String customer, boolean paid, List<String> lines, String note) {}

    /** What a handler answers. */
    record Total(int id, int lines) {}

    private static final JobKind<Order, Total> TYPED =
            JobKind.define("typed", Order.class, Total.class).build();

    /** Goes around, and does nothing. */
    private static final class Nothing implements Middleware {
        @Override
        public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
            return next.run();
        }
    }

    private Handlers() {}

    /** WAY SERVER, until SIGTERM; or {@code kit}. */
    public static void main(String[] arguments) throws Exception {
        if (List.of(arguments).equals(List.of("kit"))) {
            Kit.tell();
            return;
        }
        worker(arguments[0], arguments[1]).run();
    }

    private static Worker worker(String way, String server) {
        var builder = Worker.builder(server).codec(Codecs.jackson()).concurrency(SLOTS);
        return switch (way) {
            case "plain" -> builder.build().handle(way, Handlers::plain);
            case "typed" -> builder.build().handle(TYPED, Handlers::typed);
            case "middleware" -> builder.middleware(new Nothing(), new Nothing(), new Nothing())
                    .build()
                    .handle(way, Handlers::plain);
            case "encoded" -> builder.encodings(encodings()).build().handle(way, Handlers::plain);
            default -> throw new IllegalArgumentException("no such way: " + way);
        };
    }

    /** Compression and encryption, of payloads of any size. */
    private static Encodings encodings() {
        var key = new byte[KEY_BYTES];
        for (var at = 0; at < key.length; at++) {
            key[at] = (byte) at;
        }
        return Encodings.of(new Zstd().over(0), AesGcm.of(Map.of("bench", key), "bench"));
    }

    private static Object plain(LeasedJob job, JobContext context) {
        var order = job.payload(JsonNode.class);
        return Map.of(
                "id", order.get("id").intValue(), "lines", order.get("lines").size());
    }

    private static Total typed(Order order, JobContext context) {
        return new Total(order.id(), order.lines().size());
    }
}
