package dev.jobqueue.testing;

import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Codecs;
import dev.jobqueue.Discard;
import dev.jobqueue.EnqueueResult;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import dev.jobqueue.Retry;
import dev.jobqueue.Snooze;
import dev.jobqueue.Stop;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.Performed.Outcome;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.function.BiFunction;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

@Timeout(60)
class MiddlewareTest {
    /** What is called, in order. */
    private static final ThreadLocal<String> TENANT = ThreadLocal.withInitial(() -> "");

    private final List<String> told = Collections.synchronizedList(new ArrayList<>());

    enum Style {
        PLAIN,
        ASYNC
    }

    /** A table's row: what each does, what is told in order, how the attempt ends, and its output or its error. */
    record Row(Map<String, String> does, String words, Outcome outcome, String value) {}

    static List<Row> table() {
        var whole = "a( b( c( handler )c )b )a";
        return List.of(
                new Row(Map.of(), whole, Outcome.SUCCEEDED, "handler"),
                new Row(Map.of("handler", "raise"), "a( b( c( handler c!no b!no a!no", Outcome.FAILED, "no"),
                new Row(Map.of("handler", "retry"), "a( b( c( handler", Outcome.FAILED, "busy"),
                new Row(Map.of("handler", "discard"), "a( b( c( handler", Outcome.DISCARDED, "never"),
                new Row(Map.of("handler", "snooze"), "a( b( c( handler", Outcome.SNOOZED, ""),
                new Row(
                        Map.of("handler", "raise", "c.catches", "1"),
                        "a( b( c( handler c!no )c )b )a",
                        Outcome.SUCCEEDED,
                        null),
                new Row(
                        Map.of("handler", "raise", "a.catches", "1"),
                        "a( b( c( handler c!no b!no a!no )a",
                        Outcome.SUCCEEDED,
                        null),
                new Row(Map.of("a.before", "raise"), "a(", Outcome.FAILED, "no"),
                new Row(Map.of("b.before", "raise"), "a( b( a!no", Outcome.FAILED, "no"),
                new Row(Map.of("c.before", "raise"), "a( b( c( b!no a!no", Outcome.FAILED, "no"),
                new Row(Map.of("c.before", "raise", "b.catches", "1"), "a( b( c( b!no )b )a", Outcome.SUCCEEDED, null),
                new Row(Map.of("b.before", "retry"), "a( b(", Outcome.FAILED, "busy"),
                new Row(Map.of("b.before", "discard"), "a( b(", Outcome.DISCARDED, "never"),
                new Row(Map.of("b.before", "snooze"), "a( b(", Outcome.SNOOZED, ""),
                new Row(Map.of("a.before", "skip"), "a(", Outcome.SUCCEEDED, "skip"),
                new Row(Map.of("b.before", "skip"), "a( b( )a", Outcome.SUCCEEDED, "skip"),
                new Row(Map.of("c.before", "skip"), "a( b( c( )b )a", Outcome.SUCCEEDED, "skip"),
                new Row(Map.of("c.before", "skip", "a.after", "snooze"), "a( b( c( )b )a", Outcome.SNOOZED, ""),
                new Row(Map.of("a.after", "raise"), whole, Outcome.FAILED, "no"),
                new Row(Map.of("b.after", "raise"), "a( b( c( handler )c )b a!no", Outcome.FAILED, "no"),
                new Row(Map.of("c.after", "raise"), "a( b( c( handler )c b!no a!no", Outcome.FAILED, "no"),
                new Row(
                        Map.of("c.after", "raise", "b.catches", "1"),
                        "a( b( c( handler )c b!no )b )a",
                        Outcome.SUCCEEDED,
                        null),
                new Row(Map.of("b.after", "snooze"), "a( b( c( handler )c )b", Outcome.SNOOZED, ""),
                new Row(Map.of("b.after", "discard"), "a( b( c( handler )c )b", Outcome.DISCARDED, "never"),
                new Row(Map.of("b.after", "other"), whole, Outcome.SUCCEEDED, "b"),
                new Row(
                        Map.of("b.next", "twice"),
                        "a( b( c( handler )c a!Traced.handle called next twice: a handler runs once in an attempt",
                        Outcome.FAILED,
                        "Traced.handle called next twice: a handler runs once in an attempt"),
                new Row(
                        Map.of("b.next", "twice and caught"),
                        "a( b( c( handler )c )b a!Traced.handle called next twice: a handler runs once in an attempt",
                        Outcome.FAILED,
                        "Traced.handle called next twice: a handler runs once in an attempt"),
                new Row(Map.of("follow_ups", "3"), whole, Outcome.SUCCEEDED, "handler"),
                new Row(
                        Map.of("follow_ups", "3", "handler", "raise"),
                        "a( b( c( handler c!no b!no a!no",
                        Outcome.FAILED,
                        "no"),
                new Row(
                        Map.of("follow_ups", "3", "handler", "raise", "c.catches", "1"),
                        "a( b( c( handler c!no )c )b )a",
                        Outcome.SUCCEEDED,
                        null),
                new Row(
                        Map.of("follow_ups", "3", "c.after", "raise", "a.catches", "1"),
                        "a( b( c( handler )c b!no a!no )a",
                        Outcome.SUCCEEDED,
                        null),
                new Row(Map.of("follow_ups", "3", "a.after", "raise"), whole, Outcome.FAILED, "no"));
    }

