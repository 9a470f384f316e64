package dev.jobqueue.spring;

import dev.jobqueue.Codec;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.Collection;
import java.util.Map;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.DatabindException;
import tools.jackson.databind.exc.InvalidDefinitionException;
import tools.jackson.databind.exc.MismatchedInputException;
import tools.jackson.databind.exc.UnrecognizedPropertyException;
import tools.jackson.databind.json.JsonMapper;

/** Writes and reads by the mapper of the application, and says where a value is not what its type says. */
record Jackson3Codec(JsonMapper mapper) implements Codec {
    private static final Set<Class<?>> WHOLE = Set.of(
            byte.class,
            Byte.class,
            short.class,
            Short.class,
            int.class,
            Integer.class,
            long.class,
            Long.class,
            java.math.BigInteger.class);
    private static final Set<Class<?>> NUMBERS =
            Set.of(float.class, Float.class, double.class, Double.class, java.math.BigDecimal.class, Number.class);

    @Override
    public byte[] write(Object value) {
        return mapper.writeValueAsBytes(value);
    }

    @Override
    public <T> T read(byte[] json, Type type) throws Mismatch {
        try {
            return mapper.readValue(json, mapper.constructType(type));
        } catch (InvalidDefinitionException error) {
            // What the type lacks, no other JSON would mend.
            throw new IllegalStateException(
                    "Jackson can't read a %s: %s".formatted(type.getTypeName(), error.getOriginalMessage()), error);
        } catch (DatabindException error) {
            throw new Mismatch(path(error), expected(error));
        } catch (JacksonException error) {
            throw new Mismatch("", "JSON");
        }
    }

    private static String path(DatabindException error) {
        var path = new StringBuilder();
        for (var step : error.getPath()) {
            if (step.getPropertyName() != null) {
                path.append('.').append(step.getPropertyName());
            } else {
                path.append('[').append(step.getIndex()).append(']');
            }
        }
        return path.toString();
    }

    private static String expected(DatabindException error) {
        if (error instanceof UnrecognizedPropertyException) {
            return "left out: it is not known";
        }
        if (error.getOriginalMessage().startsWith("Missing required")) {
            return "there";
        }
        var type = error instanceof MismatchedInputException known ? known.getTargetType() : null;
        return type == null ? "what its type says" : words(type);
    }

    private static String words(Class<?> type) {
        if (WHOLE.contains(type)) {
            return "a whole number";
        }
        if (NUMBERS.contains(type)) {
            return "a number";
        }
        if (type == boolean.class || type == Boolean.class) {
            return "true or false";
        }
        if (CharSequence.class.isAssignableFrom(type) || type == char.class || type == Character.class) {
            return "a string";
        }
        if (type.isEnum()) {
            return "one of " + Arrays.toString(type.getEnumConstants());
        }
        if (type.isArray() || Collection.class.isAssignableFrom(type)) {
            return "an array";
        }
        return Map.class.isAssignableFrom(type) || type.isRecord() ? "an object" : "a " + type.getSimpleName();
    }
}
