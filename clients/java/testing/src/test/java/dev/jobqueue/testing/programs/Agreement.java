package dev.jobqueue.testing.programs;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.jobqueue.AesGcm;
import dev.jobqueue.Cancelled;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Discard;
import dev.jobqueue.Encodings;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.Filter;
import dev.jobqueue.Handler;
import dev.jobqueue.HandlerOptions;
import dev.jobqueue.Job;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import dev.jobqueue.Retry;
import dev.jobqueue.Snooze;
import dev.jobqueue.Status;
import dev.jobqueue.Stop;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.Given;
import dev.jobqueue.testing.Performed;
import dev.jobqueue.testing.TestScope;
import dev.jobqueue.testing.TestServer;
import dev.jobqueue.testing.Testing;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.Predicate;

/**
 * The handlers of tests/testing_kit/handlers.json come to the same by {@code perform}, by a worker of a real server, and in
 * the table. Prints a line for each that does not, and how many were held against each other.
 */
public final class Agreement {
    /** An error of a program's own. */
    static final class Unwilling extends Exception {
        private static final long serialVersionUID = 1;

        Unwilling(String message) {
            super(message);
        }
    }

    record Ask(int number) {}

    record Answer(double half) {}

    /** What became of a job. {@code after}: whole hours, in seconds, as a server adds up to a tenth to a retry. */
    record Facts(
            String outcome,
            String output,
            String error,
            String errorType,
            long after,
            Double fraction,
            String message,
            List<Following> next) {}

    record Following(String kind, String payload, Map<String, String> labels, long after) {}

    /** A row of the table, whose handler returns what it answers, or a stage of it. */
    record Case(JsonNode row, boolean async) {
        String name() {
            return row.path("name").asText();
        }

        JobKind<Ask, Answer> typed() {
            return !row.has("typed") ? null : async ? HALVES_LATER : HALVES;
        }

        String kind() {
            return typed() != null ? typed().name() : (async ? "async." : "plain.") + name();
        }

        boolean encoded() {
            return row.has("encoded");
        }

        String around() {
            return row.path("around").asText();
        }

        String stop() {
            return row.path("stop").asText();
        }

        Json payload() {
            return Json.of(row.path("payload_text").asText("null"));
        }

        int maxAttempts() {
            return row.path("job").path("max_attempts").asInt(1);
        }

        Map<String, String> map(String what) {
            return strings(row.path("job").path(what));
        }

        Duration timeout() {
            var seconds = row.path("job").path("timeout").asInt();
            return seconds == 0 ? null : Duration.ofSeconds(seconds);
        }
    }

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration WITHIN = Duration.ofMinutes(1);
    private static final HandlerOptions LISTENS = HandlerOptions.DEFAULT.withoutInterrupt();
    private static final JobKind<Ask, Answer> HALVES = halves("plain.halves");
    private static final JobKind<Ask, Answer> HALVES_LATER = halves("async.halves");
    private static final Encodings ENCODINGS = Encodings.of(AesGcm.of(Map.of("a", new byte[32]), "a"));
    private static final ExecutorService THREADS = Executors.newCachedThreadPool(run -> {
        var thread = new Thread(run, "handler");
        thread.setDaemon(true);
        return thread;
    });

    private final Map<String, Worker> workers = new LinkedHashMap<>();

    private Agreement() {}

    private static JobKind<Ask, Answer> halves(String name) {
        return JobKind.define(name, Ask.class, Answer.class)
                .version(2)
                .upcast(1, old -> Map.of("number", old.get("n")))
                .build();
    }

    private static Map<String, String> strings(JsonNode node) {
        var found = new HashMap<String, String>();
        node.properties()
                .forEach(each -> found.put(each.getKey(), each.getValue().asText()));
        return found;
    }

    // ---- handlers

