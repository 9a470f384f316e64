import assert from "node:assert/strict";
import { test } from "node:test";

import type { Client, Enqueuer } from "@jobqueue/client";
import { RecordingClient, perform } from "@jobqueue/client/testing";

import { makeApp } from "./app.js";
import { deliver, sendReceipt } from "./jobs.js";

const ORDER = { number: 7, email: "ada@example.org" };

test("a route is tested without a server", async () => {
  const jobs = new RecordingClient();
  const app = makeApp(jobs as Enqueuer as Client);
  const headers = { "idempotency-key": "o7" };
  const answer = await app.inject({ method: "POST", url: "/orders", headers, body: ORDER });
  await app.close();
  assert.equal(answer.statusCode, 202);
  assert.deepEqual(jobs.jobs, [sendReceipt.new(ORDER, { idempotencyKey: "o7" })]);
});

test("the handler is a function of the order", async () => {
  const done = await perform(deliver, ORDER, { kind: sendReceipt });
  assert.deepEqual(done.output, { text: "order 7 for ada@example.org" });
});
