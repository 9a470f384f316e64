// Enqueues a job of the kind `greet` for examples/worker.mjs, and waits for its output.
//
//     node examples/producer.mjs [ADDRESS]

import { AUTO, Client } from "@jobqueue/client";

const client = new Client(process.argv[2] ?? "127.0.0.1:50051");

await client.putKind({ name: "greet", schema: { type: "object", required: ["name"] } });
const job = await client.enqueue("greet", { name: "Ada" }, { queue: "typescript", idempotencyKey: AUTO });
console.log(`enqueued ${job.id}`);

const done = await client.wait(job.id);
console.log(done.status, done.outputJson && Buffer.from(done.outputJson).toString());
client.close();
