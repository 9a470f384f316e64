/** What an attempt came to, as values. */

import type { NewJob } from "../job.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { Unique_Field, Unique_OnConflict, Unique_Scope, Unique_Until } from "../gen/jobqueue/v1/job_pb.js";
import { dateOf, msOf, retryPolicyOf } from "../jobs.js";
import { textOf } from "../payload.js";
import type { Unique } from "../unique.js";
import type { PerformOptions } from "./performing.js";

/** How an attempt ended. */
export type Ending =
  | "succeeded"
  /** It counts against `maxAttempts`. */
  | "failed"
  /** No later attempt can succeed. */
  | "discarded"
  /** Back, for later. */
  | "snoozed"
  /** The handler stopped since it was asked to. */
  | "cancelled"
  /** Back, uncharged. */
  | "released";

/** One call of `ctx.progress`. */
export interface Report {
  /** The share of the work that is done, 0..1. Undefined: it did not say. */
  readonly fraction: number | undefined;
  /** What it said. Empty: nothing. */
  readonly message: string;
}

/** What an attempt came to: what the worker would have told the server. */
export interface Performed<Output = any> {
  readonly outcome: Ending;
  /** What it returned, after JSON; of a typed kind as a reader gets it. Undefined: nothing. */
  readonly output: Output;
  /** The same as JSON text. Undefined: nothing. */
  readonly outputJson: string | undefined;
  /** What went wrong, as `lastError` would have it. Empty: nothing. */
  readonly error: string;
  /** The name of what was thrown. Empty: nothing went wrong. */
  readonly errorType: string;
  /** Where, as text. */
  readonly stack: string;
  /** What `Retry` asked for. */
  readonly retryAfterMs: number | undefined;
  /** What `Snooze` asked for. */
  readonly delayMs: number | undefined;
  /** The calls of `ctx.progress`, in order. A server is told the newest one each 100 ms. */
  readonly progress: readonly Report[];
  /** What was saved, in order. */
  readonly checkpoints: readonly Uint8Array[];
  /** What the next attempt would read: the newest one that was saved, or that of before. Empty: none. */
  readonly checkpoint: Uint8Array;
  /** The jobs given to `ctx.followUp`. They are enqueued if the attempt has succeeded. */
  readonly followUps: readonly NewJob[];
  /** The number of the attempt. */
  readonly attempt: number;
  /** How many failures there had been before. */
  readonly failures: number;
  /**
   * Performs the next attempt of the same job, with its checkpoint, and its failures as they would be.
   *
   * @param changes As the options of `perform`, where they are to be others.
   */
  again(changes?: PerformOptions): Promise<Performed<Output>>;
}

/** The job that a message enqueues, with what it says alone; its payload is JSON text. */
export function newJobOf(message: pb.NewJob): NewJob {
  const { start, content, retryPolicy, unique, labels, headers } = message;
  const said: NewJob = {
    kind: message.kind,
    payloadJson: content.case === "payloadJson" ? textOf(content.value) : "null",
    queue: message.queue || undefined,
    priority: message.priority || undefined,
    runAt: start.case === "runAt" ? dateOf(start.value) : undefined,
    delayMs: start.case === "delay" ? msOf(start.value) : undefined,
    maxAttempts: message.maxAttempts || undefined,
    timeoutMs: msOf(message.timeout),
    retryPolicy: retryPolicyOf(retryPolicy),
    idempotencyKey: message.idempotencyKey || undefined,
    labels: Object.keys(labels).length > 0 ? { ...labels } : undefined,
    headers: Object.keys(headers).length > 0 ? { ...headers } : undefined,
    hold: message.hold || undefined,
    key: message.key || undefined,
    unique: unique && uniqueOf(unique),
  };
  return withoutUndefined(said);
}

function uniqueOf(message: pb.Unique): Unique {
  const name = <T>(names: object, number: number, other: string): T | undefined => {
    const found = (names as Record<number, string>)[number];
    return found === other ? undefined : (found as T);
  };
  const replace = message.replace.map((each) => Unique_Field[each] as NonNullable<Unique["replace"]>[number]);
  return withoutUndefined<Unique>({
    key: message.key || undefined,
    payloadFields: message.payloadFields.length > 0 ? [...message.payloadFields] : undefined,
    scope: name(Unique_Scope, message.scope, "KIND"),
    until: name(Unique_Until, message.until, "STARTS"),
    periodMs: msOf(message.period),
    onConflict: name(Unique_OnConflict, message.onConflict, "KEEP"),
    replace: replace.length > 0 ? replace : undefined,
    maxDelayMs: msOf(message.maxDelay),
  });
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}
