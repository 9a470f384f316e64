/** Middleware: what goes around each enqueue and each handler. */

import { isDeepStrictEqual } from "node:util";

import type { Call } from "./calls.js";
import type { LeasedJob, NewJob } from "./job.js";
import type { EnqueueResult } from "./jobs.js";
import type { JobKind } from "./kinds/kind.js";
import { VERSION_HEADER } from "./kinds/versions.js";
import { encode } from "./payload.js";
import type { JobContext } from "./worker/context.js";

/** Enqueues, or hands on to the next middleware. Answers a result for each job. */
export type NextEnqueue = (jobs: readonly NewJob[]) => Promise<readonly EnqueueResult[]>;

/**
 * Goes around enqueues and handlers. Either method may be left out.
 *
 *     const tenant = new AsyncLocalStorage<string>();
 *     const passesTenant: Middleware = {
 *       handle: (job, ctx, next) => tenant.run(job.headers["tenant"] ?? "", next),
 *       enqueue: (jobs, next) => next(jobs.map((job) => withHeaders(job, { tenant: tenant.getStore() ?? "" }))),
 *     };
 *
 * The same object may be given to clients and workers. The first of a list is the outermost one.
 */
export interface Middleware {
  /**
   * Goes around one attempt. What it throws counts as thrown by the handler: Retry, Discard, Snooze and Cancelled too.
   *
   * @param job The job. To look at its payload costs its decoding; typed kinds decode once more.
   * @param next Runs the handler, or what is further inside, once; answers its output, of a typed kind as JSON text.
   * @returns What `next` answered. Where `next` was not called, the output of the attempt, which has succeeded without the
   *     handler. Where it catches what `next` threw, the output of the attempt, which has succeeded without follow-ups.
   */
  handle?(job: LeasedJob, ctx: JobContext, next: () => Promise<unknown>): unknown;
  /**
   * Goes around one call of `enqueue` or `enqueueMany`, or around all follow-ups of an attempt: once for a call, however
   * often the client tries. What it throws before `next` ends the call, and nothing was sent; an attempt with follow-ups
   * fails.
   *
   * @param jobs What is enqueued, as values that can't be changed; one job of `enqueue`. Typed kinds have their payload as
   *     `payloadJson`.
   * @param next Takes the same jobs, whose headers and labels may differ, and nothing else; is called once. The results of
   *     follow-ups have no ids, since they are enqueued with the outcome.
   * @returns What `next` answered.
   */
  enqueue?(jobs: readonly NewJob[], next: NextEnqueue): Promise<readonly EnqueueResult[]>;
}

/** The same job with more headers. */
export function withHeaders(job: NewJob, headers: Readonly<Record<string, string>>): NewJob {
  return { ...job, headers: { ...job.headers, ...headers } };
}

/**
 * The same middleware for these kinds alone. Of a call with several kinds it sees its own jobs.
 *
 * @param kinds Names, or what `defineKind` made, whose aliases it gets as well.
 */
export function forKinds(middleware: Middleware, ...kinds: readonly (string | JobKind)[]): Middleware {
  const [inner] = listed([middleware]);
  const names = kinds.flatMap((kind) => (typeof kind === "string" ? [kind] : [kind.name, ...kind.aliases]));
  return new ForKinds(inner!, new Set(names));
}

class ForKinds implements Middleware {
  readonly inner: Middleware;
  readonly kinds: ReadonlySet<string>;

  constructor(inner: Middleware, kinds: ReadonlySet<string>) {
    this.inner = inner;
    this.kinds = kinds;
  }

  // Of a worker's list `unwrapped` decides it, once for each handler.
  handle(job: LeasedJob, ctx: JobContext, next: () => Promise<unknown>): unknown {
    return this.inner.handle && this.kinds.has(job.kind) ? this.inner.handle(job, ctx, next) : next();
  }

