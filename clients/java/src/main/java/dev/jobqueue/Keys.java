package dev.jobqueue;

import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.regex.Pattern;

/** Keys by their names: of a map, or of a function that may be slow. */
final class Keys {
    private static final int BYTES = 32;
    // So long a key of a function is kept, and so long that it has none.
    private static final long KEPT = TimeUnit.SECONDS.toNanos(300);
    private static final long MISSING = TimeUnit.SECONDS.toNanos(15);
    /** So long a function may take. */
    static final long ANSWERS = TimeUnit.SECONDS.toNanos(30);
    // So many of them are kept: names come from who enqueues.
    private static final int MOST_KEPT = 256;
    /** What a function is asked for. */
    private static final Pattern NAME = Pattern.compile("[\\p{L}\\p{N}_.:/-]{1,255}");

    /** Where those go on that wait for one answer. */
    private static final Executor THREADS = Threads.perTask();

    /** What was answered, null for none, and until when it is kept. */
    private record Kept(byte[] key, long until) {}

    /** Null: a function is asked. */
    private final Map<String, byte[]> map;

    private final Function<String, CompletionStage<byte[]>> ask;
    private final LongSupplier nanos;
    private final long limit;
    private final Map<String, Kept> kept = new HashMap<>();
    private final Map<String, CompletableFuture<byte[]>> asking = new HashMap<>();

    private Keys(
            Map<String, byte[]> map, Function<String, CompletionStage<byte[]>> ask, LongSupplier nanos, long limit) {
        this.map = map;
        this.ask = ask;
        this.nanos = nanos;
        this.limit = limit;
    }

    /**
     * Those of a map, which may change meanwhile.
     *
     * @throws IllegalArgumentException a key does not have 32 bytes, or has no name
     */
    static Keys of(Map<String, byte[]> map) {
        map.forEach((name, key) -> {
            if (name == null) {
                throw new IllegalArgumentException("the name of a key is null");
            }
            checked(name, key);
        });
        return new Keys(map, null, System::nanoTime, ANSWERS);
    }

    /** Those of a function, with this clock; it may take so many nanoseconds. */
    static Keys asking(Function<String, CompletionStage<byte[]>> ask, LongSupplier nanos, long limit) {
        return new Keys(null, ask, nanos, limit);
    }

    static boolean isName(String name) {
        return NAME.matcher(name).matches();
    }

    /** Of those of a function, how many answers are kept. */
    synchronized int kept() {
        return kept.size();
    }

    /**
     * A key. A function is asked once by all that wait for the same. It is asked again after five minutes; where it had no
     * key, after 15 seconds.
     *
     * @return fails with {@link KeyUnknown} where there is none, or where it is no name for which a function is asked; with
     *     an IllegalArgumentException where it does not have 32 bytes; with an IllegalStateException where the function has
     *     not answered within 30 s
     */
    CompletableFuture<byte[]> get(String name) {
        try {
            if (map != null) {
                return CompletableFuture.completedFuture(checked(name, map.get(name)));
            }
            if (!isName(name)) {
                throw new KeyUnknown(name);
            }
            CompletableFuture<byte[]> begun;
            synchronized (this) {
                var before = kept.get(name);
                if (before != null && nanos.getAsLong() - before.until() < 0) {
                    return CompletableFuture.completedFuture(checked(name, before.key()));
                }
                var other = asking.get(name);
                if (other != null) {
                    return waiting(other);
                }
                begun = new CompletableFuture<>();
                asking.put(name, begun);
            }
            return asked(name, begun);
        } catch (KeyUnknown | IllegalArgumentException error) {
            return CompletableFuture.failedFuture(error);
        }
    }

    private CompletableFuture<byte[]> asked(String name, CompletableFuture<byte[]> begun) {
        CompletionStage<byte[]> stage;
        try {
            stage = ask.apply(name);
        } catch (Throwable error) {
            stage = CompletableFuture.failedFuture(error);
        }
        if (stage == null) {
            stage = CompletableFuture.completedFuture(null);
        }
        var answer = new CompletableFuture<byte[]>();
        stage.whenComplete((key, error) -> {
            if (error == null) {
                answer.complete(key);
            } else {
                answer.completeExceptionally(error);
            }
        });
        // One that never answers must not be waited for by all that come.
        Futures.within(answer, limit, () -> late(name))
                .whenComplete(
                        (key, error) -> answered(name, begun, key, error == null ? null : Endings.unwrapped(error)));
        return waiting(begun);
    }

    private IllegalStateException late(String name) {
        return new IllegalStateException("the function for keys has not answered '%s' within %d s"
                .formatted(name, TimeUnit.NANOSECONDS.toSeconds(limit)));
    }

    /** One that waits no longer must not end it for the others, and one that is slow with it must hold up none. */
    private static CompletableFuture<byte[]> waiting(CompletableFuture<byte[]> begun) {
        return begun.isDone() ? begun.copy() : begun.thenApplyAsync(key -> key, THREADS);
    }

    private void answered(String name, CompletableFuture<byte[]> begun, byte[] key, Throwable error) {
        byte[] found = null;
        var failure = error;
        try {
            found = error != null || key == null ? null : checked(name, key);
        } catch (IllegalArgumentException wrong) {
            failure = wrong;
        }
        synchronized (this) {
            asking.remove(name, begun);
            if (failure == null) {
                keep(name, found);
            }
        }
        if (failure == null && found == null) {
            failure = new KeyUnknown(name);
        }
        if (failure == null) {
            begun.complete(found);
        } else {
            begun.completeExceptionally(failure);
        }
    }

    private void keep(String name, byte[] key) {
        kept.put(name, new Kept(key, nanos.getAsLong() + (key == null ? MISSING : KEPT)));
        if (kept.size() > MOST_KEPT) {
            // Those that are missing go first.
            kept.entrySet().stream()
                    .min((one, other) -> Long.signum(
                            one.getValue().until() - other.getValue().until()))
                    .map(Map.Entry::getKey)
                    .ifPresent(kept::remove);
        }
    }

    private static byte[] checked(String name, byte[] key) {
        if (key == null) {
            throw new KeyUnknown(name);
        }
        if (key.length != BYTES) {
            // Its length alone: a key must not get into a log.
            throw new IllegalArgumentException(
                    "the key '%s' is %d bytes; it must be %d bytes".formatted(name, key.length, BYTES));
        }
        return key;
    }
}
