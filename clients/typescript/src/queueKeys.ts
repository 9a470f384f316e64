/** Single keys of a queue. */

import type * as pb from "./gen/jobqueue/v1/queue_admin_pb.js";
import { dateOf } from "./jobs.js";

/** Which keys of a queue to list. */
export type KeyFilter = "AT_LIMIT" | "PAUSED" | "WAITING" | "BLOCKED";

/** A job that counts against what its queue allows of its key. */
export interface KeyHolder {
  readonly jobId: string;
  /** Who runs it. Empty: it is in line. */
  readonly worker: string;
  readonly since: Date | undefined;
}

/** One key of a queue (`NewJob.key`), as it was when it was read. */
export interface QueueKey {
  readonly queue: string;
  readonly key: string;
  /** How many of its jobs run at once, instead of what the queue allows. Undefined: as many as the queue allows. */
  readonly maxRunning: number | undefined;
  /** Whether no more of its jobs are let in. */
  readonly paused: boolean;
  readonly pausedAt: Date | undefined;
  /** The principal who paused it. Empty: it is not known. */
  readonly pausedBy: string;
  /** How many of its jobs may be in line or run at once. Undefined: no limit. */
  readonly limit: number | undefined;
  /** How many were let in: they are in line or run. */
  readonly taken: number;
  /** How many wait for it. */
  readonly waiting: number;
  /** When the rate lets the next one in. Undefined: an end must come first, or none waits. */
  readonly nextStartAt: Date | undefined;
  /** Of those that were let in, at most 20. Empty in lists. */
  readonly holders: readonly KeyHolder[];
  /** Stands for this version of `maxRunning` and `paused`, for `updateQueueKey`. */
  readonly etag: string;
  /** Until when a worker has paused it (`pauseKey` of `Retry`). Undefined: none has. */
  readonly pausedUntil: Date | undefined;
  /** The job that failed or was cancelled and blocks it (ON_KEY_FAILURE_HOLD). Undefined: none does. */
  readonly blockedBy: string | undefined;
}

/** What to change of a key. What is undefined stays. */
export interface QueueKeyChange {
  /** Its own limit. 0: as many as the queue allows. */
  readonly maxRunning?: number | undefined;
  /** Whether no more of its jobs are let in. */
  readonly paused?: boolean | undefined;
}

/** The key in an answer. */
export function queueKeyOf(message: pb.QueueKey | undefined): QueueKey {
  if (!message) throw new Error("the answer has no key");
  const { queue, key, paused, pausedBy, taken, waiting, etag } = message;
  return {
    queue,
    key,
    maxRunning: message.maxRunning || undefined,
    paused,
    pausedAt: dateOf(message.pausedAt),
    pausedBy,
    limit: message.limit || undefined,
    taken,
    waiting,
    nextStartAt: dateOf(message.nextStartAt),
    holders: message.holders.map(({ jobId, worker, since }) => ({ jobId, worker, since: dateOf(since) })),
    etag,
    pausedUntil: dateOf(message.pausedUntil),
    blockedBy: message.blockedBy || undefined,
  };
}
