package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.Backfill;
import dev.jobqueue.Client;
import dev.jobqueue.Filter;
import dev.jobqueue.Job;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.NewSchedule;
import dev.jobqueue.Operation;
import dev.jobqueue.Schedule;
import dev.jobqueue.ScheduleChange;
import dev.jobqueue.ScheduleFilter;
import dev.jobqueue.SchedulePolicy;
import dev.jobqueue.SchedulePolicy.CatchUp;
import dev.jobqueue.SchedulePolicy.Overlap;
import dev.jobqueue.ScheduleRun.Cause;
import dev.jobqueue.ScheduleRun.Outcome;
import dev.jobqueue.ScheduleSpec;
import dev.jobqueue.ScheduleTick;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Schedules of a real server. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class SchedulesTest {
    private static final JobKind<Report, Integer> REPORT =
            JobKind.define("report", Report.class, Integer.class).build();
    private static final ScheduleSpec NIGHTLY = ScheduleSpec.cron("30 2 * * *").withTimeZone("Europe/Berlin");
    private static final Json SALES = Json.of("{\"of\":\"sales\",\"days\":7}");
    private static final NewJob JOB = REPORT.job(new Report("sales", 7)).build();

    record Report(String of, int days) {}

    @BeforeEach
    void declare(Client client) {
        client.putKind(Kind.of("report"));
        client.putKind(Kind.of("other"));
    }

    @Test
    void aScheduleIsReadAsItWasMade(Client client) {
        var spec = NIGHTLY.withStartsAt(Instant.parse("2020-01-01T00:00:00Z"))
                .withEndsAt(Instant.parse("2120-01-01T00:00:00Z"))
                .withJitter(Duration.ofMinutes(5));
        var policy = SchedulePolicy.DEFAULT
                .withOverlap(Overlap.ALLOW)
                .withCatchUp(CatchUp.ALL, Duration.ofHours(2))
                .withPauseAfterFailures(3)
                .withKeepRuns(7);
        var job = REPORT.job(new Report("sales", 7)).queue("reports").key("k").headers(Map.of("h", "1"));
        var made = client.schedules()
                .create(NewSchedule.of(
                                "nightly", spec, job.labels(Map.of("a", "b")).build())
                        .withPolicy(policy)
                        .withLabels(Map.of("team", "x")));
        var read = client.schedules().get("nightly");
        for (var each : List.of(made, read)) {
            assertEquals("nightly", each.name());
            assertEquals(spec, each.spec());
            assertEquals(policy, each.policy());
            assertEquals(Map.of("team", "x"), each.labels());
            assertFalse(each.paused());
            // Typed as it was given, and with all that was said of it.
            assertEquals(SALES, each.job().payload());
            assertEquals("reports", each.job().queue());
            assertEquals("k", each.job().key());
            assertEquals(Map.of("h", "1"), each.job().headers());
            assertEquals(5, each.upcoming().size());
            assertEquals(each.upcoming().get(0).tickAt(), each.nextAt().orElseThrow());
            assertEquals(Optional.empty(), each.lastRun());
        }
        assertEquals(made.etag(), read.etag());
        assertEquals(made.createdAt(), read.createdAt());
    }

    @Test
    void aSpecBySpanIsReadAsItWasMade(Client client) {
        var spec = ScheduleSpec.every(Duration.ofHours(6))
                .withPhase(Duration.ofMinutes(20))
                .withTimeZone("Etc/UTC");
        assertEquals(spec, client.schedules().create("six", spec, JOB).spec());
    }

    @Test
    void aNameStandsForOneSchedule(Client client) {
        client.schedules().create("nightly", NIGHTLY, JOB);
        assertThrows(
                JobQueueException.ScheduleExists.class, () -> client.schedules().create("nightly", NIGHTLY, JOB));
    }

    @Test
    void aLineThatIsNoneIsSaidWhereItStands(Client client) {
        var wrong = ScheduleSpec.cron("30 2 * * *", "61 * * * *");
        var error = assertThrows(
                JobQueueException.InvalidRequest.class, () -> client.schedules().create("nightly", wrong, JOB));
        assertEquals("schedule.spec.cron[1]", error.violations().get(0).field());
        error = assertThrows(
                JobQueueException.InvalidRequest.class, () -> client.schedules().preview(wrong, 1));
        assertEquals("spec.cron[1]", error.violations().get(0).field());
    }

    @Test
    void aTickIsTheTimeAndTheKeyOfItsJob(Client client) {
        var job = NewJob.builder("report");
        for (var wrong : Map.of(
                        "delay", job.delay(Duration.ofHours(1)).build(),
                        "run_at", NewJob.builder("report").runAt(Instant.now()).build(),
                        "idempotency_key", NewJob.builder("report").idempotent().build())
                .entrySet()) {
            var field = "schedule.job." + wrong.getKey();
            for (var code : List.<Runnable>of(
                    () -> client.schedules().create("nightly", NIGHTLY, wrong.getValue()),
                    () -> client.schedules().update("nightly", ScheduleChange.NONE.withJob(wrong.getValue())))) {
                var error = assertThrows(JobQueueException.InvalidRequest.class, code::run);
                assertEquals(field, error.violations().get(0).field());
            }
        }
    }

    @Test
    void whatDoesNotExistIsNotFound(Client client) {
        var schedules = client.schedules();
        for (var call : List.<Runnable>of(
                () -> schedules.get("none"),
                () -> schedules.update("none", ScheduleChange.NONE.withSpec(NIGHTLY)),
                () -> schedules.delete("none"),
                () -> schedules.pause("none"),
                () -> schedules.resume("none"),
                () -> schedules.run("none"),
                () -> schedules.runs("none").toList(),
                () -> schedules.backfill("none", Backfill.of(Instant.EPOCH, Instant.EPOCH.plusSeconds(60))))) {
            assertThrows(JobQueueException.ScheduleNotFound.class, call::run);
        }
        var error = assertThrows(
                CompletionException.class,
                () -> client.async().schedules().get("none").join());
        assertTrue(error.getCause() instanceof JobQueueException.ScheduleNotFound);
    }

    @Test
    void allThatMatchAreListedByNamePageByPage(Client client) {
        for (var name : List.of("c", "a", "b")) {
            client.schedules()
                    .create(NewSchedule.of(name, NIGHTLY, JOB)
                            .withLabels(Map.of("of", name))
                            .withPaused(name.equals("b")));
        }
        client.schedules()
                .create("d", NIGHTLY, NewJob.builder("other").queue("q").build());
        var all = ScheduleFilter.ALL.withPageSize(1);
        assertEquals(List.of("a", "b", "c", "d"), names(client, all));
        assertEquals(List.of("a", "b", "c"), names(client, all.withKind("report")));
        assertEquals(List.of("d"), names(client, all.withQueue("q")));
        assertEquals(List.of("b"), names(client, all.withPaused(true)));
        assertEquals(List.of("a", "c", "d"), names(client, all.withPaused(false)));
        assertEquals(List.of("c"), names(client, all.withLabels(Map.of("of", "c"))));
        var page = client.schedules().listPage(all, "");
        assertEquals(1, page.schedules().size());
        assertNotEquals("", page.nextPageToken());
    }

    private static List<String> names(Client client, ScheduleFilter filter) {
        return client.schedules().list(filter).map(Schedule::name).toList();
    }

    @Test
    void whatIsNotGivenStays(Client client) {
        var policy = SchedulePolicy.DEFAULT.withKeepRuns(7).withPauseAfterFailures(3);
        var made = client.schedules()
                .create(NewSchedule.of("nightly", NIGHTLY, JOB)
                        .withPolicy(policy)
                        .withLabels(Map.of("a", "b")));
        var hourly = ScheduleSpec.cron("@hourly");
        var changed = client.schedules()
                .update("nightly", ScheduleChange.NONE.withSpec(hourly).withEtag(made.etag()));
        assertEquals(List.of("@hourly"), changed.spec().cron());
        assertEquals(made.labels(), changed.labels());
        assertEquals(SALES, changed.job().payload());
        assertNotEquals(made.etag(), changed.etag());
        // Of the policy the named fields alone.
        changed = client.schedules()
                .update(
                        "nightly",
                        ScheduleChange.NONE
                                .withPolicy(SchedulePolicy.DEFAULT.withKeepRuns(9), "keep_runs")
                                .withLabels(Map.of()));
        assertEquals(9, changed.policy().keepRuns());
        assertEquals(3, changed.policy().pauseAfterFailures());
        assertEquals(Map.of(), changed.labels());
        changed = client.schedules()
                .update(
                        "nightly",
                        ScheduleChange.NONE
                                .withJob(NewJob.of("other", 1))
                                .withPolicy(SchedulePolicy.DEFAULT.withOverlap(Overlap.SKIP)));
        assertEquals(Json.of("1"), changed.job().payload());
        assertEquals(0, changed.policy().pauseAfterFailures());
        assertEquals(Overlap.SKIP, changed.policy().overlap());
    }

    @Test
    void aJobThatWasListedIsNotWrittenBack(Client client) {
        client.schedules().create("nightly", NIGHTLY, JOB);
        var listed = client.schedules().list(ScheduleFilter.ALL).findFirst().orElseThrow();
        assertEquals(null, listed.job().payload());
        var change = ScheduleChange.NONE.withJob(listed.job());
        assertThrows(
                JobQueueException.InvalidRequest.class, () -> client.schedules().update("nightly", change));
        assertEquals(SALES, client.schedules().get("nightly").job().payload());
    }

    @Test
    void aScheduleThatWasChangedSinceIsNotChangedNorDeleted(Client client) {
        var old = client.schedules().create("nightly", NIGHTLY, JOB);
        var now = client.schedules().update("nightly", ScheduleChange.NONE.withLabels(Map.of("a", "b")));
        var change = ScheduleChange.NONE.withLabels(Map.of());
        assertThrows(JobQueueException.EtagMismatch.class, () -> client.schedules()
                .update("nightly", change.withEtag(old.etag())));
        assertThrows(
                JobQueueException.EtagMismatch.class, () -> client.schedules().delete("nightly", old.etag()));
        assertEquals(Map.of("a", "b"), client.schedules().get("nightly").labels());
        client.schedules().delete("nightly", now.etag());
        assertThrows(JobQueueException.ScheduleNotFound.class, () -> client.schedules()
                .get("nightly"));
    }

    @Test
    void aMissingScheduleIsMadeWhereThatIsAllowed(Client client) {
        var change = ScheduleChange.NONE.withSpec(NIGHTLY).withJob(JOB).withAllowMissing();
        assertEquals(NIGHTLY, client.schedules().update("nightly", change).spec());
        client.schedules().delete("nightly");
        assertEquals(List.of(), names(client, ScheduleFilter.ALL));
    }

    @Test
    void aPausedScheduleHasNoTicksUntilItIsResumed(Client client) {
        client.schedules().create("nightly", NIGHTLY, JOB);
        var paused = client.schedules().pause("nightly", "august");
        assertTrue(paused.paused());
        assertEquals("august", paused.pauseNote());
        assertEquals(Optional.empty(), paused.nextAt());
        var resumed = client.schedules().resume("nightly");
        assertFalse(resumed.paused());
        assertTrue(resumed.nextAt().isPresent());
    }

    @Test
    void aRunByHandEnqueuesTheJobNow(TestScope scope, Client client) {
        client.schedules()
                .create(NewSchedule.of("nightly", NIGHTLY, JOB)
                        .withPolicy(SchedulePolicy.DEFAULT.withOverlap(Overlap.SKIP))
                        .withPaused(true));
        var run = client.schedules().run("nightly", Overlap.UNSPECIFIED, "mine");
        assertEquals(Outcome.FIRED, run.outcome());
        assertEquals(Cause.BY_HAND, run.cause());
        var job = scope.assertEnqueued(Wanted.of("report").count(1)).get(0);
        assertEquals(job.id(), run.jobId());
        assertEquals(new Report("sales", 7), REPORT.payloadOf(job));
        // The same request is the same run.
        assertEquals(run, client.schedules().run("nightly", Overlap.UNSPECIFIED, "mine"));
        assertEquals(Outcome.SKIPPED_OVERLAP, client.schedules().run("nightly").outcome());
        assertEquals(
                Outcome.FIRED,
                client.schedules().run("nightly", Overlap.ALLOW, "").outcome());
        var runs = client.schedules().runs("nightly").toList();
        assertEquals(
                List.of(Outcome.FIRED, Outcome.SKIPPED_OVERLAP, Outcome.FIRED),
                runs.stream().map(each -> each.outcome()).toList());
        assertEquals(run, runs.get(2));
        var page = client.schedules().runsPage("nightly", 2, "");
        assertEquals(runs.subList(0, 2), page.runs());
        assertEquals(
                runs.subList(2, 3),
                client.schedules().runsPage("nightly", 2, page.nextPageToken()).runs());
        var read = client.schedules().get("nightly");
        assertEquals(2, read.fired());
        assertEquals(2, read.openJobIds().size());
        assertEquals(Optional.of(runs.get(0)), read.lastRun());
    }

    @Test
    void aBackfillFiresTheTicksOfASpanOfThePast(TestScope scope, Client client) {
        client.schedules().create("nightly", NIGHTLY, JOB);
        var from = Instant.parse("2026-01-01T00:00:00Z");
        var span = Backfill.of(from, from.plus(Duration.ofDays(3)));
        var counted = client.schedules().backfill("nightly", span.withValidateOnly(true));
        assertEquals(3, counted.estimate());
        assertTrue(counted.dryRun());
        scope.assertNotEnqueued("report");
        var begun = client.schedules()
                .backfill("nightly", span.withMaxTicks(2).withPerSecond(1000).withRequestId("mine"));
        assertEquals("BackfillSchedule", begun.verb());
        assertEquals(Optional.of("nightly"), begun.schedule());
        assertEquals(Optional.of(from), begun.startAt());
        assertEquals(2, begun.maxJobs());
        assertEquals(1000, begun.perSecond());
        assertNotEquals(Operation.State.UNSPECIFIED, begun.state());
        var jobs = scope.assertEnqueued(Wanted.of("report").count(2).within(Duration.ofSeconds(60)));
        assertEquals(2, jobs.stream().map(Job::id).distinct().count());
        assertThrows(JobQueueException.RequestIdReused.class, () -> client.schedules()
                .backfill("nightly", span.withMaxTicks(1).withRequestId("mine")));
        var future = Backfill.of(from, Instant.now().plus(Duration.ofDays(2)));
        assertThrows(
                JobQueueException.InvalidRequest.class, () -> client.schedules().backfill("nightly", future));
        assertEquals(
                List.of(Cause.BY_BACKFILL, Cause.BY_BACKFILL),
                client.schedules().runs("nightly").map(each -> each.cause()).toList());
        assertEquals(2, client.list(Filter.builder().kind("report").build()).count());
    }

    @Test
    void aSpecIsTriedWithoutASchedule(Client client) {
        var since = Instant.parse("2027-03-27T00:00:00Z");
        var ticks = client.schedules().preview(NIGHTLY, 3, since);
        assertEquals(
                List.of("2027-03-27T02:30:00+01:00", "2027-03-28T03:00:00+02:00", "2027-03-29T02:30:00+02:00"),
                ticks.stream().map(ScheduleTick::localTime).toList());
        assertEquals(Instant.parse("2027-03-28T01:00:00Z"), ticks.get(1).tickAt());
        assertEquals(
                List.of(ScheduleTick.Rule.UNSPECIFIED, ScheduleTick.Rule.AFTER_GAP, ScheduleTick.Rule.UNSPECIFIED),
                ticks.stream().map(ScheduleTick::rule).toList());
        assertEquals(10, client.schedules().preview(NIGHTLY, 0).size());
        assertTrue(client.schedules().preview(NIGHTLY, 1).get(0).tickAt().isAfter(Instant.now()));
    }
}
