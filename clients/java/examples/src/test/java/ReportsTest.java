import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobqueue.JobContext;
import dev.jobqueue.JobKind;
import dev.jobqueue.Retry;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ReportsTest {
    static final JobKind<Integer, Integer> COUNT =
            JobKind.define("count", Integer.class, Integer.class).build();

    static int count(int rows, JobContext context) {
        if (context.job().attempt() == 1) {
            throw new Retry("the store is busy", Duration.ofMinutes(5));
        }
        context.progress(0.5, "half of it");
        return rows * 2;
    }

    @Test
    void aBusyStoreIsAskedAgain() throws Exception {
        var first = perform(COUNT, ReportsTest::count, 21);
        assertEquals(Optional.of(Duration.ofMinutes(5)), first.retryAfter());
        var second = first.again();
        assertEquals(42, second.output());
        assertEquals("half of it", second.progress().get(0).message());
    }
}
