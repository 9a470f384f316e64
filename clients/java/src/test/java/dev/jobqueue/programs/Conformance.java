package dev.jobqueue.programs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import dev.jobqueue.AesGcm;
import dev.jobqueue.Codecs;
import dev.jobqueue.Discard;
import dev.jobqueue.Encodings;
import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.NewJob;
import dev.jobqueue.Retry;
import dev.jobqueue.Snooze;
import dev.jobqueue.Stop;
import dev.jobqueue.Worker;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.StreamSupport;

/** The worker under test of {@code make conformance}; docs/conformance.md specifies its lines. */
public final class Conformance {
    private static final ObjectMapper MAPPER = new ObjectMapper();
    // Not System.out, which writes an object and its line's end apart.
    private static final PrintStream OUT = System.out;
    private static final Map<String, CompletableFuture<Void>> GATES = new ConcurrentHashMap<>();

    /** The payload of the typed kind. */
    record Amount(int number, String unit) {
        Amount {
            unit = unit == null ? "one" : unit;
        }
    }

    /** Its output. */
    record Doubled(int number, String unit) {}

    private static final JobKind<Amount, Doubled> TYPED = JobKind.define("typed", Amount.class, Doubled.class)
            .version(2)
            .upcast(1, old -> Map.of("number", old.get("count")))
            .aliases("typed-old")
            .build();

    private Conformance() {}

    /** Runs until the driver says SIGTERM, or is gone. */
    public static void main(String[] arguments) throws IOException {
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var worker = worker(MAPPER.readTree(lines.readLine()));
        var listener = new Thread(() -> listen(lines, worker));
        listener.setDaemon(true);
        listener.start();
        try {
            worker.run();
        } catch (RuntimeException error) {
            say("ended", MAPPER.createObjectNode().put("error", error.getMessage()));
            Runtime.getRuntime().halt(1);
        }
        say("ended", MAPPER.createObjectNode().putNull("error"));
        Runtime.getRuntime().halt(0);
    }

    private static Worker worker(JsonNode start) {
        var addresses = texts(start.get("addresses"));
        var builder = Worker.builder(
                        addresses.get(0), addresses.subList(1, addresses.size()).toArray(String[]::new))
                .queues(texts(start.get("queues")).toArray(String[]::new))
                .concurrency(start.get("slots").asInt())
                .name(start.get("name").asText())
                .codec(Codecs.jackson())
                .labels(MAPPER.convertValue(
                        start.get("labels"),
                        MAPPER.getTypeFactory().constructMapType(Map.class, String.class, String.class)))
                .shutdownGrace(seconds(start.get("shutdown_grace_s")))
                .stopWhenLost(start.path("stop_when_lost").asBoolean());
        if (start.hasNonNull("session_ttl_s")) {
            builder.sessionTtl(seconds(start.get("session_ttl_s")));
        }
        if (start.path("tokens").asBoolean()) {
            var asked = new AtomicLong();
            builder.token(() -> "token-" + asked.incrementAndGet());
        }
        if (start.path("encrypted").asBoolean()) {
            var key = new byte[32];
            for (var at = 0; at < key.length; at++) {
                key[at] = (byte) at;
            }
            builder.encodings(Encodings.of(AesGcm.of(Map.of("conformance", key), "conformance")));
        }
        var worker = builder.build();
        for (var kind : texts(start.get("kinds"))) {
            var slots = start.path("slots_by_kind").path(kind).asInt(0);
            worker.handle(kind, HandlerOptions.slots(slots), Conformance::handle);
        }
        if (start.path("typed").asBoolean()) {
            worker.handle(TYPED, Conformance::doubled);
        }
        return worker;
    }

    /** Does what the driver says, until it is gone. */
    private static void listen(BufferedReader lines, Worker worker) {
        try {
            for (var line = lines.readLine(); line != null; line = lines.readLine()) {
                var said = MAPPER.readTree(line);
                switch (said.path("do").asText()) {
                    case "release" -> gate(said.get("job").asText()).complete(null);
                    case "pause" -> worker.pause();
                    case "resume" -> worker.resume();
                    case "status" -> say("status", (ObjectNode)
                            MAPPER.readTree(worker.status().asJson().bytes()));
                    default -> {}
                }
            }
        } catch (IOException error) {
            error.printStackTrace();
        }
        Runtime.getRuntime().halt(3); // no driver, no worker
    }

