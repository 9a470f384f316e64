package dev.jobqueue;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.IntStream;

/** Middleware for some kinds alone. */
record ForKinds(Middleware inner, Set<String> kinds) implements Middleware {
    ForKinds {
        Objects.requireNonNull(inner, "middleware");
    }

    /** What is within it goes around a handler of these names; null: it does not. */
    static Middleware around(Middleware middleware, List<String> names) {
        var inner = middleware;
        while (inner instanceof ForKinds some) {
            if (names.stream().noneMatch(some.kinds::contains)) {
                return null;
            }
            inner = some.inner;
        }
        return inner;
    }

    @Override
    public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
        return kinds.contains(job.kind()) ? inner.handle(job, context, next) : next.run();
    }

    @Override
    public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
        var places = IntStream.range(0, jobs.size())
                .filter(place -> kinds.contains(jobs.get(place).kind()))
                .toArray();
        if (places.length == 0) {
            return next.enqueue(jobs);
        }
        var whole = new AtomicReference<List<EnqueueResult>>();
        var mine = IntStream.of(places).mapToObj(jobs::get).toList();
        return Enqueues.once(inner, mine, changed -> {
                    var merged = new ArrayList<>(jobs);
                    IntStream.range(0, places.length).forEach(each -> merged.set(places[each], changed.get(each)));
                    return next.enqueue(List.copyOf(merged)).thenApply(results -> {
                        whole.set(results);
                        return IntStream.of(places).mapToObj(results::get).toList();
                    });
                })
                .thenApply(results -> whole.get());
    }
}
