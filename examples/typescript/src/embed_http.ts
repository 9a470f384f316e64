// A web application with its worker in one process: a request enqueues and is answered at once, one asks for the end.
//
//     npm run build && node dist/embed_http.js
//
// It makes both requests itself, and ends in the order that loses nothing: first no more requests, then the worker drains,
// then the client closes. Frameworks are used alike: docs/recipes has programs for Express, Fastify, Next and NestJS.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

import { Client, InvalidRequest, JobNotFound, JsonText, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const QUEUE = "example-embed-http";

const report = defineKind({
  name: "example_report",
  payload: z.object({ of: z.string() }),
  output: z.string(),
  queue: QUEUE,
});

type Answer = [status: number, body: unknown];

/** POST /reports enqueues, GET /reports/ID says how the job stands. */
async function answer(request: IncomingMessage): Promise<Answer> {
  if (request.method === "POST") {
    // Checked by the kind's schema before it is sent.
    const payload = new JsonText(await text(request));
    // Who asks twice with one key gets one job.
    const idempotencyKey = request.headersDistinct["idempotency-key"]?.[0];
    const job = await client.enqueue(report, payload, { idempotencyKey });
    return [202, { id: job.id }];
  }
  const job = await client.get(request.url?.split("/").at(-1) ?? "");
  return [200, { status: job.status, ended: job.isTerminal, report: job.output }];
}

function refusal(error: unknown): Answer {
  if (error instanceof JobNotFound) return [404, { error: "no such report" }];
  // A payload that its schema refuses, or an id that is none.
  if (error instanceof InvalidRequest) return [400, { error: error.message }];
  console.error(error);
  return [500, { error: "it has failed" }];
}

/** What a user's browser would do. */
async function browse(url: string): Promise<void> {
  const asked = await fetch(url, {
    method: "POST",
    headers: { "idempotency-key": randomUUID() },
    body: JSON.stringify({ of: "May" }),
  });
  console.log(asked.status);
  const { id } = (await asked.json()) as { id: string };
  for (;;) {
    const looked = await fetch(`${url}/${id}`);
    const found = (await looked.json()) as { status: string; ended: boolean; report?: string };
    if (found.ended) {
      console.log(found.status, found.report);
      return;
    }
    await sleep(50);
  }
}

const client = Client.fromEnv();
await client.syncKinds([report]);
const worker = Worker.fromEnv({ queues: [QUEUE], syncKinds: true }).handler(
  report,
  ({ of }) => `report of ${of}`,
);
const serving = worker.serve();
const http = createServer(async (request, response) => {
  const [status, body] = await answer(request).catch(refusal);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
});
await once(http.listen(0, "127.0.0.1"), "listening");
try {
  await browse(`http://127.0.0.1:${(http.address() as AddressInfo).port}/reports`);
} finally {
  await once(http.close(), "close");
  worker.stop();
  await serving;
  client.close();
}
