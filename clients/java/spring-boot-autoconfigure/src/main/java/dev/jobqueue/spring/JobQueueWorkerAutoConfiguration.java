package dev.jobqueue.spring;

import dev.jobqueue.Worker;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.beans.factory.config.ConfigurableBeanFactory;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBooleanProperty;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Scope;

/**
 * Makes the {@link Worker} by the properties, gives workers their handlers, and starts and ends them with the application.
 *
 * <p>An application that wants more than one worker makes its own, each of a {@link Worker.Builder} that it is given with
 * all that the properties and beans say.
 */
@AutoConfiguration(after = JobQueueAutoConfiguration.class)
public final class JobQueueWorkerAutoConfiguration {
    /** For the container. */
    public JobQueueWorkerAutoConfiguration() {}

    @Bean
    @Scope(ConfigurableBeanFactory.SCOPE_PROTOTYPE)
    @ConditionalOnMissingBean
    Worker.Builder jobQueueWorkerBuilder(Connecting connecting, ObjectProvider<WorkerCustomizer> customizers) {
        var properties = connecting.properties().worker();
        var builder = Worker.builder(connecting.properties().server())
                .queues(properties.queues().toArray(String[]::new))
                .concurrency(properties.concurrency())
                .labels(properties.labels())
                .shutdownGrace(properties.shutdownGrace())
                .stopWhenLost(properties.stopWhenLost())
                .syncKinds(properties.syncKinds());
        if (properties.name() != null) {
            builder.name(properties.name());
        }
        if (properties.sessionTtl() != null) {
            builder.sessionTtl(properties.sessionTtl());
        }
        connecting.to(builder);
        customizers.orderedStream().forEach(each -> each.customize(builder));
        return builder;
    }

    @Bean
    @ConditionalOnMissingBean
    @ConditionalOnBooleanProperty(name = "jobqueue.worker.enabled", matchIfMissing = true)
    Worker jobQueueWorker(Worker.Builder builder) {
        return builder.build();
    }

    @Bean
    static HandlersOfBeans jobQueueHandlers(ConfigurableListableBeanFactory beans) {
        return new HandlersOfBeans(beans);
    }

    @Bean
    WorkersLifecycle jobQueueWorkers(JobQueueProperties properties, ConfigurableListableBeanFactory beans) {
        return new WorkersLifecycle(properties.worker(), beans);
    }
}
