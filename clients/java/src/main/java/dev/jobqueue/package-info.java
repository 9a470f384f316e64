/**
 * Enqueues jobs in a JobQueue server, reads and changes them, and runs them.
 *
 * <p>A producer makes one {@link dev.jobqueue.Client} and keeps it. A {@link dev.jobqueue.Worker} holds one stream to a
 * server, is handed jobs over it, and runs a handler for each.
 *
 * <p>Payloads and outputs are JSON. A {@link dev.jobqueue.Json} goes in and comes out byte for byte; whatever else is
 * given is written by the {@link dev.jobqueue.Codec} that the client or worker was made with. What a server refuses is a
 * {@link dev.jobqueue.JobQueueException}, whose class says what to do about it.
 */
package dev.jobqueue;
