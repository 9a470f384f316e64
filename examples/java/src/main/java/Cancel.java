import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.JobKind;
import dev.jobqueue.Worker;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * A job that is cancelled while it runs: its handler is told, cleans up, and ends.
 *
 * <pre>java -cp "target/classes:target/lib/*" Cancel</pre>
 */
class Cancel {
    static final String QUEUE = "example-cancel";

    record Render(int frames) {}

    static final JobKind<Render, Void> RENDER =
            JobKind.define("example_render", Render.class).queue(QUEUE).build();

    public static void main(String[] arguments) throws InterruptedException {
        var json = Codecs.jackson();
        var runs = new CountDownLatch(1);
        try (var client = Client.fromEnv().codec(json).build();
                var worker = Worker.fromEnv()
                        .queues(QUEUE)
                        .codec(json)
                        .syncKinds(true)
                        .build()) {
            worker.handle(RENDER, (render, context) -> {
                System.out.println("rendering");
                runs.countDown();
                try {
                    for (var frame = 0; frame < render.frames(); frame++) {
                        // It is interrupted where it waits; code that never waits asks `context.throwIfCancelled()`.
                        Thread.sleep(50);
                    }
                } finally {
                    System.out.println("the frames are removed");
                }
                return null;
            });
            new Thread(worker::serve).start();

            client.syncKinds(RENDER);
            var job = client.enqueue(RENDER, new Render(100_000));
            if (!runs.await(1, TimeUnit.MINUTES)) {
                throw new IllegalStateException("the job does not run");
            }
            client.cancel(job.id());
            var done = client.waitFor(job.id(), Duration.ofMinutes(1));
            System.out.println(done.status());
        }
    }
}
