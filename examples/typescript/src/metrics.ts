// A worker whose attempts are counted on a page for Prometheus, under the names that the worker service has.
//
//     npm run build && node dist/metrics.js

import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { Client, Discard, Worker, defineKind } from "@jobqueue/client";
import type { Attempt, AttemptOutcome, Observer } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-metrics";

const TYPES = {
  worker_jobs_started_total: "counter",
  worker_jobs_completed_total: "counter",
  worker_job_duration_seconds: "summary",
};

/** Is told of each attempt after it happened. With a library such as prom-client the two methods look the same. */
class Metrics implements Observer {
  readonly #values = new Map<string, number>();

  attemptStarted({ kind }: Attempt): void {
    this.#add(`worker_jobs_started_total{kind="${kind}"}`, 1);
  }

  attemptEnded({ kind }: Attempt, outcome: AttemptOutcome, tookMs: number): void {
    const labels = `{kind="${kind}",outcome="${outcome}"}`;
    this.#add(`worker_jobs_completed_total${labels}`, 1);
    this.#add(`worker_job_duration_seconds_count${labels}`, 1);
    this.#add(`worker_job_duration_seconds_sum${labels}`, tookMs / 1000);
  }

  /** All of them, as text for Prometheus. */
  page(): string {
    const lines: string[] = [];
    for (const [metric, type] of Object.entries(TYPES)) {
      lines.push(`# TYPE ${metric} ${type}`);
      for (const [name, value] of this.#values) if (name.startsWith(metric)) lines.push(`${name} ${value}`);
    }
    return lines.join("\n") + "\n";
  }

  #add(name: string, by: number): void {
    this.#values.set(name, (this.#values.get(name) ?? 0) + by);
  }
}

const work = defineKind({
  name: "example_work",
  payload: z.object({ fails: z.boolean() }),
  queue: QUEUE,
});

const metrics = new Metrics();
const http = createServer((request, response) => {
  if (request.url !== "/metrics") response.writeHead(404).end();
  else response.setHeader("content-type", "text/plain; version=0.0.4").end(metrics.page());
});
await once(http.listen(0, "127.0.0.1"), "listening");
const worker = Worker.fromEnv({ queues: [QUEUE], syncKinds: true, observer: metrics });
worker.handler(work, ({ fails }) => {
  if (fails) throw new Discard("this can never be done");
});
const serving = worker.serve();
const client = Client.fromEnv();
try {
  await client.syncKinds([work]);
  for (const fails of [false, true, false]) {
    const job = await client.enqueue(work, { fails });
    await client.wait(job.id, { timeoutMs: 60_000 });
  }
} finally {
  // The worker hears of the end of a job a little later than who waits for it. Once it has left, all is counted.
  worker.stop();
  await serving;
  client.close();
}

// What Prometheus reads.
const page = await fetch(`http://127.0.0.1:${(http.address() as AddressInfo).port}/metrics`);
for (const line of (await page.text()).split("\n")) if (line.startsWith("worker_jobs")) console.log(line);
http.close();
