// A job that is cancelled while it runs: its handler is told, cleans up, and ends.
//
//     npm run build && node dist/cancel.js

import { EventEmitter, once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-cancel";

const render = defineKind({
  name: "example_render",
  payload: z.object({ frames: z.int() }),
  queue: QUEUE,
});

const studio = new EventEmitter();

const worker = Worker.fromEnv({ queues: [QUEUE], syncKinds: true }).handler(
  render,
  async ({ frames }, ctx) => {
    console.log("rendering");
    studio.emit("rendering");
    try {
      for (let frame = 0; frame < frames; frame += 1) {
        // Whatever takes the signal ends by it, `fetch` too; between its steps code may ask `ctx.throwIfCancelled()`.
        await sleep(50, undefined, { signal: ctx.signal });
      }
    } finally {
      console.log("the frames are removed");
    }
  },
);

const serving = worker.serve();
const client = Client.fromEnv();
try {
  await client.syncKinds([render]);
  const rendering = once(studio, "rendering", { signal: AbortSignal.timeout(60_000) });
  const job = await client.enqueue(render, { frames: 100_000 });
  await rendering;
  await client.cancel(job.id);
  const done = await client.wait(job.id, { timeoutMs: 60_000 });
  console.log(done.status);
} finally {
  worker.stop();
  await serving;
  client.close();
}
