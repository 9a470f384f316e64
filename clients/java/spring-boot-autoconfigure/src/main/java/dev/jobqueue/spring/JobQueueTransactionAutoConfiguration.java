package dev.jobqueue.spring;

import dev.jobqueue.Client;
import dev.jobqueue.Codec;
import dev.jobqueue.Enqueuer;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnSingleCandidate;
import org.springframework.context.annotation.Bean;
import org.springframework.transaction.PlatformTransactionManager;

/** Makes {@link AfterCommit}, where the application has a manager of transactions of threads, and one {@link Enqueuer}. */
@AutoConfiguration(
        after = JobQueueAutoConfiguration.class,
        afterName = "org.springframework.boot.transaction.autoconfigure.TransactionAutoConfiguration")
@ConditionalOnClass(PlatformTransactionManager.class)
@ConditionalOnBean(PlatformTransactionManager.class)
@ConditionalOnSingleCandidate(Enqueuer.class)
public final class JobQueueTransactionAutoConfiguration {
    /** For the container. */
    public JobQueueTransactionAutoConfiguration() {}

    @Bean
    @ConditionalOnMissingBean
    AfterCommit jobQueueAfterCommit(Enqueuer enqueuer, JobQueueProperties properties, ObjectProvider<Codec> codec) {
        var committed =
                enqueuer instanceof Client client ? client.withDeadline(properties.afterCommitDeadline()) : enqueuer;
        return new AfterCommit(enqueuer, committed, codec.getIfAvailable());
    }
}
