import dev.jobqueue.Codecs;
import dev.jobqueue.JobContext;
import dev.jobqueue.Worker;

/** Runs jobs of the kind {@code double} until Ctrl-C. */
class DoubleWorker {
    static Doubling.Output twice(Doubling.Input input, JobContext context) {
        return new Doubling.Output(2 * input.number());
    }

    public static void main(String[] arguments) {
        var server = arguments.length > 0 ? arguments[0] : "127.0.0.1:50051";
        var worker =
                Worker.builder(server).codec(Codecs.jackson()).syncKinds(true).build();
        worker.handle(Doubling.DOUBLE, DoubleWorker::twice).run();
    }
}
