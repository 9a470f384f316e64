/** What an attempt came to, as values. */

import type { NewJob } from "../job.js";
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
  /** How long no job of the key starts, by `pauseKey` of `Retry`. Undefined: the key goes on. */
  readonly pauseKeyMs: number | undefined;
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
