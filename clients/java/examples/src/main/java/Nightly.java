import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobKind;
import dev.jobqueue.ScheduleChange;
import dev.jobqueue.SchedulePolicy.Overlap;
import dev.jobqueue.ScheduleSpec;

class Nightly {
    record Report(String of) {}

    static final JobKind<Report, Void> REPORT =
            JobKind.define("nightly-report", Report.class, Void.class).build();

    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
        try (var client = Client.builder(server).codec(Codecs.jackson()).build()) {
            client.syncKinds(REPORT);
            var due = ScheduleSpec.cron("30 2 * * *").withTimeZone("Europe/Berlin");
            var job = REPORT.job(new Report("sales")).build();
            // Made where it is not there, and else changed.
            var change = ScheduleChange.NONE.withSpec(due).withJob(job).withAllowMissing();
            var nightly = client.schedules().update("nightly", change);
            System.out.println("due at " + nightly.upcoming().get(0).localTime());
            var run = client.schedules().run("nightly", Overlap.ALLOW, "");
            System.out.println("by hand: " + run.outcome());
        }
    }
}