    /** Does the steps. One that is told to stop learns it by an interrupt, or of the other style by a future. */
    private static Object run(Case of, LeasedJob job, JobContext context) throws Exception {
        for (var step : of.row().path("does").get(job.attempt() - 1)) {
            var name = step.get(0).asText();
            if (name.startsWith("told")) {
                var said = step.get(2);
                context.progress(step.get(1).asDouble(), said.isInt() ? "é".repeat(said.asInt()) : said.asText());
                waitUntilTold(of, context);
            } else if (name.equals("stop")) {
                if (of.async()) {
                    context.throwIfCancelled();
                }
                throw new InterruptedException();
            } else {
                var output = done(job, context, name, step.path(1), step.path(2));
                if (output != null) {
                    return output;
                }
            }
        }
        return null;
    }

    private static void waitUntilTold(Case of, JobContext context) {
        if (of.async()) {
            context.cancelled().join();
            return;
        }
        try {
            Thread.sleep(WITHIN.toMillis());
        } catch (InterruptedException error) {
            // It was told.
        }
    }

    /** Null: there is another step. */
    private static Object done(LeasedJob job, JobContext context, String step, JsonNode first, JsonNode second)
            throws Exception {
        switch (step) {
            case "return":
                return JSON.convertValue(first, Object.class);
            case "payload":
                return job.payload();
            case "echo":
                return seen(job);
            case "raise":
                throw new Unwilling(first.asText());
            case "raise_long":
                throw new Unwilling("é".repeat(first.asInt()));
            case "break":
                throw new AssertionError(first.asText());
            case "retry":
                throw new Retry(new Unwilling(first.asText()), Duration.ofSeconds(second.asInt()));
            case "discard":
                throw new Discard(new Unwilling(first.asText()));
            case "snooze":
                throw new Snooze(Duration.ofSeconds(first.asInt()));
            case "give_up":
                throw new Cancelled("nothing left to do");
            case "no_json":
                return new Object();
            case "return_long":
                return "x".repeat(first.asInt() - 2);
            case "follow_up":
                var next = NewJob.builder(first.path("kind").asText())
                        .payload(Json.of(first.path("payload").toString()))
                        .queue(job.kind())
                        .labels(strings(first.path("labels")));
                if (first.has("delay")) {
                    next.delay(Duration.ofSeconds(first.path("delay").asInt()));
                }
                context.followUp(next.build());
                return null;
            case "follow_ups":
                for (var i = 0; i < first.asInt(); i++) {
                    context.followUp(NewJob.builder("next").queue(job.kind()).build());
                }
                return null;
            case "progress":
                context.progress(first.asDouble());
                return null;
            case "checkpoint":
                context.saveCheckpoint(first.asText().getBytes(StandardCharsets.UTF_8));
                return null;
            case "checkpoint_long":
                context.saveCheckpoint(new byte[first.asInt()]);
                return null;
            case "time_left":
                var left = context.remaining().orElseThrow();
                return !left.isNegative() && left.compareTo(Duration.ofMinutes(1)) <= 0;
            default:
                throw new AssertionError("no step: " + step);
        }
    }

    private static Map<String, Object> seen(LeasedJob job) {
        var seen = new LinkedHashMap<String, Object>();
        seen.put("payload", job.payload(Object.class));
        seen.put("attempt", job.attempt());
        seen.put("failures", job.failures());
        seen.put("last", job.isLastAttempt());
        seen.put("checkpoint", new String(job.checkpoint(), StandardCharsets.UTF_8));
        seen.put("key", job.key());
        seen.put("labels", job.labels());
        return seen;
    }

    private static <T> CompletableFuture<T> later(java.util.concurrent.Callable<T> function) {
        return CompletableFuture.supplyAsync(
                () -> {
                    try {
                        return function.call();
                    } catch (Exception error) {
                        throw new CompletionException(error);
                    }
                },
                THREADS);
    }

