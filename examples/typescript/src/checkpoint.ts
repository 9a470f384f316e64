// A long job that goes on where it was: it saves a checkpoint after each page, which the attempt after a failure reads.
//
//     npm run build && node dist/checkpoint.js

import { Client, Worker, defineKind } from "@jobqueue/client";
import type { TypedHandler } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-checkpoint";
const Done = z.object({ pages: z.int() });

const importPages = defineKind({
  name: "example_import",
  payload: z.object({ pages: z.int() }),
  queue: QUEUE,
  // Hardly a wait, so that this program ends soon.
  retryPolicy: { minBackoffMs: 10, maxBackoffMs: 10 },
});

const doImport: TypedHandler<typeof importPages> = ({ pages }, ctx) => {
  const { attempt } = ctx.job;
  // A value of your own, at most 64 KiB as JSON; undefined in the first attempt.
  const begin = ctx.job.checkpointAs(Done)?.pages ?? 0;
  console.log(`attempt ${attempt} begins at page ${begin}`);
  for (let page = begin; page < pages; page += 1) {
    if (page === 3 && attempt === 1) throw new Error("the source went away");
    ctx.saveCheckpoint({ pages: page + 1 });
  }
  console.log(`imported ${pages} pages`);
};

const worker = Worker.fromEnv({ queues: [QUEUE], syncKinds: true }).handler(importPages, doImport);
const serving = worker.serve();
const client = Client.fromEnv();
try {
  await client.syncKinds([importPages]);
  const job = await client.enqueue(importPages, { pages: 5 });
  const done = await client.wait(job.id, { timeoutMs: 60_000 });
  console.log(`${done.status} in attempt ${done.attempts}`);
} finally {
  worker.stop();
  await serving;
  client.close();
}
