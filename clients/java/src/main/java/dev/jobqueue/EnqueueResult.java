package dev.jobqueue;

/**
 * What became of one job of a batch.
 *
 * @param id the job's id
 * @param replayed whether the job was there before, by its idempotency key
 */
public record EnqueueResult(String id, boolean replayed) {}
