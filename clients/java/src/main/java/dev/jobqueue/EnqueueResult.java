package dev.jobqueue;

/**
 * What became of one job of a batch.
 *
 * @param id the job's id
 * @param replayed whether the job was there before, by its idempotency key
 * @param uniqueAction what was done with this job, which holds the name of the one that was to be enqueued; null: that one
 *     was stored
 */
public record EnqueueResult(String id, boolean replayed, Unique.Action uniqueAction) {}
