import dev.jobqueue.Client;
import dev.jobqueue.Codecs;
import dev.jobqueue.Kind;
import dev.jobqueue.NewJob;
import java.time.Duration;
import java.util.Map;

/** Enqueues a job, waits for it, and prints what its handler answered. */
class Producer {
    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";

        try (var client = Client.builder(server).codec(Codecs.jackson()).build()) {
            client.putKind(Kind.of("double"));
            var job = client.enqueue(NewJob.builder("double")
                    .payload(Map.of("number", 21))
                    .idempotent()
                    .build());
            job = client.waitFor(job.id(), Duration.ofMinutes(1));
            System.out.println(job.status() + " " + job.output().orElseThrow());
        }
    }
}
