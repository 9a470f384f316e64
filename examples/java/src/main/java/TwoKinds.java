import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import java.time.Duration;
import java.util.List;

/**
 * One worker with two kinds. Each has its handler; they share the worker's slots.
 *
 * <pre>java -cp "target/classes:target/lib/*" TwoKinds</pre>
 */
class TwoKinds {
    static final String QUEUE = "example-two-kinds";

    record Resize(String path, int width) {}

    record SendEmail(String to, String subject) {}

    static final JobKind<Resize, Void> RESIZE =
            JobKind.define("example_resize", Resize.class).queue(QUEUE).build();

    // More urgent than pictures: of jobs that wait, those of the higher priority go first.
    static final JobKind<SendEmail, Void> SEND_EMAIL = JobKind.define("example_send_email", SendEmail.class)
            .queue(QUEUE)
            .priority(5)
            .build();

    // A kind without an output has the type Void, whose only value is null.
    static Void resize(Resize payload, JobContext context) {
        System.out.println(payload.path() + " is " + payload.width() + " wide");
        return null;
    }

    static Void send(SendEmail payload, JobContext context) {
        System.out.println("sent '" + payload.subject() + "' to " + payload.to());
        return null;
    }

    public static void main(String[] arguments) {
        var json = Codecs.jackson();
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .concurrency(4)
                        .codec(json)
                        .syncKinds(true)
                        .build()) {
            worker.handle(RESIZE, TwoKinds::resize).handle(SEND_EMAIL, TwoKinds::send);
            new Thread(worker::serve).start();

            client.syncKinds(RESIZE, SEND_EMAIL);
            var jobs = List.of(
                    RESIZE.job(new Resize("a.png", 640)).build(),
                    SEND_EMAIL.job(new SendEmail("ada@example.org", "Hello")).build());
            for (var each : jobs) {
                var done = client.waitFor(client.enqueue(each).id(), Duration.ofMinutes(1));
                System.out.println(done.kind() + " " + done.status());
            }
        }
    }
}
