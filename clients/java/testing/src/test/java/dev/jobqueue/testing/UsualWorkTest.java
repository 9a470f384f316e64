package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Client;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Json;
import dev.jobqueue.KeyPolicy;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.QueueChange;
import dev.jobqueue.Unique;
import dev.jobqueue.Unique.Action;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** What a producer is answered by a real server: of unique work, of a full backlog, of a wait in vain. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class UsualWorkTest {
    @BeforeEach
    void declare(Client client) {
        client.putKind(Kind.of("mail"));
    }

    private static NewJob.Builder mail(int number) {
        return NewJob.builder("mail").payload(Json.of(Integer.toString(number)));
    }

    @Test
    void theUsualNamesKeepTheFirstOneUntilItStartsOrEndsOrItsPeriodIsOver(Client client) {
        var hour = Duration.ofHours(1);
        for (var unique : List.of(Unique.whileWaiting("w"), Unique.whileLive("l"), Unique.throttle(hour, "t"))) {
            var done = client.enqueueMany(List.of(
                    mail(1).unique(unique).build(), mail(2).unique(unique).build()));
            assertNull(done.get(0).uniqueAction());
            assertEquals(Action.KEPT, done.get(1).uniqueAction());
            assertEquals(done.get(0).id(), done.get(1).id());
        }
    }

    @Test
    void withoutAKeyThereIsOneForEachPayload(Client client) {
        var first = mail(1).unique(Unique.whileLive()).build();
        var second = mail(2).unique(Unique.whileLive()).build();
        assertNull(client.enqueue(first).uniqueAction());
        assertNull(client.enqueue(second).uniqueAction());
        assertEquals(Action.KEPT, client.enqueue(first).uniqueAction());
    }

    @Test
    void aDebouncePutsTheFirstOneOffAndGivesItTheLastPayload(Client client) {
        var unique = Unique.debounce(Duration.ofSeconds(90), "d");
        var first = client.enqueue(
                mail(1).unique(unique).delay(Duration.ofSeconds(10)).build());
        var second = client.enqueue(
                mail(2).unique(unique).delay(Duration.ofSeconds(60)).build());
        assertEquals(first.id(), second.id());
        assertEquals(Action.DEBOUNCED, second.uniqueAction());
        var stored = client.get(first.id());
        assertEquals(Json.of("2"), stored.payload().orElseThrow());
        assertTrue(stored.runAt().isAfter(first.runAt()));
    }

    @Test
    void aJobForWhichAQueueOrAKeyHasNoRoomIsRefusedWithWhatIsFull(Client client) {
        var policy = new KeyPolicy(1, null, 1, false);
        client.updateQueue("few", QueueChange.of(policy).withMaxWaiting(3).withAllowMissing());
        var impatient = client.withDeadline(Duration.ofSeconds(1));
        var of = mail(1).queue("few").key("ada").build();
        client.enqueueMany(List.of(of, of));
        var full = assertThrows(JobQueueException.KeyBacklogFull.class, () -> impatient.enqueue(of));
        assertEquals("job.key", full.violations().get(0).field());
        assertTrue(full.retryAfter().isPresent());
        client.enqueue(mail(1).queue("few").key("eve").build());
        var other = mail(1).queue("few").key("joe").build();
        var error = assertThrows(JobQueueException.QueueBacklogFull.class, () -> impatient.enqueue(other));
        assertEquals("few", error.metadata().get("queue"));
        assertEquals("3", error.metadata().get("limit"));
        // Who catches overload catches both.
        assertThrows(JobQueueException.Overloaded.class, () -> impatient.enqueue(other));
    }

    @Test
    void aWaitOfASecondThatEndsInVainSaysWhy(Client client) {
        var job = client.enqueue(mail(1).build());
        var error = assertThrows(
                JobQueueException.WaitTimeout.class, () -> client.waitFor(job.id(), Duration.ofSeconds(1)));
        assertEquals(client.explain(job.id()).summary(), error.summary());
        assertTrue(
                error.getMessage().contains("QUEUED and not over after 1.0 s; The job waits, since no worker"),
                error.getMessage());
    }
}
