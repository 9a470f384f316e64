/** The client of the routes, and what its errors are for callers. */

import {
  DeadlineExceeded,
  IdempotencyKeyReused,
  InvalidRequest,
  JobNotFound,
  KindUnknown,
  Overloaded,
  RestClient,
  Unavailable,
} from "@jobqueue/client/rest";

const kept = globalThis as { jobqueue?: RestClient };

/** One for the process, made at the first request. `next dev` loads a changed module anew, and `globalThis` stays. */
export function jobs(): RestClient {
  return (kept.jobqueue ??= new RestClient(process.env.JOBQUEUE_HTTP ?? "http://127.0.0.1:8080", {
    token: process.env.JOBQUEUE_TOKEN,
    deadlineMs: 5_000,
  }));
}

/** A route that answers what it threw, where that is for its caller. */
export function route<Given extends unknown[]>(handle: (...given: Given) => Promise<Response>) {
  return async (...given: Given): Promise<Response> => {
    try {
      return await handle(...given);
    } catch (error) {
      if (error instanceof InvalidRequest && !(error instanceof KindUnknown)) {
        return Response.json({ violations: error.violations }, { status: 422 });
      }
      if (error instanceof JobNotFound) return Response.json({ detail: "no such job" }, { status: 404 });
      if (error instanceof IdempotencyKeyReused) {
        return Response.json({ detail: "this Idempotency-Key came with another order" }, { status: 409 });
      }
      if (error instanceof Unavailable || error instanceof Overloaded || error instanceof DeadlineExceeded) {
        const headers = { "retry-after": "1" };
        return Response.json({ detail: "try again" }, { status: 503, headers });
      }
      throw error;
    }
  };
}
