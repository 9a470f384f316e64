/** What a handler is given beside its job. */

import type { AsyncResource } from "node:async_hooks";

import { toBinary } from "@bufbuild/protobuf";

import { NewJobSchema } from "../gen/jobqueue/v1/job_pb.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { AUTO, newJob } from "../job.js";
import type { EncodingRule, NewJob } from "../job.js";
import { newJobOf } from "../newJobs.js";
import { Cancelled } from "../outcomes.js";
import { JsonText, encode } from "../payload.js";
import type { LeasedJob } from "../job.js";
import { wholeCharacters } from "../text.js";

const MESSAGE_BYTES = 1024;
const CHECKPOINT_BYTES = 64 * 1024;
const FOLLOW_UPS = 100;
// With an output of 1 MiB the outcome still fits into a message of 4 MiB.
const FOLLOW_UPS_BYTES = 2 * 1024 * 1024;
// One id from the first caller to the last handler.
const INHERITED = ["x-request-id", "traceparent"];
const NOTHING = new JsonText("");

/** Why a handler should stop. A later one replaces an earlier one. */
export type Stop =
  /** A caller asked to cancel the job: the handler's result decides. */
  | "cancel"
  /** The worker shuts down and its grace has ended: the job goes back, uncharged. */
  | "shutdown"
  /** The lease is no longer this worker's: whatever the handler answers is dropped. */
  | "revoked"
  /** No server was heard for the session's ttl, of a worker with `stopWhenLost`: the job may run elsewhere by now. */
  | "lost";

/** The reason of `ctx.signal`. A handler that lets it out stops as it was asked to. */
export class Stopped extends Cancelled {
  /** Why the handler should stop. */
  readonly why: Stop;

  constructor(why: Stop, message: string) {
    super(message);
    this.why = why;
  }
}

/** What a handler reports; what is undefined stays as it was. */
export interface Report {
  fraction?: number | undefined;
  message?: string;
  checkpoint?: Uint8Array;
}

/** One attempt, as its handler sees it. */
export class JobContext {
  /** When the attempt times out, by this host's clock. Undefined: never. */
  readonly deadline: Date | undefined;

  /** What follow-ups carry. Undefined: what the job has. For the runtime. */
  traceparent: string | undefined;

  /** Where what middleware has set is seen. Undefined: there is none. For the runtime. */
  endedIn: AsyncResource | undefined;

  #job: LeasedJob;
  readonly #report: (report: Report) => void;
  // Made when it is asked for: most handlers never look, and it costs more than all else of a short job.
  #controller: AbortController | undefined;
  #stop: Stopped | undefined;
  #followUps: pb.NewJob[] = [];
  #followUpBytes = 0;
  // Whether each follow-up is encoded, by its place. Undefined: the worker has no encodings.
  #rules: (EncodingRule | undefined)[] | undefined;
  #checkpointed: (data: Uint8Array) => Uint8Array = asItIs;
  #sealed = false;

  constructor(job: LeasedJob, report: (report: Report) => void) {
    this.#job = job;
    this.#report = report;
    const timeoutMs = job.timeoutMs;
    this.deadline = timeoutMs === undefined ? undefined : new Date(Date.now() + timeoutMs);
  }

  /** The job, for handlers of typed kinds, which get its payload and not itself. */
  get job(): LeasedJob {
    return this.#job;
  }

  /**
   * Aborts when the handler should stop; its reason is a `Stopped`, which says why. Hand it on to `fetch`, timers and
   * whatever else takes one: what these throw then ends the attempt as it was asked to.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#stop !== undefined) this.#controller.abort(this.#stop);
    }
    return this.#controller.signal;
  }

  /** Why the handler should stop. Undefined until `cancelled`. */
  get stopReason(): Stop | undefined {
    return this.#stop?.why;
  }

  /** Whether the handler should stop: cancelled by a caller, lease revoked, cut off, or the worker's grace is over. */
  get cancelled(): boolean {
    return this.#stop !== undefined;
  }

