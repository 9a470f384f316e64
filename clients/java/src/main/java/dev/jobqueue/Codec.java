package dev.jobqueue;

import java.util.Objects;

/**
 * Writes values as JSON and reads them back, by whatever library the program has. With Jackson:
 *
 * <pre>{@code
 * var mapper = new ObjectMapper();
 * var codec = Codec.of(mapper::writeValueAsBytes, mapper::readValue);
 * }</pre>
 */
public interface Codec {
    /** Writes a value as JSON text in UTF-8. */
    byte[] write(Object value) throws Exception;

    /** Reads a value of a type from JSON text in UTF-8. */
    <T> T read(byte[] json, Class<T> type) throws Exception;

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
        <T> T read(byte[] json, Class<T> type) throws Exception;
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
            public <T> T read(byte[] json, Class<T> type) throws Exception {
                return reader.read(json, type);
            }
        };
    }
}
