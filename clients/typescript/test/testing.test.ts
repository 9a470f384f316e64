/** What tests of handlers and producers are given. */

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";

import * as z from "zod";

import {
  AUTO,
  Cancelled,
  Discard,
  IdempotencyKeyReused,
  InvalidRequest,
  JsonText,
  PayloadInvalid,
  Retry,
  Snooze,
  Worker,
  defineKind,
} from "../src/index.js";
import type { Enqueuer, JobContext, LeasedJob, Stop } from "../src/index.js";
import { RecordingClient, StillRunning, attempt, perform } from "../src/testing/index.js";

const ask = defineKind({
  name: "ask",
  payload: z.object({ number: z.string().transform(Number), unit: z.string().default("one") }),
  output: z.object({ half: z.string().transform(Number) }),
  version: 2,
  aliases: ["asked"],
  upcasters: { 1: ({ count }) => ({ number: String(count) }) },
});

test("a handler is performed: its payload goes through JSON, and what it says is kept", async () => {
  const when = new Date(0);
  const done = await perform(
    async (job, ctx) => {
      ctx.progress(0.5, "half");
      ctx.saveCheckpoint(Buffer.from("a"));
      ctx.progress(1);
      ctx.saveCheckpoint(Buffer.from("b"));
      ctx.followUp({
        kind: "next",
        payload: { of: job.payload },
        queue: "later",
        delayMs: 5,
        unique: { key: "u" },
      });
      return [job.payload, job.attempt, job.queue, job.key, job.headers["h"], job.labels["l"], job.failures];
    },
    { when },
    { attempt: 3, failures: 1, queue: "q", key: "k", headers: { h: "1" }, labels: { l: "2" } },
  );
  assert.equal(done.outcome, "succeeded");
  assert.deepEqual(done.output, [{ when: when.toISOString() }, 3, "q", "k", "1", "2", 1]);
  assert.equal(done.outputJson, JSON.stringify(done.output));
  assert.deepEqual(done.progress, [
    { fraction: 0.5, message: "half" },
    { fraction: 1, message: "" },
  ]);
  assert.deepEqual(done.checkpoints.map(String), ["97", "98"]);
  assert.deepEqual(done.followUps, [
    {
      kind: "next",
      payloadJson: '{"of":{"when":"1970-01-01T00:00:00.000Z"}}',
      queue: "later",
      delayMs: 5,
      unique: { key: "u" },
    },
  ]);
  assert.deepEqual([done.error, done.errorType, done.stack, done.attempt, done.failures], ["", "", "", 3, 1]);
});

test("an ordinary failure is thrown as itself, and answered where it is asked for", async () => {
  const failure = new RangeError("not today");
  const fails = (): never => {
    throw failure;
  };
  await assert.rejects(perform(fails), (error) => error === failure);
  const done = await perform(fails, null, { catch: true });
  assert.deepEqual([done.outcome, done.errorType, done.error], ["failed", "RangeError", "not today"]);
  assert.match(done.stack, /testing\.test/);
  await assert.rejects(
    perform(() => "x".repeat(1 << 20)),
    /the handler's output is 1048578 bytes of JSON/,
  );
  await assert.rejects(
    perform(() => 5n),
    /is no JSON: .*new JsonText/,
  );
});

test("Retry, Discard, Snooze and Cancelled are outcomes", async () => {
  const thrown = (error: Error) => perform(() => Promise.reject(error));
  const { outcome, retryAfterMs, error } = await thrown(new Retry("busy", { afterMs: 5000 }));
  assert.deepEqual([outcome, retryAfterMs, error], ["failed", 5000, "busy"]);
  const pauses = async (options: { afterMs: number; pauseKey?: boolean }) => {
    const done = await thrown(new Retry("429", options));
    return [done.retryAfterMs, done.pauseKeyMs];
  };
  assert.deepEqual(await pauses({ afterMs: 5000 }), [5000, undefined]);
  assert.deepEqual(await pauses({ afterMs: 5000, pauseKey: true }), [5000, 5000]);
  assert.deepEqual(await pauses({ afterMs: 259_200_000, pauseKey: true }), [259_200_000, 86_400_000]);
  assert.throws(() => new Retry("429", { pauseKey: true }), TypeError);
  assert.equal((await thrown(new Discard("no such user"))).outcome, "discarded");
  const snoozed = await thrown(new Snooze(7000));
  assert.deepEqual([snoozed.outcome, snoozed.delayMs], ["snoozed", 7000]);
  assert.equal((await thrown(new Cancelled())).outcome, "cancelled");
});

