import static java.time.Duration.ofMinutes;

import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Enqueuer;
import dev.jobqueue.Job;
import dev.jobqueue.Kind;

/** Enqueues a job, waits for it, and prints what its handler answered. */
class Producer {
    static Job enqueue(Enqueuer client, int number) {
        var job = Doubling.DOUBLE.job(new Doubling.Input(number)).priority(3);
        return client.enqueue(job.idempotent().build());
    }

    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
        try (var client = Client.builder(server).codec(Codecs.jackson()).build()) {
            client.putKind(Kind.of(Doubling.DOUBLE.name()));
            var job = client.waitFor(enqueue(client, 21).id(), ofMinutes(1));
            System.out.println(Doubling.DOUBLE.outputOf(job).doubled());
        }
    }
}
