/** The app: its decorator `jobs`, its routes, and how it ends. */

import {
  DeadlineExceeded,
  IdempotencyKeyReused,
  InvalidRequest,
  JobNotFound,
  KindUnknown,
  Overloaded,
  Unavailable,
} from "@jobqueue/client";
import type { Client, Worker } from "@jobqueue/client";
import Fastify from "fastify";
import type { FastifyError } from "fastify";

import { sendReceipt } from "./jobs.js";
import type { Order } from "./jobs.js";
import { log } from "./log.js";

declare module "fastify" {
  interface FastifyInstance {
    /** The client of the app, which closes with it. */
    jobs: Client;
  }
}

/** An app that has this client, and runs jobs where there is a worker. It ends both when it is closed. */
export function makeApp(jobs: Client, worker?: Worker) {
  const app = Fastify({ loggerInstance: log });
  let serving: Promise<void> | undefined;
  app.decorate("jobs", jobs);
  app.addHook("onListen", async () => {
    serving = worker?.serve();
    // A worker that the server refuses ends the app as well; `onClose` throws what it threw.
    serving?.catch(() => app.close());
  });
  // Before open requests are waited for: handlers end meanwhile.
  app.addHook("preClose", async () => {
    worker?.stop({ reason: "the app ends" });
    // Else a connection whose request is answered only now would hold the app for 72 s more.
    app.server.keepAliveTimeout = 1;
  });
  // After them. Requests and handlers may enqueue to their last line, so the client closes behind both.
  app.addHook("onClose", async () => {
    try {
      await serving;
    } finally {
      jobs.close();
    }
  });

  // Answers when the job is committed. The same Idempotency-Key again is the same job.
  app.post<{ Body: Order; Headers: { "idempotency-key"?: string } }>("/orders", async (request, reply) => {
    const job = await app.jobs.enqueue(sendReceipt, request.body, {
      idempotencyKey: request.headers["idempotency-key"],
    });
    return reply.code(202).send({ job: job.id });
  });

  app.get<{ Params: { id: string } }>("/orders/:id", async (request, reply) => {
    const job = await app.jobs.get(request.params.id);
    // Any job of the namespace has an id.
    if (job.kind !== sendReceipt.name) return reply.code(404).send({ detail: "no such job" });
    return { status: job.status, receipt: job.output ?? null };
  });

  app.setErrorHandler<FastifyError>(async (error, request, reply) => {
    if (error instanceof InvalidRequest && !(error instanceof KindUnknown)) {
      return reply.code(422).send({ violations: error.violations });
    }
    if (error instanceof JobNotFound) return reply.code(404).send({ detail: "no such job" });
    if (error instanceof IdempotencyKeyReused) {
      return reply.code(409).send({ detail: "this Idempotency-Key came with another order" });
    }
    if (error instanceof Unavailable || error instanceof Overloaded || error instanceof DeadlineExceeded) {
      return reply.code(503).header("retry-after", "1").send({ detail: "try again" });
    }
    // A body that is no JSON, or too long: Fastify answers that.
    if (error.statusCode !== undefined && error.statusCode < 500) throw error;
    // Fastify itself would answer the words of the error.
    request.log.error(error);
    return reply.code(500).send({ detail: "it has failed" });
  });
  return app;
}
