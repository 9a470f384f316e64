/** What is asked of a client that enqueues, in each of the forms in which it takes a job. */

import type { Call } from "./calls.js";
import type { Client } from "./client.js";
import type { JobOptions, NewJob } from "./job.js";
import type { JobKind } from "./kinds/kind.js";
import type { Maybe } from "./kinds/maybe.js";

/** What code asks for that enqueues, and does no more: a `Client`, or in its test a `RecordingClient`. */
export type Enqueuer = Pick<Client, "enqueue" | "enqueueMany">;

/**
 * The arguments of `enqueue` as a job and a call. What is given is read at once; of a typed kind whose schema checks
 * asynchronously the job is a promise.
 */
export function wanted(
  what: string | NewJob | JobKind,
  second: unknown,
  options: JobOptions & Call = {},
): { job: Maybe<NewJob>; given: Call } {
  if (typeof what === "string") return { job: { ...options, kind: what, payload: second }, given: options };
  // Not by its class: a module of kinds may have another copy of this package.
  if ("made" in what) return { job: what.made(second, options), given: options };
  return { job: what, given: (second ?? {}) as Call };
}
