package shop;

import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Json;
import dev.jobqueue.spring.JobHandler;
import dev.jobqueue.spring.JobHandlerBean;
import org.springframework.stereotype.Component;

/** Sends a receipt for an order. */
@Component
class Receipts implements JobHandlerBean<Receipts.Order, Receipts.Receipt> {
    /** The body of a request, and the payload of its job. */
    record Order(int number, String email) {}

    record Receipt(String text) {}

    private static final String SCHEMA =
            """
            {"type": "object", "required": ["number", "email"], "properties": {
              "number": {"type": "integer", "minimum": 1}, "email": {"type": "string", "minLength": 3}}}
            """;

    static final JobKind<Order, Receipt> SEND_RECEIPT = JobKind.define("shop-receipt", Order.class, Receipt.class)
            .maxAttempts(5)
            .schema(Json.of(SCHEMA))
            .build();

    @Override
    public JobKind<Order, Receipt> kind() {
        return SEND_RECEIPT;
    }

    @Override
    public Receipt run(Order order, JobContext context) {
        return new Receipt("order %d for %s".formatted(order.number(), order.email()));
    }

    /** What needs no type of its own is a method. */
    @JobHandler(kind = "shop-restock")
    String restock(int pieces) {
        return pieces + " pieces";
    }
}