  async enqueue(jobs: readonly NewJob[], next: NextEnqueue): Promise<readonly EnqueueResult[]> {
    const { inner } = this;
    const places = [...jobs.keys()].filter((place) => this.kinds.has(jobs[place]!.kind));
    if (inner.enqueue === undefined || places.length === 0) return next(jobs);
    let whole: readonly EnqueueResult[] = [];
    const ofAll: NextEnqueue = async (mine) => {
      const merged = [...jobs];
      places.forEach((place, number) => (merged[place] = mine[number]!));
      whole = await next(merged);
      return places.map((place) => whole[place]!);
    };
    await once(
      inner,
      places.map((place) => jobs[place]!),
      ofAll,
    );
    return whole;
  }
}

/**
 * Middleware as it was given, checked.
 *
 * @throws TypeError Something of it is none.
 */
export function listed(given: readonly Middleware[] = []): readonly Middleware[] {
  if (!Array.isArray(given)) throw new TypeError("middleware is no list");
  for (const each of given as readonly unknown[]) {
    const { handle, enqueue } = (typeof each === "object" && each !== null ? each : {}) as Middleware;
    const methods = [handle, enqueue].filter((method) => method !== undefined);
    if (methods.length > 0 && methods.every((method) => typeof method === "function")) continue;
    throw new TypeError("middleware: each must be an object with the method handle, or enqueue, or both");
  }
  return [...given];
}

/** What is within `forKinds`, and the kinds of each, from the outside in. */
export function unwrapped(middleware: Middleware): { inner: Middleware; kinds: ReadonlySet<string>[] } {
  const kinds: ReadonlySet<string>[] = [];
  while (middleware instanceof ForKinds) {
    kinds.push(middleware.kinds);
    middleware = middleware.inner;
  }
  return { inner: middleware, kinds };
}

/** For words. */
export function nameOf(middleware: Middleware): string {
  const { name } = middleware.constructor ?? Object;
  return name === "" || name === "Object" ? "middleware" : name;
}

/**
 * Calls each `enqueue`, and then `send` with the jobs as they have become. Payloads are sent as they are now, also if one
 * is changed in its place.
 *
 * @param middleware The outermost first.
 * @throws Error A middleware did not keep to what `Middleware.enqueue` says.
 * @throws TypeError A payload can't be written as JSON.
 */
export async function enqueueThrough(
  middleware: readonly Middleware[],
  jobs: readonly NewJob[],
  send: NextEnqueue,
): Promise<void> {
  const texts = jobs.map((job) =>
    job.payloadJson === undefined ? encode(job.payload ?? null, "the payload") : undefined,
  );
  let next: NextEnqueue = (changed) =>
    send(
      changed.map((job, number) => {
        const text = texts[number];
        return text === undefined ? job : { ...job, payload: undefined, payloadJson: text };
      }),
    );
  for (const each of [...middleware].reverse()) {
    if (each.enqueue === undefined) continue;
    const inside = next;
    next = (changed) => once(each, changed, inside);
  }
  await next(jobs.map(fixed));
}

/** A copy that can't be changed in its place, without what is said of the call. */
function fixed(job: NewJob & Call): NewJob {
  const { deadlineMs: _, signal: __, ...said } = job;
  if (said.headers !== undefined) said.headers = Object.freeze({ ...said.headers });
  if (said.labels !== undefined) said.labels = Object.freeze({ ...said.labels });
  return Object.freeze(said);
}

/** Calls one `enqueue`, and holds it to what it promises. */
async function once(
  middleware: Middleware,
  jobs: readonly NewJob[],
  next: NextEnqueue,
): Promise<readonly EnqueueResult[]> {
  const name = `${nameOf(middleware)}.enqueue`;
  const call = new OneCall(name, "; what it called first with counts");
  const got = await call.within(() =>
    middleware.enqueue!(jobs, (changed) =>
      call.made(async () => {
        return next(checked(name, jobs, changed));
      }),
    ),
  );
  if (call.state !== "answered") {
    const what = call.state === "none" ? "did not call next" : "has dropped an error of next";
    throw new Error(
      `${name} ${what}, so nothing says that the jobs are enqueued: throw an error to refuse them`,
      { cause: call.error },
    );
  }
  if (got !== call.answer) throw new Error(`${name} must return what next answered; the jobs are enqueued`);
  return got as readonly EnqueueResult[];
}

