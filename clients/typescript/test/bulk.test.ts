/** Changes of many jobs of a real server: counted first, then done by an operation that is waited for. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { FilterChanged, InvalidRequest, QueueNotFound, RequestIdReused } from "../src/index.js";
import type { Client, JobQueueError, NewJob, Operation, Status } from "../src/index.js";
import { TestScope, testScope } from "../src/testing/index.js";

const HOUR_MS = 3_600_000;

/** A scope with jobs of the queue `mail` that were cancelled, and one of the queue `other`. */
async function opened(ended: number, waiting = 0): Promise<TestScope> {
  const scope = await testScope();
  const { client } = scope;
  await client.putKind({ name: "mail" });
  const jobs = (count: number, more: Partial<NewJob>): NewJob[] =>
    Array.from({ length: count }, (_, n) => ({ kind: "mail", payload: n, queue: "mail", ...more }));
  const made = await client.enqueueMany(jobs(ended, { labels: { of: "us" } }));
  await client.enqueueMany([{ kind: "mail", queue: "other" }]);
  if (ended > 0) {
    const { changed } = await done(
      client,
      client.cancelJobs({ ids: made.map(({ id }) => id) }, { force: true }),
    );
    assert.equal(changed, ended);
  }
  await client.enqueueMany(jobs(waiting, { delayMs: HOUR_MS }));
  return scope;
}

async function done(client: Client, begun: Promise<Operation>): Promise<Operation> {
  const { name } = await begun;
  assert.match(name, /^operations\/./);
  const end = await client.waitOperation(name, { timeoutMs: 60_000 });
  assert.deepEqual([end.state, end.done, end.error, end.backfill], ["SUCCEEDED", true, "", undefined]);
  return end;
}

async function count(client: Client, status: Status, queue = "mail"): Promise<number> {
  let found = 0;
  for await (const _ of client.list({ queue, status })) found += 1;
  return found;
}

async function failure<E extends JobQueueError>(
  call: Promise<unknown>,
  type: new (...a: never[]) => E,
): Promise<E> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof type, String(error));
  return error;
}

test("without force nothing changes, and the answer has what matches", async () => {
  await using scope = await opened(3, 2);
  const { client } = scope;
  const counts = [
    [await client.retryJobs({ queue: "mail" }), "RetryJobs", 3],
    [await client.cancelJobs({ queue: "mail" }), "CancelJobs", 2],
    [await client.deleteJobs({ queue: "mail" }), "DeleteJobs", 3],
    [await client.updateJobs({ queue: "mail" }, { priority: 1 }), "UpdateJobs", 2],
  ] as const;
  for (const [counted, verb, estimate] of counts) {
    const { dryRun, name, changed } = counted;
    assert.deepEqual([counted.verb, counted.estimate, dryRun, counted.done], [verb, estimate, true, true]);
    assert.deepEqual([name, changed, counted.sampleIds.length], ["", 0, estimate]);
  }
  assert.deepEqual(await client.listOperations().then((all) => all.map((each) => each.verb)), ["CancelJobs"]);
  assert.deepEqual([await count(client, "CANCELLED"), await count(client, "QUEUED")], [3, 2]);
});

test("jobs that ended are retried, at the rate, in the queue and from the time that are told", async () => {
  await using scope = await opened(4);
  const { client } = scope;
  await client.enqueue("mail", null, { queue: "slow" });
  const filter = { queue: "mail", labels: { of: "us" }, status: "CANCELLED" } as const;
  const options = {
    force: true,
    perSecond: 1000,
    maxJobs: 3,
    requestId: "redrive",
    toQueue: "slow",
    delayMs: HOUR_MS,
    spreadMs: 60_000,
    resetCheckpoint: true,
    respectUnique: true,
    expected: 3,
  };
  const end = await done(client, client.retryJobs(filter, options));
  assert.deepEqual([end.verb, end.changed, end.skipped, end.estimate], ["RetryJobs", 3, 0, 3]);
  assert.deepEqual([end.perSecond, end.maxJobs, end.estimateCapped], [1000, 3, false]);
  assert.ok(end.createdAt && end.endedAt && end.looked >= 3);
  const moved = [];
  for await (const job of client.list({ queue: "slow", labels: { of: "us" } })) moved.push(job);
  assert.equal(moved.length, 3);
  for (const job of moved) {
    const waits = job.runAt!.getTime() - end.createdAt.getTime();
    assert.ok(waits >= HOUR_MS - 1000 && waits <= HOUR_MS + 70_000, String(waits));
  }
  // The same call again is the same operation.
  assert.equal((await client.retryJobs(filter, options)).name, end.name);
  await failure(client.retryJobs(filter, { ...options, maxJobs: 4 }), RequestIdReused);
});

