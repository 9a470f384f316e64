package dev.jobqueue.spring;

import static dev.jobqueue.spring.HandlersTest.contexts;
import static org.assertj.core.api.Assertions.assertThat;

import dev.jobqueue.Client;
import dev.jobqueue.Codec;
import dev.jobqueue.TypeRef;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.assertj.core.api.InstanceOfAssertFactories;
import org.junit.jupiter.api.Test;
import org.springframework.core.env.SystemEnvironmentPropertySource;
import tools.jackson.databind.json.JsonMapper;

class SettingsTest {
    record Item(int number, List<String> names) {}

    @Test
    void theEnvironmentHasTheNamesOfTheCommandLine() {
        var environment = Map.<String, Object>of(
                "JOBQUEUE_SERVER", "jobs.internal:50051",
                "JOBQUEUE_TOKEN", "jq_secret",
                "JOBQUEUE_TLS_CLIENT_CERT", "cert.pem",
                "JOBQUEUE_TLS_CLIENT_KEY", "key.pem",
                "JOBQUEUE_WORKER_NAME", "first",
                "JOBQUEUE_WORKER_QUEUES", "mail,reports",
                "JOBQUEUE_WORKER_CONCURRENCY", "3");
        contexts()
                .withInitializer(context -> context.getEnvironment()
                        .getPropertySources()
                        .addFirst(new SystemEnvironmentPropertySource("test-systemEnvironment", environment)))
                .withBean("mine", Client.class, () -> Client.of("127.0.0.1:1"))
                .withPropertyValues("jobqueue.worker.enabled=false")
                .run(context -> {
                    var properties = context.getBean(JobQueueProperties.class);
                    assertThat(properties.server()).isEqualTo("jobs.internal:50051");
                    assertThat(properties.token()).isEqualTo("jq_secret");
                    assertThat(properties.tls().clientCert()).isEqualTo("cert.pem");
                    assertThat(properties.tls().clientKey()).isEqualTo("key.pem");
                    assertThat(properties.worker().concurrency()).isEqualTo(3);
                    assertThat(properties.worker().name()).isEqualTo("first");
                    assertThat(properties.worker().queues()).containsExactly("mail", "reports");
                    assertThat(properties.toString()).doesNotContain("jq_secret");
                });
    }

    @Test
    void whatIsNotSetIsAsTheLibraryHasIt() {
        contexts().run(context -> {
            var properties = context.getBean(JobQueueProperties.class);
            assertThat(properties)
                    .isEqualTo(new JobQueueProperties(
                            "127.0.0.1:50051",
                            null,
                            Duration.ofSeconds(30),
                            Duration.ofSeconds(5),
                            new JobQueueProperties.Tls(null, null, null),
                            new JobQueueProperties.Work(
                                    true,
                                    true,
                                    List.of("default"),
                                    8,
                                    null,
                                    Map.of(),
                                    null,
                                    Duration.ofSeconds(25),
                                    false,
                                    false)));
        });
    }

    @Test
    void certificatesThatAreHalfSaidFailTheStart() {
        for (var half : List.of("jobqueue.tls.client-cert=cert.pem", "jobqueue.tls.client-key=key.pem")) {
            contexts().withPropertyValues(half).run(context -> assertThat(context)
                    .getFailure()
                    .rootCause()
                    .hasMessageContaining("jobqueue.tls.client-cert and jobqueue.tls.client-key go together"));
        }
        contexts()
                .withPropertyValues("jobqueue.tls.client-cert=cert.pem", "jobqueue.tls.client-key=key.pem")
                .run(context -> assertThat(context)
                        .getFailure()
                        .rootCause()
                        .hasMessageContaining("jobqueue.tls.client-cert needs jobqueue.tls.roots"));
        contexts()
                .withPropertyValues("jobqueue.tls.roots=/not/there.pem")
                .run(context -> assertThat(context).getFailure().rootCause().hasMessageContaining("/not/there.pem"));
        contexts()
                .withPropertyValues("jobqueue.worker.concurrency=0")
                .run(context ->
                        assertThat(context).getFailure().rootCause().hasMessage("concurrency is 0; it is 1 to 10000"));
    }

    @Test
    void aClientOfTheApplicationWins() {
        contexts()
                .withBean("mine", Client.class, () -> Client.of("127.0.0.1:1"))
                .run(context -> assertThat(context).hasSingleBean(Client.class).hasBean("mine"));
    }

    @Test
    void eachPropertyIsDescribed() throws IOException {
        try (var file = getClass().getResourceAsStream("/META-INF/spring-configuration-metadata.json")) {
            var metadata = JsonMapper.shared().readTree(file);
            var names = new java.util.ArrayList<String>();
            for (var each : metadata.get("properties")) {
                names.add(each.get("name").asString());
                assertThat(each.get("description").asString())
                        .as(names.toString())
                        .endsWith(".");
            }
            assertThat(names).contains("jobqueue.server", "jobqueue.tls.client-cert", "jobqueue.worker.sync-kinds");
            assertThat(names).hasSize(4 + 3 + 10);
        }
    }

    @Test
    void theMapperOfTheApplicationWritesAndReads() {
        contexts()
                .withPropertyValues("spring.jackson.property-naming-strategy=UPPER_CAMEL_CASE")
                .run(context -> {
                    var codec = context.getBean(Codec.class);
                    var json = codec.write(new Item(1, List.of("a")));
                    assertThat(new String(json)).isEqualTo("{\"Number\":1,\"Names\":[\"a\"]}");
                    assertThat(codec.<Item>read(json, Item.class)).isEqualTo(new Item(1, List.of("a")));
                    assertThat(codec.<List<Item>>read(
                                    "[{\"Number\":1}]".getBytes(), new TypeRef<List<Item>>() {}.type()))
                            .containsExactly(new Item(1, null));
                    mismatch(codec, "{\"Number\":true}", ".Number", "a whole number");
                    mismatch(codec, "{\"Number\":1,\"Names\":[[]]}", ".Names[0]", "a string");
                    mismatch(codec, "{\"Number\":1,\"Names\":{}}", ".Names", "an array");
                    mismatch(codec, "7", "", "an object");
                    mismatch(codec, "{", "", "JSON");
                });
    }

    private static void mismatch(Codec codec, String json, String path, String expected) {
        assertThat(org.assertj.core.api.Assertions.catchThrowable(() -> codec.<Item>read(json.getBytes(), Item.class)))
                .asInstanceOf(InstanceOfAssertFactories.type(Codec.Mismatch.class))
                .satisfies(it -> assertThat(List.of(it.path(), it.expected())).containsExactly(path, expected));
    }
}
