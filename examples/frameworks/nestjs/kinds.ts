/** The kinds of the shop, for those who enqueue and those who work. */

import { defineKind } from "@jobqueue/client";
import * as z from "zod";

/** The body of a request, and the payload of its job. */
export const order = z.object({ number: z.int().min(1), email: z.email() });
export type Order = z.infer<typeof order>;

export const receipt = z.object({ text: z.string() });
export type Receipt = z.infer<typeof receipt>;

export const sendReceipt = defineKind({
  name: "send-receipt",
  payload: order,
  output: receipt,
  maxAttempts: 5,
});
