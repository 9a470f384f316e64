/** The kind of job, its handler, and the worker that runs it. */

import { Worker, defineKind } from "@jobqueue/client";
import type { PayloadOf, TypedHandler } from "@jobqueue/client";
import * as z from "zod";

/** The body of a request, and the payload of its job. */
export const sendReceipt = defineKind({
  name: "send-receipt",
  payload: z.object({ number: z.int().min(1), email: z.email() }),
  output: z.object({ text: z.string() }),
  maxAttempts: 5,
});

export type Order = PayloadOf<typeof sendReceipt>;

export const deliver: TypedHandler<typeof sendReceipt> = (order) => ({
  text: `order ${order.number} for ${order.email}`,
});

/** JOBQUEUE_SERVER and JOBQUEUE_TOKEN say where the server is. */
export function makeWorker(): Worker {
  return Worker.fromEnv({ syncKinds: true }).handler(sendReceipt, deliver);
}
