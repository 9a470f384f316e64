/** Handlers by kind. */

import type { JobContext } from "./context.js";
import type { LeasedJob } from "../job.js";

/**
 * Runs one attempt. What it returns, if not undefined, is the job's output. What it throws is a failure, but for
 * `Retry`, `Discard`, `Snooze` and `Cancelled`.
 */
export type Handler<P = any> = (job: LeasedJob<P>, ctx: JobContext) => unknown;

/** What can be said of a handler. */
export interface HandlerOptions {
  /** How many jobs of this kind run at once, within the worker's concurrency. Default: no bound. */
  slots?: number;
}

/** The handlers of a worker. */
export class Handlers {
  readonly #functions = new Map<string, Handler>();
  readonly #queues: readonly string[];
  readonly slotsByKind: Record<string, number> = {};

  /** @param queues The worker's, for words. */
  constructor(queues: readonly string[]) {
    this.#queues = queues;
  }

  add(kind: string, handler: Handler, { slots }: HandlerOptions): void {
    if (typeof handler !== "function") throw new TypeError(`the handler of ${kind} is no function`);
    const first = this.#functions.get(kind);
    if (first !== undefined) {
      const where = `in the worker of queues ${JSON.stringify(this.#queues)}`;
      throw new Error(
        `${kind} has a handler already, ${nameOf(first)}, ${where}; ${nameOf(handler)} would be its second`,
      );
    }
    if (slots !== undefined) {
      if (!Number.isInteger(slots) || slots < 1 || slots > 10_000) {
        throw new RangeError(`slots is ${slots}; it is 1 to 10000`);
      }
      this.slotsByKind[kind] = slots;
    }
    this.#functions.set(kind, handler);
  }

  get(kind: string): Handler | undefined {
    return this.#functions.get(kind);
  }

  kinds(): string[] {
    return [...this.#functions.keys()];
  }
}

function nameOf(handler: Handler): string {
  return handler.name || "a function without a name";
}
