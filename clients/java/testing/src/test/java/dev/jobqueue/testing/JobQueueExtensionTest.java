package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;

import dev.jobqueue.Client;
import dev.jobqueue.JobQueueException.NamespaceDisabled;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;
import org.junit.platform.launcher.listeners.SummaryGeneratingListener;
import org.junit.platform.launcher.listeners.TestExecutionSummary;

/** What JUnit makes of the extension, told by tests that it runs. */
@Timeout(120)
class JobQueueExtensionTest {
    /** Two tests, of which the second looks at what the first has left. */
    @ExtendWith(JobQueueExtension.class)
    @TestMethodOrder(MethodOrderer.OrderAnnotation.class)
    static class Two {
        private static TestScope first;

        private TestScope before;

        @BeforeEach
        void before(TestScope scope) {
            before = scope;
        }

        @Test
        @Order(1)
        void one(TestScope scope, Client client) {
            assertEquals(before, scope);
            assertEquals(scope.client(), client);
            first = scope;
        }

        @Test
        @Order(2)
        void two(TestScope scope) {
            assertNotEquals(first.namespace(), scope.namespace());
            try (var late = Client.builder(first.target()).token(first.key()).build()) {
                assertThrows(NamespaceDisabled.class, () -> late.enqueue("mail", null));
            }
        }
    }

    @ExtendWith(JobQueueExtension.class)
    static class MadeWithAScope {
        MadeWithAScope(TestScope scope) {}

        @Test
        void one() {}
    }

    @ExtendWith(JobQueueExtension.class)
    static class PreparedWithAClient {
        @BeforeAll
        static void prepare(Client client) {}

        @Test
        void one() {}
    }

    private static TestExecutionSummary run(Class<?> tests, boolean closing) {
        var request = LauncherDiscoveryRequestBuilder.request()
                .selectors(selectClass(tests))
                .configurationParameter(
                        "junit.jupiter.extensions.store.close.autocloseable.enabled", Boolean.toString(closing))
                .build();
        var listener = new SummaryGeneratingListener();
        LauncherFactory.create().execute(request, listener);
        return listener.getSummary();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true}) // Before JUnit 5.13, and from then on.
    void aScopeIsThatOfOneTestAndEndsWithIt(boolean closing) {
        var summary = run(Two.class, closing);
        var failed = summary.getFailures().stream()
                .map(failure -> failure.getException().toString())
                .toList();
        assertEquals(List.of(), failed);
        assertEquals(2, summary.getTestsSucceededCount());
    }

    @Test
    void whatIsDoneForAllTestsOfAClassIsRefusedAScopeWithWordsThatHelp() {
        var expected = List.of("a TestScope belongs to one test", "a Client belongs to one test");
        var refused = List.of(MadeWithAScope.class, PreparedWithAClient.class);
        for (var at = 0; at < refused.size(); at++) {
            var failures = run(refused.get(at), true).getFailures();
            assertEquals(1, failures.size());
            var words = failures.get(0).getException().getMessage();
            assertTrue(words.startsWith(expected.get(at)), words);
            assertTrue(words.endsWith("open one that they share by a TestServer's openScope()"), words);
        }
    }
}
