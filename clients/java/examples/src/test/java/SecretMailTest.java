import static dev.jobqueue.testing.Testing.perform;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobqueue.Codecs;
import dev.jobqueue.Worker;
import dev.jobqueue.testing.Performed;
import org.junit.jupiter.api.Test;

class SecretMailTest {
    @Test
    void aMailIsDelivered() throws Exception {
        var worker = Worker.builder("127.0.0.1:50051")
                .codec(Codecs.jackson())
                .encodings(SecretMail.encodings())
                .build();
        worker.handle(SecretMail.SEND_MAIL, (mail, context) -> {
            context.saveCheckpoint("half of it".getBytes(UTF_8));
            assertEquals("ada@example.org", mail.to());
            return null;
        });
        var done = perform(worker, SecretMail.SEND_MAIL, new SecretMail.Mail("ada@example.org"));
        assertEquals(Performed.Outcome.SUCCEEDED, done.outcome());
        assertArrayEquals("half of it".getBytes(UTF_8), done.checkpoint());
    }
}
