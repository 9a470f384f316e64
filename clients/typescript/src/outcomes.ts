/**
 * What a handler throws when its attempt should end otherwise than by success or an ordinary failure.
 *
 * Any other error is a failure that counts against `maxAttempts` and is tried again after a backoff.
 */

/** The attempt failed and should be tried again, as long as the job has attempts left. */
export class Retry extends Error {
  override readonly name = "Retry";
  /** How long to wait before the next attempt. Undefined leaves it to the job's backoff. */
  readonly afterMs: number | undefined;
  /** Whether no job of this one's key starts for as long as `afterMs` says. */
  readonly pauseKey: boolean;

  /**
   * @param message What went wrong; becomes the job's `lastError`.
   * @param options `afterMs`: how long to wait before the next attempt, at most 400 days. `cause`: what went wrong;
   *     its name and stack are what the job's history shows. `pauseKey`: for so long, 24 hours at most, no job of this
   *     one's key starts, as when a service answers 429 for all that is done for a customer; without effect if the job
   *     has no key, or its queue limits nothing by key.
   * @throws TypeError `pauseKey` without `afterMs`.
   */
  constructor(message: string, options: { afterMs?: number; cause?: unknown; pauseKey?: boolean } = {}) {
    super(message, options);
    this.afterMs = options.afterMs === undefined ? undefined : checkedMs("Retry's afterMs", options.afterMs);
    this.pauseKey = options.pauseKey ?? false;
    if (this.pauseKey && this.afterMs === undefined) {
      throw new TypeError("Retry's pauseKey takes afterMs too: for so long the key is paused");
    }
  }
}

/** The attempt failed and no later one can succeed: the job ends FAILED_PERMANENT, NOT_RETRYABLE. */
export class Discard extends Error {
  override readonly name = "Discard";
}

/** Not now: the job goes back and is handed out again after a delay. Costs the job no try. */
export class Snooze extends Error {
  override readonly name = "Snooze";
  readonly delayMs: number;

  /** @param delayMs How long to wait, at most 400 days. */
  constructor(delayMs: number) {
    super(`snoozed for ${delayMs} ms`);
    this.delayMs = checkedMs("Snooze's delayMs", delayMs);
  }
}

/**
 * The job was asked to stop, and the handler stopped: the job ends CANCELLED.
 *
 * `ctx.throwIfCancelled()` throws it. A handler that finds a reason of its own to give the job up may throw it as well.
 */
export class Cancelled extends Error {
  override readonly name = "Cancelled";

  constructor(message = "cancelled") {
    super(message);
  }
}

/** Refuses a wrong number here, in the handler's own line, and not when the outcome is built. */
function checkedMs(name: string, value: number): number {
  if (!Number.isFinite(value) || value < 0) {
    throw new RangeError(`${name} is ${value}; it is a number of milliseconds that is not negative`);
  }
  return value;
}
