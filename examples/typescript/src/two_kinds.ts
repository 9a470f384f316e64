// One worker with two kinds. Each has its handler; they share the worker's slots.
//
//     npm run build && node dist/two_kinds.js

import { Client, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-two-kinds";

const resize = defineKind({
  name: "example_resize",
  payload: z.object({ path: z.string(), width: z.int() }),
  queue: QUEUE,
});

const sendEmail = defineKind({
  name: "example_send_email",
  payload: z.object({ to: z.email(), subject: z.string() }),
  queue: QUEUE,
  // More urgent than pictures: of jobs that wait, those of the higher priority go first.
  priority: 5,
});

const worker = Worker.fromEnv({ queues: [QUEUE], concurrency: 4, syncKinds: true })
  .handler(resize, ({ path, width }) => {
    console.log(`${path} is ${width} wide`);
  })
  .handler(sendEmail, ({ to, subject }) => {
    console.log(`sent '${subject}' to ${to}`);
  });

const serving = worker.serve();
const client = Client.fromEnv();
try {
  await client.syncKinds([resize, sendEmail]);
  for (const each of [
    resize.new({ path: "a.png", width: 640 }),
    sendEmail.new({ to: "ada@example.org", subject: "Hello" }),
  ]) {
    const job = await client.enqueue(each);
    const done = await client.wait(job.id, { timeoutMs: 60_000 });
    console.log(`${done.kind} ${done.status}`);
  }
} finally {
  worker.stop();
  await serving;
  client.close();
}
