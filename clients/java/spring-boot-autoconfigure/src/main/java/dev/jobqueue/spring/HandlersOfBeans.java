package dev.jobqueue.spring;

import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.apache.commons.logging.Log;
import org.apache.commons.logging.LogFactory;
import org.springframework.aop.framework.autoproxy.AutoProxyUtils;
import org.springframework.aop.scope.ScopedProxyUtils;
import org.springframework.aop.support.AopUtils;
import org.springframework.beans.factory.SmartInitializingSingleton;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.core.MethodIntrospector;
import org.springframework.core.annotation.AnnotatedElementUtils;
import org.springframework.core.annotation.AnnotationUtils;

/**
 * Gives workers the handlers among the beans, once all of these are made. It looks at the beans that there are, and at no
 * class path.
 */
final class HandlersOfBeans implements SmartInitializingSingleton {
    /** A handler: the kind's names, the bean, the worker that it names, what people call it, how a worker is given it. */
    private record Found(List<String> kinds, String bean, String worker, String name, Consumer<Worker> add) {}

    private static final Log LOG = LogFactory.getLog(HandlersOfBeans.class);

    private final ConfigurableListableBeanFactory beans;

    HandlersOfBeans(ConfigurableListableBeanFactory beans) {
        this.beans = beans;
    }

    @Override
    public void afterSingletonsInstantiated() {
        var enabled = beans.getBean(JobQueueProperties.class).worker().enabled();
        var workers = enabled ? beans.getBeansOfType(Worker.class) : Map.<String, Worker>of();
        var taken = new LinkedHashMap<String, String>();
        for (var found : found()) {
            var worker = enabled ? workerOf(found, workers) : found.worker();
            for (var kind : found.kinds()) {
                var other = taken.putIfAbsent(worker + "/" + kind, found.name());
                if (other == null
                        && enabled
                        && workers.get(worker).status().kinds().contains(kind)) {
                    other = "one that the application gave it";
                }
                if (other != null) {
                    throw new IllegalStateException("the kind \"%s\" has two handlers%s: %s, and %s"
                            .formatted(kind, enabled ? " in the worker " + worker : "", other, found.name()));
                }
            }
            if (enabled) {
                found.add().accept(workers.get(worker));
                // It is destroyed before what its handlers need: they may run until it has left.
                beans.registerDependentBean(found.bean(), worker);
            }
        }
    }

    private static String workerOf(Found found, Map<String, Worker> workers) {
        if (!found.worker().isEmpty()) {
            if (!workers.containsKey(found.worker())) {
                throw new IllegalStateException(
                        "the handler %s of the kind \"%s\" belongs to the worker \"%s\", and there is no such bean: there is %s"
                                .formatted(found.name(), found.kinds().get(0), found.worker(), workers.keySet()));
            }
            return found.worker();
        }
        if (workers.size() != 1) {
            throw new IllegalStateException(
                    "the handler %s of the kind \"%s\" belongs to no worker: it should name one of %s"
                            .formatted(found.name(), found.kinds().get(0), workers.keySet()));
        }
        return workers.keySet().iterator().next();
    }

    private List<Found> found() {
        var all = new ArrayList<Found>();
        for (var name : beans.getBeanNamesForType(Object.class)) {
            var type = ScopedProxyUtils.isScopedTarget(name) ? null : AutoProxyUtils.determineTargetClass(beans, name);
            if (type == null) {
                continue;
            }
            if (JobHandlerBean.class.isAssignableFrom(type)) {
                all.add(typed(name, type));
            }
            if (AnnotationUtils.isCandidateClass(type, JobHandler.class)) {
                methods(name, type).forEach((method, said) -> all.add(plain(name, method, said)));
            }
        }
        return all;
    }

    private static Map<Method, JobHandler> methods(String bean, Class<?> type) {
        try {
            return MethodIntrospector.selectMethods(type, (MethodIntrospector.MetadataLookup<JobHandler>)
                    it -> AnnotatedElementUtils.findMergedAnnotation(it, JobHandler.class));
        } catch (IllegalStateException | LinkageError error) {
            // Such as of a class that a method names and that the application does not have.
            LOG.warn(
                    "the bean \"%s\" is not looked at for handlers: its class %s can't be read"
                            .formatted(bean, type.getName()),
                    error);
            return Map.of();
        }
    }

    private Found typed(String bean, Class<?> type) {
        var handler = (JobHandlerBean<?, ?>) singleton(bean, type.getName());
        return typed(bean, type, handler);
    }

    private static <P, O> Found typed(String bean, Class<?> type, JobHandlerBean<P, O> handler) {
        JobKind<P, O> kind = handler.kind();
        var names =
                Stream.concat(Stream.of(kind.name()), kind.aliases().stream()).toList();
        return new Found(
                names, bean, handler.worker(), type.getName(), it -> it.handle(kind, handler.options(), handler));
    }

    private Found plain(String bean, Method method, JobHandler said) {
        var name = "%s.%s()".formatted(method.getDeclaringClass().getName(), method.getName());
        var target = singleton(bean, name);
        var handler = new MethodHandler(target, AopUtils.selectInvocableMethod(method, target.getClass()), name);
        var options = new HandlerOptions(said.slots(), said.interrupt());
        return new Found(
                List.of(said.kind()), bean, said.worker(), name, it -> handler.addTo(it, said.kind(), options));
    }

    private Object singleton(String bean, String handler) {
        if (!beans.isSingleton(bean)) {
            throw new IllegalStateException("the handler %s is of the bean \"%s\", which is no singleton: make it one"
                    .formatted(handler, bean));
        }
        return beans.getBean(bean);
    }
}
