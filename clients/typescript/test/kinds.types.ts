/** What a type checker says of typed kinds: each line below an `@ts-expect-error` is wrong, and all others are right. */

import * as z from "zod";

import { defineKind } from "../src/index.js";
import type {
  Client,
  Enqueuer,
  Job,
  JobContext,
  PayloadOf,
  StandardSchema,
  TypedHandler,
  Worker,
} from "../src/index.js";

declare const client: Client;
declare const worker: Worker;
declare const ctx: JobContext;
declare const job: Job;

const resize = defineKind({
  name: "resize",
  payload: z.object({ width: z.string().transform(Number), height: z.number().default(7) }),
  output: z.object({ bytes: z.string().transform(Number) }),
  key: (payload) => payload.width,
  // @ts-expect-error a payload has a width as text, before the schema makes a number of it
  unique: (payload) => ({ key: payload.width.toFixed() }),
});
const plain = defineKind<{ to: string }, { id: string }>("plain");
const second = defineKind({ name: "second", payload: z.object({ to: z.string() }), version: 2 });

export async function enqueues(): Promise<void> {
  await client.enqueue(resize, { width: "7" }, { delayMs: 5, deadlineMs: 5 });
  await client.enqueue(plain, { to: "a" });
  await client.enqueueMany([
    resize.new({ width: "7" }),
    plain.new({ to: "a" }),
    await second.newAsync({ to: "a" }),
  ]);
  ctx.followUp(plain.new({ to: "a" }));
  // @ts-expect-error what a producer gives is what the schema takes
  await client.enqueue(resize, { width: 7 });
  // @ts-expect-error a field is missing
  await client.enqueue(plain, {});
  // @ts-expect-error a typed kind takes a payload
  await client.enqueue(plain);
  // @ts-expect-error a typed kind takes no text of a payload beside it
  await client.enqueue(plain, { to: "a" }, { payloadJson: "{}" });
  // @ts-expect-error there is no such option
  await client.enqueue(plain, { to: "a" }, { delay: 5 });
  // @ts-expect-error a field has another type
  plain.new({ to: 7 });
  // Untyped calls stay as they are.
  await client.enqueue("any", { what: "ever" }, { headers: {} });
  await client.enqueue({ kind: "any" });
}

export async function enqueuesByName(): Promise<void> {
  await client.enqueue<typeof resize>("resize", { width: "7" });
  await client.enqueue<typeof plain>("plain", { to: "a" }, { delayMs: 5 });
  await client.enqueue<typeof second>(
    "second",
    { to: "a" },
    { headers: { "x-payload-version": "2", more: "b" } },
  );
  // @ts-expect-error the kind has another name
  await client.enqueue<typeof resize>("resise", { width: "7" });
  // @ts-expect-error a field has another type
  await client.enqueue<typeof resize>("resize", { width: 7 });
  // @ts-expect-error the payload is of version 2, and nothing says so
  await client.enqueue<typeof second>("second", { to: "a" });
  // @ts-expect-error the payload is of version 2, and the header says another
  await client.enqueue<typeof second>("second", { to: "a" }, { headers: { "x-payload-version": "1" } });
}

export function handles(): void {
  worker.handler(resize, (payload, ctx) => {
    const sum: number = payload.width + payload.height;
    return { bytes: `${sum} ${ctx.job.id}` };
  });
  worker.handler(resize, async ({ width }) => ({ bytes: width.toFixed() }), { slots: 3 });
  worker.handler(second, () => undefined);
  worker.handler(second, async () => {});
  worker.handler<{ a: string }>("untyped", (job) => job.payload.a);
  // @ts-expect-error a handler returns what the schema of the output takes
  worker.handler(resize, () => ({ bytes: 7 }));
  // @ts-expect-error an output is missing
  worker.handler(plain, () => undefined);
  // @ts-expect-error a kind without an output has none
  worker.handler(second, () => "something");
  // @ts-expect-error there is no such field
  worker.handler(plain, (payload) => ({ id: payload.cc }));
}

export async function reads(): Promise<void> {
  const output: { bytes: number } = await resize.outputOf(job);
  const payload: { width: number; height: number } = await resize.payloadOf(job);
  const nothing: void = await second.outputOf(job);
  // @ts-expect-error what a reader gets is what the schema makes of the output
  const wrong: { bytes: string } = await resize.outputOf(job);
  void [output, payload, nothing, wrong];
}

export function declares(): void {
  defineKind<{ to: string }, void, 2>("k", { version: 2 });
  // @ts-expect-error a version above 1 is a type as well
  defineKind<{ to: string }>("k", { version: 2 });
  // @ts-expect-error a schema is one of a library
  defineKind({ name: "k", payload: { type: "object" } });
  // @ts-expect-error there is no such option
  defineKind({ name: "k", attempts: 5 });
  const given: PayloadOf<typeof resize> = { width: "7" };
  const handler: TypedHandler<typeof plain> = async (payload) => ({ id: payload.to });
  const schema: StandardSchema<string, number> = z.string().transform(Number);
  const enqueuer: Enqueuer = client;
  void [given, handler, schema, enqueuer];
}