    static Stream<org.junit.jupiter.params.provider.Arguments> rows() {
        return table().stream().flatMap(row -> Stream.of(Style.values())
                .map(style -> org.junit.jupiter.params.provider.Arguments.of(style, row)));
    }

    private static Object does(String what, String name) {
        if (what == null) {
            return null;
        }
        switch (what) {
            case "raise" -> throw new IllegalArgumentException("no");
            case "retry" -> throw new Retry("busy", Duration.ofMinutes(1));
            case "discard" -> throw new Discard("never");
            case "snooze" -> throw new Snooze(Duration.ofSeconds(5));
            default -> {
                return Map.of("by", what.equals("other") ? name : what);
            }
        }
    }

    /** Tells when it is entered and left, and does what the row says of its name. */
    private final class Traced implements Middleware {
        private final String name;
        private final Map<String, String> row;

        Traced(String name, Map<String, String> row) {
            this.name = name;
            this.row = row;
        }

        @Override
        public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
            told.add(name + "(");
            var skipped = does(row.get(name + ".before"), name);
            if (skipped != null) {
                return skipped;
            }
            Object output;
            try {
                output = next.run();
                if (row.containsKey(name + ".next")) {
                    again(next);
                }
            } catch (IllegalArgumentException | IllegalStateException error) {
                if (row.getOrDefault(name + ".next", "").equals("twice")) {
                    throw error;
                }
                return left(caught(error));
            }
            return output instanceof CompletionStage<?> stage
                    ? stage.handle((value, error) -> left(error == null ? value : caught(unwrapped(error))))
                    : left(output);
        }

        private void again(Next next) throws Exception {
            try {
                next.run();
            } catch (IllegalStateException error) {
                if (row.get(name + ".next").equals("twice")) {
                    throw error;
                }
            }
        }

        private Object caught(Throwable error) {
            if (!(error instanceof IllegalArgumentException || error.getClass() == IllegalStateException.class)) {
                throw error instanceof RuntimeException known ? known : new CompletionException(error);
            }
            told.add(name + "!" + error.getMessage());
            if (!row.containsKey(name + ".catches")) {
                throw (RuntimeException) error;
            }
            return null;
        }

