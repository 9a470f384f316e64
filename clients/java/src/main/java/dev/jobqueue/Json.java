package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/**
 * One JSON value as its text, kept byte for byte: 20-digit integers, spaces and escapes included. Nothing here parses
 * it; the server refuses what is no JSON.
 */
public final class Json {
    private final ByteString text;
    /** It was read of a schedule by a client without encodings, and so may be an envelope. */
    private final boolean undecoded;

    Json(ByteString text) {
        this(text, false);
    }

    private Json(ByteString text, boolean undecoded) {
        this.text = text;
        this.undecoded = undecoded;
    }

    /**
     * A value from its text.
     *
     * @throws IllegalArgumentException half of a surrogate pair stands alone in it, which UTF-8 has no bytes for; write
     *     it as an escape
     */
    public static Json of(String text) {
        try {
            return new Json(
                    ByteString.copyFrom(StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text))));
        } catch (CharacterCodingException error) {
            throw new IllegalArgumentException(
                    "the text has half of a surrogate pair in it; write it as \\u...", error);
        }
    }

    /** A value from its text in UTF-8. */
    public static Json of(byte[] text) {
        return new Json(ByteString.copyFrom(text));
    }

    /** The text. */
    public String text() {
        return text.toStringUtf8();
    }

    /** The text in UTF-8; a copy. */
    public byte[] bytes() {
        return text.toByteArray();
    }

    /** How many bytes the text has. */
    public int size() {
        return text.size();
    }

    /** A value as JSON text: a {@link Json} as it is, whatever else by the codec. Null is no text at all. */
    static ByteString encode(Object value, Codec codec) throws Exception {
        if (value == null) {
            return null;
        }
        return value instanceof Json json ? json.text : ByteString.copyFrom(codec.write(value));
    }

    /** The same text, as a client without encodings read it. */
    Json undecoded() {
        return new Json(text, true);
    }

    /** What it was encoded by, if it was read and not decoded; null: it was not. */
    Encoded encoded() {
        return undecoded ? Envelope.encoded(text, Encoded.NO_ENCODINGS) : null;
    }

    ByteString raw() {
        return text;
    }

    /** Whether both are the same text, byte for byte. */
    @Override
    public boolean equals(Object other) {
        return other instanceof Json json && json.text.equals(text);
    }

    @Override
    public int hashCode() {
        return text.hashCode();
    }

    /** The text. */
    @Override
    public String toString() {
        return text();
    }
}
