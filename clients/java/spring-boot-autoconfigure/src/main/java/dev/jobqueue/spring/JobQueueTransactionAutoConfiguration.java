package dev.jobqueue.spring;

import dev.jobqueue.Codec;
import dev.jobqueue.Enqueuer;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;
import org.springframework.transaction.support.TransactionSynchronization;

/** Makes {@link AfterCommit}, where the application has Spring's transactions. */
@AutoConfiguration(after = JobQueueAutoConfiguration.class)
@ConditionalOnClass(TransactionSynchronization.class)
public final class JobQueueTransactionAutoConfiguration {
    /** For the container. */
    public JobQueueTransactionAutoConfiguration() {}

    @Bean
    @ConditionalOnMissingBean
    AfterCommit jobQueueAfterCommit(Enqueuer enqueuer, ObjectProvider<Codec> codec) {
        return new AfterCommit(enqueuer, codec.getIfAvailable());
    }
}
