/** How a handler's end becomes an outcome: the one table from results and errors to messages. */

import { create } from "@bufbuild/protobuf";

import { duration } from "../convert.js";
import {
  CancellationSchema,
  FailureSchema,
  OutcomeSchema,
  ReleaseSchema,
  SnoozeSchema,
  SuccessSchema,
} from "../gen/jobqueue/v1/lease_pb.js";
import type { Outcome } from "../gen/jobqueue/v1/lease_pb.js";
import { Cancelled, Discard, Retry, Snooze } from "../outcomes.js";
import { encode } from "../payload.js";
import { cut } from "../text.js";
import type { JobContext, Stop } from "./context.js";

const TYPE_CHARACTERS = 255;
// A server refuses the outcome of a longer one.
const LONGEST_PAUSE_MS = 86_400_000;
const ERROR_BYTES = 8 * 1024;
const STACK_BYTES = 32 * 1024;
// Refused here with the handler's name on it; a server with a lower limit answers INVALID, which says so as well.
const OUTPUT_BYTES = 1024 * 1024;
// The numbers and tags around the texts of an outcome.
const FRAME_BYTES = 64;

/** An outcome and about how many bytes it has. Without one: a success without output, which is sent as a bare number. */
export interface Ending {
  readonly outcome: Outcome | undefined;
  readonly bytes: number;
}

const PLAIN_SUCCESS: Ending = { outcome: undefined, bytes: 0 };

/** What a handler returned, with its follow-ups; throws where that can't be an output. */
export function ofResult(value: unknown, context: JobContext): Ending {
  const followUps = context.takeFollowUps();
  if (value === undefined && followUps.jobs.length === 0) return PLAIN_SUCCESS;
  const success = create(SuccessSchema, { followUps: followUps.jobs });
  let bytes = followUps.bytes;
  if (value !== undefined) {
    const output = encode(value, "the handler's output");
    if (output.length > OUTPUT_BYTES) {
      throw new RangeError(
        `the handler's output is ${output.length} bytes of JSON, the limit is ${OUTPUT_BYTES}: ` +
          "store it elsewhere and return its address",
      );
    }
    success.result = { case: "outputJson", value: output };
    bytes += output.length;
  }
  return ending({ case: "success", value: success }, bytes);
}

/** What a handler threw, and what it was told before. */
export function ofError(error: unknown, stop: Stop | undefined): Ending {
  const stopped = error instanceof Cancelled || (stop !== undefined && isAbort(error));
  if (stopped) return stop === "shutdown" || stop === "lost" ? released() : cancelled();
  if (error instanceof Snooze) {
    const snooze = create(SnoozeSchema, { delay: duration(error.delayMs, "delayMs") });
    return ending({ case: "snooze", value: snooze }, 0);
  }
  return failure(error);
}

/** The job goes back, uncharged. */
export function released(): Ending {
  return ending({ case: "release", value: create(ReleaseSchema) }, 0);
}

/** A failure that no error of the handler's stands for. */
export function failed(errorType: string, error: string): Ending {
  return ending({ case: "failure", value: create(FailureSchema, { errorType, error }) }, error.length);
}

function cancelled(): Ending {
  return ending({ case: "cancellation", value: create(CancellationSchema) }, 0);
}

function ending(outcome: Outcome["outcome"], bytes: number): Ending {
  return { outcome: create(OutcomeSchema, { outcome }), bytes: bytes + FRAME_BYTES };
}

/** What Node's own functions throw when a signal ends them. */
function isAbort(error: unknown): boolean {
  return error instanceof Error && error.name === "AbortError";
}

function failure(error: unknown): Ending {
  // Retry and Discard are words of ours; what was wrong is what they were thrown for.
  const told = error instanceof Retry || error instanceof Discard;
  const cause = told ? (error.cause ?? undefined) : error;
  const words = wordsOf(error);
  const stack = cause instanceof Error ? cut(cause.stack ?? "", STACK_BYTES) : "";
  const message = create(FailureSchema, {
    errorType: typeOf(cause ?? error).slice(0, TYPE_CHARACTERS),
    error: cut(words, ERROR_BYTES),
    stack,
    permanent: error instanceof Discard,
  });
  if (error instanceof Retry && error.afterMs !== undefined) {
    message.retryAfter = duration(error.afterMs, "afterMs");
  }
  const bytes = Buffer.byteLength(message.error) + Buffer.byteLength(stack);
  const made = ending({ case: "failure", value: message }, bytes);
  if (made.outcome && error instanceof Retry && error.pauseKey) {
    made.outcome.pauseKey = duration(Math.min(error.afterMs ?? 0, LONGEST_PAUSE_MS), "afterMs");
  }
  return made;
}

function typeOf(error: unknown): string {
  if (error instanceof Error) return error.name || error.constructor.name;
  return error === null ? "null" : typeof error;
}

function wordsOf(error: unknown): string {
  if (error instanceof Error) return error.message || typeOf(error);
  // A value may be unable to say what it is; its attempt has failed all the same.
  try {
    return String(error) || typeOf(error);
  } catch {
    return `a ${typeOf(error)} that has no text`;
  }
}
