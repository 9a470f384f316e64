package dev.jobqueue.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.jobqueue.AesGcm;
import dev.jobqueue.AppliedSchedule;
import dev.jobqueue.AppliedSchedule.Done;
import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Encodings;
import dev.jobqueue.JobKind;
import dev.jobqueue.JobQueueException;
import dev.jobqueue.Json;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import dev.jobqueue.NewSchedule;
import dev.jobqueue.Schedule;
import dev.jobqueue.ScheduleFilter;
import dev.jobqueue.SchedulePolicy;
import dev.jobqueue.SchedulePolicy.Overlap;
import dev.jobqueue.ScheduleSpec;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/** Schedules that a program declares, of a real server. */
@Timeout(120)
@ExtendWith(JobQueueExtension.class)
class AppliedSchedulesTest {
    private static final JobKind<Report, Integer> REPORT =
            JobKind.define("report", Report.class, Integer.class).build();
    private static final ScheduleSpec YEARLY = ScheduleSpec.cron("0 0 1 1 *");
    private static final SchedulePolicy POLICY =
            SchedulePolicy.DEFAULT.withOverlap(Overlap.SKIP).withKeepRuns(7);

    record Report(String of) {}

    @BeforeEach
    void declare(Client client) {
        client.putKind(Kind.of("report"));
    }

    private static NewSchedule declared(String name) {
        return NewSchedule.of(name, YEARLY, REPORT.job(new Report("sales")).build());
    }

    private static List<NewSchedule> all(String... names) {
        return Stream.of(names).map(AppliedSchedulesTest::declared).toList();
    }

    private static List<String> told(List<AppliedSchedule> applied) {
        return applied.stream()
                .map(each -> each.schedule().name() + " " + each.done())
                .toList();
    }

    private static List<String> applied(Client client, NewSchedule... schedules) {
        return told(client.schedules().apply(List.of(schedules), "us"));
    }

    private static List<String> names(Client client) {
        return client.schedules().list(ScheduleFilter.ALL).map(Schedule::name).toList();
    }

    @Test
    void whatAProgramDeclaresIsCreatedChangedOrLeftUntouched(Client client) {
        var a = declared("a").withPolicy(POLICY).withLabels(Map.of("of", "team"));
        assertEquals(List.of("a CREATED", "b CREATED"), applied(client, a, declared("b")));
        var before = client.schedules().get("a");
        assertEquals(YEARLY, before.spec().withTimeZone(""));
        assertEquals(Overlap.SKIP, before.policy().overlap());
        assertEquals(Map.of("of", "team", "jobqueue.owner", "us"), before.labels());
        var b = NewSchedule.of("b", YEARLY, REPORT.job(new Report("staff")).build());
        assertEquals(List.of("a UNCHANGED", "b CHANGED"), applied(client, a, b));
        var after = client.schedules().get("a");
        assertEquals(before.etag(), after.etag());
        assertEquals(before.updatedAt(), after.updatedAt());
        assertEquals(
                Json.of("{\"of\":\"staff\"}"), client.schedules().get("b").job().payload());
    }

    @Test
    void aScheduleThatIsDeclaredWithoutAPolicyGetsTheDefaultsAgainAndItsLabelsAreThoseDeclared(Client client) {
        applied(client, declared("a").withPolicy(POLICY).withLabels(Map.of("of", "team")));
        assertEquals(List.of("a CHANGED"), applied(client, declared("a")));
        var changed = client.schedules().get("a");
        assertEquals(100, changed.policy().keepRuns());
        assertEquals(Overlap.BUFFER_ONE, changed.policy().overlap());
        assertEquals(Map.of("jobqueue.owner", "us"), changed.labels());
    }

    @Test
    void anOperatorsPauseStaysAndADeclaredOneCountsWhereTheScheduleIsCreated(Client client) {
        applied(client, declared("a"), declared("b").withPaused(true));
        client.schedules().pause("a", "flood");
        assertTrue(client.schedules().resume("b").nextAt().isPresent());
        var labels = Map.of("of", "team");
        assertEquals(
                List.of("a CHANGED", "b CHANGED"),
                applied(
                        client,
                        declared("a").withLabels(labels),
                        declared("b").withLabels(labels).withPaused(true)));
        var paused = client.schedules().get("a");
        assertTrue(paused.paused());
        assertEquals("flood", paused.pauseNote());
        assertFalse(client.schedules().get("b").paused());
        assertTrue(client.schedules()
                .apply(List.of(declared("c").withPaused(true)), "us")
                .get(0)
                .schedule()
                .paused());
    }

