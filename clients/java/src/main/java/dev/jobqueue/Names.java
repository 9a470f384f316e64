package dev.jobqueue;

/** Values of the contract by their names. */
final class Names {
    private Names() {}

    /** The one of a name; the first, UNSPECIFIED, of a name that this version does not know. */
    static <E extends Enum<E>> E of(Class<E> type, String name) {
        var known = type.getEnumConstants();
        for (var each : known) {
            if (each.name().equals(name)) {
                return each;
            }
        }
        return known[0];
    }
}
