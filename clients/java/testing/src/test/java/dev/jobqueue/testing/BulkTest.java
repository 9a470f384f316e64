package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.CancelJobs;
import dev.jobqueue.Client;
import dev.jobqueue.DeleteJobs;
import dev.jobqueue.Filter;
import dev.jobqueue.Job;
import dev.jobqueue.JobFilter;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.Operation;
import dev.jobqueue.RetryJobs;
import dev.jobqueue.Status;
import dev.jobqueue.UpdateJobs;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletionException;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Changes of many jobs on a real server. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class BulkTest {
    private static final JobFilter MAIL = JobFilter.builder().queue("mail").build();

    @BeforeEach
    void declare(Client client) {
        client.putKind(Kind.of("mail"));
    }

    /** So many jobs of the queue mail. */
    private static List<String> jobs(Client client, int count) {
        var job = NewJob.builder("mail").queue("mail").labels(Map.of("a", "b")).build();
        return client.enqueueMany(Collections.nCopies(count, job)).stream()
                .map(each -> each.id())
                .toList();
    }

    private static Set<Status> statuses(Client client) {
        return client.list(Filter.ALL).map(Job::status).collect(Collectors.toSet());
    }

    @Test
    void withoutForceNothingChangesAndWhatMatchesIsTold(Client client) {
        var ids = jobs(client, 3);
        for (var counted : List.of(
                client.cancelJobs(MAIL),
                client.updateJobs(MAIL, UpdateJobs.builder().priority(5).build()))) {
            assertTrue(counted.dryRun());
            assertEquals(3, counted.estimate());
            assertFalse(counted.estimateCapped());
            assertEquals(Set.copyOf(ids), Set.copyOf(counted.sampleIds()));
            assertEquals("", counted.name());
            assertEquals(0, counted.changed());
        }
        assertEquals(0, client.retryJobs(MAIL).estimate());
        assertEquals(0, client.deleteJobs(MAIL).estimate());
        assertEquals(Set.of(Status.QUEUED), statuses(client));
        assertEquals(0, client.get(ids.get(0)).priority());
        assertEquals(List.of(), client.listOperations());
    }

    @Test
    void jobsAreCancelledRetriedAndDeleted(Client client) {
        var ids = jobs(client, 4);
        var cancel = CancelJobs.builder().force().reason("sent by hand").perSecond(1000);
        var begun = client.cancelJobs(MAIL, cancel.expected(4).build());
        assertEquals("CancelJobs", begun.verb());
        assertEquals(1000, begun.perSecond());
        var done = client.waitOperation(begun.name());
        assertEquals(begun.name(), done.name());
        assertTrue(done.done());
        assertEquals(Operation.State.SUCCEEDED, done.state());
        assertEquals(4, done.changed());
        assertEquals(0, done.skipped());
        assertEquals("", done.error());
        assertTrue(done.createdAt().isPresent() && done.endedAt().isPresent());
        assertEquals(Optional.empty(), done.schedule());
        assertEquals(Set.of(Status.CANCELLED), statuses(client));
        // All but one go on elsewhere, and later.
        client.enqueue(NewJob.builder("mail").queue("slow").build());
        var retry = RetryJobs.builder()
                .force()
                .toQueue("slow")
                .delay(Duration.ofHours(1))
                .spread(Duration.ofMinutes(1))
                .maxJobs(3);
        done = client.waitOperation(client.retryJobs(MAIL, retry.build()).name());
        assertEquals(3, done.changed());
        assertEquals(3, done.maxJobs());
        var retried = client.list(Filter.builder().queue("slow").build())
                .filter(job -> ids.contains(job.id()))
                .toList();
        assertEquals(3, retried.size());
        assertTrue(retried.stream()
                .allMatch(job -> job.runAt().isAfter(Instant.now().plusSeconds(3000))));
        done = client.waitOperation(
                client.deleteJobs(MAIL, DeleteJobs.builder().force().build()).name());
        assertEquals(1, done.changed());
        assertEquals(4, client.list(Filter.ALL).count());
    }

    @Test
    void jobsThatWaitAreChanged(Client client) {
        var ids = jobs(client, 2);
        var later = Instant.now().truncatedTo(ChronoUnit.SECONDS).plus(Duration.ofDays(3));
        var update = UpdateJobs.builder().force().priority(5).maxAttempts(9).runAt(later);
        var filter = JobFilter.builder()
                .ids(ids)
                .labels(Map.of("a", "b"))
                .kind("mail")
                .status(Status.QUEUED);
        client.waitOperation(client.updateJobs(filter.build(), update.build()).name());
        var job = client.get(ids.get(1));
        assertEquals(5, job.priority());
        assertEquals(9, job.maxAttempts());
        assertEquals(later, job.runAt());
        // A priority of 0 is one, and what is not said stays.
        update = UpdateJobs.builder().force().priority(0);
        client.waitOperation(client.updateJobs(filter.build(), update.build()).name());
        job = client.get(ids.get(1));
        assertEquals(0, job.priority());
        assertEquals(9, job.maxAttempts());
    }

    @Test
    void onlyWhatMatchesAllThatIsSaidIsChanged(Client client) {
        jobs(client, 2);
        var now = Instant.now();
        var hour = Duration.ofHours(1);
        Map<JobFilter.Builder, Integer> matching = Map.of(
                JobFilter.builder().everything(), 2,
                JobFilter.builder().createdAfter(now.minus(hour)).createdBefore(now.plus(hour)), 2,
                JobFilter.builder().createdAfter(now.plus(hour)), 0,
                JobFilter.builder().createdBefore(now.minus(hour)), 0,
                JobFilter.builder().labels(Map.of("a", "c")), 0,
                JobFilter.builder().kind("mail").status(Status.RETRYING), 0);
        matching.forEach((filter, count) ->
                assertEquals((long) count, client.cancelJobs(filter.build()).estimate()));
        client.waitOperation(
                client.cancelJobs(MAIL, CancelJobs.builder().force().build()).name());
        var ended = JobFilter.builder().endedAfter(now.minus(hour)).endedBefore(now.plus(hour));
        assertEquals(2, client.retryJobs(ended.build()).estimate());
        assertEquals(
                2,
                client.retryJobs(ended.reason("CANCELLED_BY_CALLER", "ATTEMPTS_EXHAUSTED")
                                .build())
                        .estimate());
        assertEquals(
                0, client.retryJobs(ended.reason("ATTEMPTS_EXHAUSTED").build()).estimate());
        assertEquals(
                0,
                client.retryJobs(JobFilter.builder().errorType("TimeoutError").build())
                        .estimate());
        assertThrows(
                JobQueueException.InvalidRequest.class,
                () -> client.cancelJobs(JobFilter.builder().build()));
    }

    @Test
    void aFilterThatHasChangedSinceItWasCountedChangesNothing(Client client) {
        jobs(client, 3);
        var cancel = CancelJobs.builder().force().expected(0).build();
        var error = assertThrows(JobQueueException.FilterChanged.class, () -> client.cancelJobs(MAIL, cancel));
        assertEquals("3", error.metadata().get("estimate"));
        assertEquals(Set.of(Status.QUEUED), statuses(client));
    }

    @Test
    void theSameRequestIsTheSameOperation(Client client) {
        jobs(client, 1);
        var cancel = CancelJobs.builder().force().requestId("mine").build();
        var first = client.cancelJobs(MAIL, cancel);
        assertEquals(first.name(), client.cancelJobs(MAIL, cancel).name());
        var other = CancelJobs.builder().force().requestId("mine").perSecond(1).build();
        var error = assertThrows(JobQueueException.RequestIdReused.class, () -> client.cancelJobs(MAIL, other));
        assertEquals(first.name(), error.metadata().get("operation"));
    }

    @Test
    void anOperationIsWaitedForCancelledAndDeleted(Client client) {
        jobs(client, 40);
        var slow = CancelJobs.builder().force().perSecond(1).build();
        var name = client.cancelJobs(MAIL, slow).name();
        // After the timeout it is as it then is.
        var going = client.waitOperation(name, Duration.ofMillis(50));
        assertFalse(going.done());
        assertThrows(JobQueueException.OperationNotDone.class, () -> client.deleteOperation(name));
        client.cancelOperation(name);
        var stopped = client.waitOperation(name);
        assertEquals(Operation.State.CANCELLED, stopped.state());
        assertTrue(stopped.changed() < 40);
        assertFalse(stopped.error().isEmpty());
        assertEquals(stopped, client.getOperation(name));
        assertEquals(List.of(stopped), client.listOperations());
        client.deleteOperation(name);
        var calls = new ArrayList<Runnable>();
        calls.add(() -> client.getOperation(name));
        calls.add(() -> client.waitOperation(name));
        calls.add(() -> client.cancelOperation(name));
        calls.add(() -> client.deleteOperation(name));
        for (var call : calls) {
            assertThrows(JobQueueException.OperationNotFound.class, call::run);
        }
        var error = assertThrows(
                CompletionException.class,
                () -> client.async().getOperation(name).join());
        assertTrue(error.getCause() instanceof JobQueueException.OperationNotFound);
    }

    @Test
    void jobsGoToAQueueThatIsThere(Client client) {
        jobs(client, 1);
        var update = UpdateJobs.builder().force().toQueue("none").build();
        assertThrows(JobQueueException.QueueNotFound.class, () -> client.updateJobs(MAIL, update));
    }
}
