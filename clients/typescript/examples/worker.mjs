// Runs jobs of the kind `greet` from the queue `typescript`. Ctrl-C drains it.
//
//     node examples/worker.mjs [ADDRESS]

import { Worker } from "@jobqueue/client";

const worker = new Worker(process.argv[2] ?? "127.0.0.1:50051", { queues: ["typescript"] });

worker.handler("greet", async (job, ctx) => {
  ctx.progress(0.5, "writing");
  return { greeting: `Hello ${job.payload.name}` };
});

await worker.run();
