/** Jobs, kinds and queues as values. Times are `Date`, spans are numbers of milliseconds and say so in their names. */

import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Duration, Timestamp } from "@bufbuild/protobuf/wkt";

import { Job_Status } from "./gen/jobqueue/v1/job_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import { decode } from "./payload.js";

/** Where a job is in its life. `STATUS_UNSPECIFIED`: one that this version does not know. */
export type Status = keyof typeof Job_Status;

const TERMINAL: ReadonlySet<Status> = new Set(["SUCCEEDED", "FAILED_PERMANENT", "CANCELLED"] as const);

/** As an idempotency key: a new one for this call, which its retries share. */
export const AUTO: unique symbol = Symbol("AUTO");

/** The wait between a failure and the next attempt. What is undefined is the kind's value, else the default. */
export interface RetryPolicy {
  /** The shortest wait, 1 ms to 7 days. */
  minBackoffMs?: number | undefined;
  /** The longest wait, `minBackoffMs` to 7 days. */
  maxBackoffMs?: number | undefined;
}

/** What can be said of a job beside its kind and payload. */
export interface JobOptions {
  /** The line that it waits in. Default: `default`. */
  queue?: string | undefined;
  /** -10..10, higher first. Default 0. */
  priority?: number | undefined;
  /** The earliest moment at which it may start; at most 400 days ahead. */
  runAt?: Date | undefined;
  /** The same, from now by the database's clock. Not together with `runAt`. */
  delayMs?: number | undefined;
  /** How many failures end it for good, 1..1000. Default: the kind's value, else 3. */
  maxAttempts?: number | undefined;
  /** How long one attempt may run, 1 s to 7 days. Default: the kind's value, else no limit. */
  timeoutMs?: number | undefined;
  /** The wait between attempts. Default: the kind's, else the default one. */
  retryPolicy?: RetryPolicy | undefined;
  /**
   * The same key and the same job again answers the job that is there. `AUTO` makes a key for this call, so that the
   * client may repeat it when a connection breaks.
   */
  idempotencyKey?: string | typeof AUTO | undefined;
  /** The producer's own marks, to find jobs by. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Given to the handler beside the payload. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** The payload as JSON text, instead of `payload`; stored byte for byte. */
  payloadJson?: string | Uint8Array | undefined;
}

/** A job to enqueue. */
export interface NewJob extends JobOptions {
  /** What sort of work it is. */
  kind: string;
  /** The handler's input: anything that `JSON.stringify` takes. Default null. */
  payload?: unknown;
}

/** What became of one job of `enqueueMany`. */
export interface EnqueueResult {
  /** The job's id. */
  readonly id: string;
  /** Whether it was there before, by its idempotency key. */
  readonly replayed: boolean;
}

/** One attempt that did not succeed. `reason` is HANDLER_FAILED, TIMED_OUT or SESSION_LOST; more may be added. */
export interface FailedAttempt {
  readonly attempt: number;
  readonly reason: string;
  readonly errorType: string;
  readonly error: string;
  readonly worker: string;
  readonly startedAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

/** How far a running attempt says it is. */
export interface JobProgress {
  /** 0..1, of the whole. Undefined: it can't tell. */
  readonly fraction: number | undefined;
  readonly message: string;
  readonly updatedAt: Date | undefined;
}

/**
 * A job as it was when it was read.
 *
 * Payload, output, headers and failed attempts are left out of lists unless `full`; then `payloadJson` and `outputJson`
 * are undefined, which tells it from a payload of `null`.
 */
export class Job {
  readonly id: string;
  readonly kind: string;
  readonly queue: string;
  readonly status: Status;
  readonly priority: number;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly failures: number;
  readonly losses: number;
  /** The payload as the text that was enqueued, byte for byte. */
  readonly payloadJson: Uint8Array | undefined;
  /** The output as the text that the worker gave, byte for byte. */
  readonly outputJson: Uint8Array | undefined;
  readonly reason: string;
  readonly lastError: string;
  readonly runAt: Date | undefined;
  readonly createdAt: Date | undefined;
  readonly updatedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  readonly lockedAt: Date | undefined;
  readonly lockedBy: string;
  readonly cancelRequested: boolean;
  readonly idempotencyKey: string;
  readonly timeoutMs: number | undefined;
  readonly retryPolicy: RetryPolicy | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly failedAttempts: readonly FailedAttempt[];
  readonly progress: JobProgress | undefined;
  /** Of an answer to `enqueue`: whether the job was there before, by its idempotency key. */
  readonly replayed: boolean;

