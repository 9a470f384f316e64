/** What goes with jobs, kinds and queues as values. Times are `Date`, spans are numbers of milliseconds and say so in their names. */

import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

import { Job_Hold, Job_Status } from "./gen/jobqueue/v1/job_pb.js";
import type * as admin from "./gen/jobqueue/v1/queue_admin_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import type { Job } from "./job.js";
import type { UniqueAction } from "./unique.js";

/** Where a job is in its life. `STATUS_UNSPECIFIED`: one that this version does not know. */
export type Status = keyof typeof Job_Status;

/**
 * What a job that is held back waits for: `KEY` is its key, `TIME` its run_at and then its key, `HAND` is `release`.
 * `HOLD_UNSPECIFIED`: one that this version does not know.
 */
export type Hold = keyof typeof Job_Hold;

/** In what order jobs of one key start; the names of the contract, without their prefix. */
export type KeyOrder = keyof typeof admin.KeyOrder;

/** What becomes of a key in strict order whose job failed for good; the names of the contract, without their prefix. */
export type OnKeyFailure = keyof typeof admin.OnKeyFailure;

/** The wait between a failure and the next attempt. What is undefined is the kind's value, else the default. */
export interface RetryPolicy {
  /** The shortest wait, 1 ms to 7 days. */
  minBackoffMs?: number | undefined;
  /** The longest wait, `minBackoffMs` to 7 days. */
  maxBackoffMs?: number | undefined;
}

/** What became of one job of `enqueueMany`. */
export interface EnqueueResult {
  /** The job's id. */
  readonly id: string;
  /** Whether it was there before, by its idempotency key. */
  readonly replayed: boolean;
  /** What was done with this job, which holds the name of the one that was to be enqueued. Undefined: that was stored. */
  readonly uniqueAction: UniqueAction | undefined;
}

/** One page of a list. It may be short, even empty, and still have a next one. */
export interface JobPage {
  /** Newest first. */
  readonly jobs: readonly Job[];
  /** For the next page. Empty: this was the last one. */
  readonly nextPageToken: string;
}

/** The answer to `cancel`. */
export interface Cancellation {
  /** The job as the call left it. */
  readonly job: Job;
  /** Whether it ran: its worker is told. */
  readonly pending: boolean;
}

/** A sort of work. `putKind` replaces a kind as a whole. */
export interface Kind {
  /** Its name. */
  name: string;
  /** The JSON Schema of its payloads, as a value. Undefined: every JSON value is taken. */
  schema?: unknown;
  /** For jobs without their own value. */
  retryPolicy?: RetryPolicy | undefined;
  /** For jobs without their own value. Default 3. */
  maxAttempts?: number | undefined;
  /** For jobs without their own value. Default: no limit. */
  timeoutMs?: number | undefined;
  /** What it allows of all its jobs together, over all queues. Default: no limit. */
  limits?: Limits | undefined;
  /** How many slots of a worker each of its jobs takes, 1 to 1000. Default 1. */
  slotWeight?: number | undefined;
  /** Of its payload, from 1, as a program declares it. Default: it has none. */
  version?: number | undefined;
  /** The JSON Schema of its outputs, as a value, for readers: no output is held to it. Undefined: it has none. */
  outputSchema?: unknown;
  /** For people, such as who looks after it. Default: none. */
  annotations?: Readonly<Record<string, string>> | undefined;
}

/** What `syncKinds` did with one kind. */
export interface SyncedKind {
  /** The kind as the server has it now. */
  readonly kind: Kind;
  /** Whether it was changed. */
  readonly changed: boolean;
  /** Whether the server has a higher version of it, declared by a newer program, and so nothing was changed. */
  readonly newer: boolean;
}

/** How many jobs of one status there are in a queue. */
export interface QueueDepth {
  /** How many, those with a later `runAt` and those that are held back included. */
  readonly jobs: number;
  /** Whether counting stopped at its bound, so that there are at least so many. */
  readonly capped: boolean;
  /** How long the first of them has been due, or the first RUNNING one has run. Undefined: there is none. */
  readonly oldestAgeMs: number | undefined;
}

/** How many jobs of a queue are held back and wait for the same. */
export interface HoldDepth {
  readonly jobs: number;
  /** Whether counting stopped at its bound, so that there are at least so many. */
  readonly capped: boolean;
}

