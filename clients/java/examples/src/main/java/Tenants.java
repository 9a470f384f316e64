import dev.jobqueue.EnqueueResult;
import dev.jobqueue.JobContext;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.Middleware;
import dev.jobqueue.NewJob;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletionStage;

class Tenants implements Middleware {
    static final ThreadLocal<String> TENANT = ThreadLocal.withInitial(() -> "");

    @Override
    public Object handle(LeasedJob job, JobContext context, Next next) throws Exception {
        TENANT.set(job.headers().getOrDefault("tenant", ""));
        try {
            return next.run();
        } finally {
            TENANT.remove();
        }
    }

    @Override
    public CompletionStage<List<EnqueueResult>> enqueue(List<NewJob> jobs, NextEnqueue next) {
        var tenant = Map.of("tenant", TENANT.get());
        return next.enqueue(jobs.stream().map(job -> job.withHeaders(tenant)).toList());
    }
}
