package dev.jobqueue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class ThreadsTest {
    @Test
    void handlersRunInVirtualThreadsWhereTheRuntimeHasThemAndNeverKeepAProgramFromItsEnd() throws Exception {
        var thread = new CompletableFuture<Thread>();
        Threads.perTask().execute(() -> thread.complete(Thread.currentThread()));
        var handler = thread.get(10, TimeUnit.SECONDS);
        assertTrue(handler.isDaemon());
        var virtual = handler.toString().startsWith("VirtualThread");
        assertEquals(Runtime.version().feature() >= 21, virtual, handler.toString());
    }
}
