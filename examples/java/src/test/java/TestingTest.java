import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Enqueuer;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.JobQueueExtension;
import dev.jobqueue.testing.RecordingClient;
import dev.jobqueue.testing.TestScope;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * Tests of a handler alone, of a producer alone, and of both with a real server, in a namespace of the test's own.
 *
 * <pre>mvn test</pre>
 */
@ExtendWith(JobQueueExtension.class)
class TestingTest {
    record Invoice(int number, int cents) {}

    // ---- what is to be tested

    static final JobKind<Invoice, String> INVOICE = JobKind.define("example_invoice", Invoice.class, String.class)
            .queue("example-testing")
            .build();

    static String write(Invoice invoice, JobContext context) {
        return String.format(Locale.ROOT, "invoice %d: %.2f EUR", invoice.number(), invoice.cents() / 100.0);
    }

    static Worker worker() {
        return Worker.builder("127.0.0.1:50051")
                .queues("example-testing")
                .codec(Codecs.jackson())
                .build()
                .handle(INVOICE, TestingTest::write);
    }

    /** A producer, as of an HTTP handler. */
    static void order(Enqueuer client, int number, int cents) {
        client.enqueue(INVOICE, new Invoice(number, cents));
    }

    // ---- the tests

    @Test
    void anInvoiceHasItsSum() throws Exception {
        var done = perform(INVOICE, TestingTest::write, new Invoice(7, 1250));
        assertEquals("invoice 7: 12.50 EUR", done.output());
    }

    @Test
    void anOrderEnqueuesItsInvoice() {
        var client = new RecordingClient();
        order(client, 7, 1250);
        var invoices = client.jobs().stream().map(INVOICE::payloadOf).toList();
        assertEquals(List.of(new Invoice(7, 1250)), invoices);
    }

    @Test
    void anOrderIsInvoiced(TestScope scope, Client client) throws Exception {
        client.syncKinds(INVOICE);
        order(client, 8, 99);
        var idle = scope.runUntilIdle(worker());
        var outputs = idle.ended().stream().map(INVOICE::outputOf).toList();
        assertEquals(List.of("invoice 8: 0.99 EUR"), outputs);
    }
}