/** A queue as it was when it was read. */
export interface Queue {
  readonly name: string;
  /** Whether no job may be claimed from it. */
  readonly paused: boolean;
  /** How many of its jobs run. */
  readonly running: number;
  /** Its jobs that are not over, by QUEUED, RETRYING and RUNNING. */
  readonly depths: Readonly<Partial<Record<Status, QueueDepth>>>;
  /** Its jobs that are held back, by what they wait for. They count in `depths` too. */
  readonly held: Readonly<Partial<Record<Hold, HoldDepth>>>;
  /** What it allows of the jobs of one key. Undefined: keys are marks, and limit nothing. */
  readonly keyPolicy: KeyPolicy | undefined;
  /** How many of its jobs may wait before enqueues are refused. Undefined: any number. */
  readonly maxWaiting: number | undefined;
  /** What it allows of all its jobs together. Undefined: their workers alone limit them. */
  readonly limits: Limits | undefined;
  /** How long its jobs can be read after their end. Undefined: as long as those of every queue. */
  readonly retention: Retention | undefined;
  /** Stands for this version of what `updateQueue` sets. */
  readonly etag: string;
}

/** What a queue or a kind allows of all its jobs together. What is undefined is no limit. */
export interface Limits {
  /** How many of them run at once, over all workers and servers, 1..1000000. */
  readonly maxRunning?: number | undefined;
  /** How many of them start in a time, over all workers and servers. */
  readonly rate?: Rate | undefined;
}

/**
 * How long jobs of a queue can be read after their end, by the status of that end, 1 h to 3650 days. What is undefined is as
 * long as those of every queue.
 */
export interface Retention {
  readonly succeededMs?: number | undefined;
  readonly failedPermanentMs?: number | undefined;
  readonly cancelledMs?: number | undefined;
}

/** What a queue allows of the jobs of one key (`NewJob.key`). What is undefined is no limit. */
export interface KeyPolicy {
  /** How many of them run at once, 1..1000000. */
  readonly maxRunning?: number | undefined;
  /** How many of them start in a time. */
  readonly rate?: Rate | undefined;
  /** How many of them may wait for the key. */
  readonly maxWaiting?: number | undefined;
  /** Whether a job without a key is refused. Default false. */
  readonly requireKey?: boolean | undefined;
  /** In what order they start; STRICT, in that of their enqueues, lets one run at once. Undefined: none is promised. */
  readonly order?: KeyOrder | undefined;
  /** What becomes of a key in strict order whose job failed for good or was cancelled. */
  readonly onFailure?: OnKeyFailure | undefined;
  /** Whether keys take turns, so that one with many jobs delays another by a round at most. */
  readonly fair?: boolean | undefined;
}

/** How many jobs may start in a time. */
export interface Rate {
  /** So many in each period, 1..1000000. */
  readonly count: number;
  /** 1 ms to 24 h, whole. */
  readonly periodMs: number;
  /** So many may start at once after a pause. Undefined: what the rate lets start in 50 ms, 1 at least. */
  readonly burst?: number | undefined;
  /** In answers: the most that start in any span as long as the period. */
  readonly mostInAPeriod?: number | undefined;
}

/** The name of a status; one that this version does not know is STATUS_UNSPECIFIED. */
export function statusName(status: Job_Status): Status {
  return (Job_Status[status] as Status | undefined) ?? "STATUS_UNSPECIFIED";
}

/** The name of a hold; one that this version does not know is HOLD_UNSPECIFIED. */
export function holdName(hold: Job_Hold): Hold {
  return (Job_Hold[hold] as Hold | undefined) ?? "HOLD_UNSPECIFIED";
}

/** Milliseconds of a Duration that may be unset. */
export function msOf(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

/** The Date of a Timestamp that may be unset. */
export function dateOf(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}

/** How long a queue keeps jobs, of a message, if it is set. */
export function retentionOf(message: admin.Retention | undefined): Retention | undefined {
  if (message === undefined) return undefined;
  const { succeeded, failedPermanent, cancelled } = message;
  return {
    succeededMs: msOf(succeeded),
    failedPermanentMs: msOf(failedPermanent),
    cancelledMs: msOf(cancelled),
  };
}

/** The policy of a message, if it is set. */
export function retryPolicyOf(policy: pb.RetryPolicy | undefined): RetryPolicy | undefined {
  return policy && { minBackoffMs: msOf(policy.minBackoff), maxBackoffMs: msOf(policy.maxBackoff) };
}
