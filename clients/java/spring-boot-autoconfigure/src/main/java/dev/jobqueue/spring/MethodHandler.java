package dev.jobqueue.spring;

import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.TypeRef;
import dev.jobqueue.Worker;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import java.util.concurrent.Future;
import java.util.function.BiFunction;
import java.util.stream.Stream;
import org.springframework.aop.support.AopUtils;
import org.springframework.core.GenericTypeResolver;
import org.springframework.util.ClassUtils;
import org.springframework.util.ReflectionUtils;

/** Calls a method of a bean for each attempt. */
final class MethodHandler {
    private final Object bean;
    private final Method method;
    /** What each parameter is given, of the payload and the context. */
    private final List<BiFunction<Object, JobContext, Object>> parameters = new ArrayList<>();
    /** Null: it takes none. */
    private Type payload;

    MethodHandler(Object bean, Method method, String name) {
        this.bean = bean;
        this.method = method;
        for (var each : method.getParameters()) {
            if (each.getType() == JobContext.class) {
                parameters.add((value, context) -> context);
            } else if (each.getType() == LeasedJob.class) {
                parameters.add((value, context) -> context.job());
            } else if (payload == null) {
                payload = known(each.getParameterizedType(), AopUtils.getTargetClass(bean), name);
                parameters.add((value, context) -> value);
            } else {
                throw new IllegalStateException(
                        "the handler %s takes a payload, a JobContext and a LeasedJob, and has two payloads: a %s and a %s"
                                .formatted(
                                        name,
                                        payload.getTypeName(),
                                        each.getParameterizedType().getTypeName()));
            }
        }
        if (endsUnseen(method.getReturnType())) {
            throw new IllegalStateException(
                    "the handler %s returns a %s, which no worker waits for: return a CompletionStage, such as mono.toFuture()"
                            .formatted(name, method.getReturnType().getName()));
        }
        ReflectionUtils.makeAccessible(method);
    }

    /** The type of a payload, where the class of the bean says what the variables of a superclass are. */
    private static Type known(Type said, Class<?> of, String name) {
        var variables = GenericTypeResolver.getTypeVariableMap(of);
        var type = said instanceof TypeVariable<?> ? variables.getOrDefault(said, said) : said;
        type = GenericTypeResolver.resolveType(type, of);
        if (open(type)) {
            throw new IllegalStateException(
                    "the handler %s takes a %s, and the class %s does not say what that is: name the type of the payload"
                            .formatted(name, said.getTypeName(), of.getName()));
        }
        return type;
    }

    private static boolean open(Type type) {
        if (type instanceof ParameterizedType generic) {
            return Arrays.stream(generic.getActualTypeArguments()).anyMatch(MethodHandler::open);
        }
        if (type instanceof WildcardType any) {
            return Stream.of(any.getUpperBounds(), any.getLowerBounds())
                    .flatMap(Arrays::stream)
                    .anyMatch(MethodHandler::open);
        }
        return type instanceof TypeVariable<?>
                || type instanceof GenericArrayType array && open(array.getGenericComponentType());
    }

    /** Whether what a method does may go on, or begin, after it has returned, and a worker would not know. */
    private static boolean endsUnseen(Class<?> returned) {
        if (CompletionStage.class.isAssignableFrom(returned)) {
            return false;
        }
        return Future.class.isAssignableFrom(returned)
                || Flow.Publisher.class.isAssignableFrom(returned)
                || isPublisher(returned);
    }

    /** By its name: a program may have none. */
    private static boolean isPublisher(Class<?> type) {
        return type != null
                && (type.getName().equals("org.reactivestreams.Publisher")
                        || isPublisher(type.getSuperclass())
                        || Arrays.stream(type.getInterfaces()).anyMatch(MethodHandler::isPublisher));
    }

    void addTo(Worker worker, String kind, HandlerOptions options) {
        var later = CompletionStage.class.isAssignableFrom(method.getReturnType());
        if (payload == null) {
            if (later) {
                worker.handleAsync(kind, options, (job, context) -> (CompletionStage<?>) call(null, context));
            } else {
                worker.handle(kind, options, (job, context) -> call(null, context));
            }
            return;
        }
        var type = payload instanceof Class<?> known ? ClassUtils.resolvePrimitiveIfNecessary(known) : payload;
        var typed = JobKind.define(kind, TypeRef.of(type), Object.class).build();
        if (later) {
            worker.handleAsync(typed, options, this::stage);
        } else {
            worker.handle(typed, options, this::call);
        }
    }

    @SuppressWarnings("unchecked") // what it is, the codec writes
    private CompletionStage<Object> stage(Object value, JobContext context) throws Exception {
        return (CompletionStage<Object>) call(value, context);
    }

    private Object call(Object value, JobContext context) throws Exception {
        var arguments =
                parameters.stream().map(each -> each.apply(value, context)).toArray();
        try {
            return method.invoke(bean, arguments);
        } catch (InvocationTargetException thrown) {
            if (thrown.getTargetException() instanceof Exception error) {
                throw error;
            }
            throw (Error) thrown.getTargetException();
        }
    }
}
