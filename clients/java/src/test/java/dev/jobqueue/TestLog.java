package dev.jobqueue;

import java.text.MessageFormat;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.logging.Handler;
import java.util.logging.LogRecord;
import java.util.logging.Logger;

/** What the library writes to its log meanwhile. */
final class TestLog extends Handler implements AutoCloseable {
    // Kept, or the logger and this go at the next collection.
    private final Logger logger = Logger.getLogger("dev.jobqueue");
    private final Queue<String> lines = new ConcurrentLinkedQueue<>();

    TestLog() {
        logger.addHandler(this);
    }

    /** Those lines that have these words in them. */
    List<String> with(String words) {
        return lines.stream().filter(each -> each.contains(words)).toList();
    }

    @Override
    public void publish(LogRecord line) {
        lines.add(
                line.getParameters() == null
                        ? line.getMessage()
                        : MessageFormat.format(line.getMessage(), line.getParameters()));
    }

    @Override
    public void flush() {}

    @Override
    public void close() {
        logger.removeHandler(this);
    }
}
