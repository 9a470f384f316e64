// Runs jobs of a queue, as tests/traces/worker_program.py does: first, follow_up, called.

import { context, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { NodeTracerProvider, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-node";

import { Client, Worker } from "@jobqueue/client";

const [server, queue] = process.argv.slice(2);
new NodeTracerProvider({ spanProcessors: [new SimpleSpanProcessor(new OTLPTraceExporter())] }).register();

const client = new Client(server);
const worker = new Worker(server, { queues: [queue] })
  .handler("first", async (_, ctx) => {
    await client.enqueue("called", undefined, { queue });
    ctx.followUp({ kind: "follow_up", queue, retryPolicy: { minBackoffMs: 1, maxBackoffMs: 1 } });
  })
  .handler("follow_up", (job) => {
    if (job.attempt === 1) throw new Error("the first attempt fails");
  })
  .handler("called", () => undefined);
console.log("ready");
await worker.run();
client.close();
// The exporter's connections are kept.
process.exit(0);
