package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Client;
import dev.jobqueue.Filter;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.Overview;
import dev.jobqueue.Stats;
import dev.jobqueue.StatsQuery;
import dev.jobqueue.StatsQuery.GroupBy;
import dev.jobqueue.Status;
import java.time.Duration;
import java.time.Instant;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** How the queues of a real server are doing, and what happened. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class StatisticsTest {
    @BeforeEach
    void declare(Client client) {
        client.putKind(Kind.of("mail"));
        client.putKind(Kind.of("other"));
    }

    @Test
    void theOverviewTellsWhatWaitsAndWhatIsWrong(Client client) throws Exception {
        client.enqueueMany(
                Collections.nCopies(3, NewJob.builder("mail").queue("mail").build()));
        client.enqueue(NewJob.builder("mail").queue("mail").hold(true).build());
        client.pauseQueue("mail", "a move");
        // It is read every 2 s.
        var overview = client.overview();
        while (paused(overview).isEmpty() || overview.depth().queued() < 4) {
            Thread.sleep(200);
            overview = client.overview();
        }
        assertEquals(4, overview.depth().queued());
        assertEquals(1, overview.depth().held());
        assertTrue(overview.depth().oldestDueAge().isPresent());
        assertEquals(Duration.ofSeconds(20), overview.window());
        assertEquals(0, overview.queuesLeftOut());
        var queue = overview.queues().get(0);
        assertEquals("mail", queue.queue());
        assertTrue(queue.paused());
        assertEquals("a move", queue.pause().orElseThrow().reason());
        assertEquals(4, queue.depth().queued());
        assertEquals(0, queue.slots());
        var warning = paused(overview).get(0);
        assertEquals("mail", warning.queue());
        assertFalse(warning.remedy().isEmpty());
        assertEquals(1, overview.servers().size());
    }

    private static List<Overview.Warning> paused(Overview overview) {
        return overview.warnings().stream()
                .filter(each -> each.code() == Overview.Warning.Code.PAUSED_WITH_JOBS)
                .toList();
    }

    @Test
    void anOverviewIsToldAgainAndAgainUntilItIsClosed(Client client) throws Exception {
        var watch = client.watchOverview();
        var first = watch.next();
        assertTrue(watch.next().readAt().isAfter(first.readAt()));
        // Another thread ends it while the next is awaited.
        var more = CompletableFuture.supplyAsync(() -> {
            var told = 0;
            while (watch.hasNext()) {
                watch.next();
                told++;
            }
            return told;
        });
        watch.close();
        assertTrue(more.get(30, TimeUnit.SECONDS) >= 0);
        assertFalse(watch.hasNext());
        assertThrows(NoSuchElementException.class, watch::next);
    }

    @Test
    void anInterruptEndsAWatchThatIsWaitedFor(Client client) {
        try (var watch = client.watchOverview()) {
            watch.next();
            Thread.currentThread().interrupt();
            assertThrows(CancellationException.class, watch::next);
            assertTrue(Thread.interrupted());
            // It goes on with another stream.
            assertTrue(watch.hasNext());
        }
    }

    @Test
    void jobsAreCountedByTheFilterOfLists(Client client) {
        var job = NewJob.builder("mail").queue("mail").labels(Map.of("a", "b"));
        client.enqueueMany(Collections.nCopies(3, job.build()));
        client.cancel(client.enqueue("other", null).id());
        var hour = Duration.ofHours(1);
        var now = Instant.now();
        Map<Filter.Builder, Integer> matching = Map.of(
                Filter.builder(), 4,
                Filter.builder().kind("mail"), 3,
                Filter.builder().queue("mail"), 3,
                Filter.builder().status(Status.CANCELLED), 1,
                Filter.builder().labels(Map.of("a", "b")), 3,
                Filter.builder().createdAfter(now.minus(hour)).createdBefore(now.plus(hour)), 4,
                Filter.builder().createdAfter(now.plus(hour)), 0,
                Filter.builder().createdBefore(now.minus(hour)), 0);
        matching.forEach((filter, count) -> {
            var counted = client.countJobs(filter.build());
            assertEquals((long) count, counted.count());
            assertTrue(counted.exact());
        });
    }

    @Test
    void whatHappenedIsToldInSteps(Client client) throws Exception {
        client.enqueueMany(
                Collections.nCopies(3, NewJob.builder("mail").queue("mail").build()));
        client.cancel(client.enqueue("other", null).id());
        var query = StatsQuery.LAST_HOUR.withGroupBy(GroupBy.QUEUE_AND_KIND).withStep(Duration.ofSeconds(30));
        // Servers write what they have counted every 10 s, the cancellation perhaps later than the rest.
        var stats = client.stats(query);
        while (stats.series().stream().allMatch(each -> each.totals().cancelled() == 0)) {
            Thread.sleep(500);
            stats = client.stats(query);
        }
        assertEquals(Duration.ofSeconds(30), stats.step());
        assertEquals(0, stats.seriesLeftOut());
        var mail = series(stats, "mail");
        assertEquals("mail", mail.queue());
        assertEquals(3, mail.totals().enqueued());
        assertEquals(
                3,
                mail.points().stream()
                        .mapToLong(each -> each.totals().enqueued())
                        .sum());
        var other = series(stats, "other");
        assertEquals("default", other.queue());
        assertEquals(1, other.totals().cancelled());
        assertEquals(
                List.of(""),
                client.stats(StatsQuery.LAST_HOUR).series().stream()
                        .map(Stats.Series::kind)
                        .toList());
        assertEquals(1, client.stats(query.withKind("mail")).series().size());
        assertEquals(1, client.stats(query.withQueue("default")).series().size());
        var now = Instant.now();
        var wrong = StatsQuery.LAST_HOUR.withSince(now).withUntil(now.minus(Duration.ofHours(1)));
        assertThrows(JobQueueException.InvalidRequest.class, () -> client.stats(wrong));
    }

    private static Stats.Series series(Stats stats, String kind) {
        return stats.series().stream()
                .filter(each -> each.kind().equals(kind))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void theServersAreListed(Client client) {
        var servers = client.listServers();
        assertEquals(1, servers.size());
        assertTrue(servers.get(0).self());
        assertTrue(servers.get(0).level() >= 1);
        assertTrue(servers.get(0).startedAt().orElseThrow().isBefore(Instant.now()));
    }
}
