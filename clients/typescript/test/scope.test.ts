/** A namespace of a real server for each test: what was enqueued is found, handlers run until nothing is due. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import * as z from "zod";

import { Client, NamespaceDisabled, Snooze, Worker, defineKind, withHeaders } from "../src/index.js";
import type { Middleware } from "../src/index.js";
import { ServerMissing, StillRunning, TestScope, TestServer, testScope } from "../src/testing/index.js";
import setup from "../src/testing/setup.js";

const LATER_MS = 7 * 24 * 3600 * 1000;
const mail = defineKind({ name: "mail", payload: z.object({ to: z.string(), n: z.any() }) });

async function opened(middleware: readonly Middleware[] = []): Promise<TestScope> {
  const scope = await testScope({ middleware });
  for (const name of ["mail", "fails", "next", "first"]) {
    await scope.client.putKind({ name, retryPolicy: { minBackoffMs: LATER_MS } });
  }
  return scope;
}

class NoRow extends Error {}

function crash(): never {
  throw new NoRow("no such row");
}

test("what was enqueued is found by all that is said of it", async () => {
  await using scope = await opened();
  const { client } = scope;
  const options = { labels: { a: "b", c: "d" }, key: "k", delayMs: LATER_MS };
  await client.enqueue("mail", { to: "ada", n: 1 }, options);
  await client.enqueue("mail", { to: "bob", n: true }, { queue: "bulk" });
  assert.equal((await scope.assertEnqueued("mail")).length, 2);
  const wanted = { labels: { a: "b" }, key: "k", dueInMs: LATER_MS };
  const [ada] = await scope.assertEnqueued("mail", { n: 1, to: "ada" }, wanted);
  assert.deepEqual(ada?.labels, { a: "b", c: "d" });
  await scope.assertEnqueued(mail, { to: "bob", n: true }, { queue: "bulk", count: 1 });
  await scope.assertEnqueued("mail", undefined, { matching: { to: "bob" }, queue: "bulk", count: 1 });
  const after = (job: { payload: unknown }): boolean => (job.payload as { to: string }).to > "a";
  await scope.assertEnqueued("mail", undefined, { matching: after, count: 2 });
  // True is no 1, and a part of a payload is not the payload.
  await scope.assertNotEnqueued("mail", undefined, { matching: { to: "bob", n: 1 } });
  await scope.assertNotEnqueued("mail", { to: "ada" });
  for (const wrong of [{ queue: "bulk" }, { labels: { a: "c" } }, { key: "x" }, { dueInMs: 1 }]) {
    await scope.assertNotEnqueued("mail", undefined, { matching: { to: "ada" }, ...wrong });
  }
});

test("what is not there is said with what is", async () => {
  await using scope = await opened();
  await assert.rejects(scope.assertEnqueued("mail"), {
    name: "AssertionError",
    message: "no job of kind mail. The scope has no job of this status",
  });
  const job = await scope.client.enqueue("mail", { to: "ada" }, { labels: { a: "b" }, delayMs: LATER_MS });
  await assert.rejects(scope.assertEnqueued("mail", { to: "bob" }, { count: 1 }), {
    message:
      'no job of kind mail, payload {"to":"bob"}, not 1. There are:\n' +
      '  mail {"to":"ada"} queue default labels {"a":"b"}, due in 604800 s',
  });
  await assert.rejects(
    scope.assertNotEnqueued("mail"),
    /^AssertionError.*1 of kind mail, and there should be none/,
  );
  await scope.client.cancel(job.id);
  await scope.assertNotEnqueued("mail");
  await scope.assertEnqueued("mail", undefined, { status: "CANCELLED", count: 1 });
});

test("code that enqueues later is waited for, and what a block enqueues is told alone", async () => {
  await using scope = await opened();
  const later = sleep(300).then(() => scope.client.enqueue("mail", { n: 0 }));
  await scope.assertEnqueued("mail", undefined, { withinMs: 20_000 });
  await later;
  const jobs = await scope.recorded(() =>
    scope.client.enqueueMany([1, 2].map((n) => ({ kind: "mail", payload: { n } }))),
  );
  await scope.client.enqueue("mail", { n: 3 });
  assert.deepEqual(
    jobs.map((job) => job.payload),
    [{ n: 1 }, { n: 2 }],
  );
});

test("scopes do not see each other, and a closed one is refused", async () => {
  await using scope = await opened();
  const other = await opened();
  const job = await other.client.enqueue("mail", {});
  await scope.assertNotEnqueued("mail");
  await other.close();
  await assert.rejects(other.client.get(job.id), NamespaceDisabled);
  other.client.close();
});

test("handlers run until nothing is due, with the jobs that they enqueue", async () => {
  await using scope = await opened();
  const marks: Middleware = {
    enqueue: (jobs, next) => next(jobs.map((job) => withHeaders(job, { by: "a" }))),
  };
  // The worker of the program, for whatever server.
  const worker = new Worker("192.0.2.1:1", { middleware: [marks] })
    .handler("first", (job, ctx) => {
      ctx.followUp({ kind: "next", payload: { of: job.payload } });
      return "done";
    })
    .handler("next", () => undefined);
  await scope.client.enqueueMany([...Array(100).keys()].map((payload) => ({ kind: "first", payload })));
  const later = await scope.client.enqueue("next", null, { delayMs: LATER_MS });
  const idle = await scope.runUntilIdle(worker, { withinMs: 60_000 });
  assert.equal(idle.ended.length, 200);
  assert.equal(idle.ended.filter((job) => job.output === "done").length, 100);
  assert.equal(idle.ended.filter((job) => job.headers["by"] === "a").length, 100);
  assert.deepEqual(
    idle.waiting.map((each) => each.job.id),
    [later.id],
  );
  assert.match(idle.waiting[0]!.why, /due|starts|days/);
  await scope.makeDue(later);
  const [ended] = (await scope.runUntilIdle(worker, { withinMs: 60_000 })).ended;
  assert.equal(ended?.id, later.id);
  await assert.rejects(scope.makeDue(later), /0 of 1 jobs waited/);
  await assert.rejects(
    scope.runUntilIdle(worker, { limit: 100 }),
    /the scope has 201 jobs, and limit is 100/,
  );
});

test("what a handler throws is thrown as itself, unless failures are kept or tried again", async () => {
  await using scope = await opened();
  const worker = scope.worker().handler("fails", crash);
  await scope.client.enqueue("fails");
  await assert.rejects(scope.runUntilIdle(worker), (error) => {
    return error instanceof NoRow && (error.stack ?? "").includes("crash");
  });
  const job = await scope.client.enqueue("fails");
  const kept = await scope.runUntilIdle(worker, { failures: "keep" });
  const mine = kept.waiting.find((each) => each.job.id === job.id);
  assert.deepEqual([mine?.job.status, mine?.job.failures, kept.ended], ["RETRYING", 1, []]);
  const { ended } = await scope.runUntilIdle(worker, { failures: "retry", withinMs: 60_000 });
  assert.deepEqual(
    ended.map(({ status, failures }) => [status, failures]),
    [
      ["FAILED_PERMANENT", 3],
      ["FAILED_PERMANENT", 3],
    ],
  );
});

test("a job that goes on between two looks at it is looked at again", async () => {
  await using scope = await opened();
  const { client } = scope;
  await client.enqueue("next", null, { queue: "gate" });
  await client.pauseQueue("gate");
  const worker = scope.worker({ queues: ["gate"] }).handler("next", (job) => {
    if (job.attempt === 1) throw new Error("the first one fails");
  });
  // It was listed as QUEUED; it runs and fails before it is explained.
  const { explain } = client;
  client.explain = async (id, options) => {
    client.explain = explain;
    await client.resumeQueue("gate");
    for await (const { status } of client.watch({ ids: [id] })) if (status === "RETRYING") break;
    return client.explain(id, options);
  };
  const { ended } = await scope.runUntilIdle(worker, { failures: "retry", withinMs: 60_000 });
  assert.deepEqual(
    ended.map(({ status, failures }) => [status, failures]),
    [["SUCCEEDED", 1]],
  );
});

test("a job that another look finds otherwise is looked at once more", async () => {
  await using scope = await opened();
  const { client } = scope;
  const job = await client.enqueue("next", null, { queue: "gate" });
  await client.pauseQueue("gate");
  const { explain } = client;
  let looks = 0;
  client.explain = async (id, options) => {
    const found = await explain.call(client, id, options);
    looks += 1;
    return looks === 1 ? { ...found, status: "RUNNING" } : found;
  };
  const worker = scope.worker({ queues: ["gate"] }).handler("next", () => undefined);
  const { waiting } = await scope.runUntilIdle(worker);
  assert.deepEqual(
    waiting.map((each) => each.job.id),
    [job.id],
  );
  // The one that had gone on, the one that waits, and why.
  assert.equal(looks, 3);
});

test("a job that fails between two looks at it is tried again", async () => {
  await using scope = await opened();
  const { client } = scope;
  const job = await client.enqueue("fails", null, { queue: "gate" });
  const worker = scope.worker({ queues: ["gate"] }).handler("fails", crash);
  await scope.runUntilIdle(worker, { failures: "keep" });
  await client.pauseQueue("gate");
  // Its backoff was made due when it was listed. It runs and fails before it is explained.
  const { explain } = client;
  client.explain = async (id, options) => {
    client.explain = explain;
    await client.resumeQueue("gate");
    while ((await client.get(job.id)).failures < 2) await sleep(10);
    return client.explain(id, options);
  };
  const { ended } = await scope.runUntilIdle(worker, { failures: "retry", withinMs: 60_000 });
  assert.deepEqual(
    ended.map(({ status, failures }) => [status, failures]),
    [["FAILED_PERMANENT", 3]],
  );
});

test("what a handler asks for is no failure, and what does not end is named", async () => {
  await using scope = await opened();
  const snoozes = scope.worker().handler("next", () => {
    throw new Snooze(LATER_MS);
  });
  await scope.client.enqueue("next");
  const { waiting } = await scope.runUntilIdle(snoozes);
  assert.deepEqual(
    waiting.map((each) => each.job.failures),
    [0],
  );
  const hangs = scope
    .worker()
    .handler("mail", (_, ctx) => sleep(3_600_000, undefined, { signal: ctx.signal }));
  const job = await scope.client.enqueue("mail");
  await assert.rejects(scope.runUntilIdle(hangs, { withinMs: 2000 }), (error) => {
    return (
      error instanceof StillRunning &&
      new RegExp(`^after 2 s[^]*  mail ${job.id}: runs for`).test(error.message)
    );
  });
});

test("jobs of other kinds and of paused queues wait, and keep nothing", async () => {
  await using scope = await opened();
  await scope.client.enqueue("mail");
  await scope.client.enqueue("next", null, { queue: "paused" });
  await scope.client.pauseQueue("paused");
  const worker = scope.worker({ queues: ["default", "paused"] }).handler("next", () => undefined);
  const idle = await scope.runUntilIdle(worker);
  assert.deepEqual(idle.ended, []);
  const words = Object.fromEntries(idle.waiting.map(({ job, why }) => [job.kind, why]));
  assert.match(words["mail"] ?? "", /no worker/i);
  assert.match(words["next"] ?? "", /paused/);
});

/** Runs with other variables, and puts them back. */
async function withVariables(
  variables: Record<string, string | undefined>,
  block: () => Promise<void>,
): Promise<void> {
  const before = { ...process.env };
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  try {
    await block();
  } finally {
    process.env = before;
  }
}

