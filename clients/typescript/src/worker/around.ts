/** Handlers with middleware around them. */

import { AsyncResource } from "node:async_hooks";

import type { LeasedJob } from "../job.js";
import { OneCall, enqueueThrough, nameOf, unwrapped } from "../middleware.js";
import type { Middleware } from "../middleware.js";
import type { JobContext } from "./context.js";
import type { Handler } from "./handlers.js";

/**
 * A handler with a worker's middleware around it.
 *
 * @param middleware The worker's, the outermost first.
 * @param names Those of the handler's kind.
 */
export function around(
  handler: Handler,
  middleware: readonly Middleware[],
  names: readonly string[],
): Handler {
  const wrapping = middleware.flatMap((each) => {
    const { inner, kinds } = unwrapped(each);
    const wanted = kinds.every((of) => names.some((name) => of.has(name)));
    return wanted && inner.handle !== undefined ? [inner] : [];
  });
  // In a scope of its own: what a middleware enters and does not leave must not be found by the next job.
  return (job, ctx) =>
    new AsyncResource("jobqueue.attempt").runInAsyncScope(() =>
      new Around(handler, middleware, wrapping, job, ctx).run(),
    );
}

/** One attempt with what goes around it. */
class Around {
  readonly #handler: Handler;
  readonly #middleware: readonly Middleware[];
  readonly #wrapping: readonly Middleware[];
  readonly #job: LeasedJob;
  readonly #ctx: JobContext;
  // How many follow-ups had been asked for when they went through the enqueue side.
  #passed = 0;

  constructor(
    handler: Handler,
    middleware: readonly Middleware[],
    wrapping: readonly Middleware[],
    job: LeasedJob,
    ctx: JobContext,
  ) {
    this.#handler = handler;
    this.#middleware = middleware;
    this.#wrapping = wrapping;
    this.#job = job;
    this.#ctx = ctx;
  }

  async run(): Promise<unknown> {
    const output = await this.#inside(0);
    const { jobs } = this.#ctx.takeFollowUps();
    if (jobs.length !== this.#passed) {
      throw new Error("ctx.followUp was called after a middleware's next(): call it before");
    }
    return output;
  }

  /** What is within the first of the middleware, so many. */
  async #inside(depth: number): Promise<unknown> {
    const middleware = this.#wrapping[depth];
    // The innermost one is what is seen by what is told of the attempt's end.
    this.#ctx.endedIn = new AsyncResource("jobqueue.ended");
    if (middleware === undefined) {
      return this.#through(await this.#handler(this.#job, this.#ctx));
    }
    const name = `${nameOf(middleware)}.handle`;
    const call = new OneCall(name);
    const next = (): Promise<unknown> => call.made(() => this.#within(depth));
    const got: unknown = await call.within(() => middleware.handle!(this.#job, this.#ctx, next));
    if (call.state === "none") return this.#through(got);
    if (call.state === "answered" && !Object.is(got, call.answer))
      throw new Error(`${name} must return what next answered`);
    return got;
  }

  /** What is within that middleware. Where it fails, what it asked to follow is gone, and none may be asked for any more. */
  async #within(depth: number): Promise<unknown> {
    try {
      return await this.#inside(depth + 1);
    } catch (error) {
      this.#ctx.dropFollowUps();
      this.#passed = 0;
      throw error;
    }
  }

  /** Takes the follow-ups through the enqueue side, as one call. */
  async #through(output: unknown): Promise<unknown> {
    const jobs = this.#ctx.followUpsAsked();
    if (jobs.length > 0) {
      await enqueueThrough(this.#middleware, jobs, async (changed) => {
        this.#ctx.amendFollowUps(changed);
        return jobs.map(() => ({ id: "", replayed: false, uniqueAction: undefined }));
      });
    }
    this.#passed = jobs.length;
    return output;
  }
}
