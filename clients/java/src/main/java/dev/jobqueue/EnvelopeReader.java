package dev.jobqueue;

import com.google.protobuf.ByteString;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Reads an envelope as a JSON parser does, without one: a program has a library for JSON only if it wants. */
final class EnvelopeReader {
    /** Stands for a value that no member of an envelope has. */
    static final Object OTHER = new Object() {
        @Override
        public String toString() {
            return "...";
        }
    };

    private static final ByteString MARK = ByteString.copyFromUtf8(Envelope.MARK);
    private static final Set<String> MEMBERS = Set.of(Envelope.MARK, "content_type", "encodings", "key_id", "data");
    private static final Pattern NUMBER =
            Pattern.compile("-?(?:0|[1-9][0-9]*)(?:\\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|NaN|-?Infinity");
    private static final Map<String, Object> LITERALS = Map.of("true", true, "false", false, "null", OTHER);

    /** The text is no JSON. */
    private static final class NoJson extends Exception {
        NoJson() {
            super(null, null, false, false);
        }
    }

    private final String text;
    private final Matcher numbers;
    private int at;

    private EnvelopeReader(String text) {
        this.text = text;
        numbers = NUMBER.matcher(text);
    }

    /** The members of the envelope that a JSON text is, those that it should have. Null: it is none, or no JSON. */
    static Map<String, Object> read(ByteString text) {
        if (!mayBe(text)) {
            return null;
        }
        try {
            var decoded = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(text.asReadOnlyByteBuffer())
                    .toString();
            var members = new EnvelopeReader(decoded).whole();
            return members.containsKey(Envelope.MARK) ? members : null;
        } catch (CharacterCodingException | NoJson error) {
            return null;
        }
    }

    /** A name in JSON may be written with escapes: its letters alone do not show what a parser sees. */
    private static boolean mayBe(ByteString text) {
        var end = text.size() - 1;
        for (var at = 0; at < end; at++) {
            var each = text.byteAt(at);
            if ((each == '\\' && text.byteAt(at + 1) == 'u')
                    || (each == '$' && text.substring(at).startsWith(MARK))) {
                return true;
            }
        }
        return false;
    }

    /** What it has of an envelope, if it is an object; nothing, if it is something else. */
    private Map<String, Object> whole() throws NoJson {
        var members = new HashMap<String, Object>();
        if (text.startsWith("\uFEFF")) {
            at++;
        }
        if (next() != '{') {
            return members; // and be it no JSON
        }
        if (peek() == '}') {
            at++;
        } else {
            do {
                var name = name();
                if (MEMBERS.contains(name)) {
                    members.put(name, value());
                } else {
                    skip();
                }
            } while (goesOn('}'));
        }
        space();
        if (at < text.length()) {
            throw new NoJson();
        }
        return members;
    }

    private Object value() throws NoJson {
        if (peek() != '[') {
            return plain();
        }
        at++;
        List<Object> values = new ArrayList<>();
        if (peek() == ']') {
            at++;
            return values;
        }
        do {
            values.add(plain());
        } while (goesOn(']'));
        return values;
    }

    private Object plain() throws NoJson {
        var first = peek();
        if (first == '{' || first == '[') {
            skip();
            return OTHER;
        }
        return scalar();
    }

    /** Passes over a value. What it has open is kept here: it may be deeper than a stack. */
    private void skip() throws NoJson {
        var open = new ArrayDeque<Character>();
        while (true) {
            var first = peek();
            if (first == '{' || first == '[') {
                at++;
                var end = first == '{' ? '}' : ']';
                if (peek() != end) {
                    open.push(end);
                    if (end == '}') {
                        name();
                    }
                    continue;
                }
                at++;
            } else {
                scalar();
            }
            while (!open.isEmpty() && !goesOn(open.peek())) {
                open.pop();
            }
            if (open.isEmpty()) {
                return;
            }
            if (open.peek() == '}') {
                name();
            }
        }
    }

    /** Whether another one follows in a list or an object that ends so. */
    private boolean goesOn(char end) throws NoJson {
        var next = next();
        if (next != ',' && next != end) {
            throw new NoJson();
        }
        return next == ',';
    }

    private String name() throws NoJson {
        if (peek() != '"') {
            throw new NoJson();
        }
        var name = string();
        if (next() != ':') {
            throw new NoJson();
        }
        return name;
    }

    private Object scalar() throws NoJson {
        if (peek() == '"') {
            return string();
        }
        for (var each : LITERALS.entrySet()) {
            if (text.startsWith(each.getKey(), at)) {
                at += each.getKey().length();
                return each.getValue();
            }
        }
        if (!numbers.region(at, text.length()).lookingAt()) {
            throw new NoJson();
        }
        at = numbers.end();
        return Double.valueOf(numbers.group());
    }

    private String string() throws NoJson {
        at++;
        var read = new StringBuilder();
        while (true) {
            var each = take();
            if (each == '"') {
                return read.toString();
            }
            if (each < ' ') {
                throw new NoJson();
            }
            read.append(each == '\\' ? escaped() : each);
        }
    }

    private char escaped() throws NoJson {
        var each = take();
        switch (each) {
            case '"', '\\', '/':
                return each;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                var code = 0;
                for (var digits = 0; digits < 4; digits++) {
                    var digit = take();
                    // A digit of another script is none of JSON's.
                    var value = digit < 128 ? Character.digit(digit, 16) : -1;
                    if (value < 0) {
                        throw new NoJson();
                    }
                    code = code * 16 + value;
                }
                return (char) code;
            default:
                throw new NoJson();
        }
    }

    private void space() {
        while (at < text.length() && " \t\n\r".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    /** What comes after spaces. */
    private char peek() throws NoJson {
        space();
        if (at == text.length()) {
            throw new NoJson();
        }
        return text.charAt(at);
    }

    private char next() throws NoJson {
        var next = peek();
        at++;
        return next;
    }

    private char take() throws NoJson {
        if (at == text.length()) {
            throw new NoJson();
        }
        return text.charAt(at++);
    }
}
