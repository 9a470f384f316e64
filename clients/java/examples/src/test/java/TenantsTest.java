import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobqueue.JobContext;
import dev.jobqueue.Json;
import dev.jobqueue.LeasedJob;
import dev.jobqueue.NewJob;
import dev.jobqueue.testing.RecordingClient;
import java.util.Map;
import org.junit.jupiter.api.Test;

class TenantsTest {
    static String greet(LeasedJob job, JobContext context) {
        context.followUp(NewJob.of("audit"));
        return "for " + Tenants.TENANT.get();
    }

    @Test
    void aTenantIsPassedOn() {
        Tenants.TENANT.set("acme");
        var client = new RecordingClient(new Tenants());
        assertEquals(Map.of("tenant", "acme"), client.enqueue("greet", null).headers());
    }

    @Test
    void aHandlerAndItsFollowUpsHaveTheTenant() throws Exception {
        var acme = Map.of("tenant", "acme");
        var done =
                perform(TenantsTest::greet, null, given -> given.headers(acme).middleware(new Tenants()));
        assertEquals(Json.of("\"for acme\""), done.output());
        assertEquals(acme, done.followUps().get(0).headers());
    }
}
