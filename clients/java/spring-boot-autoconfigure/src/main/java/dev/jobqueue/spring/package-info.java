/**
 * JobQueue in Spring Boot: a client and a worker as beans, and methods and beans that handle jobs.
 *
 * <p>{@link dev.jobqueue.spring.JobHandler} and {@link dev.jobqueue.spring.JobHandlerBean} are handlers, {@link
 * dev.jobqueue.spring.AfterCommit} enqueues when a transaction has committed, {@link
 * dev.jobqueue.spring.JobQueueProperties} has the settings.
 */
package dev.jobqueue.spring;
