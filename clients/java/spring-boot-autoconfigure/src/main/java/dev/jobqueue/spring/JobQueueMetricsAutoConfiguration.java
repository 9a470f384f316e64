package dev.jobqueue.spring;

import dev.jobqueue.micrometer.MicrometerObserver;
import io.micrometer.core.instrument.MeterRegistry;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;
import org.springframework.core.annotation.Order;

/** Adds the metrics of workers, where the application has {@code jobqueue-micrometer}. */
@AutoConfiguration(before = JobQueueAutoConfiguration.class)
@ConditionalOnClass({MeterRegistry.class, MicrometerObserver.class})
public final class JobQueueMetricsAutoConfiguration {
    /** For the container. */
    public JobQueueMetricsAutoConfiguration() {}

    /** The registry is asked for at each event: one that is made with the worker is not customized yet. */
    @Bean
    @Order(0)
    @ConditionalOnMissingBean
    MicrometerObserver jobQueueMetrics(ObjectProvider<MeterRegistry> registry) {
        return MicrometerObserver.of(registry::getIfAvailable);
    }
}