  constructor(job: pb.Job, replayed = false) {
    this.id = job.id;
    this.kind = job.kind;
    this.queue = job.queue;
    this.status = statusName(job.status);
    this.priority = job.priority;
    this.attempts = job.attempts;
    this.maxAttempts = job.maxAttempts;
    this.failures = job.failures;
    this.losses = job.losses;
    this.payloadJson = job.content.case === "payloadJson" ? job.content.value : undefined;
    this.outputJson = job.result.case === "outputJson" ? job.result.value : undefined;
    this.reason = job.reason;
    this.lastError = job.lastError;
    this.runAt = dateOf(job.runAt);
    this.createdAt = dateOf(job.createdAt);
    this.updatedAt = dateOf(job.updatedAt);
    this.finishedAt = dateOf(job.finishedAt);
    this.lockedAt = dateOf(job.lockedAt);
    this.lockedBy = job.lockedBy;
    this.cancelRequested = job.cancelRequested;
    this.idempotencyKey = job.idempotencyKey;
    this.timeoutMs = msOf(job.timeout);
    this.retryPolicy = retryPolicyOf(job.retryPolicy);
    this.labels = job.labels;
    this.headers = job.headers;
    this.failedAttempts = job.failedAttempts.map((each) => ({
      attempt: each.attempt,
      reason: each.reason,
      errorType: each.errorType,
      error: each.error,
      worker: each.worker,
      startedAt: dateOf(each.startedAt),
      endedAt: dateOf(each.endedAt),
    }));
    this.progress = job.progress && {
      fraction: job.progress.fraction,
      message: job.progress.message,
      updatedAt: dateOf(job.progress.updatedAt),
    };
    this.replayed = replayed;
  }

  /** The payload, decoded. Integers above 2^53 lose digits: those are in `payloadJson`. */
  get payload(): unknown {
    return this.payloadJson && decode(this.payloadJson);
  }

  /** The output, decoded. Undefined if there is none. */
  get output(): unknown {
    return this.outputJson && decode(this.outputJson);
  }

  /** Whether it is over. */
  get isTerminal(): boolean {
    return TERMINAL.has(this.status);
  }
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
  /** For jobs that don't say. */
  retryPolicy?: RetryPolicy | undefined;
  /** For jobs that don't say. Default 3. */
  maxAttempts?: number | undefined;
  /** For jobs that don't say. Default: no limit. */
  timeoutMs?: number | undefined;
}

/** How many jobs of one status there are in a queue. */
export interface QueueDepth {
  /** How many, those with a later `runAt` included. */
  readonly jobs: number;
  /** Whether counting stopped at its bound, so that there are at least so many. */
  readonly capped: boolean;
  /** How long the first of them has been due, or the first RUNNING one has run. Undefined: there is none. */
  readonly oldestAgeMs: number | undefined;
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
}

/** The name of a status; one that this version does not know is STATUS_UNSPECIFIED. */
export function statusName(status: Job_Status): Status {
  return (Job_Status[status] as Status | undefined) ?? "STATUS_UNSPECIFIED";
}

/** Milliseconds of a Duration that may be unset. */
export function msOf(duration: Duration | undefined): number | undefined {
  return duration && durationMs(duration);
}

/** The Date of a Timestamp that may be unset. */
export function dateOf(timestamp: Timestamp | undefined): Date | undefined {
  return timestamp && timestampDate(timestamp);
}

/** The policy of a message, if it is set. */
export function retryPolicyOf(policy: pb.RetryPolicy | undefined): RetryPolicy | undefined {
  return policy && { minBackoffMs: msOf(policy.minBackoff), maxBackoffMs: msOf(policy.maxBackoff) };
}
