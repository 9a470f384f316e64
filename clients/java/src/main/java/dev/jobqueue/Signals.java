package dev.jobqueue;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;

/**
 * Lets a program end by itself, with its own exit code, after SIGTERM or Ctrl-C. Once: the next signal does what it did
 * before.
 *
 * <p>By reflection, since {@code sun.misc.Signal} is in every JDK and in no standard. Where it can't be used a shutdown
 * hook does the same, the exit code is that of a signal, and no second signal is heard.
 */
final class Signals {
    private final Runnable stop;
    private final List<Runnable> restore = new ArrayList<>();
    private final CountDownLatch ended = new CountDownLatch(1);
    private boolean stopped;

    private Signals(Runnable stop) {
        this.stop = stop;
    }

    static Signals handle(Runnable stop) {
        var signals = new Signals(stop);
        for (var name : List.of("TERM", "INT")) {
            try {
                signals.take(name);
            } catch (ReflectiveOperationException | RuntimeException error) {
                signals.hook();
                break;
            }
        }
        return signals;
    }

    private void take(String name) throws ReflectiveOperationException {
        var type = Class.forName("sun.misc.Signal");
        var handler = Class.forName("sun.misc.SignalHandler");
        var signal = type.getConstructor(String.class).newInstance(name);
        var handle = type.getMethod("handle", type, handler);
        var ours = Proxy.newProxyInstance(
                Signals.class.getClassLoader(), new Class<?>[] {handler}, (proxy, method, given) -> {
                    if (method.getName().equals("handle")) {
                        told();
                        return null;
                    }
                    return method.getName().equals("hashCode") ? System.identityHashCode(proxy) : proxy == given[0];
                });
        var before = handle.invoke(null, signal, ours);
        restore.add(() -> {
            try {
                handle.invoke(null, signal, before);
            } catch (IllegalAccessException | InvocationTargetException error) {
                throw new IllegalStateException(error);
            }
        });
    }

    private void hook() {
        var hook = new Thread(
                () -> {
                    stop.run();
                    try {
                        ended.await();
                    } catch (InterruptedException error) {
                        Thread.currentThread().interrupt();
                    }
                },
                "jobqueue-shutdown");
        Runtime.getRuntime().addShutdownHook(hook);
        restore.add(() -> {
            try {
                Runtime.getRuntime().removeShutdownHook(hook);
            } catch (IllegalStateException ending) {
                // It is what runs just now.
            }
        });
    }

    private synchronized void told() {
        if (!stopped) {
            stopped = true;
            restore.forEach(Runnable::run);
            stop.run();
        }
    }

    /** The worker has ended: signals do what they did before. */
    synchronized void close() {
        if (!stopped) {
            stopped = true;
            restore.forEach(Runnable::run);
        }
        ended.countDown();
    }
}
