/** What a real server tells of its queues, and of what happened. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { InvalidRequest, Unavailable } from "../src/index.js";
import type { Overview, Stats, Status } from "../src/index.js";
import { TestServer, TestScope, testScope } from "../src/testing/index.js";

const HOUR_MS = 3_600_000;

test("the overview is asked for, and watched until its caller leaves", async () => {
  await using scope = await testScope();
  const { client } = scope;
  await client.putKind({ name: "mail" });
  await client.enqueue("mail", null, { queue: "a" });
  await client.enqueue("mail", null, { queue: "b", delayMs: HOUR_MS });
  await client.pauseQueue("a", { reason: "maintenance" });
  const { servers, windowMs, readAt, queuesLeftOut } = await client.overview();
  assert.deepEqual([servers.length, servers[0]?.self, queuesLeftOut], [1, true, 0]);
  assert.ok(readAt && windowMs && windowMs > 0 && servers[0]!.level > 0);
  // Depths are counted each 5 s.
  let seen: Overview | undefined;
  for await (const each of client.watchOverview()) {
    seen = each;
    const [a] = each.queues.filter(({ queue }) => queue === "a");
    if (a?.depth.queued === 1 && a.paused && each.warnings.length > 0) break;
  }
  const [a] = seen!.queues.filter(({ queue }) => queue === "a");
  assert.deepEqual([a?.pause?.reason, a?.depth.capped, a?.depth.running], ["maintenance", false, 0]);
  assert.ok(a!.depth.oldestDueAgeMs! > 0 && a!.pause?.since);
  assert.deepEqual(
    seen!.warnings.filter(({ code }) => code === "PAUSED_WITH_JOBS").map((each) => each.queue),
    ["a"],
  );
  assert.ok(seen!.depth.queued >= 1 && seen!.flow.lost === 0 && seen!.workers.sessions === 0);
  const [server] = await client.listServers();
  assert.equal(server?.id, servers[0]!.id);
  assert.ok(server?.startedAt && server.version);
});

test("a watch ends by its signal, and gives up when no server answers for as long as it was told", async () => {
  const server = await TestServer.start();
  const scope = await TestScope.open(server);
  const { client } = scope;
  const giveUp = new AbortController();
  const watch = client.watchOverview({ signal: giveUp.signal });
  assert.equal((await watch.next()).done, false);
  const next = watch.next();
  giveUp.abort(new Error("no longer"));
  await assert.rejects(next, /no longer/);
  const other = client.watchOverview({ deadlineMs: 200 });
  assert.equal((await other.next()).done, false);
  await server.close();
  const closed = performance.now();
  await assert.rejects(async () => {
    for await (const _ of other);
  }, Unavailable);
  assert.ok(performance.now() - closed < 15_000);
  client.close();
});

test("what happened is told in steps, split as it is asked for", async () => {
  await using scope = await testScope();
  const { client } = scope;
  for (const name of ["mail", "report"]) await client.putKind({ name });
  const jobs = ["mail", "mail", "report"].map((kind) => ({ kind, queue: `${kind}s` }));
  const since = new Date(Date.now() - 600_000);
  const made = await client.enqueueMany(jobs);
  await client.cancel(made[0]!.id);
  // Slices of 10 s are written when they are over, and an answer may be 10 s old.
  let found: Stats;
  do {
    await new Promise((resolve) => setTimeout(resolve, 250));
    found = await client.stats({ groupBy: "QUEUE_AND_KIND", since, stepMs: 10_000 });
  } while (found.series.reduce((sum, each) => sum + each.totals.enqueued, 0) < 3);
  assert.equal(found.stepMs, 10_000);
  const told = found.series.map(({ queue, kind, totals }) => [
    queue,
    kind,
    totals.enqueued,
    totals.cancelled,
  ]);
  assert.deepEqual(told, [
    ["mails", "mail", 2, 1],
    ["reports", "report", 1, 0],
  ]);
  const [first] = found.series;
  assert.equal(
    first!.points.reduce((sum, each) => sum + each.totals.enqueued, 0),
    2,
  );
  assert.ok(first!.points[0]!.at! >= found.since!);
  assert.deepEqual([first!.totals.started, first!.totals.runP50Ms], [0, undefined]);
  const one = await client.stats({ queue: "reports", since });
  assert.deepEqual(
    one.series.map((each) => each.totals.enqueued),
    [1],
  );
  const until = new Date(since.getTime() - 1);
  await assert.rejects(client.stats({ since, until }), InvalidRequest);
  await assert.rejects(client.stats({ groupBy: "DAY" as "KIND" }), {
    name: "TypeError",
    message: /groupBy is DAY/,
  });
});

test("jobs are counted by what they are", async () => {
  await using scope = await testScope();
  const { client } = scope;
  await client.putKind({ name: "mail" });
  await client.enqueueMany([
    { kind: "mail" },
    { kind: "mail", labels: { of: "us" } },
    { kind: "mail", queue: "q" },
  ]);
  const all = await client.countJobs();
  assert.deepEqual([all.count, all.exact], [3, true]);
  assert.ok(all.readAt);
  const counts = [
    [{ queue: "q" }, 1],
    [{ kind: "other" }, 0],
    [{ labels: { of: "us" } }, 1],
    [{ status: "QUEUED" }, 3],
    [{ status: ["RUNNING", "CANCELLED"] }, 0],
    [{ createdBefore: new Date(Date.now() - HOUR_MS) }, 0],
    [{ createdAfter: new Date(Date.now() - HOUR_MS) }, 3],
  ] as const;
  for (const [wanted, count] of counts) {
    assert.equal((await client.countJobs(wanted)).count, count, JSON.stringify(wanted));
  }
  await assert.rejects(client.countJobs({ status: "GONE" as Status }), TypeError);
});
