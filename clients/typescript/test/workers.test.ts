/** The workers of a real server, as others see them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";

import { WorkerNotFound } from "../src/index.js";
import type { Client, Worker, WorkerSession, WorkerSessionState } from "../src/index.js";
import { testScope } from "../src/testing/index.js";

/** The workers that match, once there are so many: a server counts what they hold each 2 s. */
async function listed(
  client: Client,
  wanted: (all: WorkerSession[]) => boolean,
  options = {},
): Promise<WorkerSession[]> {
  for (;;) {
    const all = await client.listWorkers(options);
    if (wanted(all)) return all;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Serves until the block is over. */
async function serving(workers: readonly Worker[], block: () => Promise<void>): Promise<void> {
  const served = workers.map((each) => each.serve());
  try {
    await block();
  } finally {
    for (const each of workers) each.stop({ graceMs: 0 });
    await Promise.allSettled(served);
  }
}

test("workers are listed by what they take and what they are called", async () => {
  await using scope = await testScope();
  const { client } = scope;
  for (const name of ["mail", "report"]) await client.putKind({ name });
  const one = scope.worker({ name: "one", queues: ["a", "b"], concurrency: 3, labels: { zone: "x" } });
  one.handler("mail", () => undefined);
  const other = scope.worker({ name: "other", queues: ["b"], concurrency: 2 });
  other.handler("report", () => undefined);
  await serving([one, other], async () => {
    await listed(client, (all) => all.length === 2);
    const names = async (options: object): Promise<string> =>
      (await client.listWorkers(options))
        .map((each) => each.name)
        .sort()
        .join(" ");
    assert.equal(await names({ queue: "a" }), "one");
    assert.equal(await names({ queue: "b" }), "one other");
    assert.equal(await names({ kind: "report" }), "other");
    assert.equal(await names({ name: "o" }), "one other");
    assert.equal(await names({ name: "ot", queue: "a" }), "");
    assert.equal(await names({ state: "CONNECTED" }), "one other");
    assert.equal(await names({ state: ["DRAINING", "SILENT"] }), "");
    const [session] = await client.listWorkers({ name: "one" });
    const { takes, slots, labels, state, drain, silentSince, jobs } = session!;
    assert.deepEqual({ ...takes }, { a: ["mail"], b: ["mail"] });
    assert.deepEqual(
      [slots, labels, state, drain, silentSince, jobs],
      [3, { zone: "x" }, "CONNECTED", undefined, undefined, []],
    );
    assert.match(session!.client, /typescript|js|node/i);
    assert.ok(session!.openedAt && session!.sessionId && session!.server);
  });
});

test("a worker is read with what it holds, and drained it takes no more", async () => {
  await using scope = await testScope();
  const { client } = scope;
  await client.putKind({ name: "mail" });
  const worker = scope.worker({ name: "w", concurrency: 2 });
  const held = new EventTarget();
  const goOn = new EventTarget();
  worker.handler("mail", async (_, ctx) => {
    const released = once(goOn, "go", { signal: ctx.signal });
    held.dispatchEvent(new Event("held"));
    await released;
  });
  await serving([worker], async () => {
    const holds = once(held, "held");
    const job = await client.enqueue("mail", null, { timeoutMs: 60_000 });
    await holds;
    const [{ sessionId }] = (await listed(client, (all) => all[0]?.held === 1)) as [WorkerSession];
    const found = await client.getWorker(sessionId);
    assert.equal(found.jobs.length, 1);
    const { jobId, queue, kind, attempt, since, deadlineAt, cancelRequested } = found.jobs[0]!;
    assert.deepEqual([jobId, queue, kind, attempt, cancelRequested], [job.id, "default", "mail", 1, false]);
    assert.equal(Math.round((deadlineAt!.getTime() - since!.getTime()) / 1000), 60);
    const drained = await client.drainWorker(sessionId, { reason: "a new version" });
    assert.deepEqual([drained.state, drained.drain?.reason], ["DRAINING", "a new version"]);
    assert.ok(drained.drain!.by && drained.drain!.since);
    // Twice is once.
    assert.deepEqual((await client.drainWorker(sessionId, { reason: "another" })).drain, drained.drain);
    goOn.dispatchEvent(new Event("go"));
    assert.equal((await client.wait(job.id, { timeoutMs: 30_000 })).status, "SUCCEEDED");
    const late = await client.enqueue("mail");
    const [reason] = (await client.explain(late.id)).reasons;
    assert.equal(reason?.code, "WORKERS_DRAINING");
    assert.deepEqual(
      (await client.listWorkers({ state: "DRAINING" })).map((each) => each.sessionId),
      [sessionId],
    );
  });
});

test("what is wrong is told by its own error", async () => {
  await using scope = await testScope();
  const { client } = scope;
  assert.deepEqual(await client.listWorkers(), []);
  for (const call of [client.getWorker, client.drainWorker]) {
    await assert.rejects(call.call(client, "999999"), WorkerNotFound);
  }
  const state = "BUSY" as WorkerSessionState;
  await assert.rejects(client.listWorkers({ state }), {
    name: "TypeError",
    message: /BUSY is no state of a worker/,
  });
});
