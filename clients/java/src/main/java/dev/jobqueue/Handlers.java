package dev.jobqueue;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/** Handlers by kind. */
final class Handlers {
    /** One of two is set. */
    record Entry(Handler plain, AsyncHandler async, HandlerOptions options) {}

    private final Map<String, Entry> byKind;

    Handlers() {
        this(new LinkedHashMap<>());
    }

    private Handlers(Map<String, Entry> byKind) {
        this.byKind = byKind;
    }

    void add(String kind, Entry entry) {
        Objects.requireNonNull(kind, "kind");
        if (byKind.putIfAbsent(kind, entry) != null) {
            throw new IllegalArgumentException("the kind " + kind + " has a handler already");
        }
    }

    /** As they are now. */
    Handlers copy() {
        return new Handlers(Map.copyOf(byKind));
    }

    Entry get(String kind) {
        return byKind.get(kind);
    }

    Iterable<String> kinds() {
        return byKind.keySet().stream().sorted().toList();
    }

    Map<String, Integer> slotsByKind() {
        var slots = new LinkedHashMap<String, Integer>();
        byKind.forEach((kind, entry) -> {
            if (entry.options().slots() > 0) {
                slots.put(kind, entry.options().slots());
            }
        });
        return slots;
    }

    boolean isEmpty() {
        return byKind.isEmpty();
    }
}
