// Tests of a handler alone, of a producer alone, and of both with a real server, in a namespace of the test's own.
//
//     npm test

import assert from "node:assert/strict";
import { test } from "node:test";

import { Worker, defineKind } from "@jobqueue/client";
import type { Enqueuer, TypedHandler } from "@jobqueue/client";
import { RecordingClient, perform, testScope } from "@jobqueue/client/testing";
import * as z from "zod";

const QUEUE = "example-testing";

// ---- what is to be tested

const invoice = defineKind({
  name: "example_invoice",
  payload: z.object({ number: z.int(), cents: z.int() }),
  output: z.string(),
  queue: QUEUE,
});

const doInvoice: TypedHandler<typeof invoice> = ({ number, cents }) =>
  `invoice ${number}: ${(cents / 100).toFixed(2)} EUR`;

const worker = new Worker("127.0.0.1:50051", { queues: [QUEUE] }).handler(invoice, doInvoice);

/** A producer, as of an HTTP handler. An `Enqueuer` is a `Client`, or what stands for it in a test. */
async function order(client: Enqueuer, number: number, cents: number): Promise<void> {
  await client.enqueue(invoice, { number, cents });
}

// ---- the tests

test("an invoice has its sum", async () => {
  const done = await perform(doInvoice, { number: 7, cents: 1250 }, { kind: invoice });
  assert.equal(done.output, "invoice 7: 12.50 EUR");
});

test("an order enqueues its invoice", async () => {
  const client = new RecordingClient();
  await order(client, 7, 1250);
  assert.deepEqual(client.jobs, [invoice.new({ number: 7, cents: 1250 })]);
});

test("an order is invoiced", async () => {
  await using scope = await testScope();
  await scope.client.syncKinds([invoice]);
  await order(scope.client, 8, 99);
  // Whatever server the worker is for, its handlers run in the scope.
  const { ended } = await scope.runUntilIdle(worker);
  assert.deepEqual(await Promise.all(ended.map((job) => invoice.outputOf(job))), ["invoice 8: 0.99 EUR"]);
});
