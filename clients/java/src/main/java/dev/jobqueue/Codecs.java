package dev.jobqueue;

import com.fasterxml.jackson.databind.ObjectMapper;

/** Codecs of JSON libraries. A program has the library that it names here among its own dependencies. */
public final class Codecs {
    private Codecs() {}

    /**
     * Jackson 2 ({@code com.fasterxml.jackson.core:jackson-databind}), as payloads need it: a field that is not known is
     * passed over, since a producer may be newer than its worker; a field of a primitive type must be there; a string is
     * no number, a number no string, and {@code 2.5} and {@code 2.0} no {@code int}. Modules on the class path are used, such
     * as {@code jackson-datatype-jsr310}, whose times are text then.
     *
     * @throws IllegalStateException Jackson is not on the class path
     */
    public static Codec jackson() {
        try {
            return JacksonCodec.lenient();
        } catch (NoClassDefFoundError error) {
            throw new IllegalStateException(
                    "Codecs.jackson() needs com.fasterxml.jackson.core:jackson-databind on the class path", error);
        }
    }

    /** Jackson 2 with a mapper of the program's own, which is not changed. */
    public static Codec jackson(ObjectMapper mapper) {
        return new JacksonCodec(mapper);
    }
}
