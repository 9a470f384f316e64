/** The routes: one enqueues a job, the other says how far it is. */

import {
  DeadlineExceeded,
  IdempotencyKeyReused,
  InvalidRequest,
  JobNotFound,
  KindUnknown,
  Overloaded,
  Unavailable,
} from "@jobqueue/client";
import type { Client } from "@jobqueue/client";
import express from "express";
import type { ErrorRequestHandler, Express } from "express";

import { sendReceipt } from "./jobs.js";
import type { Order } from "./jobs.js";

/** An app whose routes use this client. */
export function makeApp(jobs: Client): Express {
  const app = express();
  app.use(express.json());

  // Answers when the job is committed. The same Idempotency-Key again is the same job.
  app.post("/orders", async (request, response) => {
    const job = await jobs.enqueue(sendReceipt, request.body as Order, {
      idempotencyKey: request.get("Idempotency-Key"),
    });
    response.status(202).json({ job: job.id });
  });

  app.get("/orders/:id", async (request, response) => {
    const job = await jobs.get(request.params.id);
    // Any job of the namespace has an id.
    if (job.kind === sendReceipt.name) response.json({ status: job.status, receipt: job.output ?? null });
    else response.status(404).json({ detail: "no such job" });
  });

  app.use(refused);
  return app;
}

/** What a route threw, for its caller. Express knows by the four parameters that this is for errors. */
const refused: ErrorRequestHandler = (error, _request, response, _next) => {
  if (error instanceof InvalidRequest && !(error instanceof KindUnknown)) {
    response.status(422).json({ violations: error.violations });
  } else if (error instanceof JobNotFound) {
    response.status(404).json({ detail: "no such job" });
  } else if (error instanceof IdempotencyKeyReused) {
    response.status(409).json({ detail: "this Idempotency-Key came with another order" });
  } else if (
    error instanceof Unavailable ||
    error instanceof Overloaded ||
    error instanceof DeadlineExceeded
  ) {
    response.status(503).set("Retry-After", "1").json({ detail: "try again" });
  } else if (error.status >= 400 && error.status < 500) {
    // A body that is no JSON, or too long.
    response.status(error.status).json({ detail: "the request can't be read" });
  } else {
    // Express itself would answer the stack.
    console.error(error);
    response.status(500).json({ detail: "it has failed" });
  }
};
