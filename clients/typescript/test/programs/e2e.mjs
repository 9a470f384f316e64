// The producer and the worker of the tests against a real server (tests/clients/test_typescript.py).
//
//     node e2e.mjs enqueue SERVER QUEUE KIND          makes a job of each line of its input, prints the outputs in order
//     node e2e.mjs work SERVER QUEUE NAME JOURNAL SLOTS

import { openSync, writeSync } from "node:fs";
import { text } from "node:stream/consumers";

import { Client, JsonText, Worker } from "@jobqueue/client";

async function enqueue(server, queue, kind) {
  const client = new Client(server);
  const payloads = (await text(process.stdin)).split("\n");
  const results = await client.enqueueMany(
    payloads.map((payload) => ({ kind, queue, payload: new JsonText(payload) })),
  );
  for (const { id } of results) {
    const job = await client.wait(id);
    process.stdout.write(`${Buffer.from(job.outputJson)}\n`);
  }
  client.close();
}

async function work(server, queue, name, journal, slots) {
  const file = openSync(journal, "a");
  // One write, which a kill -9 can't cut.
  const note = (job) => writeSync(file, `${job.id} ${job.attempt}\n`);
  const worker = new Worker(server, {
    queues: [queue],
    name,
    concurrency: Number(slots),
    sessionTtlMs: 5000,
  });
  worker.handler("echo", (job) => new JsonText(job.payloadJson));
  worker.handler("noop", () => undefined);
  worker.handler("count", (job) => void note(job));
  worker.handler("hold", (job, ctx) => {
    note(job);
    return new Promise((_, reject) => {
      ctx.signal.addEventListener("abort", () => reject(ctx.signal.reason));
    });
  });
  await worker.run();
}

const [what, ...rest] = process.argv.slice(2);
await { enqueue, work }[what](...rest);
