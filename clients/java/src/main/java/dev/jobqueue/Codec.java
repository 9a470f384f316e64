package dev.jobqueue;

import java.lang.reflect.Type;
import java.util.Objects;

/**
 * Writes values as JSON and reads them back, by whatever library the program has. With Jackson:
 *
 * <pre>{@code
 * var mapper = new ObjectMapper();
 * var codec = Codec.of(
 *         mapper::writeValueAsBytes, (json, type) -> mapper.readValue(json, mapper.constructType(type)));
 * }</pre>
 */
public interface Codec {
    /** Writes a value as JSON text in UTF-8. */
    byte[] write(Object value) throws Exception;

    /**
     * Reads a value from JSON text in UTF-8.
     *
     * @param type a class, or a type with arguments such as that of {@code List<Item>}
     */
    <T> T read(byte[] json, Type type) throws Exception;

    /** Writes values; see {@link #of}. */
    @FunctionalInterface
    interface Writer {
        /** Writes a value as JSON text in UTF-8. */
        byte[] write(Object value) throws Exception;
    }

    /** Reads values; see {@link #of}. */
    @FunctionalInterface
    interface Reader {
        /** Reads a value of a type from JSON text in UTF-8. */
        Object read(byte[] json, Type type) throws Exception;
    }

    /** A codec of two methods. */
    static Codec of(Writer writer, Reader reader) {
        Objects.requireNonNull(writer, "writer");
        Objects.requireNonNull(reader, "reader");
        return new Codec() {
            @Override
            public byte[] write(Object value) throws Exception {
                return writer.write(value);
            }

            @Override
            @SuppressWarnings("unchecked") // the type says what it is, and is not there at run time
            public <T> T read(byte[] json, Type type) throws Exception {
                return (T) reader.read(json, type);
            }
        };
    }
}
