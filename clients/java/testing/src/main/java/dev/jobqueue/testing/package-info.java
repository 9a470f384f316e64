/**
 * Tests of handlers and of code that enqueues, without a server.
 *
 * <p>{@link dev.jobqueue.testing.Testing#perform} runs one attempt by the worker's own code. A {@link
 * dev.jobqueue.testing.RecordingClient} keeps what is enqueued.
 */
package dev.jobqueue.testing;