/** The jobs as they go on: with other headers and labels, and the version of their payload as it was. */
function checked(name: string, jobs: readonly NewJob[], changed: readonly NewJob[]): readonly NewJob[] {
  if (changed === jobs) return jobs;
  if (changed.length !== jobs.length) {
    throw new Error(`${name} called next with ${changed.length} jobs, and got ${jobs.length}`);
  }
  return jobs.map((before, number) => {
    const after = changed[number]!;
    if (after === before) return after;
    if (same(before, after)) return versioned(before, after);
    throw new Error(
      `${name} has changed a job of kind ${before.kind}: headers and labels alone may be others, since ` +
        "another payload under its idempotency key would be another request",
    );
  });
}

function versioned(before: NewJob, after: NewJob): NewJob {
  const version = before.headers?.[VERSION_HEADER];
  if (version === after.headers?.[VERSION_HEADER]) return after;
  const { [VERSION_HEADER]: _, ...others } = after.headers ?? {};
  return fixed({
    ...after,
    headers: version === undefined ? others : { ...others, [VERSION_HEADER]: version },
  });
}

function same(before: NewJob, after: NewJob): boolean {
  const [one, other] = [before, after] as unknown as Record<string, unknown>[];
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (name === "headers" || name === "labels") continue;
    // Of a value that is the same object nothing is compared, so that a payload costs nothing.
    if (!Object.is(one![name], other![name]) && !isDeepStrictEqual(one![name], other![name])) return false;
  }
  return true;
}

/** That a middleware calls `next` once, and what came of it. */
export class OneCall {
  /** What has become of it. */
  state: "none" | "runs" | "answered" | "failed" = "none";
  answer: unknown;
  error: unknown;

  readonly #name: string;
  readonly #twice: string;
  #calls = 0;
  #over = false;
  #running: Promise<unknown> | undefined;

  /**
   * @param name Whose call it is, for words.
   * @param more What else is said of a second call.
   */
  constructor(name: string, more = "") {
    this.#name = name;
    this.#twice = `${name} called next twice${more}`;
  }

  /** One call of `next`. Once the middleware has ended it does nothing: its caller has been answered. */
  made<T>(call: () => Promise<T>): Promise<T> {
    this.#calls += 1;
    const wrong = this.#over ? `${this.#name} called next after it had ended` : this.#twice;
    const made = this.#over || this.#calls > 1 ? Promise.reject(new Error(wrong)) : this.#follow(call());
    // A middleware that drops it is told elsewhere.
    made.catch(() => undefined);
    return made;
  }

  /**
   * Calls the middleware, and answers what it does, once what it called has ended too.
   *
   * @throws Error It called `next` twice, or did not wait for it.
   */
  async within<T>(middleware: () => T): Promise<Awaited<T>> {
    let early = false;
    let got: Awaited<T>;
    try {
      got = await middleware();
      early = this.state === "runs";
    } finally {
      this.#over = true;
      await this.#running?.catch(() => undefined);
    }
    if (this.#calls > 1) throw new Error(this.#twice);
    if (early) throw new Error(`${this.#name} did not wait for next: return what it answers`);
    return got;
  }

  async #follow<T>(call: Promise<T>): Promise<T> {
    this.state = "runs";
    this.#running = call;
    try {
      const answer = await call;
      this.answer = answer;
      this.state = "answered";
      return answer;
    } catch (error) {
      this.error = error;
      this.state = "failed";
      throw error;
    }
  }
}
