import static dev.jobqueue.testing.Testing.perform;
import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class DoublingTest {
    @Test
    void aNumberIsDoubled() throws Exception {
        var done = perform(Doubling.DOUBLE, DoubleWorker::twice, new Doubling.Input(21));
        assertEquals(new Doubling.Output(42), done.output());
    }
}
