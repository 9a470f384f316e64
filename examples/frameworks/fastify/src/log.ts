/** The log of requests and jobs. */

import { AsyncLocalStorage } from "node:async_hooks";

import type { LeasedJob, Middleware } from "@jobqueue/client";
import { pino } from "pino";

const running = new AsyncLocalStorage<LeasedJob>();

/** Each line that is written within a handler names its job. */
export const log = pino({
  mixin: () => {
    const job = running.getStore();
    return job === undefined ? {} : { job: job.id, kind: job.kind, attempt: job.attempt };
  },
});

/** For the worker: goes around each handler. */
export const namesJob: Middleware = { handle: (job, _ctx, next) => running.run(job, next) };
