// The producer and worker of tests/clients, which tests/conformance/languages.py specifies.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { buffer } from "node:stream/consumers";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";

import { Client, JsonText, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const order = defineKind({
  name: "order",
  payload: z.object({
    customer: z.string(),
    lines: z.array(z.object({ sku: z.string(), count: z.int(), price: z.number() })),
    paid: z.boolean(),
    note: z.string().nullish(),
  }),
  output: z.object({ customer: z.string(), count: z.int(), dearest: z.number().nullable() }),
});

const text = (value) => ({ type: "string", default: value });
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: text(),
    queue: text("default"),
    kind: text("echo"),
    name: text("typescript"),
    slots: text("32"),
    workers: text("1"),
    health: text(),
    roots: text(),
    cert: text(),
    key: text(),
  },
});

function tls({ roots, cert, key }) {
  if (roots === undefined) return undefined;
  return { ca: readFileSync(roots), cert: readFileSync(cert), key: readFileSync(key) };
}

async function enqueue({ server, queue, kind }) {
  const client = new Client(server, { tls: tls(options) });
  const lines = (await buffer(process.stdin)).toString("latin1").replace(/\n$/, "").split("\n");
  if (kind === order.name) return enqueueOrders(client, queue, lines);
  // By way of latin1 each byte stays what it is.
  const payloads = lines.map((line) => new JsonText(Buffer.from(line, "latin1")));
  const results = await client.enqueueMany(payloads.map((payload) => ({ kind, queue, payload })));
  for (const { id } of results) {
    const job = await client.wait(id);
    process.stdout.write(Buffer.concat([job.outputJson, Buffer.from("\n")]));
  }
  client.close();
}

async function enqueueOrders(client, queue, lines) {
  for (const line of lines) {
    const payload = JSON.parse(Buffer.from(line, "latin1").toString());
    const { id } = await client.enqueue(order, payload, { queue });
    const output = await order.outputOf(await client.wait(id));
    process.stdout.write(`${JSON.stringify(output)}\n`);
  }
  client.close();
}

function summarize({ customer, lines, paid, note }) {
  return {
    customer: customer + (paid ? ", paid" : "") + (note ? `: ${note}` : ""),
    count: lines.reduce((sum, line) => sum + line.count, 0),
    dearest: lines.length > 0 ? Math.max(...lines.map((line) => line.price)) : null,
  };
}

async function work({ server, queue, name, slots, workers, health }) {
  const made = Array.from({ length: Number(workers) }, () =>
    new Worker(server, { queues: [queue], name, concurrency: Number(slots), health, tls: tls(options) })
      .handler(order, summarize)
      .handler("echo", (job) => new JsonText(job.payloadJson))
      .handler("noop", () => undefined)
      .handler("rest", (job) => setTimeout(job.payload * 1000).then(() => undefined))
      .handler("hold", (_, ctx) => once(ctx.signal, "abort").then(() => ctx.signal.throwIfAborted())),
  );
  if (made.length === 1) return made[0].run();
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => made.forEach((each) => each.stop()));
  await Promise.all(made.map((each) => each.serve()));
}

await { enqueue, work }[positionals[0]](options);
