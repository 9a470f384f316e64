import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.RetryPolicy;
import dev.jobqueue.Worker;
import java.io.IOException;
import java.time.Duration;

/**
 * A long job that goes on where it was: it saves a checkpoint after each page, which the attempt after a failure reads.
 *
 * <pre>java -cp "target/classes:target/lib/*" Checkpoint</pre>
 */
class Checkpoint {
    static final String QUEUE = "example-checkpoint";
    static final RetryPolicy AT_ONCE = new RetryPolicy(Duration.ofMillis(10), Duration.ofMillis(10));

    record Import(int pages) {}

    record Done(int pages) {}

    static final JobKind<Import, Void> IMPORT = JobKind.define("example_import", Import.class)
            .queue(QUEUE)
            .retryPolicy(AT_ONCE)
            .build();

    static Void importPages(Import payload, JobContext context) throws IOException {
        var job = context.job();
        // A value of your own, at most 64 KiB as JSON; none in the first attempt.
        var begin = job.checkpointAs(Done.class).map(Done::pages).orElse(0);
        System.out.println("attempt " + job.attempt() + " begins at page " + begin);
        for (var page = begin; page < payload.pages(); page++) {
            if (page == 3 && job.attempt() == 1) {
                throw new IOException("the source went away");
            }
            context.saveCheckpoint(new Done(page + 1));
        }
        System.out.println("imported " + payload.pages() + " pages");
        return null;
    }

    public static void main(String[] arguments) {
        var json = Codecs.jackson();
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .codec(json)
                        .syncKinds(true)
                        .build()) {
            worker.handle(IMPORT, Checkpoint::importPages);
            new Thread(worker::serve).start();

            client.syncKinds(IMPORT);
            var job = client.enqueue(IMPORT, new Import(5));
            var done = client.waitFor(job.id(), Duration.ofMinutes(1));
            System.out.println(done.status() + " in attempt " + done.attempts());
        }
    }
}
