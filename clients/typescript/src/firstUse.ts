/** What tells a newcomer what to do where no server has answered yet. */

import { Unavailable } from "./errors.js";
import type { JobQueueError } from "./errors.js";

/** Adds the hint to the first error of a client, where nothing listens. */
export class FirstUse {
  readonly #target: string;
  #over = false;

  constructor(target: string) {
    this.#target = target;
  }

  /** A server has answered. */
  answered(): void {
    this.#over = true;
  }

  /** Looks at the error of a call, and adds the hint if it is the time for it. */
  failed(error: JobQueueError): void {
    if (this.#over) return;
    if (nothingListens(error)) {
      this.#over = true;
      error.message += `; ${howToStart(this.#target)}`;
    } else if (error.reason || error.requestId) {
      this.#over = true;
    }
  }
}

/** Whether no connection could be made: not even something else answered. */
export function nothingListens(error: JobQueueError): boolean {
  return (
    error instanceof Unavailable && !error.reason && /ECONNREFUSED|ENOTFOUND|EHOSTUNREACH/.test(error.message)
  );
}

/** What to do about it. */
export function howToStart(target: string): string {
  return `nothing answers at ${target}; start a server by "make run" or "jobqueue-server", or set JOBQUEUE_SERVER`;
}
