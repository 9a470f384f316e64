package dev.jobqueue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/** Makes the schedules of a program what it declares, one call after the other. */
final class Applying {
    /** The label that says whose a schedule is. */
    static final String OWNER_LABEL = "jobqueue.owner";

    private static final int TRIES = 10;
    private static final int PAGE = 1000;

    private final AsyncSchedules schedules;
    private final List<NewSchedule> declared;
    private final Set<String> names = new HashSet<>();
    private final String owner;
    private final boolean prune;
    private final List<AppliedSchedule> applied = new ArrayList<>();
    private final CompletableFuture<List<AppliedSchedule>> result = new CompletableFuture<>();

    /**
     * Refuses what can't be declared; no call is made.
     *
     * @throws IllegalArgumentException two of them have one name, or the owner is empty
     */
    Applying(AsyncSchedules schedules, Collection<NewSchedule> declared, String owner, boolean prune) {
        this.schedules = schedules;
        this.declared = List.copyOf(declared);
        this.owner = owner;
        this.prune = prune;
        if (owner.isEmpty()) {
            throw new IllegalArgumentException("owner is empty: name the program, for example");
        }
        for (var each : this.declared) {
            if (!names.add(each.name())) {
                throw new IllegalArgumentException("two schedules have one name: " + each.name());
            }
        }
    }

    CompletableFuture<List<AppliedSchedule>> begin() {
        next();
        return result;
    }

    private void next() {
        if (applied.size() < declared.size()) {
            attempt(declared.get(applied.size()), new Backoff(Duration.ofMillis(20), Duration.ofMillis(500)), TRIES);
        } else if (prune) {
            find("", new ArrayList<>());
        } else {
            end();
        }
    }

    private void end() {
        result.complete(List.copyOf(applied));
    }

    /** Goes on once a call has ended well. */
    private <A> void after(CompletableFuture<A> call, Consumer<A> then) {
        after(call, then, result::completeExceptionally);
    }

    private <A> void after(CompletableFuture<A> call, Consumer<A> then, Consumer<Throwable> failed) {
        Futures.cancelWith(result, call);
        call.whenComplete((answer, error) -> {
            if (result.isDone()) {
                return;
            }
            try {
                if (error == null) {
                    then.accept(answer);
                } else {
                    failed.accept(Endings.unwrapped(error));
                }
            } catch (Throwable failure) {
                // What can't be read must not leave the caller waiting.
                result.completeExceptionally(failure);
            }
        });
    }

    /** One of them, again where another program changed it meanwhile. */
    private void attempt(NewSchedule wanted, Backoff waits, int tries) {
        after(
                one(wanted),
                done -> {
                    applied.add(done);
                    next();
                },
                error -> {
                    if (tries == 1 || !isOfAnotherProgram(error)) {
                        result.completeExceptionally(error);
                        return;
                    }
                    CompletableFuture.delayedExecutor(waits.next(), TimeUnit.NANOSECONDS)
                            .execute(() -> again(wanted, waits, tries - 1));
                });
    }

    private void again(NewSchedule wanted, Backoff waits, int tries) {
        if (!result.isDone()) {
            attempt(wanted, waits, tries);
        }
    }

    /** Whether another program came between; not where the schedule is another owner's, which stays so. */
    private static boolean isOfAnotherProgram(Throwable error) {
        return error instanceof JobQueueException.EtagMismatch
                || error instanceof JobQueueException.ScheduleNotFound
                || (error instanceof JobQueueException.ScheduleExists known
                        && !known.metadata().containsKey("owner"));
    }

    private CompletableFuture<AppliedSchedule> one(NewSchedule wanted) {
        var labels = new HashMap<>(wanted.labels());
        labels.put(OWNER_LABEL, owner);
        var job = wanted.job();
        // A change must say of a payload that there is none.
        var written =
                job.payload() == null ? job.toBuilder().payload(Json.of("null")).build() : job;
        return Futures.then(
                read(wanted.name()),
                before -> before.isEmpty()
                        ? Futures.map(
                                schedules.create(new NewSchedule(
                                        wanted.name(),
                                        wanted.spec(),
                                        written,
                                        wanted.policy(),
                                        labels,
                                        wanted.paused())),
                                made -> new AppliedSchedule(made, AppliedSchedule.Done.CREATED))
                        : change(before.get(), wanted, written, labels));
    }

    /** Empty: no schedule has this name. */
    private CompletableFuture<Optional<Schedule>> read(String name) {
        var call = schedules.get(name);
        var read = call.thenApply(Optional::of).exceptionally(error -> {
            if (Endings.unwrapped(error) instanceof JobQueueException.ScheduleNotFound) {
                return Optional.empty();
            }
            throw new CompletionException(Endings.unwrapped(error));
        });
        Futures.cancelWith(read, call);
        return read;
    }

    private CompletableFuture<AppliedSchedule> change(
            Schedule before, NewSchedule wanted, NewJob job, Map<String, String> labels) {
        var of = before.labels().getOrDefault(OWNER_LABEL, "");
        if (!of.equals(owner)) {
            throw Errors.scheduleOf(before.name(), of);
        }
        var change = ScheduleChange.NONE
                .withSpec(wanted.spec())
                .withJob(job)
                .withPolicy(wanted.policy())
                .withLabels(labels)
                .withEtag(before.etag());
        return Futures.map(
                schedules.update(before.name(), change),
                now -> new AppliedSchedule(
                        now,
                        now.etag().equals(before.etag())
                                ? AppliedSchedule.Done.UNCHANGED
                                : AppliedSchedule.Done.CHANGED));
    }

    /** Finds all schedules of the owner that are not declared, before it deletes the first. */
    private void find(String pageToken, List<Schedule> found) {
        var filter = ScheduleFilter.ALL.withLabels(Map.of(OWNER_LABEL, owner)).withPageSize(PAGE);
        after(schedules.listPage(filter, pageToken), page -> {
            page.schedules().stream()
                    .filter(each -> !names.contains(each.name()))
                    .forEach(found::add);
            if (page.nextPageToken().isEmpty()) {
                delete(found, 0);
            } else {
                find(page.nextPageToken(), found);
            }
        });
    }

    private void delete(List<Schedule> found, int at) {
        if (at == found.size()) {
            end();
            return;
        }
        var old = found.get(at);
        after(
                schedules.delete(old.name(), old.etag()),
                done -> {
                    applied.add(new AppliedSchedule(old, AppliedSchedule.Done.DELETED));
                    delete(found, at + 1);
                },
                error -> {
                    // One that was changed since is another program's by now, or the same program's of another version.
                    if (error instanceof JobQueueException.ScheduleNotFound
                            || error instanceof JobQueueException.EtagMismatch) {
                        delete(found, at + 1);
                    } else {
                        result.completeExceptionally(error);
                    }
                });
    }
}
