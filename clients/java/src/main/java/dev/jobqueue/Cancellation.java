package dev.jobqueue;

/**
 * The answer to a cancel.
 *
 * @param job the job as the call left it
 * @param pending whether it ran: its worker is told
 */
public record Cancellation(Job job, boolean pending) {}
