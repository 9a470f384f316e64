package dev.jobqueue.spring;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Makes a method of a bean the handler of a kind.
 *
 * <pre>{@code
 * @JobHandler(kind = "send-receipt")
 * Receipt send(Order order, JobContext context) {...}
 * }</pre>
 *
 * <p>Its parameters are in any order, each at most once: the payload, of any type that the codec reads; {@link
 * dev.jobqueue.JobContext}; {@link dev.jobqueue.LeasedJob}. What it returns is the job's output; a {@link
 * java.util.concurrent.CompletionStage} is one that ends later; another future or a publisher is refused. How else an
 * attempt ends is as of {@link dev.jobqueue.Handler}.
 *
 * <p>With a payload the kind is a {@link dev.jobqueue.JobKind} of version 1, which {@code jobqueue.worker.sync-kinds} tells
 * to the server. A kind with more to it, such as a schema or older versions, is handled by a {@link JobHandlerBean}.
 *
 * <p>The application does not start where the method belongs to no worker, where the kind has another handler in the same
 * worker, where its bean is no singleton, or where the class of the bean does not say what type the payload is.
 */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.METHOD)
public @interface JobHandler {
    /** The kind of the jobs. */
    String kind();

    /** The name of the worker's bean. Empty: there is one worker only. */
    String worker() default "";

    /** How many jobs of the kind run at once, 1..10,000; 0: no bound of its own. */
    int slots() default 0;

    /** Whether the thread is interrupted, or the stage cancelled, when the attempt should stop. */
    boolean interrupt() default true;
}