test("the next attempt has the checkpoint and the failures of the one before", async () => {
  const handler = (job: LeasedJob, ctx: JobContext): unknown => {
    if (job.attempt === 2) throw new Snooze(1);
    if (job.attempt === 3)
      return [job.id, job.failures, String(job.checkpoint), job.payload, job.maxAttempts];
    ctx.saveCheckpoint(Buffer.from("7"));
    throw new Retry("busy");
  };
  const first = await perform(handler, { n: 1 }, { id: "j1" });
  const second = await first.again();
  assert.deepEqual([second.attempt, second.failures, String(second.checkpoint)], [2, 1, "55"]);
  const third = await second.again({ maxAttempts: 9 });
  assert.deepEqual(third.output, ["j1", 1, "55", { n: 1 }, 9]);
});

const cursor = z.object({ page: z.int(), at: z.string().transform(Number).optional() });

test("a checkpoint is a value of a schema, and JSON while it is stored", async () => {
  const read: unknown[] = [];
  const handler = (job: LeasedJob, ctx: JobContext): void => {
    const found = job.checkpointAs(cursor);
    read.push(found);
    if (found !== undefined) return;
    ctx.saveCheckpoint({ page: 2, at: "7" });
    throw new Retry("busy");
  };
  const first = await perform(handler, 1);
  assert.equal(Buffer.from(first.checkpoint).toString(), '{"page":2,"at":"7"}');
  await first.again();
  assert.deepEqual(read, [undefined, { page: 2, at: 7 }]);
});

test("bytes are a checkpoint as they are, and nothing takes it back", async () => {
  const given = [
    Buffer.from('"a"'),
    new Uint8Array([98]),
    new JsonText('{"n": 1.0}'),
    "c",
    0,
    null,
    undefined,
  ];
  const handler = (_: LeasedJob, ctx: JobContext): void => given.forEach((each) => ctx.saveCheckpoint(each));
  const done = await perform(handler, 1, { checkpoint: Buffer.from("before") });
  const saved = done.checkpoints.map((each) => Buffer.from(each).toString());
  assert.deepEqual(saved, ['"a"', "b", '{"n": 1.0}', '"c"', "0", "", ""]);
});

test("a checkpoint that does not fit is a failure that says where, and never what stands there", async () => {
  const noJson = "checkpoint: must be JSON, as saveCheckpoint makes it of a value";
  for (const [stored, words] of [
    ['{"page":"secret"}', "checkpoint.page: must be number"],
    ["secret", noJson],
    ["\u00ff", noJson],
  ] as const) {
    const done = await perform((job) => job.checkpointAs(cursor), 1, {
      checkpoint: Buffer.from(stored, "latin1"),
      catch: true,
    });
    assert.deepEqual([done.outcome, done.errorType, done.error], ["failed", "CheckpointUnreadable", words]);
    assert.doesNotMatch(done.stack, /secret/);
  }
});

test("an encoded checkpoint is not taken for a value", async () => {
  const envelope =
    '{"$jobqueue.encoded":1,"content_type":"","encodings":["aes256gcm"],"key_id":"k","data":""}';
  const done = await perform((job) => job.checkpointAs(z.record(z.string(), z.unknown())), 1, {
    checkpoint: Buffer.from(envelope),
    catch: true,
  });
  assert.deepEqual(
    [done.errorType, done.error],
    ["Encoded", "encoded, aes256gcm, key k: this program has no encodings"],
  );
});

test("what JSON has no form for is no checkpoint, and no schema reads none", async () => {
  const done = await perform(
    (job, ctx) => {
      assert.throws(
        () => ctx.saveCheckpoint({ n: 1n }),
        /^TypeError: the checkpoint is no JSON: .*JsonText\(text\)$/,
      );
      assert.throws(() => ctx.saveCheckpoint(() => 1), TypeError);
      assert.throws(() => ctx.saveCheckpoint("x".repeat(65_536)), /at most 65536 bytes, not 65538/);
      assert.throws(() => job.checkpointAs({} as never), /^TypeError: checkpointAs takes a Standard Schema/);
      const later = z.string().refine(async () => true);
      assert.throws(() => job.checkpointAs(later), /does not check asynchronously/);
    },
    1,
    { checkpoint: Buffer.from('"a"') },
  );
  assert.deepEqual(done.checkpoints, []);
});