  /** Ends the attempt here, by throwing `Stopped`, if the handler should stop. */
  throwIfCancelled(): void {
    if (this.#stop !== undefined) throw this.#stop;
  }

  /** How long until the deadline, in milliseconds; negative when it is over. Undefined: no deadline. */
  get remainingMs(): number | undefined {
    return this.deadline && this.deadline.getTime() - Date.now();
  }

  /**
   * Reports how far the attempt is. Returns at once. What comes within 100 ms replaces it; the last one before a broken
   * connection may be lost.
   *
   * @param fraction 0..1, of the whole. Undefined: unchanged.
   * @param message What the attempt does now, for people. Cut at 1024 bytes of UTF-8.
   */
  progress(fraction?: number, message = ""): void {
    if (fraction !== undefined && !(fraction >= 0 && fraction <= 1)) {
      throw new RangeError(`progress(${fraction}): a fraction is 0..1 of the whole`);
    }
    const cut = message && wholeCharacters(Buffer.from(message).subarray(0, MESSAGE_BYTES));
    this.#report({ fraction, message: cut });
  }

  /**
   * Stores a value for the job's next attempt. Returns at once.
   *
   * The newest one counts. It is there for sure once the attempt ends by an outcome of this worker; where the worker is
   * lost, the last tenths of a second may be lost with it.
   *
   * @param value Bytes in any form, which the next attempt reads as `job.checkpoint`; or what JSON has a form for, which
   *     it reads by `job.checkpointAs(schema)`. At most 64 KiB. Undefined, null and no bytes: take back what was left.
   * @throws RangeError It is longer.
   * @throws TypeError JSON has no form for it.
   */
  saveCheckpoint(value: unknown): void {
    const data = value instanceof Uint8Array ? value : encode(value ?? NOTHING, "the checkpoint");
    this.#report({ checkpoint: checkedCheckpoint(this.#checkpointed(copied(checkedCheckpoint(data)))) });
  }

  /**
   * Enqueues a job in the transaction that settles this one as succeeded.
   *
   * It gets the request id and the trace of this job, unless it has headers of these names. An idempotency key of AUTO
   * is none: the transaction already makes it once.
   *
   * @param job At most 100 of them, of 2 MiB in all.
   * @throws EncodingRequired Its kind takes encrypted payloads alone, and the worker has no encodings.
   */
  followUp(job: NewJob): void {
    // It would go out as it is.
    if (this.#sealed) throw new Error("ctx.followUp was called after the handler had ended");
    const key = job.idempotencyKey === AUTO ? undefined : job.idempotencyKey;
    // With encodings it is encoded after the handler, as the middleware has left it.
    const encodings = this.#rules === undefined ? job.encodings : undefined;
    const message = newJob({ ...job, idempotencyKey: key, encodings });
    if (this.traceparent !== undefined) message.headers["traceparent"] ??= this.traceparent;
    for (const name of INHERITED) {
      const value = this.#job.headers[name];
      if (value !== undefined) message.headers[name] ??= value;
    }
    if (this.#followUps.length >= FOLLOW_UPS) {
      throw new RangeError(`a job has at most ${FOLLOW_UPS} follow-ups`);
    }
    this.#followUpBytes = checkedBytes(this.#followUpBytes + bytesOf(message));
    if (this.#rules !== undefined) this.#rules[this.#followUps.length] = job.encodings;
    this.#followUps.push(message);
  }

  /** What `followUp` took, and its size. For the runtime. */
  takeFollowUps(): { jobs: pb.NewJob[]; bytes: number } {
    return { jobs: this.#followUps, bytes: this.#followUpBytes };
  }

  /** The same as values, for middleware. */
  followUpsAsked(): NewJob[] {
    return this.#followUps.map(newJobOf);
  }

  /** Gives the follow-ups the headers and labels of these. For the runtime. */
  amendFollowUps(jobs: readonly NewJob[]): void {
    this.#followUps.forEach((message, place) => {
      message.headers = { ...jobs[place]?.headers };
      message.labels = { ...jobs[place]?.labels };
    });
    this.#followUpBytes = checkedBytes(this.#followUps.reduce((sum, each) => sum + bytesOf(each), 0));
  }

  /**
   * Takes a job that was decoded in place of the one that came, and lets follow-ups and checkpoints be encoded. For the
   * runtime.
   *
   * @param checkpoint Encodes one. Undefined: they are not encoded.
   */
  decoded(job: LeasedJob, checkpoint: ((data: Uint8Array) => Uint8Array) | undefined): void {
    this.#job = job;
    this.#rules = [];
    this.#checkpointed = checkpoint ?? asItIs;
  }

  /** Puts what `seal` makes of the follow-ups in their place. For the runtime. */
  sealFollowUps(seal: (job: NewJob) => NewJob): void {
    this.#sealed = true;
    this.#followUps.forEach((message, place) => {
      const { content } = message;
      if (content.case !== "payloadJson") return;
      const job = { ...newJobOf(message), payloadJson: content.value, encodings: this.#rules?.[place] };
      content.value = new JsonText(seal(job).payloadJson!).bytes;
    });
    this.#followUpBytes = checkedBytes(this.#followUps.reduce((sum, each) => sum + bytesOf(each), 0));
  }

  /** Takes them back. For the runtime. */
  dropFollowUps(): void {
    this.#followUps = [];
    this.#followUpBytes = 0;
  }

  /** Tells the handler to stop. For the runtime. */
  stop(why: Stop, message: string): void {
    this.#stop = new Stopped(why, message);
    this.#controller?.abort(this.#stop);
  }
}

function asItIs(data: Uint8Array): Uint8Array {
  return data;
}

// A copy, which `slice` of a Buffer is not. Encodings may leave a checkpoint as it is.
function copied(data: Uint8Array): Uint8Array {
  return new Uint8Array(data);
}

function checkedCheckpoint(data: Uint8Array): Uint8Array {
  if (data.length <= CHECKPOINT_BYTES) return data;
  throw new RangeError(
    `saveCheckpoint() takes at most ${CHECKPOINT_BYTES} bytes, not ${data.length}: ` +
      "store it elsewhere and leave its address",
  );
}

function bytesOf(message: pb.NewJob): number {
  return toBinary(NewJobSchema, message).length;
}

function checkedBytes(bytes: number): number {
  if (bytes <= FOLLOW_UPS_BYTES) return bytes;
  throw new RangeError(`the follow-ups of a job may have ${FOLLOW_UPS_BYTES} bytes in all, not ${bytes}`);
}
