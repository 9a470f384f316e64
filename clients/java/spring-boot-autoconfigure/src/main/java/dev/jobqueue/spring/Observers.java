package dev.jobqueue.spring;

import dev.jobqueue.JobQueueException;
import dev.jobqueue.Observer;
import dev.jobqueue.WorkerStatus;
import java.time.Duration;
import java.util.List;
import java.util.function.Consumer;

/** Tells several observers, each also where one before it has thrown. */
record Observers(List<Observer> all) implements Observer {
    @Override
    public void attemptStarted(Attempt attempt) {
        each(it -> it.attemptStarted(attempt));
    }

    @Override
    public void attemptEnded(Attempt attempt, Outcome outcome, Duration took, String error) {
        each(it -> it.attemptEnded(attempt, outcome, took, error));
    }

    @Override
    public void enqueued(int count, String kind, String queue, Duration took, JobQueueException error) {
        each(it -> it.enqueued(count, kind, queue, took, error));
    }

    @Override
    public void sessionChanged(WorkerStatus status) {
        each(it -> it.sessionChanged(status));
    }

    private void each(Consumer<Observer> tell) {
        RuntimeException first = null;
        for (var one : all) {
            try {
                tell.accept(one);
            } catch (RuntimeException error) {
                first = first == null ? error : first;
            }
        }
        if (first != null) {
            throw first;
        }
    }
}
