import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.NewJob;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.JobQueueExtension;
import dev.jobqueue.testing.TestScope;
import dev.jobqueue.testing.Wanted;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(JobQueueExtension.class)
class OrdersTest {
    static Worker worker() {
        var builder = Worker.builder("jobs.internal:50051").codec(Codecs.jackson());
        return builder.build()
                .handle("order", OrdersTest::order)
                .handle("receipt", (job, context) -> "receipt of " + job.payload());
    }

    static Object order(LeasedJob job, JobContext context) {
        var id = job.payload();
        context.followUp(NewJob.of("receipt", id));
        context.followUp(
                NewJob.builder("remind").payload(id).delay(Duration.ofDays(3)).build());
        return null;
    }

    @Test
    void anOrderGetsItsReceiptAtOnce(TestScope scope, Client client) throws Exception {
        for (var kind : List.of("order", "receipt", "remind")) {
            client.putKind(Kind.of(kind));
        }
        client.enqueue("order", 7);
        var idle = scope.runUntilIdle(worker());
        var receipt = idle.ended().get(1);
        assertEquals(Json.of("\"receipt of 7\""), receipt.output().orElseThrow());
        scope.assertEnqueued(
                Wanted.of("remind").payload(7).dueIn(Duration.ofDays(3)).count(1));
    }
}
