package dev.jobqueue;

/**
 * The answer to a cancel.
 *
 * @param job the job as it is now
 * @param pending whether it still runs: its worker is told, and the job is not yet over
 */
public record Cancellation(Job job, boolean pending) {}
