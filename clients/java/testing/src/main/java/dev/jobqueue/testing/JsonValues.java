package dev.jobqueue.testing;

import dev.jobqueue.Codec;
import dev.jobqueue.Json;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** JSON values as maps, lists, texts, numbers and truth values. */
final class JsonValues {
    private JsonValues() {}

    /** A value as it is after JSON. */
    static Object of(Object value, Codec codec) {
        return read(Json.of(text(value, codec)), codec);
    }

    static String text(Object value, Codec codec) {
        if (value instanceof Json json) {
            return json.text();
        }
        try {
            return value == null ? "null" : new String(codec.write(value), StandardCharsets.UTF_8);
        } catch (Exception error) {
            throw new IllegalArgumentException("the payload can't be written as JSON: " + error.getMessage(), error);
        }
    }

    static Object read(Json text, Codec codec) {
        try {
            return codec.read(text.bytes(), Object.class);
        } catch (Exception error) {
            throw new IllegalArgumentException("the payload can't be read: " + error.getMessage(), error);
        }
    }

    /** Whether two of them are equal: 1.0 is 1, and true is no number. */
    static boolean same(Object one, Object other) {
        if (one instanceof Map<?, ?> fields && other instanceof Map<?, ?> others) {
            return fields.keySet().equals(others.keySet())
                    && fields.entrySet().stream().allMatch(each -> same(each.getValue(), others.get(each.getKey())));
        }
        if (one instanceof List<?> items && other instanceof List<?> others) {
            var equal = items.size() == others.size();
            for (var at = 0; equal && at < items.size(); at++) {
                equal = same(items.get(at), others.get(at));
            }
            return equal;
        }
        if (one instanceof Number number && other instanceof Number second) {
            return new BigDecimal(number.toString()).compareTo(new BigDecimal(second.toString())) == 0;
        }
        return one == null ? other == null : one.equals(other);
    }
}
