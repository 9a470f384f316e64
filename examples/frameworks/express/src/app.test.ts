import assert from "node:assert/strict";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import type { Client, Enqueuer } from "@jobqueue/client";
import { RecordingClient, perform } from "@jobqueue/client/testing";

import { makeApp } from "./app.js";
import { deliver, sendReceipt } from "./jobs.js";

const ORDER = { number: 7, email: "ada@example.org" };

test("a route is tested without a server", async () => {
  const jobs = new RecordingClient();
  const server = makeApp(jobs as Enqueuer as Client).listen(0, "127.0.0.1");
  await once(server, "listening");
  const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/orders`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": "o7" },
    body: JSON.stringify(ORDER),
  });
  server.close();
  assert.equal(answer.status, 202);
  assert.deepEqual(jobs.jobs, [sendReceipt.new(ORDER, { idempotencyKey: "o7" })]);
});

test("the handler is a function of the order", async () => {
  const done = await perform(deliver, ORDER, { kind: sendReceipt });
  assert.deepEqual(done.output, { text: "order 7 for ada@example.org" });
});
