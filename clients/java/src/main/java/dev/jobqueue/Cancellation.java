package dev.jobqueue;

/**
 * The answer to a cancel.
 *
 * @param job the job as it is now
 * @param pending whether it ran: its worker is told. The job was read after that, and may be over already
 */
public record Cancellation(Job job, boolean pending) {}
