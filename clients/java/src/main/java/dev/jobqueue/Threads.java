package dev.jobqueue;

import java.util.concurrent.Executor;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.atomic.AtomicLong;

/** Where handlers and timers run. */
final class Threads {
    private static final ThreadFactory VIRTUAL = virtual();

    private Threads() {}

    /** A thread for each task: a virtual one where the runtime has them (Java 21), else one that is used again. */
    static Executor perTask() {
        return VIRTUAL == null
                ? Executors.newCachedThreadPool(daemons("jobqueue-handler-"))
                : task -> VIRTUAL.newThread(task).start();
    }

    /** The same with threads of the program's own. */
    static Executor perTask(ThreadFactory factory) {
        return Executors.newCachedThreadPool(factory);
    }

    /** One thread for what is due later. */
    static ScheduledThreadPoolExecutor timers() {
        var timers = new ScheduledThreadPoolExecutor(1, daemons("jobqueue-timers-"));
        timers.setRemoveOnCancelPolicy(true);
        timers.setExecuteExistingDelayedTasksAfterShutdownPolicy(false);
        return timers;
    }

    /** A handler that does not stop must not keep a program from its end. */
    static ThreadFactory daemons(String name) {
        var count = new AtomicLong();
        return task -> {
            var thread = new Thread(task, name + count.getAndIncrement());
            thread.setDaemon(true);
            return thread;
        };
    }

    // By reflection: this is compiled for Java 17.
    private static ThreadFactory virtual() {
        try {
            var builder = Class.forName("java.lang.Thread$Builder");
            var made = Thread.class.getMethod("ofVirtual").invoke(null);
            made = builder.getMethod("name", String.class, long.class).invoke(made, "jobqueue-handler-", 0L);
            return (ThreadFactory) builder.getMethod("factory").invoke(made);
        } catch (ReflectiveOperationException before21) {
            return null;
        }
    }
}
