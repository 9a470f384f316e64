import dev.jobqueue.Client;
import dev.jobqueue.JobFilter;
import dev.jobqueue.RetryJobs;
import dev.jobqueue.Status;
import java.time.Duration;

class Redrive {
    static long redrive(Client client) {
        var chosen = JobFilter.builder()
                .queue("mail")
                .status(Status.FAILED_PERMANENT)
                .errorType("TimeoutError")
                .build();
        var counted = client.retryJobs(chosen);
        System.out.println(counted.estimate() + " jobs match, such as " + counted.sampleIds());
        var how = RetryJobs.builder()
                .force()
                .expected(counted.estimate())
                .perSecond(200)
                .spread(Duration.ofMinutes(10));
        var begun = client.retryJobs(chosen, how.requestId("redrive-2026-11-27").build());
        return client.waitOperation(begun.name()).changed();
    }

    public static void main(String[] arguments) {
        try (var client = Client.of(arguments.length > 0 ? arguments[0] : "127.0.0.1:50051")) {
            System.out.println(redrive(client) + " changed");
        }
    }
}
