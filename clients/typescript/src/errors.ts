/** What a call may throw: one class for each thing that a caller can do something about. */

import type { Job } from "./job.js";
import type { EnqueueResult } from "./jobs.js";

/** One field that was wrong. */
export interface FieldViolation {
  /** Its path in the request, for example `job.payload.to`. */
  readonly field: string;
  /** What is wrong with it and what would be right. */
  readonly description: string;
}

/** Facts about an error, as the server gave them. */
export interface ErrorFacts {
  /** The name of the gRPC code, for example `NOT_FOUND`. */
  code?: string;
  /** The stable name of the cause, for example `JOB_NOT_FOUND`. Empty when no JobQueue server answered. */
  reason?: string;
  /** Facts about the error, for example `job_id`. */
  metadata?: Readonly<Record<string, string>>;
  /** The fields that were wrong. */
  violations?: readonly FieldViolation[];
  /** How long the server asks to wait before another try. */
  retryAfterMs?: number | undefined;
  /** Finds the call in the server's log. Empty when no server answered. */
  requestId?: string;
  /** What the transport threw. */
  cause?: unknown;
}

/** A call was refused or failed. Every error of the client is one. */
export class JobQueueError extends Error {
  /** The name of the gRPC code, for example `NOT_FOUND`. */
  readonly code: string;
  /** The stable name of the cause, for example `JOB_NOT_FOUND`. Empty when no JobQueue server answered. */
  readonly reason: string;
  /** Facts about the error, for example `job_id`. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields that were wrong. */
  violations: readonly FieldViolation[];
  /** How long the server asks to wait before another try. Undefined: it does not say. */
  readonly retryAfterMs: number | undefined;
  /** Finds the call in the server's log. Empty when no server answered. */
  readonly requestId: string;
  /** Of `enqueueMany`: the jobs of the batches before, which are committed. */
  enqueued: readonly EnqueueResult[] = [];

