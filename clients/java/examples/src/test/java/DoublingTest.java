import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.jobqueue.testing.RecordingClient;
import org.junit.jupiter.api.Test;

class DoublingTest {
    @Test
    void aNumberIsDoubled() throws Exception {
        var done = perform(Doubling.DOUBLE, DoubleWorker::twice, new Doubling.Input(21));
        assertEquals(new Doubling.Output(42), done.output());
    }

    @Test
    void aNumberIsEnqueued() {
        var client = new RecordingClient();
        var job = Producer.enqueue(client, 21);
        assertEquals(new Doubling.Input(21), Doubling.DOUBLE.payloadOf(job));
        assertEquals(3, client.jobs().get(0).priority());
    }
}
