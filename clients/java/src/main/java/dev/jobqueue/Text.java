package dev.jobqueue;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.StandardCharsets;

/** Texts within the contract's limits. */
final class Text {
    private Text() {}

    /** A name, with its article. */
    static String one(String name) {
        return (name.matches("(?i)[aeio].*") ? "an " : "a ") + name;
    }

    /** At most so many bytes of it in UTF-8, whole characters. */
    static String cut(String text, int limit) {
        if (text.length() <= limit / 3) {
            return text;
        }
        var room = ByteBuffer.allocate(limit);
        var from = CharBuffer.wrap(text);
        var encoder = StandardCharsets.UTF_8.newEncoder().onMalformedInput(java.nio.charset.CodingErrorAction.REPLACE);
        // Stops before the first character that has no room.
        encoder.encode(from, room, true);
        return from.hasRemaining() ? text.substring(0, from.position()) : text;
    }

    /** The same; a text that was cut says so. */
    static String cutAndSay(String text, int limit) {
        var bytes = text.length() <= limit / 3 ? 0 : text.getBytes(StandardCharsets.UTF_8).length;
        if (bytes <= limit) {
            return text;
        }
        var note = " [cut, %d bytes in all]".formatted(bytes);
        return cut(text, limit - note.length()) + note;
    }
}