test("jobs that wait are given another priority, start and number of attempts; what is not given stays", async () => {
  await using scope = await opened(0, 2);
  const { client } = scope;
  const filter = { queue: "mail", status: ["QUEUED", "RETRYING"] } as const;
  const end = await done(client, client.updateJobs(filter, { force: true, maxAttempts: 9 }));
  assert.deepEqual([end.verb, end.changed], ["UpdateJobs", 2]);
  for await (const { maxAttempts, priority, runAt, createdAt } of client.list({ queue: "mail" })) {
    assert.deepEqual([maxAttempts, priority], [9, 0]);
    assert.ok(runAt!.getTime() - createdAt!.getTime() > HOUR_MS - 10_000);
  }
  const runAt = new Date("2027-01-01T00:00:00Z");
  await done(client, client.updateJobs(filter, { force: true, priority: -3, runAt }));
  for await (const job of client.list({ queue: "mail" })) {
    assert.deepEqual([job.priority, job.runAt, job.maxAttempts], [-3, runAt, 9]);
  }
  await done(client, client.updateJobs(filter, { force: true, priority: 0, delayMs: 0 }));
  for await (const job of client.list({ queue: "mail" })) {
    assert.equal(job.priority, 0);
    assert.ok(job.runAt!.getTime() < runAt.getTime());
  }
});

test("jobs are cancelled and deleted by what they are, and others stay", async () => {
  await using scope = await opened(2, 2);
  const { client } = scope;
  const cancelled = await done(
    client,
    client.cancelJobs({ kind: "mail", queue: "mail" }, { force: true, reason: "why" }),
  );
  assert.equal(cancelled.changed, 2);
  const now = new Date();
  const none = await client.deleteJobs({ queue: "mail", endedBefore: new Date(now.getTime() - HOUR_MS) });
  assert.equal(none.estimate, 0);
  const filter = {
    queue: "mail",
    createdAfter: new Date(now.getTime() - HOUR_MS),
    createdBefore: new Date(now.getTime() + HOUR_MS),
    endedAfter: new Date(now.getTime() - HOUR_MS),
    endedBefore: new Date(now.getTime() + HOUR_MS),
  };
  const { reason } = (await client.list({ queue: "mail" }).next()).value!;
  const { estimate } = await client.deleteJobs({ ...filter, reason: "NONE_SUCH" });
  assert.equal(estimate, 0);
  assert.equal(
    (await done(client, client.deleteJobs({ ...filter, reason: [reason] }, { force: true }))).changed,
    4,
  );
  assert.deepEqual([await count(client, "CANCELLED"), await count(client, "QUEUED", "other")], [0, 1]);
  const all = await done(client, client.cancelJobs({ everything: true }, { force: true }));
  assert.equal(all.changed, 1);
});

test("what is wrong is told by its own error, and changes nothing", async () => {
  await using scope = await opened(2);
  const { client } = scope;
  const filter = { queue: "mail" };
  const changed = await failure(client.retryJobs(filter, { force: true, expected: 40 }), FilterChanged);
  assert.equal(changed.metadata["estimate"], "2");
  await failure(client.retryJobs(filter, { force: true, expected: 0 }), FilterChanged);
  await failure(client.retryJobs(filter, { force: true, toQueue: "nowhere" }), QueueNotFound);
  const empty = await failure(client.deleteJobs({ ids: [] }, { force: true }), InvalidRequest);
  assert.equal(empty.reason, "FILTER_EMPTY");
  await failure(client.updateJobs(filter, { force: true }), InvalidRequest);
  const start = { runAt: new Date(), delayMs: 1 };
  await assert.rejects(client.retryJobs(filter, start), { name: "TypeError", message: /runAt and delayMs/ });
  await assert.rejects(client.cancelJobs({ status: "GONE" as Status }), {
    name: "TypeError",
    message: /GONE is no/,
  });
  const createdAfter = new Date(NaN);
  await assert.rejects(client.cancelJobs({ createdAfter }), { name: "TypeError", message: /createdAfter/ });
  assert.equal(await count(client, "CANCELLED"), 2);
});