        private Object left(Object output) {
            told.add(")" + name);
            var other = does(row.get(name + ".after"), name);
            return other == null ? output : other;
        }

        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
            return new Marks(name).enqueue(jobs, next);
        }
    }

    private static Throwable unwrapped(Throwable error) {
        return error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
    }

    /** Adds its name to the header {@code by}, and keeps what it saw. */
    private static final class Marks implements Middleware {
        final String name;
        final List<Integer> seen = new ArrayList<>();
        final List<List<EnqueueResult>> answered = new ArrayList<>();

        Marks(String name) {
            this.name = name;
        }

        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
            seen.add(jobs.size());
            var marked = jobs.stream()
                    .map(job -> job.withHeaders(Map.of("by", job.headers().getOrDefault("by", "") + name)))
                    .toList();
            return next.enqueue(marked).thenApply(results -> {
                answered.add(results);
                return results;
            });
        }
    }

    private Object handle(Map<String, String> row, JobContext context) {
        told.add("handler");
        var followed = Integer.parseInt(row.getOrDefault("follow_ups", "0"));
        IntStream.range(0, followed).forEach(number -> context.followUp(NewJob.of("more", number)));
        does(row.get("handler"), "handler");
        return Map.of("by", "handler");
    }

    private Worker worker(Middleware... middleware) {
        return Worker.builder("127.0.0.1:1")
                .codec(Codecs.jackson())
                .middleware(middleware)
                .build();
    }

    private Worker worker(Style style, Map<String, String> row, Middleware... middleware) {
        var worker = worker(middleware);
        return style == Style.PLAIN
                ? worker.handle("k", (job, context) -> handle(row, context))
                : worker.handleAsync("k", (job, context) -> CompletableFuture.supplyAsync(() -> handle(row, context)));
    }

    @ParameterizedTest
    @MethodSource("rows")
    void theFirstIsOutermostAndEachIsCalledOnce(Style style, Row row) throws Exception {
        var three = Stream.of("a", "b", "c")
                .map(name -> new Traced(name, row.does()))
                .toArray(Middleware[]::new);
        var done = perform(worker(style, row.does(), three), "k", null, Given::caught);
        assertEquals(row.words(), String.join(" ", told));
        assertEquals(row.outcome(), done.outcome());
        if (row.outcome() == Outcome.SUCCEEDED) {
            assertEquals(row.value() == null ? null : Json.of("{\"by\":\"%s\"}".formatted(row.value())), done.output());
        } else {
            assertEquals(row.value(), done.error());
        }
        var followed = "handler".equals(row.value()) && row.does().containsKey("follow_ups") ? 3 : 0;
        assertEquals(
                IntStream.range(0, followed).mapToObj(Integer::toString).toList(),
                done.followUps().stream()
                        .map(job -> job.payload().orElseThrow().text())
                        .toList());
        done.followUps().forEach(job -> assertEquals(Map.of("by", "abc"), job.headers()));
    }

    @Test
    void whatAMiddlewareSetsIsSeenByTheHandlerAndItsFollowUps() throws Exception {
        var tenants = new Middleware() {
            @Override
            public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
                TENANT.set(job.headers().get("tenant"));
                try {
                    return next.run();
                } finally {
                    TENANT.remove();
                }
            }

            @Override
            public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
                return next.enqueue(jobs.stream()
                        .map(job -> job.withHeaders(Map.of("tenant", TENANT.get())))
                        .toList());
            }
        };
        var done = perform(
                (job, context) -> {
                    context.followUp(NewJob.of("more"));
                    return TENANT.get();
                },
                null,
                given -> given.headers(Map.of("tenant", "t1")).middleware(tenants));
        assertEquals(Json.of("\"t1\""), done.output());
        assertEquals(Map.of("tenant", "t1"), done.followUps().get(0).headers());

        TENANT.set("t2");
        var client = new RecordingClient(tenants);
        assertEquals(Map.of("tenant", "t2"), client.enqueue("mail", 1).headers());
    }

    @Test
    void oneForSomeKindsIsAroundTheirHandlersAndTheirJobsAlone() throws Exception {
        JobKind<Integer, Integer> typed = JobKind.define("typed", Integer.class, Integer.class)
                .aliases("before")
                .build();
        var none = Map.<String, String>of();
        var worker = worker(
                Middleware.forKinds(new Traced("a", none), "one", "more"),
                Middleware.forKinds(new Traced("b", none), typed),
                Middleware.forKinds(Middleware.forKinds(new Traced("c", none), "one", "two"), "two"));
        var row = Map.of("follow_ups", "1");
        worker.handle("one", (job, context) -> handle(row, context));
        worker.handle("two", (job, context) -> handle(row, context));
        worker.handle(typed, (number, context) -> {
            handle(row, context);
            return number;
        });
        var told = Map.of(
                "one", "a( handler )a", "two", "c( handler )c", "typed", "b( handler )b", "before", "b( handler )b");
        for (var each : told.entrySet()) {
            this.told.clear();
            var done = perform(worker, each.getKey(), 1);
            assertEquals(each.getValue(), String.join(" ", this.told), each.getKey());
            assertEquals(Map.of("by", "a"), done.followUps().get(0).headers());
        }
    }

    @ParameterizedTest
    @EnumSource
    void aHandlerThatIsToldToStopIsStoppedWithinIt(Style style) throws Exception {
        var never = new CompletableFuture<Object>();
        var three =
                Stream.of("a", "b", "c").map(name -> new Traced(name, Map.of())).toArray(Middleware[]::new);
        var worker = worker(three);
        if (style == Style.PLAIN) {
            worker.handle("k", (job, context) -> {
                context.progress(0.5);
                return never.get();
            });
        } else {
            worker.handleAsync("k", (job, context) -> {
                context.progress(0.5);
                return never;
            });
        }
        var done = perform(worker, "k", null, given -> given.stopAtProgress(1).stop(Stop.Reason.CANCEL));
        assertEquals(Outcome.CANCELLED, done.outcome());
        assertEquals("a( b( c(", String.join(" ", told));
        if (style == Style.ASYNC) {
            assertThrows(CancellationException.class, () -> never.get(10, TimeUnit.SECONDS));
        }
    }

    @ParameterizedTest
    @EnumSource
    void aMiddlewareFollowsUpBeforeItsNextAndNotAfter(Style style) throws Exception {
        var before = new Middleware() {
            @Override
            public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
                context.followUp(NewJob.of("more"));
                return next.run();
            }
        };
        var done = perform(worker(style, Map.of(), new Marks("a"), before), "k", null);
        assertEquals(Map.of("by", "a"), done.followUps().get(0).headers());

        var after = new Middleware() {
            @Override
            public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
                var output = next.run();
                if (output instanceof CompletionStage<?> stage) {
                    return stage.thenRun(() -> context.followUp(NewJob.of("more")));
                }
                context.followUp(NewJob.of("more"));
                return output;
            }
        };
        var failed = perform(worker(style, Map.of("follow_ups", "1"), after), "k", null, Given::caught);
        assertEquals(Outcome.FAILED, failed.outcome());
        assertEquals("followUp was called after a middleware's next: call it before", failed.error());
        assertEquals(List.of(), failed.followUps());
    }

    @ParameterizedTest
    @EnumSource
    void whatFollowsIsRefusedOnceNextHasFailed(Style style) throws Exception {
        var makesUp = new Middleware() {
            @Override
            public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
                try {
                    return next.run() instanceof CompletionStage<?> stage
                            ? stage.handle((output, error) -> madeUp(context))
                            : null;
                } catch (IllegalArgumentException error) {
                    return madeUp(context);
                }
            }

            private String madeUp(JobContext context) {
                context.followUp(NewJob.of("apology"));
                return "made up for";
            }
        };
        var does = Map.of("follow_ups", "1", "handler", "raise");
        var done = perform(worker(style, does, makesUp), "k", null, Given::caught);
        assertEquals(Outcome.FAILED, done.outcome());
        assertEquals("followUp was called after a middleware's next: call it before", done.error());
        assertEquals(List.of(), done.followUps());
    }

    @ParameterizedTest
    @EnumSource
    void followUpsThatAreRefusedOrGrowTooLargeFailTheAttempt(Style style) throws Exception {
        Middleware refuses = does((jobs, next) -> {
            throw new SecurityException("not these");
        });
        Middleware large = does((jobs, next) -> next.enqueue(jobs.stream()
                .map(job -> job.withHeaders(Map.of("large", "x".repeat(30_000))))
                .toList()));
        for (var each : Map.of(
                        refuses, "not these", large, "the follow-ups of a job may have 2097152 bytes in all, not")
                .entrySet()) {
            var worker = worker(style, Map.of("follow_ups", "100"), each.getKey());
            var done = perform(worker, "k", null, Given::caught);
            assertEquals(Outcome.FAILED, done.outcome());
            assertTrue(done.error().startsWith(each.getValue()), done.error());
            assertEquals(List.of(), done.followUps());
        }
    }

    @Test
    void followUpsAreOneCallAndTheirResultsHaveNoIds() throws Exception {
        var marks = new Marks("a");
        perform(worker(Style.PLAIN, Map.of("follow_ups", "3"), marks), "k", null);
        perform(worker(Style.PLAIN, Map.of(), marks), "k", null);
        assertEquals(List.of(3), marks.seen);
        assertEquals(Collections.nCopies(3, new EnqueueResult("", false, null)), marks.answered.get(0));
    }

    @Test
    void aMiddlewareThatEndsBeforeWhatIsWithinItFailsTheAttemptOnceThatHasEnded() throws Exception {
        var handler = new CompletableFuture<Object>();
        var hasty = new Middleware() {
            @Override
            public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
                next.run();
                CompletableFuture.delayedExecutor(50, TimeUnit.MILLISECONDS).execute(() -> handler.complete("late"));
                return "early";
            }
        };
        var worker = worker(hasty).handleAsync("k", (job, context) -> handler);
        var done = perform(worker, "k", null, Given::caught);
        assertTrue(done.error().contains(".handle has ended before what is within it"), done.error());
        assertTrue(handler.isDone());
    }

    @Test
    void nextIsCalledInTheThreadOfItsHandlerAndNotAfterTheEnd() throws Exception {
        var kept = new ArrayList<Middleware.Next>();
        var away = new Middleware() {
            @Override
            public Object handle(LeasedJob job, JobContext context, Next next) {
                kept.add(next);
                return CompletableFuture.supplyAsync(() -> {
                            try {
                                return next.run();
                            } catch (Exception error) {
                                throw new CompletionException(error);
                            }
                        })
                        .join();
            }
        };
        var done = perform(worker(Style.PLAIN, Map.of(), away), "k", null, Given::caught);
        assertTrue(done.error().contains("handle called next in another thread"), done.error());
        assertEquals(List.of(), told);
        for (var style : Style.values()) {
            var keeps = new Middleware() {
                @Override
                public Object handle(LeasedJob job, JobContext context, Next next) {
                    kept.add(next);
                    return null;
                }
            };
            perform(worker(style, Map.of(), keeps), "k", null);
        }
        var late = kept.get(kept.size() - 1);
        var error = assertThrows(IllegalStateException.class, late::run);
        assertTrue(error.getMessage().endsWith(".handle called next after it had ended"), error.getMessage());
    }

    @Test
    void aWorkerInATestHasItsOwnMiddleware() {
        var worker = worker(Style.PLAIN, Map.of());
        assertThrows(
                IllegalArgumentException.class,
                () -> perform(worker, "k", null, given -> given.middleware(new Marks("a"))));
    }

    // ---- around enqueues

    private static Middleware does(
            BiFunction<List<NewJob>, Middleware.NextEnqueue, CompletionStage<List<EnqueueResult>>> does) {
        return new Does(does);
    }

    private record Does(BiFunction<List<NewJob>, Middleware.NextEnqueue, CompletionStage<List<EnqueueResult>>> does)
            implements Middleware {
        @Override
        public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
            return does.apply(jobs, next);
        }
    }

    private static Middleware changing(java.util.function.UnaryOperator<NewJob> change) {
        return does((jobs, next) -> next.enqueue(jobs.stream().map(change).toList()));
    }

    /** What a middleware does, what is said of it, and whether the jobs are enqueued all the same. */
    record Refused(Middleware does, String words, boolean enqueued) {}

    static List<Refused> refused() {
        return List.of(
                new Refused(
                        does((jobs, next) -> next.enqueue(jobs).thenCompose(results -> next.enqueue(jobs))),
                        "Does.enqueue called next twice; what it called first with counts",
                        true),
                new Refused(
                        does((jobs, next) -> {
                            var first = next.enqueue(jobs);
                            assertThrows(IllegalStateException.class, () -> next.enqueue(jobs));
                            return first;
                        }),
                        "Does.enqueue called next twice",
                        true),
                new Refused(
                        does((jobs, next) -> CompletableFuture.completedFuture(List.of())),
                        "Does.enqueue did not call next, so nothing says that the jobs are enqueued",
                        false),
                new Refused(does((jobs, next) -> null), "Does.enqueue returned null, so nothing says", false),
                new Refused(
                        does((jobs, next) -> next.enqueue(Stream.concat(jobs.stream(), jobs.stream())
                                        .toList())
                                .exceptionally(error -> List.of())),
                        "Does.enqueue has dropped an error of next, so nothing says",
                        false),
                new Refused(
                        does((jobs, next) -> next.enqueue(jobs).thenApply(ArrayList::new)),
                        "Does.enqueue must answer what next answered; the jobs are enqueued",
                        true),
                new Refused(
                        changing(job -> job.toBuilder().payload(Map.of("n", 2)).build()),
                        "has changed a job of kind mail: headers and labels alone may be others",
                        false),
                new Refused(changing(job -> job.toBuilder().payload(null).build()), "headers and labels alone", false),
                new Refused(
                        changing(job -> job.toBuilder().idempotencyKey("other").build()),
                        "another payload under its idempotency key would be another",
                        false),
                new Refused(
                        changing(job -> NewJob.of("other", job.payload())), "has changed a job of kind mail", false),
                new Refused(
                        changing(job -> job.toBuilder().queue("other").build()),
                        "has changed a job of kind mail",
                        false));
    }

    @ParameterizedTest
    @MethodSource("refused")
    void aMiddlewareThatDoesNotKeepToItsPartIsRefused(Refused row) {
        var client = new RecordingClient(row.does());
        var job = NewJob.builder("mail")
                .payload(Map.of("n", 1))
                .idempotencyKey("k")
                .build();
        var error = assertThrows(IllegalStateException.class, () -> client.enqueue(job));
        assertTrue(error.getMessage().contains(row.words()), error.getMessage());
        assertEquals(row.enqueued() ? 1 : 0, client.jobs().size());

        var some = new RecordingClient(Middleware.forKinds(row.does(), "mail"));
        error = assertThrows(IllegalStateException.class, () -> some.enqueueMany(List.of(job, NewJob.of("post"))));
        assertTrue(error.getMessage().contains(row.words()), error.getMessage());
        assertEquals(row.enqueued() ? 2 : 0, some.jobs().size());
    }

    @Test
    void aNextThatComesTooLateEnqueuesNothing() {
        var kept = new ArrayList<Middleware.NextEnqueue>();
        Middleware fails = does((jobs, next) -> {
            kept.add(next);
            return CompletableFuture.failedFuture(new SecurityException("not these"));
        });
        Middleware raises = does((jobs, next) -> {
            kept.add(next);
            throw new SecurityException("not these");
        });
        Middleware none = does((jobs, next) -> {
            kept.add(next);
            return null;
        });
        for (var each : List.of(fails, raises, none)) {
            for (var middleware : List.of(each, Middleware.forKinds(each, "mail"))) {
                var client = new RecordingClient(middleware);
                assertThrows(RuntimeException.class, () -> client.enqueue("mail", null));
                var late = kept.get(kept.size() - 1);
                var error = assertThrows(IllegalStateException.class, () -> late.enqueue(List.of(NewJob.of("mail"))));
                assertEquals("Does.enqueue called next after it had ended", error.getMessage());
                assertEquals(List.of(), client.jobs());
            }
        }
    }

    @Test
    void theVersionOfAPayloadStaysWhateverTheHeadersAre() throws Exception {
        JobKind<Integer, Void> second =
                JobKind.define("second", Integer.class).version(2).build();
        Middleware sets =
                changing(job -> job.toBuilder().headers(Map.of("tenant", "t1")).build());
        Middleware says = changing(job -> job.withHeaders(Map.of("x-payload-version", "9")));
        for (var each : Map.of(sets, Map.of("tenant", "t1"), says, Map.<String, String>of())
                .entrySet()) {
            var versioned = new HashMap<>(each.getValue());
            versioned.put("x-payload-version", "2");
            for (var middleware : List.of(each.getKey(), Middleware.forKinds(each.getKey(), "second", "plain"))) {
                var client = new RecordingClient(middleware);
                client.enqueueMany(List.of(second.job(1).build(), NewJob.of("plain")));
                assertEquals(versioned, client.jobs().get(0).headers());
                assertEquals(each.getValue(), client.jobs().get(1).headers());
                assertEquals(versioned, client.enqueue(second, 1).headers());
            }
            var done = perform(
                    (job, context) -> {
                        context.followUp(second.job(1).build());
                        return null;
                    },
                    null,
                    given -> given.middleware(each.getKey()));
            assertEquals(versioned, done.followUps().get(0).headers());
        }
    }

    @Test
    void eachIsCalledOnceForACallOfManyToo() {
        var three = Stream.of("a", "b", "c").map(Marks::new).toArray(Marks[]::new);
        var client = new RecordingClient(three);
        var job = client.enqueue(
                NewJob.builder("mail").payload(1).headers(Map.of("x", "1")).build());
        var many = client.enqueueMany(IntStream.range(0, 2500)
                .mapToObj(number -> NewJob.of("mail", number))
                .toList());
        assertEquals(
                Collections.nCopies(3, List.of(1, 2500)),
                Arrays.stream(three).map(each -> each.seen).toList());
        assertEquals(Map.of("x", "1", "by", "abc"), job.headers());
        client.jobs().forEach(each -> assertEquals("abc", each.headers().get("by")));
        assertEquals(job.id(), three[0].answered.get(0).get(0).id());
        assertSame(many, three[2].answered.get(1));
    }

    @Test
    void whatIsSentIsWhatWasGivenAndAMiddlewareSeesItAsJson() {
        var payload = new ArrayList<>(List.of(1));
        var client = new RecordingClient(changing(job -> {
            assertEquals(Json.of("[1]"), job.payload());
            payload.add(2);
            return job;
        }));
        assertEquals(Json.of("[1]"), client.enqueue("mail", payload).payload().orElseThrow());
    }

    @Test
    void aCallWithoutJobsGoesThroughNone() {
        var marks = new Marks("a");
        assertEquals(List.of(), new RecordingClient(marks).enqueueMany(List.of()));
        assertEquals(List.of(), marks.seen);
    }

    @Test
    void anotherThreadIsNotKeptWaitingWhileAMiddlewareRuns() {
        var clients = new ArrayList<RecordingClient>();
        Middleware asks = Middleware.forKinds(
                does((jobs, next) -> {
                    var other =
                            CompletableFuture.supplyAsync(() -> clients.get(0).enqueue("other", null));
                    return other.orTimeout(10, TimeUnit.SECONDS).thenCompose(done -> next.enqueue(jobs));
                }),
                "mail");
        clients.add(new RecordingClient(asks));
        clients.get(0).enqueue("mail", null);
        clients.get(0).enqueueMany(List.of(NewJob.of("mail")));
        assertEquals(
                List.of("other", "mail", "other", "mail"),
                clients.get(0).jobs().stream().map(job -> job.kind()).toList());
    }

    @Test
    void labelsAreAddedAndTakenAway() {
        var client = new RecordingClient(changing(job ->
                job.toBuilder().labels(Map.of("b", "2")).headers(Map.of()).build()));
        var job = client.enqueue(NewJob.builder("mail")
                .labels(Map.of("a", "1"))
                .headers(Map.of("h", "1"))
                .build());
        assertEquals(Map.of("b", "2"), job.labels());
        assertEquals(Map.of(), job.headers());
    }

    @Test
    void oneForSomeKindsSeesTheirJobsAlone() {
        JobKind<Integer, Void> typed =
                JobKind.define("typed", Integer.class).aliases("before").build();
        var marks = new Marks("a");
        var other = new Marks("b");
        var client = new RecordingClient(
                Middleware.forKinds(marks, typed), Middleware.forKinds(other, "none"), new Marks("c"));
        var results = client.enqueueMany(List.of(NewJob.of("mail"), typed.job(1).build(), NewJob.of("before")));
        assertEquals(
                List.of("c", "ac", "ac"),
                client.jobs().stream().map(job -> job.headers().get("by")).toList());
        assertEquals(List.of(2), marks.seen);
        assertEquals(List.of(), other.seen);
        assertEquals(results.subList(1, 3), marks.answered.get(0));
    }
}
