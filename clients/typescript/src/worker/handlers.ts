/** Handlers by kind. */

import type { JobContext } from "./context.js";
import type { LeasedJob } from "../job.js";
import { EncodingRequired } from "../encoded.js";
import type { Encodings } from "../encodings/encodings.js";
import type { TypedHandler } from "../kinds/declaration.js";
import type { JobKind } from "../kinds/kind.js";
import type { Middleware } from "../middleware.js";
import { around } from "./around.js";
import { Coding } from "./coding.js";

/**
 * Runs one attempt. What it returns, if not undefined, is the job's output. What it throws is a failure, but for
 * `Retry`, `Discard`, `Snooze` and `Cancelled`.
 */
export type Handler<P = any> = (job: LeasedJob<P>, ctx: JobContext) => unknown;

/** What can be said of a handler. */
export interface HandlerOptions {
  /**
   * How many jobs of this kind run at once, within the worker's concurrency; of each of its aliases as many. Default: no
   * bound.
   */
  slots?: number;
}

/** The handlers of a worker. */
export class Handlers {
  readonly #functions = new Map<string, Handler>();
  readonly #queues: readonly string[];
  readonly #middleware: readonly Middleware[];
  readonly #encodings: Encodings | undefined;
  readonly #codings = new Map<string, Coding>();
  /** The typed kinds that have a handler. */
  readonly typed: JobKind[] = [];
  readonly slotsByKind: Record<string, number> = {};

  /**
   * @param queues The worker's, for words.
   * @param middleware The worker's, which goes around each handler.
   * @param encodings The worker's, which go around that. Undefined: nothing is encoded or decoded.
   */
  constructor(queues: readonly string[], middleware: readonly Middleware[], encodings?: Encodings) {
    this.#queues = queues;
    this.#middleware = middleware;
    this.#encodings = encodings;
  }

  add(kind: string | JobKind, handler: Handler | TypedHandler<JobKind>, { slots }: HandlerOptions): void {
    const names = typeof kind === "string" ? [kind] : [kind.name, ...kind.aliases];
    if (typeof handler !== "function") throw new TypeError(`the handler of ${names[0]} is no function`);
    for (const name of names) {
      const first = this.#functions.get(name);
      if (first === undefined) continue;
      const where = `in the worker of queues ${JSON.stringify(this.#queues)}`;
      throw new Error(
        `${name} has a handler already, ${nameOf(first)}, ${where}; ${nameOf(handler)} would be its second`,
      );
    }
    if (slots !== undefined && (!Number.isInteger(slots) || slots < 1 || slots > 10_000)) {
      throw new RangeError(`slots is ${slots}; it is 1 to 10000`);
    }
    const rule = typeof kind === "string" ? undefined : kind.encodings;
    if (rule === "required" && !this.#encodings?.encrypts) {
      throw new EncodingRequired(
        `the kind ${names[0]} takes encrypted payloads alone: give the worker encodings that encrypt`,
      );
    }
    if (typeof kind !== "string") this.typed.push(kind);
    const plain = typeof kind === "string" ? (handler as Handler) : takingAJob(kind, handler);
    const within =
      this.#middleware.length === 0 ? plain : named(around(plain, this.#middleware, names), handler);
    const coding = this.#encodings && new Coding(this.#encodings, rule);
    const taking = coding === undefined ? within : named(coding.around(within), handler);
    for (const name of names) {
      if (coding !== undefined) this.#codings.set(name, coding);
      if (slots !== undefined) this.slotsByKind[name] = slots;
      this.#functions.set(name, taking);
    }
  }

  /** Takes the handlers of another worker as they are, each changed by `change`. */
  adopt(others: Handlers, change: (handler: Handler) => Handler): void {
    for (const [kind, handler] of others.#functions) this.#functions.set(kind, change(handler));
    Object.assign(this.slotsByKind, others.slotsByKind);
  }

  get(kind: string): Handler | undefined {
    return this.#functions.get(kind);
  }

  /** What the worker's encodings do for the jobs of a kind. Undefined: it has none. */
  coding(kind: string): Coding | undefined {
    return this.#codings.get(kind);
  }

  kinds(): string[] {
    return [...this.#functions.keys()];
  }
}

/** A handler, which takes a payload and a context, as one that takes a job. */
function takingAJob(kind: JobKind, handler: TypedHandler<JobKind>): Handler {
  return named(async (job, ctx) => kind.outputText(await handler(await kind.payloadIn(job), ctx)), handler);
}

function named(taking: Handler, handler: { readonly name: string }): Handler {
  return Object.defineProperty(taking, "name", { value: handler.name });
}

function nameOf(handler: Handler | TypedHandler<JobKind>): string {
  return handler.name || "a function without a name";
}
