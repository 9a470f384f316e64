package dev.jobqueue.spring;

import dev.jobqueue.HandlerOptions;
import dev.jobqueue.JobKind;
import dev.jobqueue.TypedHandler;

/**
 * A bean that handles a typed kind, which producers share. The rules of {@link JobHandler} hold for it as well.
 *
 * @param <P> what the payload is
 * @param <O> what the output is; {@link Void}: there is none, and null is returned
 */
public interface JobHandlerBean<P, O> extends TypedHandler<P, O> {
    /** The kind; asked once, when the application starts. */
    JobKind<P, O> kind();

    /** What can be said of a handler. Default: no bound of its own, and interrupted. */
    default HandlerOptions options() {
        return HandlerOptions.DEFAULT;
    }

    /** The name of the worker's bean. Empty: there is one worker only. */
    default String worker() {
        return "";
    }
}
