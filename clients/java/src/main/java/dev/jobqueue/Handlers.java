package dev.jobqueue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Handlers by kind. */
final class Handlers {
    /** One of two is set. */
    record Entry(Handler plain, AsyncHandler async, HandlerOptions options) {
        /** Where it is written: its class, or that of its lambda. */
        String name() {
            var type = (plain == null ? async : plain).getClass();
            var name = type.getName();
            var lambda = name.indexOf("$$Lambda");
            return lambda < 0 ? name : "a lambda of " + name.substring(0, lambda);
        }
    }

    private final Map<String, Entry> byKind;

    Handlers() {
        this(new LinkedHashMap<>());
    }

    private Handlers(Map<String, Entry> byKind) {
        this.byKind = byKind;
    }

    /** Adds one to the handlers of a worker of these queues. */
    void add(String kind, Entry entry, List<String> queues) {
        Objects.requireNonNull(kind, "kind");
        var first = byKind.putIfAbsent(kind, entry);
        if (first != null) {
            throw new IllegalArgumentException("the kind \"%s\" has a handler already: %s, in the worker of queues %s"
                    .formatted(kind, first.name(), queues));
        }
    }

    /** As they are now. */
    Handlers copy() {
        return new Handlers(Map.copyOf(byKind));
    }

    Entry get(String kind) {
        return byKind.get(kind);
    }

    List<String> kinds() {
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