    private static void handle(Worker worker, Case of) {
        if (of.typed() != null && of.async()) {
            worker.handleAsync(of.typed(), (ask, context) -> later(() -> new Answer(ask.number() / 2.0)));
        } else if (of.typed() != null) {
            worker.handle(of.typed(), (ask, context) -> new Answer(ask.number() / 2.0));
        } else if (of.async()) {
            // What one is told it learns by the context: a stage that is cancelled could answer nothing more.
            worker.handleAsync(of.kind(), LISTENS, (job, context) -> later(() -> run(of, job, context)));
        } else {
            worker.handle(of.kind(), (job, context) -> run(of, job, context));
        }
    }

    /** Does what {@code around} of a row says. */
    record Around(String says) implements Middleware {
        @Override
        public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
            if (says.equals("raises")) {
                throw new Unwilling("of no tenant");
            }
            if (says.equals("answers")) {
                return "instead";
            }
            var output = next.run();
            return output instanceof CompletionStage<?> stage
                    ? stage.thenApply(value -> {
                        try {
                            return after(value);
                        } catch (Unwilling error) {
                            throw new CompletionException(error);
                        }
                    })
                    : after(output);
        }

        private Object after(Object output) throws Unwilling {
            if (says.equals("raises_after")) {
                throw new Unwilling("too late");
            }
            return says.equals("changes") ? Map.of("was", output) : output;
        }

        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
            return next.enqueue(
                    jobs.stream().map(job -> labelled(job, jobs.size())).toList());
        }

        private static NewJob labelled(NewJob job, int of) {
            var labels = new HashMap<>(job.labels());
            labels.put("of", "" + of);
            return job.toBuilder().labels(labels).build();
        }
    }

    // ---- both ways

    private static Worker.Builder around(Worker.Builder builder, Case of) {
        if (!of.around().isEmpty()) {
            builder.middleware(new Around(of.around()));
        }
        return of.encoded() ? builder.encodings(ENCODINGS) : builder;
    }

    private static Facts alone(Case of) throws Exception {
        var done = performed(of);
        for (var i = 1; i < of.row().path("does").size(); i++) {
            done = done.again();
        }
        var again = done.outcome() == Performed.Outcome.FAILED && done.failures() + 1 < of.maxAttempts();
        var after = again ? done.retryAfter() : done.delay();
        var report = of.stop().isEmpty() ? null : done.progress().get(0);
        return new Facts(
                done.outcome().name().toLowerCase(Locale.ROOT),
                done.outputJson().map(Json::text).orElse(""),
                done.error(),
                done.errorType(),
                hours(after.orElse(Duration.ZERO)),
                report == null ? null : report.fraction().orElseThrow(),
                report == null ? null : report.message(),
                done.followUps().stream().map(Agreement::following).toList());
    }

    private static Performed<?> performed(Case of) throws Exception {
        // Middleware of a handler that is given by itself is given beside it.
        if (!of.around().isEmpty() && !of.async()) {
            Handler handler = (job, context) -> run(of, job, context);
            return Testing.perform(
                    handler, of.payload(), given -> given(of, given).middleware(new Around(of.around())));
        }
        var worker = around(Worker.builder("192.0.2.1:1").codec(Codecs.jackson()), of)
                .build();
        handle(worker, of);
        return of.typed() == null
                ? Testing.perform(worker, of.kind(), of.payload(), given -> given(of, given))
                : Testing.perform(
                        worker, of.typed(), null, given -> given(of, given).stored(of.payload()));
    }

    private static Given given(Case of, Given given) {
        if (!of.stop().isEmpty()) {
            given.stop(Stop.Reason.valueOf(of.stop().toUpperCase(Locale.ROOT))).stopAtProgress(1);
        }
        return given.key(of.row().path("job").path("key").asText())
                .labels(of.map("labels"))
                .headers(of.map("headers"))
                .maxAttempts(of.maxAttempts())
                .timeout(of.timeout())
                .within(WITHIN)
                .caught();
    }

    private static NewJob job(Case of) {
        var job = NewJob.builder(of.kind())
                .payload(of.payload())
                .key(of.row().path("job").path("key").asText())
                .labels(of.map("labels"))
                .headers(of.map("headers"))
                .maxAttempts(of.maxAttempts());
        return (of.timeout() == null ? job : job.timeout(of.timeout())).build();
    }

    private static Facts there(Case of, Client client, String id, Worker leaving) throws Exception {
        Job told = null;
        if (!of.stop().isEmpty()) {
            told = until(client, id, job -> job.progress().isPresent());
            if (of.stop().equals("cancel")) {
                client.cancel(id);
            } else {
                leaving.stop(Duration.ZERO);
            }
        }
        var attempts = of.row().path("does").size();
        var job = until(
                client,
                id,
                each -> each.isTerminal() || (each.attempts() >= attempts && each.status() != Status.RUNNING));
        var outcome = outcome(job);
        var failed = outcome.equals("failed") || outcome.equals("discarded")
                ? job.failedAttempts().get(job.failedAttempts().size() - 1)
                : null;
        var next = client.list(Filter.builder().queue(job.kind()).build())
                .map(each -> following(client.get(each.id())))
                .toList();
        return new Facts(
                outcome,
                job.output().map(Json::text).orElse(""),
                failed == null ? "" : failed.error(),
                failed == null ? "" : failed.errorType(),
                job.isTerminal() ? 0 : hours(Duration.between(job.createdAt(), job.runAt())),
                told == null ? null : told.progress().orElseThrow().fraction().orElseThrow(),
                told == null ? null : told.progress().orElseThrow().message(),
                next);
    }

    private static String outcome(Job job) {
        return switch (job.status()) {
            case SUCCEEDED -> "succeeded";
            case FAILED_PERMANENT -> job.reason().equals("NOT_RETRYABLE") ? "discarded" : "failed";
            case RETRYING -> "failed";
                // What an attempt that was to stop has failed with is kept, but there is no next one.
            case CANCELLED -> job.failedAttempts().isEmpty() ? "cancelled" : "failed";
            default -> job.runAt().isAfter(job.updatedAt()) ? "snoozed" : "released";
        };
    }

    private static Following following(Job job) {
        return new Following(
                job.kind(),
                job.payload().map(Json::text).orElse("null"),
                Map.copyOf(job.labels()),
                hours(Duration.between(job.createdAt(), job.runAt())));
    }

    private static long hours(Duration wait) {
        return wait.toHours() * 3600;
    }

    private static Job until(Client client, String id, Predicate<Job> holds) throws Exception {
        var ends = Instant.now().plus(WITHIN);
        while (true) {
            var job = client.get(id);
            if (holds.test(job)) {
                return job;
            }
            if (Instant.now().isAfter(ends)) {
                throw new AssertionError(job.kind() + " is still " + job.status());
            }
            Thread.sleep(20);
        }
    }

    // ---- the table

    /** What the facts say of what the table names, where that is not the same. */
    private static String differs(Facts found, JsonNode wanted) throws Exception {
        for (var each : wanted.properties()) {
            var value = each.getValue();
            var is =
                    switch (each.getKey()) {
                        case "outcome" -> JSON.valueToTree(found.outcome());
                        case "output" -> JSON.readTree(found.output().isEmpty() ? "null" : found.output());
                        case "output_text" -> JSON.valueToTree(found.output());
                        case "output_bytes" -> bytes(found.output());
                        case "error" -> JSON.valueToTree(found.error());
                        case "error_ends" -> found.error().endsWith(value.asText())
                                ? value
                                : JSON.valueToTree(found.error());
                        case "error_type" -> JSON.valueToTree(
                                found.errorType().replaceAll(".*[.$]", "").toLowerCase(Locale.ROOT));
                        case "after" -> JSON.valueToTree((int) found.after());
                        case "progress" -> JSON.createArrayNode()
                                .add(found.fraction())
                                .add(bytes(found.message()));
                        case "follow_ups" -> {
                            var all = JSON.createArrayNode();
                            for (var next : found.next()) {
                                all.addObject()
                                        .<com.fasterxml.jackson.databind.node.ObjectNode>set(
                                                "payload", JSON.readTree(next.payload()))
                                        .set("labels", JSON.valueToTree(next.labels()));
                            }
                            yield all;
                        }
                        case "why", "alone" -> value;
                        default -> throw new IllegalArgumentException("nothing is known of " + each.getKey());
                    };
            if (!is.equals(value)) {
                return "%s is %.1000s, the table has %s".formatted(each.getKey(), is, value);
            }
        }
        return "";
    }

    private static JsonNode bytes(String text) {
        return JSON.valueToTree(text.getBytes(StandardCharsets.UTF_8).length);
    }

    private static List<String> wrong(Case of, Facts byWorker, Facts byItself) throws Exception {
        var otherwise = of.row().path("except").path("java");
        var alone = otherwise.has("alone") ? otherwise.get("alone") : of.row().get("alone");
        var wanted = of.row().path("comes_to").<com.fasterxml.jackson.databind.node.ObjectNode>deepCopy();
        otherwise.properties().forEach(each -> wanted.set(each.getKey(), each.getValue()));
        var wrong = new ArrayList<String>();
        if (alone == null && !byWorker.equals(byItself)) {
            wrong.add("by a worker %.1000s, alone %.1000s".formatted(byWorker, byItself));
        }
        wrong.add(differs(byWorker, wanted));
        wrong.add(differs(byItself, alone == null ? wanted : alone));
        wrong.removeIf(String::isEmpty);
        return wrong;
    }

    private Worker workerFor(TestScope scope, Case of) {
        var name = of.encoded() ? "encoding" : of.stop().equals("shutdown") ? "leaving " + of.async() : of.around();
        return workers.computeIfAbsent(
                name, key -> around(scope.worker().concurrency(16), of).build());
    }

    private void compare(TestScope scope, List<Case> cases) throws Exception {
        var kinds = new ArrayList<String>();
        scope.client().putKind(Kind.of("next"));
        for (var each : cases) {
            if (!kinds.contains(each.kind())) {
                kinds.add(each.kind());
                scope.client().putKind(Kind.of(each.kind()));
                handle(workerFor(scope, each), each);
            }
        }
        var serving = workers.values().stream()
                .map(worker -> new Thread(worker::serve))
                .toList();
        serving.forEach(Thread::start);
        var wrong = 0;
        try (var sealing = Client.builder(scope.target())
                .token(scope.key())
                .codec(Codecs.jackson())
                .encodings(ENCODINGS)
                .build()) {
            for (var each : cases) {
                var client = each.encoded() ? sealing : scope.client();
                var id = client.enqueue(job(each)).id();
                for (var line : wrong(each, there(each, client, id, workerFor(scope, each)), alone(each))) {
                    System.out.println(each.kind() + ": " + line);
                    wrong++;
                }
            }
        }
        for (var worker : workers.values()) {
            worker.stop(Duration.ZERO);
        }
        for (var each : serving) {
            each.join();
        }
        System.out.println((wrong > 0 ? "some differ of " : "agree on ") + cases.size());
    }

    /** {@code TABLE}. The server is found as that of any test is. */
    public static void main(String[] arguments) throws Exception {
        var cases = new ArrayList<Case>();
        for (var row : JSON.readTree(Path.of(arguments[0]).toFile()).path("handlers")) {
            if (!row.path("except").path("java").has("left_out")) {
                cases.add(new Case(row, false));
                cases.add(new Case(row, true));
            }
        }
        try (var server = TestServer.start();
                var scope = server.openScope()) {
            new Agreement().compare(scope, cases);
        }
    }
}
