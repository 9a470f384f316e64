package dev.jobqueue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonMappingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.cfg.CoercionAction;
import com.fasterxml.jackson.databind.cfg.CoercionInputShape;
import com.fasterxml.jackson.databind.exc.InvalidDefinitionException;
import com.fasterxml.jackson.databind.exc.MismatchedInputException;
import com.fasterxml.jackson.databind.exc.UnrecognizedPropertyException;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.type.LogicalType;
import java.io.IOException;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.Collection;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/** Writes and reads by Jackson, and says where a value is not what its type says. */
final class JacksonCodec implements Codec {
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

    private final ObjectMapper mapper;

    JacksonCodec(ObjectMapper mapper) {
        this.mapper = Objects.requireNonNull(mapper, "mapper");
    }

    static JacksonCodec lenient() {
        var builder = JsonMapper.builder()
                .findAndAddModules()
                .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
                .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
                .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
                .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
                .disable(SerializationFeature.WRITE_DATES_AS_TIMESTAMPS)
                .disable(SerializationFeature.WRITE_DURATIONS_AS_TIMESTAMPS);
        for (var number : new LogicalType[] {LogicalType.Integer, LogicalType.Float, LogicalType.Boolean}) {
            builder.withCoercionConfig(number, it -> it.setCoercion(CoercionInputShape.String, CoercionAction.Fail)
                    .setCoercion(CoercionInputShape.EmptyString, CoercionAction.Fail));
        }
        builder.withCoercionConfig(
                LogicalType.Textual, it -> it.setCoercion(CoercionInputShape.Integer, CoercionAction.Fail)
                        .setCoercion(CoercionInputShape.Float, CoercionAction.Fail)
                        .setCoercion(CoercionInputShape.Boolean, CoercionAction.Fail));
        builder.withCoercionConfig(
                LogicalType.Boolean, it -> it.setCoercion(CoercionInputShape.Integer, CoercionAction.Fail));
        return new JacksonCodec(builder.build());
    }

    @Override
    public byte[] write(Object value) throws JsonProcessingException {
        try {
            return mapper.writeValueAsBytes(value);
        } catch (InvalidDefinitionException error) {
            // Its words are about a type.
            throw new Unwritable("Jackson can't write it: " + error.getOriginalMessage());
        }
    }

    @Override
    public <T> T read(byte[] json, Type type) throws IOException, Mismatch {
        try {
            return mapper.readValue(json, mapper.constructType(type));
        } catch (InvalidDefinitionException error) {
            // What the type lacks, no other JSON would mend.
            throw new IllegalStateException(
                    "Jackson can't read a %s: %s".formatted(type.getTypeName(), error.getOriginalMessage()), error);
        } catch (JsonMappingException error) {
            throw new Mismatch(path(error), expected(error));
        } catch (JsonProcessingException error) {
            throw new Mismatch("", "JSON");
        }
    }

    private static String path(JsonMappingException error) {
        var path = new StringBuilder();
        for (var step : error.getPath()) {
            if (step.getFieldName() != null) {
                path.append('.').append(step.getFieldName());
            } else {
                path.append('[').append(step.getIndex()).append(']');
            }
        }
        return path.toString();
    }

    private static String expected(JsonMappingException error) {
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
        return Map.class.isAssignableFrom(type) || type.isRecord() ? "an object" : Text.one(type.getSimpleName());
    }
}