    @Test
    void onlySchedulesOfTheOwnerThatAreNotDeclaredAreDeletedAndOnlyIfAsked(Client client) {
        var schedules = client.schedules();
        schedules.create("by-hand", YEARLY, NewJob.of("report"));
        schedules.apply(all("theirs"), "them");
        schedules.apply(all("a", "b", "c"), "us");
        assertEquals(List.of("b UNCHANGED"), told(schedules.apply(all("b"), "us")));
        assertEquals(List.of("a", "b", "by-hand", "c", "theirs"), names(client));
        assertEquals(List.of("b UNCHANGED", "a DELETED", "c DELETED"), told(schedules.apply(all("b"), "us", true)));
        assertEquals(List.of("b", "by-hand", "theirs"), names(client));
        assertEquals(List.of("b DELETED"), told(schedules.apply(List.of(), "us", true)));
    }

    @Test
    void aScheduleOfAnotherOwnerOrOfNoneIsNeverChanged(Client client) {
        var made = client.schedules().create("by-hand", YEARLY, NewJob.of("report"));
        var theirs = client.schedules().apply(all("theirs"), "them").get(0).schedule();
        for (var each : Map.of("by-hand", "by-hand has no owner", "theirs", "theirs is of them")
                .entrySet()) {
            var wanted = all("a", each.getKey(), "z");
            var error = assertThrows(JobQueueException.ScheduleExists.class, () -> client.schedules()
                    .apply(wanted, "us", true));
            assertTrue(error.getMessage().endsWith(each.getValue()), error.getMessage());
            assertEquals(each.getKey(), error.metadata().get("schedule"));
            assertEquals(
                    each.getKey().equals("theirs") ? "them" : "",
                    error.metadata().get("owner"));
        }
        assertEquals(made.etag(), client.schedules().get("by-hand").etag());
        assertEquals(theirs.etag(), client.schedules().get("theirs").etag());
        assertEquals(List.of("a", "by-hand", "theirs"), names(client));
    }

    @Test
    void programsOfOneOwnerThatStartAtOnceAgree(Client client) {
        var schedules = client.async().schedules();
        var starts = IntStream.range(0, 8)
                .mapToObj(number -> {
                    var labels = Map.of("number", Integer.toString(number % 2));
                    return schedules.apply(
                            List.of(
                                    declared("a").withLabels(labels),
                                    declared("b").withLabels(labels)),
                            "us");
                })
                .toList();
        var created = starts.stream()
                .map(CompletableFuture::join)
                .flatMap(List::stream)
                .filter(each -> each.done() == Done.CREATED)
                .map(each -> each.schedule().name())
                .sorted()
                .toList();
        assertEquals(List.of("a", "b"), created);
        assertEquals(List.of("a", "b"), names(client));
    }

    @Test
    void aJobWithoutAPayloadOfWhichThereWasOneIsAChangeAndThenNone(Client client) {
        applied(client, declared("a"));
        var bare = NewJob.builder("report").headers(Map.of("h", "1")).build();
        var none = NewSchedule.of("a", YEARLY, bare);
        assertEquals(List.of("a CHANGED"), applied(client, none));
        assertEquals(Json.of("null"), client.schedules().get("a").job().payload());
        assertEquals(List.of("a UNCHANGED"), applied(client, none));
    }

    @Test
    void whatIsEncodedIsTheSameAtTheNextStart(TestScope scope) {
        var encodings = Encodings.of(AesGcm.of(Map.of("a", new byte[32]), "a"));
        try (var client = Client.builder(scope.target())
                .token(scope.key())
                .codec(Codecs.jackson())
                .encodings(encodings)
                .build()) {
            var bare = NewSchedule.of("b", YEARLY, NewJob.of("report"));
            assertEquals(List.of("a CREATED", "b CREATED"), applied(client, declared("a"), bare));
            assertEquals(List.of("a UNCHANGED", "b UNCHANGED"), applied(client, declared("a"), bare));
        }
    }
}
