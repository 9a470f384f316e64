package dev.jobqueue;

import java.util.List;
import java.util.Map;

/** A payload or an output that was not decoded. It is thrown where the value is used. */
public final class Encoded extends RuntimeException {
    static final String NO_ENCODINGS = "this program has no encodings";

    private final transient List<String> encodings;
    private final String keyId;
    private final String why;

    Encoded(List<String> encodings, String keyId, String why) {
        super("encoded, %s%s: %s"
                .formatted(
                        encodings.isEmpty() ? "by nothing that it names" : String.join(" + ", encodings),
                        keyId.isEmpty() ? "" : ", key " + keyId,
                        why));
        this.encodings = List.copyOf(encodings);
        this.keyId = keyId;
        this.why = why;
    }

    /** What the members of an envelope say of it. */
    static Encoded of(Map<String, Object> members, String why) {
        List<String> names = members.get("encodings") instanceof List<?> list
                ? list.stream().map(String::valueOf).toList()
                : List.of();
        return new Encoded(names, members.get("key_id") instanceof String name ? name : "", why);
    }

    /** The names of what it was encoded by, in that order. */
    public List<String> encodings() {
        return encodings;
    }

    /** The name of the key that it was encrypted with. Empty: it was not encrypted. */
    public String keyId() {
        return keyId;
    }

    /** Why it was not decoded, in words. */
    public String why() {
        return why;
    }

    /** Whether both say the same. */
    @Override
    public boolean equals(Object other) {
        return other instanceof Encoded encoded && encoded.getMessage().equals(getMessage());
    }

    @Override
    public int hashCode() {
        return getMessage().hashCode();
    }
}