    private static Doubled doubled(Amount amount, JobContext context) throws Exception {
        sayStarted(context.job());
        say("handler_ended", lease(context.job()));
        return new Doubled(2 * amount.number(), amount.unit());
    }

    private static void sayStarted(LeasedJob job) throws Exception {
        say(
                "handler_started",
                lease(job)
                        .put("kind", job.kind())
                        .put("queue", job.queue())
                        .put(
                                "payload_sha256",
                                HexFormat.of()
                                        .formatHex(MessageDigest.getInstance("SHA-256")
                                                .digest(job.payload().bytes())))
                        .put("payload_bytes", job.payload().size())
                        .put("checkpoint_base64", Base64.getEncoder().encodeToString(job.checkpoint())));
    }

    private static Object handle(LeasedJob job, JobContext context) throws Exception {
        sayStarted(job);
        try {
            var payload = MAPPER.readTree(job.payload().bytes());
            Json output = null;
            for (var step : payload.path("steps")) {
                var answer = step(job, context, step, payload.path("on_cancel").asText("stop"));
                output = answer == null ? output : answer;
            }
            return output;
        } finally {
            say("handler_ended", lease(job));
        }
    }

    private static Json step(LeasedJob job, JobContext context, JsonNode step, String onCancel) throws Exception {
        switch (step.path("do").asText()) {
            case "hold" -> hold(job, context, onCancel);
            case "succeed" -> {
                return step.has("output") ? Json.of(step.get("output").toString()) : null;
            }
            case "fail" -> {
                var words = step.get("error").asText();
                if (step.has("retry_after_s")) {
                    var retry = new Retry(words, seconds(step.get("retry_after_s")));
                    throw step.path("pause_key").asBoolean() ? retry.pauseKey() : retry;
                }
                throw new IllegalStateException(words);
            }
            case "discard" -> throw new Discard(step.get("error").asText());
            case "snooze" -> throw new Snooze(seconds(step.get("delay_s")));
            case "progress" -> context.progress(
                    step.get("fraction").asDouble(), step.path("message").asText());
            case "checkpoint" -> context.saveCheckpoint(step.get("data_base64").binaryValue());
            case "die" -> Runtime.getRuntime().halt(137);
            case "follow_up" -> context.followUp(NewJob.of(
                    step.get("kind").asText(), Json.of(step.get("payload").asText())));
            default -> throw new Discard("no such step: " + step);
        }
        return null;
    }

    private static void hold(LeasedJob job, JobContext context, String onCancel) throws Exception {
        var gate = gate(job.id());
        try {
            CompletableFuture.anyOf(gate, context.cancelled()).get();
        } catch (InterruptedException error) {
            // It is told below.
        }
        if (!context.isCancelled() || gate.isDone()) {
            return;
        }
        var stop = context.stop().orElseThrow();
        say("handler_cancelled", lease(job).put("reason", reason(stop)).put("words", stop.words()));
        switch (onCancel) {
            case "stop" -> context.throwIfCancelled();
            case "ignore" -> {
                while (!gate.isDone()) {
                    try {
                        gate.get();
                    } catch (InterruptedException again) {
                        // Deaf on purpose.
                    }
                }
            }
            default -> {}
        }
    }

    private static String reason(Stop stop) {
        return switch (stop.reason()) {
            case CANCEL -> "cancel";
            case REVOKED -> "revoked";
            case SHUTDOWN -> "shutdown";
            case LOST -> "lost";
        };
    }

    private static CompletableFuture<Void> gate(String job) {
        return GATES.computeIfAbsent(job, key -> new CompletableFuture<>());
    }

    private static ObjectNode lease(LeasedJob job) {
        return MAPPER.createObjectNode().put("job", job.id()).put("attempt", job.attempt());
    }

    /** One line for the driver, at once and whole. */
    private static void say(String event, ObjectNode fields) {
        var line = (fields.put("event", event) + "\n").getBytes(StandardCharsets.UTF_8);
        OUT.write(line, 0, line.length);
        OUT.flush();
    }

    private static List<String> texts(JsonNode list) {
        return StreamSupport.stream(list.spliterator(), false)
                .map(JsonNode::asText)
                .toList();
    }

    private static Duration seconds(JsonNode number) {
        return Duration.ofNanos(Math.round(number.asDouble() * 1e9));
    }
}
