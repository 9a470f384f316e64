import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Jobs that follow: they are stored in the transaction that ends their job, so there is never one without the other.
 *
 * <pre>java -cp "target/classes:target/lib/*" FollowUp</pre>
 */
class FollowUp {
    static final String QUEUE = "example-follow-up";

    record Order(int number) {}

    static final JobKind<Order, Void> PACK =
            JobKind.define("example_pack", Order.class).queue(QUEUE).build();
    static final JobKind<Order, Void> RECEIPT =
            JobKind.define("example_receipt", Order.class).queue(QUEUE).build();

    public static void main(String[] arguments) throws InterruptedException {
        var json = Codecs.jackson();
        var sent = new CountDownLatch(1);
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .codec(json)
                        .syncKinds(true)
                        .build()) {
            worker.handle(PACK, (order, context) -> {
                System.out.println("order " + order.number() + " is packed");
                // Stored if this attempt succeeds, and only then.
                context.followUp(RECEIPT.job(order).build());
                return null;
            });
            worker.handle(RECEIPT, (order, context) -> {
                System.out.println("the receipt of order " + order.number() + " is sent");
                sent.countDown();
                return null;
            });
            new Thread(worker::serve).start();

            client.syncKinds(PACK, RECEIPT);
            client.enqueue(PACK, new Order(7));
            if (!sent.await(1, TimeUnit.MINUTES)) {
                throw new IllegalStateException("no receipt was sent");
            }
        }
    }
}
