package dev.jobqueue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/** Handlers by kind. */
final class Handlers {
    /** One of the first two is set; the source is what the program gave; coding is null without encodings. */
    record Entry(Handler plain, AsyncHandler async, HandlerOptions options, Object source, Coding coding) {
        /** One whose jobs are neither decoded nor encoded. */
        Entry(Handler plain, AsyncHandler async, HandlerOptions options, Object source) {
            this(plain, async, options, source, null);
        }

        /** Where it is written: its class, or that of its lambda. */
        String name() {
            var type = source.getClass();
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

    /** Adds one, by all names of its kind, to the handlers of a worker of these queues. */
    void add(List<String> names, Entry entry, List<String> queues) {
        for (var name : names) {
            var first = byKind.get(Objects.requireNonNull(name, "kind"));
            if (first != null) {
                throw new IllegalArgumentException(
                        "the kind \"%s\" has a handler already: %s, in the worker of queues %s"
                                .formatted(name, first.name(), queues));
            }
        }
        names.forEach(name -> byKind.put(name, entry));
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
