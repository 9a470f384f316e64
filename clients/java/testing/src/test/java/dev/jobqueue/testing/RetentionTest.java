package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.jobqueue.Client;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.QueueChange;
import dev.jobqueue.Retention;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** How long queues of a real server keep ended jobs. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class RetentionTest {
    private static final Retention KEPT =
            Retention.DEFAULT.withSucceeded(Duration.ofDays(1)).withFailedPermanent(Duration.ofDays(30));

    @Test
    void aQueueKeepsEndedJobsAsLongAsItIsTold(Client client) {
        var made = client.updateQueue("mail", QueueChange.NONE.withMaxWaiting(5).withAllowMissing());
        assertEquals(Optional.empty(), made.retention());
        client.updateQueue("mail", QueueChange.NONE.withRetention(KEPT).withEtag(made.etag()));
        var queue = client.getQueue("mail");
        assertEquals(Optional.of(KEPT), queue.retention());
        assertEquals(5, queue.maxWaiting());
        // The named times alone; what is not said is as of every queue.
        var change = Retention.DEFAULT.withCancelled(Duration.ofHours(1));
        var fields = QueueChange.NONE.withRetention(change, "cancelled", "failed_permanent");
        assertEquals(
                Optional.of(Retention.DEFAULT.withSucceeded(Duration.ofDays(1)).withCancelled(Duration.ofHours(1))),
                client.updateQueue("mail", fields).retention());
        // Another change leaves it.
        assertEquals(
                change.cancelled(),
                client.updateQueue("mail", QueueChange.NONE.withMaxWaiting(6))
                        .retention()
                        .orElseThrow()
                        .cancelled());
        queue = client.updateQueue("mail", QueueChange.NONE.withRetention(Retention.DEFAULT));
        assertEquals(Retention.DEFAULT, queue.retention().orElse(Retention.DEFAULT));
    }

    @Test
    void aTimeThatIsTooShortIsRefusedWhereItStands(Client client) {
        var change = QueueChange.NONE
                .withRetention(Retention.DEFAULT.withSucceeded(Duration.ofMinutes(1)))
                .withAllowMissing();
        var error = assertThrows(JobQueueException.InvalidRequest.class, () -> client.updateQueue("mail", change));
        assertEquals("queue.retention.succeeded", error.violations().get(0).field());
        var stale = QueueChange.NONE.withRetention(KEPT).withAllowMissing();
        client.updateQueue("mail", stale);
        assertThrows(JobQueueException.EtagMismatch.class, () -> client.updateQueue("mail", stale.withEtag("old")));
    }
}