  constructor(message: string, facts: ErrorFacts = {}) {
    super(message, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.name = new.target.name;
    this.code = facts.code ?? "UNKNOWN";
    this.reason = facts.reason ?? "";
    this.metadata = facts.metadata ?? {};
    this.violations = facts.violations ?? [];
    this.retryAfterMs = facts.retryAfterMs;
    this.requestId = facts.requestId ?? "";
  }
}

/** A field is malformed or out of its range: correct the call; `violations` says where. */
export class InvalidRequest extends JobQueueError {}

/** The payload does not satisfy its kind's schema: correct the payload. */
export class PayloadInvalid extends InvalidRequest {}

/** A payload or the whole request is over its limit: make it smaller, or store it elsewhere and send its address. */
export class TooLarge extends InvalidRequest {}

/** The kind is not declared: check its spelling, or declare it with `putKind`. */
export class KindUnknown extends InvalidRequest {}

/** What was asked for does not exist, or no longer exists. */
export class NotFound extends JobQueueError {}

/** No job has this id: it never existed, was deleted, or its retention ended. */
export class JobNotFound extends NotFound {}

/** No job was ever enqueued in this queue. */
export class QueueNotFound extends NotFound {}

/** No schedule has this name: it was never made, or it was deleted. */
export class ScheduleNotFound extends NotFound {}

/** No open session has this number: it never existed, has ended, or takes nothing that may be read. */
export class WorkerNotFound extends NotFound {}

/** No operation has this name: it never existed, was deleted, is another's, or its retention ended. */
export class OperationNotFound extends NotFound {}

/** The operation is not done: wait for it, or cancel it first. */
export class OperationNotDone extends JobQueueError {}

/** The request id belongs to another request, whose operation is in `metadata.operation`: choose a new one. */
export class RequestIdReused extends JobQueueError {}

/** Not about as many jobs match as were expected: `metadata.estimate` says how many. Look at them again. */
export class FilterChanged extends JobQueueError {}

/** A schedule has this name: choose another one, or change that one. */
export class ScheduleExists extends JobQueueError {}

/** The namespace has as many schedules as it may have: delete some of them. */
export class SchedulesFull extends JobQueueError {}

/** The job has ended and can't be cancelled: `metadata.status` says how it ended. */
export class JobTerminal extends JobQueueError {}

/** The job is not over: wait for it or cancel it first. */
export class JobNotTerminal extends JobQueueError {}

/** The job is not held back: it was released before, enqueued without `hold`, or has ended. */
export class JobNotHeld extends JobQueueError {}

/** The key belongs to another request: `metadata.job_id` names its job. Use a new key. */
export class IdempotencyKeyReused extends JobQueueError {}

/** Another job, `metadata.job_id`, holds the name of a unique one: wait for it, or leave the work to it. */
export class Duplicate extends JobQueueError {}

/** An older server that still runs would break what was asked for: upgrade those in `metadata.servers` first. */
export class ServersDiffer extends JobQueueError {}

/** What is to be changed was changed since its `etag` was read: read it again and decide anew; `metadata.etag` is its own. */
export class EtagMismatch extends JobQueueError {}

/** Parts of a queue's key policy would contradict each other. */
export class KeyPolicyConflict extends JobQueueError {}

/** No failed job blocks the key: it was unblocked before, or its job was retried or deleted. */
export class KeyNotBlocked extends JobQueueError {}

/** Something is said of as many keys of the queue as may be: set back some of them first. */
export class QueueKeysFull extends JobQueueError {}

/** The server has too much to do: try again after `retryAfterMs`. */
export class Overloaded extends JobQueueError {}

/** As many jobs wait in the queue `metadata.queue` as it lets wait: `metadata.limit` says how many. */
export class QueueBacklogFull extends Overloaded {}

/** As many jobs wait for a key as its queue lets wait: `violations` says which jobs of the call have it. */
export class KeyBacklogFull extends Overloaded {}

/**
 * No server answered, or it can't reach its database or the issuer of tokens. The call may have been committed: try
 * again.
 */
export class Unavailable extends JobQueueError {}

/** Not done in time. The call may have been committed: try again, an enqueue with the same key. */
export class DeadlineExceeded extends JobQueueError {}

/** The job was not over in time. */
export class WaitTimeout extends DeadlineExceeded {
  /** The job as it was at the end. */
  readonly job: Job;
  /**
   * Why it was not over, in a sentence, as `Client.explain` says it. Empty: the wait was shorter than a second, or no server
   * answered that.
   */
  readonly summary: string;

  constructor(message: string, job: Job, summary = "") {
    const facts = { code: "DEADLINE_EXCEEDED", metadata: { job_id: job.id } };
    super(summary ? `${message}; ${summary}` : message, facts);
    this.job = job;
    this.summary = summary;
  }
}

/** The token is too old: list the jobs, then watch without it. */
export class WatchTokenExpired extends JobQueueError {}

/** The server has no such session: open a new one. The Worker does so by itself. */
export class SessionUnknown extends JobQueueError {}

/** The worker's session has ended, its leases were given back: open a new one. The Worker does so by itself. */
export class SessionEnded extends SessionUnknown {}

/** Another stream has resumed the session: resume it there. The Worker does so by itself. */
export class SessionSuperseded extends JobQueueError {}

/** The server got no frame for three heartbeat intervals: resume the session. The Worker does so by itself. */
export class SessionSilent extends JobQueueError {}

/** The credentials are not enough for this call: `metadata.permission` is what an administrator would grant. */
export class NotAllowed extends JobQueueError {}

/** The credentials are missing or wrong, have expired, or were revoked: `reason` says which. Get new ones. */
export class Unauthenticated extends NotAllowed {}

/** The namespace of the credentials was disabled: an administrator can enable it. */
export class NamespaceDisabled extends NotAllowed {}

/** The server does not have this method: it is older than the client, or no JobQueue server. */
export class NotSupported extends JobQueueError {}

/** A fault of the server: give its operator `requestId` or `metadata.error_id`. */
export class ServerFault extends JobQueueError {}
