package dev.jobqueue;

import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;

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

    /** The type. */
    public final Type type() {
        return type;
    }
}
