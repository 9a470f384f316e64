/** What tells a newcomer what to do where no server has answered yet. */

import { Unavailable } from "./errors.js";
import type { JobQueueError } from "./errors.js";

/** Adds the hint to the first error of a client, where nothing listens, or what does is no gRPC. */
export class FirstUse {
  /** Whether the environment said the address. */
  ofEnvironment = false;
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
    const hint = hintOf(error, this.#target, this.ofEnvironment);
    if (hint !== "") {
      this.#over = true;
      error.message += hint;
    } else if (error.reason || error.requestId) {
      this.#over = true;
    }
  }
}

/** What to do about an error of a server that was never heard, behind its words. Empty: nothing is known of it. */
export function hintOf(error: JobQueueError, target: string, ofEnvironment: boolean): string {
  if (!(error instanceof Unavailable) || error.reason) return "";
  const or = ofEnvironment ? ", or set JOBQUEUE_SERVER" : "";
  if (/ENOTFOUND/.test(error.message)) {
    return `; the name in ${target} is not known: check its spelling${or}`;
  }
  if (/ECONNREFUSED|EHOSTUNREACH/.test(error.message)) {
    return `; nothing answers at ${target}; start a server by "make run" or "jobqueue-server"${or}`;
  }
  // What Node says of a first frame that is none of HTTP/2.
  if (/^Protocol error/.test(error.message)) {
    return "; this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS";
  }
  return "";
}
