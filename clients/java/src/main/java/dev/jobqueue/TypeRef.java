package dev.jobqueue;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.util.Objects;

/**
 * A type with arguments, which a class literal can't say: {@code new TypeRef<List<Item>>() {}}.
 *
 * @param <T> the type
 */
public abstract class TypeRef<T> {
    private final Type type;

    /** For a subclass without a name, which holds the arguments at run time. */
    protected TypeRef() {
        if (!(getClass().getGenericSuperclass() instanceof ParameterizedType known)) {
            throw new IllegalStateException("a TypeRef says its type: new TypeRef<List<Item>>() {}");
        }
        type = known.getActualTypeArguments()[0];
    }

    private TypeRef(Type type) {
        this.type = type;
    }

    /** That of a type that is known at run time alone, such as that of a method's parameter. */
    public static TypeRef<Object> of(Type type) {
        return new TypeRef<>(Objects.requireNonNull(type, "type")) {};
    }

    /** The type. */
    public final Type type() {
        return type;
    }
}
