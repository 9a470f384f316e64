import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.ApiResponse;
import org.openapitools.client.api.JobQueueApi;
import org.openapitools.client.api.OpsApi;
import org.openapitools.client.api.QueueAdminApi;
import org.openapitools.client.api.SessionsApi;
import org.openapitools.client.model.BatchEnqueueJobsRequest;
import org.openapitools.client.model.ClaimJobsRequest;
import org.openapitools.client.model.CloseSessionRequest;
import org.openapitools.client.model.Hello;
import org.openapitools.client.model.Job;
import org.openapitools.client.model.JobToEnqueue;
import org.openapitools.client.model.Kind;
import org.openapitools.client.model.LeasedJob;
import org.openapitools.client.model.Outcome;
import org.openapitools.client.model.PutKindBody;
import org.openapitools.client.model.SettleJobsRequest;
import org.openapitools.client.model.Status;
import org.openapitools.client.model.Subscription;
import org.openapitools.client.model.Success;

/** Calls a server with the client in Java that openapi-generator makes, and prints what came of it. */
public final class Calls {
    private static final ObjectMapper MAPPER = ApiClient.createDefaultObjectMapper();

    private Calls() {}

    public static void main(String[] arguments) throws Exception {
        ApiClient client = new ApiClient();
        client.updateBaseUri(arguments[0]);
        JobQueueApi jobs = new JobQueueApi(client);
        QueueAdminApi admin = new QueueAdminApi(client);
        Map<String, Object> found = new LinkedHashMap<>();

        found.put("health", new OpsApi(client).health(null).getStatus());

        admin.putKind("generated", new PutKindBody().schema(true), null, null, null, null, null, null);
        for (Kind kind : admin.listKinds(null, null, null, null, null, null).getKinds()) {
            if (kind.getName().equals("generated")) {
                found.put("schema", kind.getSchema());
            }
        }

        JobToEnqueue job = new JobToEnqueue()
                .kind("generated")
                .payload(Map.of("width", 100))
                .labels(Map.of("by", "generated"))
                .priority(10);
        ApiResponse<Job> enqueued = jobs.enqueueJobWithHttpInfo(job, null, "key", null, null, null, null);
        Job made = enqueued.getData();
        found.put(
                "enqueued",
                List.of(
                        enqueued.getStatusCode(),
                        made.getStatus(),
                        made.getPayload(),
                        made.getPriority(),
                        made.getLabels()));
        ApiResponse<Job> again = jobs.enqueueJobWithHttpInfo(job, null, "key", null, null, null, null);
        found.put("again", List.of(again.getStatusCode(), again.getData().getId().equals(made.getId())));
        JobToEnqueue plain = new JobToEnqueue().kind("generated");
        BatchEnqueueJobsRequest both = new BatchEnqueueJobsRequest().jobs(List.of(plain, plain));
        found.put(
                "batch",
                jobs.batchEnqueueJobs(both, null, null, null, null).getResults().size());

        found.put("work", work(new SessionsApi(client)));

        ApiResponse<Job> read = jobs.getJobWithHttpInfo(made.getId(), null, null, null, null);
        found.put(
                "read",
                List.of(read.getStatusCode(), read.getData().getStatus(), read.getData().getOutput()));
        List<Job> listed = jobs.listJobs(
                        null, null, null, null, null, List.of("by=generated"), null, null, null, null, null, null, null)
                .getJobs();
        found.put("listed", List.of(listed.size(), listed.get(0).getId().equals(made.getId())));

        ApiException missing = refused(() -> jobs.getJob(UUID.randomUUID(), null, null, null, null));
        found.put(
                "missing",
                List.of(missing.getCode(), status(missing).getDetails().get(0).getReason()));
        ApiException wrong = refused(() -> jobs.enqueueJob(job.priority(11), null, null, null, null, null, null));
        Status said = status(wrong);
        found.put(
                "wrong",
                List.of(
                        wrong.getCode(),
                        said.getDetails().get(0).getReason(),
                        said.getDetails().get(1).getFieldViolations().get(0).getField()));
        System.out.println(MAPPER.writeValueAsString(found));
    }

    /** Does the first job as a worker by calls. */
    private static List<Object> work(SessionsApi sessions) throws ApiException {
        Subscription subscription = new Subscription().kinds(List.of("generated"));
        Hello hello = new Hello().worker("generated").subscriptions(List.of(subscription));
        String token = sessions.openSession(hello, null, null, null).getSessionToken();
        ClaimJobsRequest claim = new ClaimJobsRequest().sessionToken(token);
        LeasedJob job = sessions.claimJobs(claim, null, null, null).getJobs().get(0);
        Outcome outcome = new Outcome()
                .jobId(job.getId())
                .attempt(job.getAttempt())
                .success(new Success().output(Map.of("done", true)));
        SettleJobsRequest settle = new SettleJobsRequest().sessionToken(token).outcomes(List.of(outcome));
        Object status =
                sessions.settleJobs(settle, null, null, null).getResults().get(0).getStatus();
        sessions.closeSession(new CloseSessionRequest().sessionToken(token), null, null, null);
        return List.of(job.getPayload(), status);
    }

    /** What an error says. */
    private static Status status(ApiException error) throws Exception {
        return MAPPER.readValue(error.getResponseBody(), Status.class);
    }

    private static ApiException refused(Call call) {
        try {
            call.run();
        } catch (ApiException error) {
            return error;
        }
        throw new AssertionError("it was not refused");
    }

    /** A call that may be refused. */
    private interface Call {
        void run() throws ApiException;
    }
}
