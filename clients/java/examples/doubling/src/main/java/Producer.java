import static java.time.Duration.ofMinutes;

import dev.jobqueue.Client;
import dev.jobqueue.Codecs;

/** Enqueues a job, waits for it, and prints what its handler answered. */
class Producer {
    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
        try (var client = Client.builder(server).codec(Codecs.jackson()).build()) {
            client.syncKinds(Doubling.DOUBLE);
            var job = Doubling.DOUBLE.job(new Doubling.Input(21)).priority(3);
            var done = client.waitFor(client.enqueue(job.idempotent().build()).id(), ofMinutes(1));
            System.out.println(Doubling.DOUBLE.outputOf(done).doubled());
        }
    }
}