test("without a server it says what would help, and a command that is none is named", async () => {
  const none = { JOBQUEUE_TEST_SERVER: undefined, JOBQUEUE_SERVER_COMMAND: undefined, PATH: "/nowhere" };
  await withVariables(none, () =>
    assert.rejects(TestServer.start(), (error) => {
      return (
        error instanceof ServerMissing &&
        /uv tool install.*\n.*COMMAND.*\n.*SERVER=.*\n.*KEY=/.test(error.message)
      );
    }),
  );
  for (const [command, words] of [
    ["/nowhere/server 'a b'", /^\/nowhere\/server a b ephemeral can't be started: /],
    [`${process.execPath} -e "process.exit(3)"`, / ended with 3 before it answered; its words are above/],
  ] as const) {
    await withVariables({ ...none, JOBQUEUE_SERVER_COMMAND: command }, () =>
      assert.rejects(
        TestServer.start(),
        (error) => error instanceof ServerMissing && words.test(error.message),
      ),
    );
  }
});

test("a server that a setup made known is used and goes on, until the setup ends it", async () => {
  await withVariables({}, async () => {
    const end = await setup();
    const found = await TestServer.start();
    assert.equal(found.target, process.env["JOBQUEUE_TEST_SERVER"]);
    const scope = await TestScope.open(found);
    await withVariables(scope.environment, async () => {
      const client = Client.fromEnv();
      await client.putKind({ name: "mine" });
      client.close();
    });
    const kinds = await scope.client.listKinds();
    assert.ok(kinds.some((kind) => kind.name === "mine"));
    await found.close();
    await scope.client.listKinds();
    await scope.close();
    await end();
    await assert.rejects(found.openScope());
  });
});

test("a test run that forgets its server ends all the same, and takes it along", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jobqueue-"));
  const path = join(folder, "server.mjs");
  const done = join(folder, "done");
  writeFileSync(
    path,
    `#!${process.execPath}
import { writeFileSync } from "node:fs";
process.stdin.on("end", () => writeFileSync(${JSON.stringify(done)}, "")).resume();
console.log(JSON.stringify({ grpc: "127.0.0.1:1", key: "k" }));
`,
  );
  chmodSync(path, 0o755);
  const program = `
    import { TestServer } from ${JSON.stringify(new URL("../src/testing/index.js", import.meta.url).href)};
    console.log((await TestServer.start()).target);
  `;
  const env = { ...process.env, JOBQUEUE_TEST_SERVER: "", JOBQUEUE_SERVER_COMMAND: path };
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", program], {
    env,
  });
  assert.equal(stdout, "127.0.0.1:1\n");
  while (!existsSync(done)) await sleep(5);
  rmSync(folder, { recursive: true });
});
