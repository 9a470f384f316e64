/** Where metrics, error reports and logs of slow jobs come from. */

import { timers } from "../clock.js";
import { Job_Status } from "../gen/jobqueue/v1/job_pb.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { SettleResult_Verdict as Verdict } from "../gen/jobqueue/v1/lease_pb.js";
import type { LeasedJob, Outcome, SettleResult } from "../gen/jobqueue/v1/lease_pb.js";
import type { WorkerStatus } from "./status.js";

/** What became of an attempt; these are the words of the server's metrics. */
export type AttemptOutcome =
  | "succeeded"
  /** The job will run again: after a failure that it may have, a snooze or a release. */
  | "retrying"
  | "failed_permanent"
  | "cancelled"
  /** No outcome was taken: the lease was revoked or stale, or the job is gone. */
  | "error";

/** One attempt of a job, as an observer is told of it: values, without the payload. */
export interface Attempt {
  /** The job's. */
  readonly id: string;
  readonly kind: string;
  readonly queue: string;
  /** The number of the attempt, from 1. */
  readonly attempt: number;
  /** How many attempts of the job failed before. */
  readonly failures: number;
  readonly labels: Readonly<Record<string, string>>;
  /** That of the call that enqueued the job. Empty: it had none. */
  readonly requestId: string;
}

/**
 * Is told what a worker and a client do. All methods may be left out.
 *
 * They are called one at a time, in the order of what happened, and after it: a method that returns a promise is waited
 * for before the next call, and holds up no heartbeat. One that blocks the event loop blocks everything. 10,000 calls may
 * wait; those beyond are dropped and counted (`WorkerStatus.observerDropped`). What a method throws is logged once, and
 * it is called again.
 */
export interface Observer {
  /** An attempt starts. */
  attemptStarted?(attempt: Attempt): unknown;
  /**
   * The server has answered the outcome of an attempt, whose handler ran for so many milliseconds.
   *
   * @param error What the handler threw where the attempt failed; with the outcome `error` what became of the lease;
   *     else undefined.
   */
  attemptEnded?(attempt: Attempt, outcome: AttemptOutcome, tookMs: number, error: unknown): unknown;
  /**
   * A call that enqueues has ended, after so many milliseconds, all its tries together. `enqueueMany` makes one call for
   * each batch; `kind` and `queue` are empty there if its jobs differ in them. What the client refuses itself is not told.
   *
   * @param error Why these jobs were not enqueued, as far as is known. Undefined: they were.
   */
  enqueued?(count: number, kind: string, queue: string, tookMs: number, error: unknown): unknown;
  /** State, server, session or unknown kinds of a worker have changed. */
  sessionChanged?(status: WorkerStatus): unknown;
}

const CALLS = 10_000;
// After so many calls in one go the event loop has its turn.
const IN_ONE_GO = 100;
// How long the last calls are waited for at the end.
const END_WITHIN_MS = 2000;

/** The calls of an observer that wait. */
export class Observations {
  /** How many calls were left out. */
  dropped = 0;

  readonly #observer: Observer;
  readonly #complain: (message: string) => void;
  #calls: ((observer: Observer) => unknown)[] = [];
  #waiting = 0;
  #running: Promise<void> | undefined;
  #complained = false;

  /** @param complain Takes a line for the log. */
  constructor(observer: Observer, complain: (message: string) => void) {
    this.#observer = observer;
    this.#complain = complain;
  }

  /** Calls the observer later. */
  tell(call: (observer: Observer) => unknown): void {
    if (this.#waiting >= CALLS) {
      this.dropped += 1;
      return;
    }
    this.#waiting += 1;
    this.#calls.push(call);
    this.#running ??= this.#run();
  }

  /** Tells the enqueue of jobs that has begun then and ended now. */
  enqueued(jobs: readonly pb.NewJob[], tookMs: number, error: unknown): void {
    const [first] = jobs;
    const kind = first !== undefined && jobs.every((job) => job.kind === first.kind) ? first.kind : "";
    const queue = first !== undefined && jobs.every((job) => job.queue === first.queue) ? first.queue : "";
    this.tell((observer) => observer.enqueued?.(jobs.length, kind, queue, tookMs, error));
  }

  /** Waits for the calls that wait, for a while. */
  async end(): Promise<void> {
    if (this.#running === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = timers.setTimeout(resolve, END_WITHIN_MS)));
    await Promise.race([this.#running, late]);
    timers.clearTimeout(timer);
  }

  async #run(): Promise<void> {
    while (this.#calls.length > 0) {
      await new Promise((resolve) => timers.setImmediate(resolve));
      const calls = this.#calls.splice(0, IN_ONE_GO);
      for (const call of calls) {
        try {
          await call(this.#observer);
        } catch (error) {
          if (!this.#complained) this.#complain(`the observer failed; that is said once: ${String(error)}`);
          this.#complained = true;
        }
        this.#waiting -= 1;
      }
    }
    this.#running = undefined;
  }
}

/** An attempt, as it was delivered. */
export function attemptOf(message: LeasedJob): Attempt {
  const { id, kind, queue, attempt, failures, labels, headers } = message;
  const requestId = headers["x-request-id"] ?? "";
  return { id, kind, queue, attempt, failures, labels: { ...labels }, requestId };
}

/** What became of an outcome that was answered; undefined: applied, as it was said. */
export function outcomeOf(outcome: Outcome | undefined, result: SettleResult | undefined): AttemptOutcome {
  const verdict = result?.verdict ?? Verdict.APPLIED;
  if (verdict !== Verdict.APPLIED && verdict !== Verdict.ALREADY_APPLIED) return "error";
  switch (result?.status) {
    case Job_Status.SUCCEEDED:
      return "succeeded";
    case Job_Status.RETRYING:
    case Job_Status.QUEUED:
      return "retrying";
    case Job_Status.FAILED_PERMANENT:
      return "failed_permanent";
    case Job_Status.CANCELLED:
      return "cancelled";
  }
  switch (outcome?.outcome.case) {
    case undefined:
    case "success":
      return "succeeded";
    case "cancellation":
      return "cancelled";
    default:
      return "retrying";
  }
}