test("a typed kind decodes and encodes, of its handler and of a worker's", async () => {
  const halve = async (payload: { number: number; unit: string }, ctx: JobContext) => {
    assert.equal(ctx.job.headers["x-payload-version"], "2");
    return { half: String(payload.number / 2) };
  };
  const worker = new Worker("127.0.0.1:1").handler(ask, halve);
  for (const handler of [halve, worker]) {
    const done = await perform(handler, { number: "7" }, { kind: ask });
    const half: number = done.output.half;
    assert.deepEqual([half, done.outputJson], [3.5, '{"half":"3.5"}']);
  }
  await assert.rejects(perform(halve, { number: 7 } as never, { kind: ask }), PayloadInvalid);
  await assert.rejects(
    perform((() => ({ half: 3.5 })) as never, { number: "7" }, { kind: ask }),
    /the handler of ask returned an object: output.half: must be string/,
  );
  await assert.rejects(
    perform(worker, null, { kind: "other" }),
    /no handler of kind other; it has: ask, asked/,
  );
  await assert.rejects(perform(worker), /no handler of kind performed/);
});

test("JSON text is a payload as another program has stored it", async () => {
  const echo = (payload: { number: number; unit: string }): never => {
    throw new Retry(`${payload.number} ${payload.unit}`);
  };
  const of = (text: string, version?: string) =>
    perform(echo, new JsonText(text), {
      kind: ask,
      headers: version === undefined ? {} : { "x-payload-version": version },
    });
  assert.equal((await of('{"count": 7}')).error, "7 one");
  const unreadable = await of('{"number": 7}', "2");
  assert.deepEqual(
    [unreadable.outcome, unreadable.errorType, unreadable.error],
    ["discarded", "PayloadUnreadable", "payload.number: must be string"],
  );
  assert.equal((await of("{}", "3")).outcome, "snoozed");
});

test("a handler is told to stop when the test says, for the reason that it says", async () => {
  const waits = async (_job: LeasedJob, ctx: JobContext): Promise<void> => {
    ctx.progress(0.1);
    ctx.progress(0.2);
    await sleep(60_000, undefined, { signal: ctx.signal });
  };
  const outcomes: [Stop, string][] = [
    ["cancel", "cancelled"],
    ["shutdown", "released"],
    ["lost", "released"],
    ["revoked", "cancelled"],
  ];
  for (const [stop, outcome] of outcomes) {
    assert.equal((await perform(waits, null, { stop, stopAt: "start" })).outcome, outcome);
  }
  const late = await perform(waits, null, { stopAfterMs: 5 });
  assert.deepEqual([late.outcome, late.progress.length], ["cancelled", 2]);
  const counted = await perform(
    async (_job, ctx) => {
      for (let each = 1; ; each += 1) {
        ctx.throwIfCancelled();
        ctx.progress(undefined, `${each}`);
        await new Promise((resolve) => setImmediate(resolve));
      }
    },
    null,
    { stopAt: 3, stop: "shutdown" },
  );
  assert.equal(counted.outcome, "released");
  assert.ok(counted.progress.length >= 3 && counted.progress.length <= 5);
});

test("a handler that does not end is not waited for, also where a test tool has frozen the time", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "setImmediate", "Date"] });
  let told: Stop | undefined;
  const never = (_job: LeasedJob, ctx: JobContext): Promise<void> => {
    ctx.signal.addEventListener("abort", () => (told = ctx.stopReason));
    return new Promise(() => undefined);
  };
  await assert.rejects(perform(never, null, { withinMs: 5 }), (error) => {
    assert.ok(error instanceof StillRunning);
    assert.equal(error.message, "the handler of performed still runs after 5 ms");
    return true;
  });
  assert.equal(told, "shutdown");
  await assert.rejects(
    perform(never, null, { withinMs: 20, stopAt: "start" }),
    /, though it was told to stop$/,
  );
});

test("code that is called with a context gets one", () => {
  const ctx = attempt({ n: 1 }, { attempt: 2, kind: "k", timeoutMs: 60_000 });
  assert.deepEqual([ctx.job.payload, ctx.job.attempt, ctx.job.failures, ctx.job.kind], [{ n: 1 }, 2, 1, "k"]);
  ctx.progress(1);
  assert.ok(ctx.remainingMs !== undefined && ctx.remainingMs > 0);
  assert.throws(() => attempt(null, { attempt: 0 }), /attempt is 0; attempts count from 1/);
});

