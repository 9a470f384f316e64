package dev.jobqueue.spring;

import dev.jobqueue.Client;
import dev.jobqueue.Codec;
import dev.jobqueue.Encodings;
import dev.jobqueue.Middleware;
import dev.jobqueue.Observer;
import dev.jobqueue.Tracer;
import org.springframework.beans.factory.ObjectProvider;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnSingleCandidate;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import tools.jackson.databind.json.JsonMapper;

/**
 * Makes the {@link Client}, and the codec of the application's mapper. Beans of the application's own win: a client, a {@link
 * Codec}; each {@link Middleware} by its order, each {@link Observer}, {@link Encodings} and a {@link Tracer} are used.
 */
@AutoConfiguration(afterName = "org.springframework.boot.jackson.autoconfigure.JacksonAutoConfiguration")
@EnableConfigurationProperties(JobQueueProperties.class)
public final class JobQueueAutoConfiguration {
    /** For the container. */
    public JobQueueAutoConfiguration() {}

    @Bean
    Connecting jobQueueConnecting(
            JobQueueProperties properties,
            ObjectProvider<Codec> codec,
            ObjectProvider<Middleware> middleware,
            ObjectProvider<Encodings> encodings,
            ObjectProvider<Observer> observers,
            ObjectProvider<Tracer> tracer) {
        return new Connecting(properties, codec, middleware, encodings, observers, tracer);
    }

    @Bean
    @ConditionalOnMissingBean
    Client jobQueueClient(Connecting connecting, ObjectProvider<ClientCustomizer> customizers) {
        var properties = connecting.properties();
        var builder = Client.builder(properties.server()).deadline(properties.deadline());
        connecting.to(builder);
        customizers.orderedStream().forEach(each -> each.customize(builder));
        return builder.build();
    }

    @Configuration(proxyBeanMethods = false)
    @ConditionalOnClass(JsonMapper.class)
    static class JacksonConfiguration {
        @Bean
        @ConditionalOnMissingBean(Codec.class)
        @ConditionalOnSingleCandidate(JsonMapper.class)
        Codec jobQueueCodec(JsonMapper mapper) {
            return new Jackson3Codec(mapper);
        }
    }
}
