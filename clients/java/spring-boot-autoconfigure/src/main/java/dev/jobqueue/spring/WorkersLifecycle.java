package dev.jobqueue.spring;

import dev.jobqueue.Worker;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.apache.commons.logging.Log;
import org.apache.commons.logging.LogFactory;
import org.springframework.beans.factory.DisposableBean;
import org.springframework.beans.factory.config.ConfigurableListableBeanFactory;
import org.springframework.context.SmartLifecycle;

/**
 * Starts the workers with the application, and ends them before its beans: after the web server has stopped, since requests
 * may still wait for jobs, and before executors, the client and the data source, which handlers may still need.
 */
final class WorkersLifecycle implements SmartLifecycle, DisposableBean {
    /** Below those of Spring Boot's web servers, the lower of which is DEFAULT_PHASE - 2048. */
    static final int PHASE = DEFAULT_PHASE - 4096;

    private static final Log LOG = LogFactory.getLog(WorkersLifecycle.class);

    private final JobQueueProperties.Work properties;
    private final ConfigurableListableBeanFactory beans;
    private List<Serving> serving = List.of();

    WorkersLifecycle(JobQueueProperties.Work properties, ConfigurableListableBeanFactory beans) {
        this.properties = properties;
        this.beans = beans;
    }

    @Override
    public boolean isAutoStartup() {
        return properties.autoStartup();
    }

    @Override
    public int getPhase() {
        return PHASE;
    }

    @Override
    public synchronized void start() {
        if (!properties.enabled()) {
            return;
        }
        var begun = new ArrayList<Serving>();
        beans.getBeansOfType(Worker.class).forEach((name, worker) -> {
            // An application that only enqueues has a worker without handlers, which has nothing to do.
            if (!worker.status().kinds().isEmpty()) {
                begun.add(new Serving(name, worker));
            }
        });
        serving = begun;
        begun.forEach(Thread::start);
    }

    @Override
    public void stop() {
        var leaving = leave();
        leaving.forEach(Serving::await);
    }

    @Override
    public void stop(Runnable callback) {
        var leaving = leave();
        var waiter = new Thread(
                () -> {
                    leaving.forEach(Serving::await);
                    callback.run();
                },
                "jobqueue-leaving");
        waiter.setDaemon(true);
        waiter.start();
    }

    private synchronized List<Serving> leave() {
        var leaving = serving;
        serving = List.of();
        leaving.forEach(Serving::leave);
        return leaving;
    }

    /** A context that has started it and then fails destroys it, and does not stop it. */
    @Override
    public void destroy() {
        stop();
    }

    @Override
    public synchronized boolean isRunning() {
        return !serving.isEmpty();
    }

    /** Keeps the process alive as well: an application without a web server has no other thread that does. */
    private static final class Serving extends Thread {
        private final Worker worker;
        private final CountDownLatch left = new CountDownLatch(1);

        Serving(String name, Worker worker) {
            super("jobqueue-" + name);
            setDaemon(false);
            this.worker = worker;
        }

        @Override
        public void run() {
            try {
                worker.serve();
            } catch (RuntimeException error) {
                // Its requests are served on, and its health says what is wrong.
                LOG.error("the worker has ended, and runs no jobs until the application starts anew", error);
                await(left);
            }
        }

        /** An interrupt drains, also one that comes before it serves. */
        void leave() {
            left.countDown();
            interrupt();
        }

        void await() {
            try {
                join();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }

        private static void await(CountDownLatch latch) {
            try {
                latch.await();
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        }
    }
}
