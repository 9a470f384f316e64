/** One call: its deadline, its retries and its errors. */

import type { CallOptions } from "@connectrpc/connect";

import { Backoff } from "./backoff.js";
import { timers } from "./clock.js";
import { DeadlineExceeded, Overloaded, Unavailable } from "./errors.js";
import type { JobQueueError } from "./errors.js";
import { fromRpc } from "./rpcErrors.js";
import type { Turn } from "./window.js";

/** A timer of more than this ends at once. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** What every call takes. */
export interface Call {
  /** For the call with all its retries. Default: the client's. */
  deadlineMs?: number | undefined;
  /** Ends the call: it then rejects with the signal's reason. What was asked for may have been done. */
  signal?: AbortSignal | undefined;
}

/**
 * Makes a call, again and again while it may be repeated and there is time.
 *
 * Repeated are UNAVAILABLE, and RESOURCE_EXHAUSTED where the server says when to come back.
 *
 * @param retry Whether a second call does no harm where the first one was done.
 * @param turn Hears how the server answers. Undefined: no turns are taken.
 * @throws JobQueueError It failed; the class says how.
 */
export async function call<T>(
  method: (options: CallOptions) => Promise<T>,
  options: { deadlineMs: number; signal: AbortSignal | undefined; retry: boolean; turn?: Turn | undefined },
): Promise<T> {
  const { turn } = options;
  const ends = performance.now() + options.deadlineMs;
  const backoff = new Backoff(50, 2000);
  let before: JobQueueError | undefined;
  for (;;) {
    options.signal?.throwIfAborted();
    let error: JobQueueError;
    try {
      // 0 would mean no limit.
      const left = Math.max(1, Math.ceil(ends - performance.now()));
      return await method({
        timeoutMs: left,
        ...(options.signal ? { signal: options.signal } : {}),
        ...(turn ? { onTrailer: (trailers) => turn.answered(trailers) } : {}),
      });
    } catch (raised) {
      options.signal?.throwIfAborted();
      error = fromRpc(raised);
    }
    turn?.refused(error);
    // The last try had no time left; what failed those before it says more.
    if (before !== undefined && error instanceof DeadlineExceeded && !error.reason) {
      throw givenUp(before, options.deadlineMs);
    }
    before = error;
    const wait = options.retry ? pauseAfter(error, backoff) : undefined;
    if (wait === undefined) throw error;
    if (performance.now() + wait >= ends) throw givenUp(error, options.deadlineMs);
    await pause(wait, options.signal);
  }
}

/**
 * What was promised, unless the caller's time ends first. What makes it goes on.
 *
 * @param late Makes the error where `ms` are over.
 */
export async function raced<T>(
  promised: Promise<T>,
  ms: number,
  signal: AbortSignal | undefined,
  late: () => unknown,
): Promise<T> {
  let fail: (error: unknown) => void = () => undefined;
  const ended = new Promise<never>((_, reject) => (fail = reject));
  const abort = (): void => fail(signal!.reason);
  if (signal?.aborted) abort();
  const timer = timers.setTimeout(() => fail(late()), Math.min(ms, LONGEST_TIMER_MS));
  signal?.addEventListener("abort", abort);
  try {
    return await Promise.race([promised, ended]);
  } finally {
    timers.clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  }
}

/** How long to wait before another try, in milliseconds. Undefined: another try is of no use. */
export function pauseAfter(error: JobQueueError, backoff: Backoff): number | undefined {
  // At least what the server asks for, and never all callers at the same moment.
  if (error instanceof Unavailable) return (error.retryAfterMs ?? 0) + backoff.next();
  if (error instanceof Overloaded && error.retryAfterMs !== undefined) {
    return error.retryAfterMs + backoff.next();
  }
  return undefined;
}

/** Waits; rejects with the signal's reason if that comes first. */
export async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  let end: () => void = () => undefined;
  const waited = new Promise<void>((resolve) => (end = resolve));
  const timer = timers.setTimeout(end, ms);
  signal?.addEventListener("abort", end);
  try {
    await waited;
  } finally {
    timers.clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
  signal?.throwIfAborted();
}

/** The error after the last try; the cause says more than "deadline exceeded" would. */
export function givenUp(error: JobQueueError, deadlineMs: number): JobQueueError {
  error.message += ` (tried again until the deadline of ${deadlineMs} ms)`;
  return error;
}
