package dev.jobqueue.testing;

import dev.jobqueue.Client;
import java.util.function.Supplier;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolutionException;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * For JUnit 5: a {@link TestScope} of its own for each test that has a parameter of it or of its {@link Client}, also in its
 * {@code @BeforeEach} and {@code @AfterEach}; and the {@link TestServer}, which all tests of the run share and which ends with
 * them. What is done once for a class may have the server alone: a scope that several tests are to share is one that it opens.
 *
 * <pre>{@code
 * @ExtendWith(JobQueueExtension.class)
 * class OrdersTest {
 *     @Test
 *     void anOrderGetsItsReceipt(TestScope scope, Client client) throws Exception {...}
 * }
 * }</pre>
 */
public final class JobQueueExtension implements ParameterResolver {
    private static final ExtensionContext.Namespace HERE = ExtensionContext.Namespace.create(JobQueueExtension.class);

    /** One that JUnit makes. */
    public JobQueueExtension() {}

    @Override
    public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
        var type = parameter.getParameter().getType();
        return type == TestScope.class || type == Client.class || type == TestServer.class;
    }

    @Override
    public Object resolveParameter(ParameterContext parameter, ExtensionContext context) {
        var type = parameter.getParameter().getType();
        if (type == TestServer.class) {
            return server(context);
        }
        if (context.getTestMethod().isEmpty()) {
            // Its tests would find the scope of their class in place of one of their own.
            throw new ParameterResolutionException(
                    ("a %s belongs to one test, and this is done for all of %s: have it in the test or in @BeforeEach,"
                                    + " or open one that they share by a TestServer's openScope()")
                            .formatted(type.getSimpleName(), context.getDisplayName()));
        }
        var scope = (TestScope)
                kept(context, TestScope.class, () -> Kept.of(server(context).openScope()));
        return type == TestScope.class ? scope : scope.client();
    }

    /** That of the run. */
    private static TestServer server(ExtensionContext context) {
        return (TestServer) kept(context.getRoot(), TestServer.class, () -> Kept.of(TestServer.start()));
    }

    private static Object kept(ExtensionContext context, Class<?> type, Supplier<Kept> make) {
        return context.getStore(HERE)
                .getOrComputeIfAbsent(type, key -> make.get(), Kept.class)
                .value();
    }

    /** What JUnit closes with its store: of these before 5.13 a CloseableResource alone, and later what is AutoCloseable. */
    @SuppressWarnings("deprecation")
    private record Kept(Object value, Runnable end) implements AutoCloseable, ExtensionContext.Store.CloseableResource {
        static Kept of(TestScope scope) {
            return new Kept(scope, scope::close);
        }

        static Kept of(TestServer server) {
            return new Kept(server, server::close);
        }

        @Override
        public void close() {
            end.run();
        }
    }
}
