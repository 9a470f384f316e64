// Performs each handler alone, and by a worker of a real server, and compares: node agreement.mjs ADDRESS

import assert from "node:assert/strict";

import { Cancelled, Client, Discard, JsonText, Retry, Snooze, Worker, defineKind } from "@jobqueue/client";
import { perform } from "@jobqueue/client/testing";
import * as z from "zod";

class Unwilling extends Error {
  name = "Unwilling";
}

const ask = { payload: z.object({ number: z.number() }), output: z.object({ half: z.number() }) };

const untyped = {
  nothing: (_, ctx) => ctx.progress(1, "done"),
  echo: ({ payload, attempt, queue, key }) => ({ payload, attempt, queue, key }),
  raw: (job) => new JsonText(job.payloadJson),
  fails: () => {
    throw new Unwilling("not today");
  },
  wordless: () => {
    throw new Unwilling();
  },
  no_error: () => {
    throw "just words";
  },
  retries: () => {
    throw new Retry("busy", { afterMs: 3_600_000 });
  },
  retries_from: () => {
    throw new Retry("busy", { cause: new Unwilling("inside") });
  },
  discards: () => {
    throw new Discard("no such user");
  },
  snoozes: () => {
    throw new Snooze(3_600_000);
  },
  gives_up: () => {
    throw new Cancelled("nothing left to do");
  },
  no_json: () => 5n,
  too_large: () => "x".repeat(1 << 20),
  too_many: (_, ctx) => {
    for (let each = 0; each < 101; each += 1) ctx.followUp({ kind: "next" });
  },
  follows_up: (_, ctx) => {
    ctx.followUp({
      kind: "next",
      payload: { of: 1 },
      queue: "later",
      labels: { of: "it" },
      delayMs: 3_600_000,
    });
    return "enqueued";
  },
  fails_after_following_up: (_, ctx) => {
    ctx.followUp({ kind: "never" });
    throw new Unwilling("after all");
  },
};
const typed = {
  halves: ({ number }) => ({ half: number / 2 }),
  halves_later: async ({ number }) => ({ half: number / 2, more: 1 }),
  halves_wrongly: () => ({ half: "1" }),
  never_reached: () => assert.fail("its payload can't be read"),
};
const payloads = { never_reached: { number: "secret" } };

const ended = {
  succeeded: ["SUCCEEDED", ""],
  failed: ["FAILED_PERMANENT", "ATTEMPTS_EXHAUSTED"],
  discarded: ["FAILED_PERMANENT", "NOT_RETRYABLE"],
  cancelled: ["CANCELLED", "CANCELLED_BY_WORKER"],
  snoozed: ["QUEUED", ""],
};

const queue = process.argv[3];
const client = new Client(process.argv[2]);
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const worker = new Worker(process.argv[2], { queues: [queue], logger });
const cases = [];
for (const [kind, handler] of Object.entries(untyped)) {
  worker.handler(kind, handler);
  cases.push({ kind, given: kind, handler, payload: { n: 7 } });
}
for (const [name, handler] of Object.entries(typed)) {
  const kind = defineKind({ name, ...ask });
  worker.handler(kind, handler);
  const payload = new JsonText(JSON.stringify(payloads[name] ?? { number: 7 }));
  cases.push({ kind: name, given: kind, handler, payload });
}
const served = worker.serve();

/** The job once its first attempt is over. */
async function over(id) {
  for (;;) {
    const job = await client.get(id);
    if (job.isTerminal || (job.attempts > 0 && job.status !== "RUNNING")) return job;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const { kind, given, handler, payload } of cases) {
  const said = { queue, key: "k", maxAttempts: 1 };
  const job = await over((await client.enqueue(kind, payload, said)).id);
  const done = await perform(handler, payload, { ...said, kind: given, catch: true, withinMs: 60_000 });
  assert.deepEqual([job.status, job.reason], ended[done.outcome], kind);
  assert.equal(job.outputJson && new TextDecoder().decode(job.outputJson), done.outputJson, kind);
  assert.equal(job.lastError, done.error, kind);
  const types = job.failedAttempts.map((each) => each.errorType);
  assert.deepEqual(types, done.errorType ? [done.errorType] : [], kind);
}
const [followUp] = (await perform(untyped.follows_up)).followUps;
let followed = 0;
for await (const { id, ...job } of client.list({
  kind: "next",
  queue: "later",
  status: "QUEUED",
  full: true,
})) {
  assert.deepEqual({ ...job.labels }, followUp.labels);
  assert.equal(new TextDecoder().decode(job.payloadJson), followUp.payloadJson);
  await client.cancel(id);
  followed += 1;
}
assert.equal(followed, 1);
worker.stop({ graceMs: 0 });
await served;
client.close();
console.log(`${cases.length} handlers came to the same`);
