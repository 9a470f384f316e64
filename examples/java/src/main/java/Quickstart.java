import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import java.time.Duration;

/**
 * A kind with types, its handler, and one job: enqueued, run, and its output read.
 *
 * <pre>java -cp "target/classes:target/lib/*" Quickstart</pre>
 */
class Quickstart {
    static final String QUEUE = "example-quickstart";

    record Greet(String name) {}

    record Greeting(String text) {}

    static final JobKind<Greet, Greeting> GREET = JobKind.define("example_greet", Greet.class, Greeting.class)
            .queue(QUEUE)
            .build();

    static Greeting greet(Greet payload, JobContext context) {
        return new Greeting("Hello, " + payload.name() + "!");
    }

    public static void main(String[] arguments) {
        var json = Codecs.jackson();
        // The worker tells the server its kinds. Both close themselves, the worker first: it finishes what runs.
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .codec(json)
                        .syncKinds(true)
                        .build()) {
            worker.handle(GREET, Quickstart::greet);
            // A program that is nothing but a worker says `worker.run()`.
            new Thread(worker::serve).start();

            client.syncKinds(GREET);
            var job = client.enqueue(GREET, new Greet("Ada"));
            var done = client.waitFor(job.id(), Duration.ofMinutes(1));
            System.out.println(GREET.outputOf(done).text());
        }
    }
}
