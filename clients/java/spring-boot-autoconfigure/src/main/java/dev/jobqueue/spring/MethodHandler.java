package dev.jobqueue.spring;

import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.TypeRef;
import dev.jobqueue.Worker;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Type;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletionStage;
import java.util.function.BiFunction;
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
                payload = each.getParameterizedType();
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
        ReflectionUtils.makeAccessible(method);
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
