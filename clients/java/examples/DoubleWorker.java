import dev.jobqueue.Codecs;
import dev.jobqueue.Worker;
import java.util.Map;

/** Runs jobs of the kind `double` until Ctrl-C. */
class DoubleWorker {
    record Input(int number) {}

    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";

        var worker =
                Worker.builder(server).codec(Codecs.jackson()).concurrency(16).build();
        worker.handle("double", (job, context) -> {
            var input = job.payload(Input.class);
            return Map.of("doubled", 2 * input.number());
        });
        worker.run();
    }
}
