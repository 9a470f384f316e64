// A worker that tells what became of its jobs on a page for Prometheus: node examples/metrics.mjs [ADDRESS] [PORT]

import { createServer } from "node:http";

import { Worker } from "@jobqueue/client";

const [address = "127.0.0.1:50051", port = "9091"] = process.argv.slice(2);
const counts = new Map();
const add = (name, by) => counts.set(name, (counts.get(name) ?? 0) + by);

// With a library of metrics it looks the same.
const observer = {
  attemptStarted: ({ kind }) => add(`jobs_running{kind="${kind}"}`, 1),
  attemptEnded: ({ kind }, outcome, tookMs) => {
    add(`jobs_running{kind="${kind}"}`, -1);
    add(`jobs_finished_total{kind="${kind}",outcome="${outcome}"}`, 1);
    add(`jobs_seconds_total{kind="${kind}"}`, tookMs / 1000);
  },
};

const worker = new Worker(address, { queues: ["typescript"], observer });
worker.handler("greet", (job) => ({ greeting: `Hello ${job.payload.name}` }));

const page = createServer((_, response) => {
  response.setHeader("content-type", "text/plain; version=0.0.4");
  response.end([...counts].map(([name, value]) => `${name} ${value}\n`).join(""));
});
page.listen(Number(port), "127.0.0.1");
await worker.run();
page.close();
