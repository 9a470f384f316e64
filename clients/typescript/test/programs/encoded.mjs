// Encodes for a worker of another language, and reads what that one encodes: node encoded.mjs ADDRESS QUEUE

import assert from "node:assert/strict";

import { AesGcm, Client, Encodings, Retry, Worker } from "@jobqueue/client";

const [address, queue] = process.argv.slice(2);
const key = Uint8Array.from({ length: 32 }, (_, number) => number);
const encodings = new Encodings([new AesGcm({ a: key }, { primary: "a" })]);
const client = new Client(address, { encodings });
const worker = new Worker(address, { queues: [`${queue}-typescript`], encodings });
worker.handler("upper", (job, ctx) => {
  if (job.attempt === 1) {
    ctx.saveCheckpoint(new TextEncoder().encode(`half of ${job.payload.text}`));
    throw new Retry("again", { afterMs: 0 });
  }
  return { text: job.payload.text.toUpperCase(), checkpoint: new TextDecoder().decode(job.checkpoint) };
});
const serving = worker.serve();

const payload = { text: "Zürich \u{1f600}", n: 7 };
const job = await client.enqueue("upper", payload, { queue: `${queue}-other`, idempotencyKey: queue });
const done = await client.wait(job.id, { timeoutMs: 60_000 });
assert.deepEqual(done.payload, payload);
assert.deepEqual(done.output, { text: "ZÜRICH \u{1f600}" });
console.log(`read the answer to ${job.id}`);
await serving;
client.close();
