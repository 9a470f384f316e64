package dev.jobqueue;

import java.lang.reflect.Type;
import java.util.Objects;

/**
 * Writes values as JSON and reads them back, by whatever library the program has. With Jackson it is {@link
 * Codecs#jackson}; with another one two methods, for example of Gson:
 *
 * <pre>{@code
 * var codec = Codec.of(
 *         value -> gson.toJson(value).getBytes(UTF_8), (json, type) -> gson.fromJson(new String(json, UTF_8), type));
 * }</pre>
 */
public interface Codec {
    /** Writes a value as JSON text in UTF-8. */
    byte[] write(Object value) throws Exception;

    /**
     * Reads a value from JSON text in UTF-8.
     *
     * @param type a class, or a type with arguments such as that of {@code List<Item>}
     * @throws IllegalStateException the type can't be read at all, whatever the JSON: a fault of the program
     * @throws Mismatch the JSON is not what the type says, and the codec knows where
     * @throws Exception the JSON is not what the type says
     */
    <T> T read(byte[] json, Type type) throws Exception;

    /** JSON is not what a type says. Its words never have the value. */
    final class Mismatch extends Exception {
        private final String path;
        private final String expected;

        /**
         * Names the place.
         *
         * @param path where, from the whole, such as {@code .cc[0]}; empty: the whole
         * @param expected what would be right there, such as {@code a string}
         */
        public Mismatch(String path, String expected) {
            super((path.isEmpty() ? "it" : path) + " must be " + expected);
            this.path = path;
            this.expected = expected;
        }

        /** Where, from the whole, such as {@code .cc[0]}. Empty: the whole. */
        public String path() {
            return path;
        }

        /** What would be right there, such as {@code a string}. */
        public String expected() {
            return expected;
        }
    }

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
