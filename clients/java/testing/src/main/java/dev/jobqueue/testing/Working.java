package dev.jobqueue.testing;

import dev.jobqueue.Ending;
import dev.jobqueue.Explanation.Reason;
import dev.jobqueue.Job;
import dev.jobqueue.JobQueueException.JobNotFound;
import dev.jobqueue.Status;
import dev.jobqueue.Worker;
import dev.jobqueue.WorkerStatus;
import dev.jobqueue.internal.TestHooks;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;

/** One run of a worker's handlers in a scope, by a real server, until it has nothing more for them. */
final class Working {
    /** A job that waits for one of these starts by itself when a handler ends, or soon. */
    private static final Set<String> SOON = Set.of(
            "IS_RUNNING",
            "NO_CREDIT",
            "BEHIND",
            "ABOUT_TO_START",
            "RUNS_ALONE",
            "WORKERS_DRAINING",
            "KEY_TURN",
            "TERMINAL",
            "NO_WORKER");

    private static final long POLL_STOP_MILLIS = 50;

    private final TestScope scope;
    private final TestScope.Failures failures;
    private final int limit;
    private final CompletableFuture<Throwable> thrown = new CompletableFuture<>();
    private final Worker worker;
    private final Set<String> queues;
    private final Set<String> kinds;

    Working(TestScope scope, Worker worker, TestScope.Failures failures, int limit) {
        this.scope = scope;
        this.failures = failures;
        this.limit = limit;
        var hooks = TestHooks.get();
        this.worker = hooks.like(worker, scope.target(), scope.key(), this::failed);
        queues = hooks.queues(worker);
        kinds = hooks.kinds(worker);
    }

    private void failed(Throwable error) {
        if (failures == TestScope.Failures.RAISE && !(error instanceof Ending)) {
            thrown.complete(error);
        }
    }

    Idle run(Duration within) throws Exception {
        var endedBefore =
                jobs(List.of()).stream().filter(Job::isTerminal).map(Job::id).collect(Collectors.toSet());
        var ends = System.nanoTime() + within.toNanos();
        var served = new CompletableFuture<Void>();
        var serving = new Thread(
                () -> {
                    try {
                        worker.serve();
                        served.complete(null);
                    } catch (Throwable error) {
                        served.completeExceptionally(error);
                    }
                },
                "jobqueue-test-worker");
        serving.setDaemon(true);
        serving.start();
        try {
            while (!thrown.isDone() && !served.isDone() && !isIdle()) {
                if (System.nanoTime() - ends >= 0) {
                    throw new StillRunning(said(within));
                }
                TestScope.pause();
            }
        } finally {
            stop(served);
        }
        if (served.isCompletedExceptionally()) {
            rethrow(served);
        }
        if (thrown.isDone()) {
            raise(thrown.join());
        }
        var jobs = jobs(List.of());
        return new Idle(
                jobs.stream()
                        .filter(job -> job.isTerminal() && !endedBefore.contains(job.id()))
                        .toList(),
                jobs.stream()
                        .filter(job -> !job.isTerminal())
                        .map(job -> new Idle.Waiting(job, why(job)))
                        .toList());
    }

    /** Handlers have a second; one that ignores its interrupt must not keep the test. */
    private void stop(CompletableFuture<Void> served) throws InterruptedException {
        while (!served.isDone()) {
            // Until it has begun there is nothing to stop.
            worker.stop(Duration.ofSeconds(1));
            try {
                served.get(POLL_STOP_MILLIS, TimeUnit.MILLISECONDS);
            } catch (TimeoutException error) {
                continue;
            } catch (ExecutionException error) {
                return;
            }
        }
    }

    private static void rethrow(CompletableFuture<Void> served) throws Exception {
        try {
            served.get();
        } catch (ExecutionException error) {
            raise(error.getCause());
        }
    }

    private static void raise(Throwable error) throws Exception {
        if (error instanceof Error grave) {
            throw grave;
        }
        throw (Exception) error;
    }

    private boolean isIdle() {
        var live = jobs(Wanted.LIVE);
        if (failures == TestScope.Failures.RETRY) {
            var later = live.stream().filter(Working::backsOff).toArray(Job[]::new);
            if (later.length > 0) {
                try {
                    scope.makeDue(later);
                } catch (AssertionError begun) {
                    return false; // one of them has begun meanwhile
                }
                return false;
            }
        }
        var ours = live.stream()
                .filter(job -> kinds.contains(job.kind()) && queues.contains(job.queue()))
                .toList();
        return ours.stream().noneMatch(job -> job.status() == Status.RUNNING || startsSoon(job));
    }

    private static boolean backsOff(Job job) {
        return job.status() == Status.RETRYING
                && job.runAt() != null
                && job.runAt().isAfter(Instant.now());
    }

    boolean startsSoon(Job job) {
        if (job.hold().isPresent() || (job.runAt() != null && job.runAt().isAfter(Instant.now()))) {
            return false;
        }
        try {
            var found = scope.client().explain(job.id());
            // One that goes on between the two looks is looked at again: its follow-ups and backoff are not in the
            // list.
            if (found.status() != job.status()) {
                return true;
            }
            var codes = found.reasons().stream().map(Reason::code).toList();
            // With a backoff it has failed since that was made due.
            return SOON.contains(codes.get(0)) || (failures == TestScope.Failures.RETRY && codes.contains("BACKOFF"));
        } catch (JobNotFound error) {
            return true;
        }
    }

    private List<Job> jobs(List<Status> status) {
        var found = scope.enqueued(status);
        if (found.size() > limit) {
            throw new AssertionError("the scope has %d jobs, and limit is %d".formatted(found.size(), limit));
        }
        return found;
    }

    private String why(Job job) {
        try {
            return scope.client().explain(job.id()).summary();
        } catch (JobNotFound error) {
            return "it is gone";
        }
    }

    private String said(Duration within) {
        var after = "%.3f".formatted(within.toMillis() / 1e3).replaceAll("\\.?0+$", "");
        var status = worker.status();
        if (status.state() != WorkerStatus.State.SERVING) {
            var why = status.lastError().isEmpty() ? "no server answers it" : status.lastError();
            return "the worker is %s after %s s: %s".formatted(status.state(), after, why);
        }
        return jobs(Wanted.LIVE).stream()
                .limit(20)
                .map(job -> "  %s %s: %s".formatted(job.kind(), job.id(), runs(job)))
                .collect(Collectors.joining("\n", "after %s s there is still something to do:\n".formatted(after), ""));
    }

    private String runs(Job job) {
        return job.lockedAt()
                .map(since -> "runs for %.1f s"
                        .formatted(Duration.between(since, Instant.now()).toMillis() / 1e3))
                .orElseGet(() -> why(job));
    }
}
