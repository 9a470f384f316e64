package dev.jobqueue.testing.programs;

import dev.jobqueue.Cancelled;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Discard;
import dev.jobqueue.FailedAttempt;
import dev.jobqueue.Handler;
import dev.jobqueue.Job;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.NewJob;
import dev.jobqueue.Retry;
import dev.jobqueue.Snooze;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.Performed;
import dev.jobqueue.testing.Testing;
import java.io.IOException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * Handlers with each ending come to the same by {@code perform} and by a worker of a real server: status, words, output.
 * Prints a line for each that does not, and how many were held against each other.
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

    private static final JobKind<Ask, Answer> HALVES = JobKind.define("halves", Ask.class, Answer.class)
            .version(2)
            .upcast(1, old -> Map.of("number", old.get("n")))
            .build();
    private static final JobKind<Ask, Answer> UNREADABLE =
            JobKind.define("unreadable", Ask.class, Answer.class).build();
    private static final JobKind<Ask, Answer> WORDLESS_ANSWER =
            JobKind.define("halves-wrongly", Ask.class, Answer.class).build();
    private static final Json PAYLOAD = Json.of("{\"n\":7}");

    private final Map<String, Handler> handlers = new LinkedHashMap<>();
    private final List<JobKind<Ask, Answer>> typed = List.of(HALVES, UNREADABLE, WORDLESS_ANSWER);

    private Agreement() {
        handlers.put("nothing", (job, context) -> {
            context.progress(1.0, "done");
            return null;
        });
        handlers.put("echo", (job, context) -> told(job));
        handlers.put("fails", (job, context) -> {
            throw new Unwilling("not today");
        });
        handlers.put("wordless", (job, context) -> {
            throw new Unwilling(null);
        });
        handlers.put("errs", (job, context) -> {
            throw new AssertionError("an Error too");
        });
        handlers.put("retries", (job, context) -> {
            throw new Retry("busy", Duration.ofHours(1));
        });
        handlers.put("retries-from", (job, context) -> {
            throw new Retry(new IOException("inside"), Duration.ofHours(1));
        });
        handlers.put("discards", (job, context) -> {
            throw new Discard("no such user");
        });
        handlers.put("discards-from", (job, context) -> {
            throw new Discard(new Unwilling("inside"));
        });
        handlers.put("snoozes", (job, context) -> {
            throw new Snooze(Duration.ofHours(1));
        });
        handlers.put("gives-up", (job, context) -> {
            throw new Cancelled("nothing left to do");
        });
        handlers.put("no-json", (job, context) -> new Object());
        handlers.put("too-large", (job, context) -> "x".repeat(1 << 20));
        handlers.put("too-many", (job, context) -> {
            for (var i = 0; i < 101; i++) {
                context.followUp(NewJob.of("next"));
            }
            return null;
        });
        handlers.put("follows-up", (job, context) -> {
            context.followUp(NewJob.builder("next")
                    .payload(Map.of("of", 1))
                    .queue("agreement-later")
                    .labels(Map.of("a", "b"))
                    .delay(Duration.ofHours(1))
                    .build());
            return "enqueued";
        });
        handlers.put("fails-after", (job, context) -> {
            context.followUp(NewJob.of("next"));
            throw new Unwilling("after all");
        });
    }

    private static Map<String, Object> told(LeasedJob job) {
        return Map.of("payload", job.payload(Map.class), "attempt", job.attempt(), "key", job.key());
    }

    private Worker worker(String server) {
        var worker = Worker.builder(server)
                .codec(Codecs.jackson())
                .queues("agreement")
                .concurrency(16)
                .build();
        handlers.forEach((name, handler) -> {
            worker.handle(name, handler);
            worker.handleAsync(
                    "async." + name,
                    (job, context) -> CompletableFuture.supplyAsync(() -> {
                        try {
                            return handler.run(job, context);
                        } catch (Exception error) {
                            throw Agreement.<RuntimeException>unchecked(error);
                        }
                    }));
        });
        worker.handle(HALVES, (ask, context) -> new Answer(ask.number() / 2.0));
        worker.handle(UNREADABLE, (ask, context) -> new Answer(ask.number()));
        worker.handle(WORDLESS_ANSWER, (ask, context) -> null);
        return worker;
    }

    @SuppressWarnings("unchecked") // so that it is thrown as it is
    private static <T extends Throwable> T unchecked(Throwable error) throws T {
        throw (T) error;
    }

    /** {@code --server ADDRESS}. */
    public static void main(String[] arguments) throws Exception {
        var agreement = new Agreement();
        var worker = agreement.worker(arguments[1]);
        try (var client = Client.builder(arguments[1]).codec(Codecs.jackson()).build()) {
            var serving = new Thread(worker::serve);
            serving.start();
            var wrong = agreement.compare(client, worker);
            worker.close();
            serving.join();
            System.out.println((wrong ? "some differ of " : "agree on ") + agreement.compared);
        }
    }

    private int compared;

    private boolean compare(Client client, Worker worker) throws Exception {
        client.putKind(Kind.of("next"));
        var wrong = false;
        for (var kind : worker.status().kinds()) {
            client.putKind(Kind.of(kind));
            var payload = kind.equals(WORDLESS_ANSWER.name()) ? Json.of("{\"number\":7}") : PAYLOAD;
            var sent = client.enqueue(NewJob.builder(kind)
                    .payload(payload)
                    .queue("agreement")
                    .key("k")
                    .maxAttempts(1)
                    .build());
            var there = over(client, sent.id());
            var here = performed(worker, kind, payload);
            var found = List.of(there.status(), there.lastError(), there.output(), types(there));
            var expected = List.of(status(here), here.error(), here.outputJson(), types(here));
            compared++;
            if (!Objects.equals(found, expected)) {
                System.out.println("%s: a worker: %s, perform: %s".formatted(kind, found, expected));
                wrong = true;
            }
            for (var next : here.followUps()) {
                wrong |= differs(next, client);
            }
        }
        return wrong;
    }

    private Performed<?> performed(Worker worker, String kind, Json payload) throws Exception {
        for (var each : typed) {
            if (each.name().equals(kind)) {
                return Testing.perform(worker, each, null, given -> given.stored(payload)
                        .key("k")
                        .maxAttempts(1)
                        .caught());
            }
        }
        return Testing.perform(
                worker, kind, payload, given -> given.key("k").maxAttempts(1).caught());
    }

    /** Whether no job is there like one that would have been enqueued. */
    private static boolean differs(Job next, Client client) {
        var there = client.list(
                        dev.jobqueue.Filter.builder().queue(next.queue()).build())
                .map(each -> client.get(each.id()))
                .anyMatch(each -> each.kind().equals(next.kind())
                        && each.payload().equals(next.payload())
                        && each.labels().equals(next.labels()));
        if (!there) {
            System.out.println("no follow-up like " + next);
        }
        return !there;
    }

    /** The job once its first attempt is over. */
    private static Job over(Client client, String id) throws Exception {
        while (true) {
            var job = client.get(id);
            if (job.isTerminal() || (job.attempts() > 0 && job.status() != Status.RUNNING)) {
                return job;
            }
            Thread.sleep(20);
        }
    }

    private static Status status(Performed<?> here) {
        return switch (here.outcome()) {
            case SUCCEEDED -> Status.SUCCEEDED;
            case FAILED, DISCARDED -> Status.FAILED_PERMANENT;
            case SNOOZED, RELEASED -> Status.QUEUED;
            case CANCELLED -> Status.CANCELLED;
        };
    }

    private static Optional<String> types(Job job) {
        return job.failedAttempts().stream().map(FailedAttempt::errorType).findFirst();
    }

    private static Optional<String> types(Performed<?> here) {
        return here.errorType().isEmpty() ? Optional.empty() : Optional.of(here.errorType());
    }
}
