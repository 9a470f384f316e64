package dev.jobqueue.testing;

import dev.jobqueue.Client;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ParameterContext;
import org.junit.jupiter.api.extension.ParameterResolver;

/**
 * For JUnit 5: a {@link TestScope} of its own for each test that has a parameter of it or of its {@link Client}; and the {@link
 * TestServer}, which all tests of the run share and which ends with them.
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
        var scope = context.getStore(HERE)
                .getOrComputeIfAbsent(TestScope.class, key -> server(context).openScope(), TestScope.class);
        return type == TestScope.class ? scope : scope.client();
    }

    /** That of the run: JUnit closes what it stores. */
    private static TestServer server(ExtensionContext context) {
        return context.getRoot()
                .getStore(HERE)
                .getOrComputeIfAbsent(TestServer.class, key -> TestServer.start(), TestServer.class);
    }
}
