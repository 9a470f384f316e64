/** The kind of job, for routes and for the worker. */

// From here, so that routes load no gRPC.
import { defineKind } from "@jobqueue/client/rest";
import * as z from "zod";

export const sendReceipt = defineKind({
  name: "send-receipt",
  payload: z.object({ number: z.int().min(1), email: z.email() }),
  output: z.object({ text: z.string() }),
  maxAttempts: 5,
});