/** A program's own code, which enqueues. */
async function signUp(client: Enqueuer, to: string): Promise<string> {
  const { id } = await client.enqueue(
    "welcome",
    { to },
    { idempotencyKey: `welcome-${to}`, labels: { b: "1", a: "2" } },
  );
  await client.enqueue(ask, { number: "7" }, { priority: 3, idempotencyKey: AUTO });
  return id;
}

test("the job that is answered has all that was said of it", async () => {
  const client = new RecordingClient();
  const runAt = new Date("2030-01-01T00:00:00Z");
  const said = {
    key: "k",
    unique: { key: "u" },
    timeoutMs: 60_000,
    retryPolicy: { maxBackoffMs: 9000 },
    hold: true,
  };
  const job = await client.enqueue({ kind: "mail", runAt, ...said });
  assert.deepEqual([job.key, job.uniqueKey, job.timeoutMs, job.hold], ["k", "u", 60_000, "HAND"]);
  assert.deepEqual([job.runAt, job.retryPolicy?.maxBackoffMs], [runAt, 9000]);
  const later = await client.enqueue({ kind: "mail", delayMs: 3_600_000 });
  assert.equal(later.runAt!.getTime() - later.createdAt!.getTime(), 3_600_000);
  assert.deepEqual([later.hold, later.timeoutMs], [undefined, undefined]);
});

test("what is enqueued is kept, as it was said, and a key is replayed", async () => {
  const client = new RecordingClient();
  assert.equal(await signUp(client, "ada"), await signUp(client, "ada"));
  assert.deepEqual(client.jobs.slice(0, 2), [
    {
      kind: "welcome",
      payloadJson: '{"to":"ada"}',
      idempotencyKey: "welcome-ada",
      labels: { b: "1", a: "2" },
    },
    ask.new({ number: "7" }, { priority: 3, idempotencyKey: AUTO }),
  ]);
  assert.equal(client.jobs.length, 3);
  const again = { kind: "welcome", payload: { to: "ada" }, idempotencyKey: "welcome-ada" };
  const replayed = await client.enqueueMany([
    { ...again, labels: { a: "2", b: "1" }, headers: { more: "x" } },
    { kind: "other" },
  ]);
  assert.deepEqual(
    replayed.map((each) => each.replayed),
    [true, false],
  );
  await assert.rejects(client.enqueue({ ...again, payload: { to: "bob" } }), IdempotencyKeyReused);
  const job = await client.enqueue({ kind: "k", payload: 1, queue: "q", key: "x" });
  assert.deepEqual(
    [job.status, job.queue, job.key, job.payload, job.replayed],
    ["QUEUED", "q", "x", 1, false],
  );
});

test("what a server would refuse at sight is refused, and nothing of it is kept", async () => {
  const client = new RecordingClient();
  await assert.rejects(client.enqueue("Not A Name"), (error) => {
    assert.ok(error instanceof InvalidRequest);
    assert.match(error.message, /^job\.kind: must be 1 to 128 of a-z/);
    return error.reason === "FIELD_INVALID";
  });
  await assert.rejects(client.enqueue("k", 1, { queue: "No", priority: 11, maxAttempts: 1001 }), (error) => {
    const fields = (error as InvalidRequest).violations.map((each) => each.field);
    assert.deepEqual(fields, ["job.queue", "job.priority", "job.max_attempts"]);
    return true;
  });
  await assert.rejects(
    client.enqueueMany([{ kind: "k", payload: "x".repeat(1 << 20) }]),
    /^InvalidRequest: jobs\[0\]\.payload: has/,
  );
  await assert.rejects(client.enqueue(ask, { number: 7 } as never), PayloadInvalid);
  await assert.rejects(client.enqueue("k", 5n), /is no JSON/);
  assert.deepEqual(client.jobs, []);
});

test("a recording client does not guess what a server does", () => {
  const client = new RecordingClient();
  const all = client as unknown as Record<string, () => unknown>;
  assert.throws(() => all["wait"]?.(), /^Error: wait: the recording client has no server/);
  assert.throws(() => all["listQueues"]?.(), /^Error: listQueues: the recording client has no server/);
  client.close();
});
