package dev.jobqueue.spring;

import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.health.autoconfigure.contributor.ConditionalOnEnabledHealthIndicator;
import org.springframework.boot.health.contributor.HealthIndicator;
import org.springframework.context.annotation.Bean;

/** Adds {@code jobqueue} to the health of the application, where it has the actuator. */
@AutoConfiguration(after = JobQueueWorkerAutoConfiguration.class)
@ConditionalOnClass({HealthIndicator.class, ConditionalOnEnabledHealthIndicator.class})
public final class JobQueueHealthAutoConfiguration {
    /** For the container. */
    public JobQueueHealthAutoConfiguration() {}

    @Bean
    @ConditionalOnEnabledHealthIndicator("jobqueue")
    @ConditionalOnMissingBean(name = "jobqueueHealthIndicator")
    HealthIndicator jobqueueHealthIndicator(JobQueueProperties properties, ConfigurableListableBeanFactory beans) {
        return new WorkersHealth(properties.worker(), beans);
    }
}
