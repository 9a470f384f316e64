// A kind with types, its handler, and one job: enqueued, run, and its output read.
//
//     npm run build && node dist/quickstart.js

import { Client, Worker, defineKind } from "@jobqueue/client";
import type { TypedHandler } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-quickstart";

const greet = defineKind({
  name: "example_greet",
  payload: z.object({ name: z.string() }),
  output: z.object({ text: z.string() }),
  queue: QUEUE,
});

const doGreet: TypedHandler<typeof greet> = ({ name }) => ({ text: `Hello, ${name}!` });

// The worker tells the server its kinds. A program that is nothing but a worker says `await worker.run()`.
const worker = Worker.fromEnv({ queues: [QUEUE], syncKinds: true }).handler(greet, doGreet);
const serving = worker.serve();
const client = Client.fromEnv();
try {
  await client.syncKinds([greet]);
  const job = await client.enqueue(greet, { name: "Ada" });
  const done = await client.wait(job.id, { timeoutMs: 60_000 });
  console.log((await greet.outputOf(done)).text);
} finally {
  worker.stop();
  await serving;
  client.close();
}
