/** What a worker does, frame by frame. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import {
  Cancelled,
  Discard,
  InvalidRequest,
  JsonText,
  Retry,
  Snooze,
  Stopped,
  Worker,
} from "../src/index.js";
import type { Handler, JobContext, WorkerOptions } from "../src/index.js";
import { Job_Status } from "../src/gen/jobqueue/v1/job_pb.js";
import { LeaseResponseSchema, SettleResult_Verdict as Verdict } from "../src/gen/jobqueue/v1/lease_pb.js";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { Queue, ScriptedServer } from "./scripted.js";
import type { ScriptedStream } from "./scripted.js";

const BIG = (12n << 32n) | 5n; // what a server's lease ids look like

interface Bench {
  server: ScriptedServer;
  worker: Worker;
  stream: ScriptedStream;
  served: Promise<void>;
  lines: string[];
}

/** A worker that was welcomed, with one handler of the kind `work`. */
async function bench(t: TestContext, handler: Handler, options: WorkerOptions = {}): Promise<Bench> {
  const server = await ScriptedServer.start(t);
  const lines: string[] = [];
  const log = (line: string): unknown => lines.push(line);
  const logger = { info: log, warn: log, error: log };
  const worker = new Worker(server.address, { name: "w", logger, ...options });
  worker.handler("work", handler);
  const served = server.serve(worker);
  served.catch(() => undefined);
  const stream = await server.accept();
  stream.welcome();
  return { server, worker, stream, served, lines };
}

/** A handler that tells what it was given and ends when the test says how. */
function gate(t: TestContext): {
  handler: Handler;
  started: Queue<JobContext>;
  open: (value?: unknown) => void;
} {
  const started = new Queue<JobContext>();
  let open: (value?: unknown) => void = () => undefined;
  const gated = new Promise((resolve) => (open = resolve));
  t.after(() => open());
  const handler: Handler = (_job, ctx) => {
    started.put(ctx);
    return gated;
  };
  return { handler, started, open };
}

test("Hello says who the worker is, what it takes and how much", async (t) => {
  const server = await ScriptedServer.start(t);
  const worker = new Worker(server.address, {
    queues: ["mail", "calls"],
    concurrency: 20,
    name: "w1",
    labels: { zone: "a" },
    sessionTtlMs: 5500,
    token: async () => "secret",
  });
  worker.handler("send", () => undefined, { slots: 3 }).handler("call", () => undefined);
  const served = server.serve(worker);
  const stream = await server.accept();
  const { hello, token } = stream;
  assert.equal(token, "Bearer secret");
  assert.equal(hello.worker, "w1");
  assert.deepEqual(
    hello.subscriptions.map(({ queue, kinds }) => [queue, kinds]),
    [
      ["mail", ["send", "call"]],
      ["calls", ["send", "call"]],
    ],
  );
  assert.equal(hello.capacity?.slots, 20);
  assert.deepEqual(hello.capacity?.slotsByKind, { send: 3 });
  assert.deepEqual({ ...hello.labels }, { zone: "a" });
  assert.match(hello.client, /^jobqueue-typescript\/\d/);
  assert.equal(hello.sessionTtl?.seconds, 5n);
  assert.equal(hello.sessionTtl?.nanos, 500_000_000);
  assert.equal(hello.resume, undefined);
  stream.welcome();
  worker.stop();
  await stream.next("drain");
  stream.send({ case: "goodbye", value: {} });
  await served;
});

test("a delivery is receipted while its handler runs", async (t) => {
  const { handler, started, open } = gate(t);
  const { stream } = await bench(t, handler);
  await stream.next("capacity");
  stream.deliver(1n, { leaseId: BIG });
  await started.take("start");
  // Its handler holds, and a heartbeat is due in a minute: nothing else could carry it.
  const receipt = await stream.request("receipt");
  assert.equal(receipt.frame.case, undefined);
  assert.equal(receipt.lastDelivery, 1n);
  open();
  const settle = await stream.next("settle");
  assert.deepEqual(settle.succeeded, [BIG]);
});

test("payload bytes and 20-digit integers reach the handler and come back untouched", async (t) => {
  const text = '{ "n": 12345678901234567890, "s": "\\u00e4ä😀" }';
  const { stream } = await bench(t, (job) => {
    assert.equal(job.payloadText, text);
    assert.equal(job.payload.s, "ää😀");
    return new JsonText(job.payloadJson);
  });
  const payloadJson = new TextEncoder().encode(text);
  stream.deliver(1n, { leaseId: BIG, content: { case: "payloadJson", value: payloadJson } });
  const [outcome] = (await stream.next("settle")).outcomes;
  assert.ok(outcome?.outcome.case === "success" && outcome.outcome.value.result.case === "outputJson");
  assert.deepEqual(Buffer.from(outcome.outcome.value.result.value), Buffer.from(payloadJson));
});

test("what ends together is settled together, and at most a thousand a frame", async (t) => {
  const { handler, open } = gate(t);
  const { stream } = await bench(t, handler, { concurrency: 2000 });
  const ids = Array.from({ length: 1500 }, (_, index) => BIG + BigInt(index));
  stream.deliver(1n, ...ids.map((leaseId) => ({ leaseId })));
  open();
  const first = await stream.next("settle");
  const second = await stream.next("settle");
  assert.equal(first.succeeded.length, 1000);
  assert.deepEqual([...first.succeeded, ...second.succeeded], ids);
  assert.deepEqual([first.seq, second.seq], [1n, 2n]);
});

// prettier-ignore
const endings: [string, Handler, string, (value: any) => void][] = [
  ["a value is its output", () => ({ a: 1 }), "success", (v) => assert.equal(String(Buffer.from(v.result.value)), '{"a":1}')],
  ["an error is a failure", () => Promise.reject(new TypeError("bad")), "failure", (v) => {
    assert.deepEqual([v.errorType, v.error, v.permanent, v.retryAfter], ["TypeError", "bad", false, undefined]);
    assert.match(v.stack, /TypeError: bad\n/);
  }],
  ["Retry says when", () => { throw new Retry("later", { afterMs: 1500, cause: new RangeError("x") }); }, "failure", (v) => {
    assert.deepEqual([v.errorType, v.error, v.retryAfter.seconds, v.retryAfter.nanos], ["RangeError", "later", 1n, 500_000_000]);
  }],
  ["Discard is for good", () => { throw new Discard("never"); }, "failure", (v) => assert.equal(v.permanent, true)],
  ["Snooze comes again", () => { throw new Snooze(2000); }, "snooze", (v) => assert.equal(v.delay.seconds, 2n)],
  ["Cancelled is one", () => { throw new Cancelled(); }, "cancellation", () => undefined],
  ["no JSON is a failure", () => 1n, "failure", (v) => assert.match(v.error, /output is no JSON/)],
  ["a long error is cut and says so", () => { throw new Error("ä".repeat(9000)); }, "failure", (v) => {
    assert.ok(Buffer.byteLength(v.error) <= 8192);
    assert.match(v.error, /ä \[cut, 18000 bytes in all\]$/);
  }],
  ["half of a surrogate pair is no bad frame", () => { throw new Error("\ud800"); }, "failure", (v) => assert.equal(v.error, "\ufffd")],
];

for (const [name, handler, wanted, look] of endings) {
  test(`how a handler ends: ${name}`, async (t) => {
    const { stream } = await bench(t, handler);
    stream.deliver(1n, { leaseId: BIG });
    const [outcome] = (await stream.next("settle")).outcomes;
    assert.equal(outcome?.leaseId, BIG);
    assert.equal(outcome.outcome.case, wanted);
    look(outcome.outcome.value);
  });
}

test("a resume names what is held and what was not answered, and settles the latter again", async (t) => {
  const { handler, started, open } = gate(t);
  const { server, stream } = await bench(t, (job, ctx) =>
    job.id === "job-1" ? undefined : handler(job, ctx),
  );
  stream.deliver(3n, { leaseId: 1n }, { leaseId: 2n });
  await started.take("start");
  assert.deepEqual((await stream.next("settle")).succeeded, [1n]);
  stream.end();
  const again = await server.accept();
  const resume = again.hello.resume;
  assert.equal(resume?.sessionToken, "t1");
  assert.equal(resume.lastDelivery, 3n);
  const names = (leases: { leaseId: bigint; jobId: string; attempt: number }[]): unknown =>
    leases.map(({ leaseId, jobId, attempt }) => [leaseId, jobId, attempt]);
  assert.deepEqual(names(resume.held), [[2n, "job-2", 1]]);
  assert.deepEqual(names(resume.unanswered), [[1n, "job-1", 1]]);
  again.welcome({ token: "t2" });
  const settle = await again.next("settle");
  assert.deepEqual([settle.seq, settle.succeeded, settle.lastDelivery], [1n, [1n], 0n]);
  again.answer(1n);
  open();
  const later = await again.next("settle");
  assert.deepEqual([later.seq, later.succeeded], [2n, [2n]]);
});

test("what is answered is not sent again", async (t) => {
  const { server, stream } = await bench(t, () => undefined);
  stream.deliver(1n, { leaseId: BIG });
  stream.answer((await stream.next("settle")).seq);
  stream.deliver(2n, { leaseId: BIG + 1n });
  await stream.next("settle");
  stream.end();
  const again = await server.accept();
  assert.deepEqual(
    again.hello.resume?.unanswered.map((lease) => lease.leaseId),
    [BIG + 1n],
  );
  assert.deepEqual(again.hello.resume?.held, []);
});

test("a cancel aborts the handler's signal, and its answer decides", async (t) => {
  const { stream } = await bench(t, (_job, ctx) => sleep(60_000, undefined, { signal: ctx.signal }));
  stream.deliver(1n, { leaseId: BIG });
  await stream.request();
  const value = { action: { case: "cancel" as const, value: { leaseIds: [BIG], reason: "enough" } } };
  stream.send({ case: "control", value });
  const [outcome] = (await stream.next("settle")).outcomes;
  assert.equal(outcome?.outcome.case, "cancellation");
});

test("a handler may answer a cancel with success", async (t) => {
  const { handler, started, open } = gate(t);
  const { stream } = await bench(t, handler);
  stream.deliver(1n, { leaseId: BIG });
  const ctx = await started.take("start");
  const aborted = new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
  const value = { action: { case: "cancel" as const, value: { leaseIds: [BIG], reason: "enough" } } };
  stream.send({ case: "control", value });
  await aborted;
  assert.ok(ctx.signal.reason instanceof Stopped);
  assert.deepEqual([ctx.signal.reason.why, ctx.signal.reason.message], ["cancel", "enough"]);
  assert.throws(() => ctx.throwIfCancelled(), Cancelled);
  open();
  assert.deepEqual((await stream.next("settle")).succeeded, [BIG]);
});

test("a revoked lease is not settled, and named by heartbeats until its handler has ended", async (t) => {
  const { handler, started, open } = gate(t);
  const server = await ScriptedServer.start(t);
  const worker = new Worker(server.address, { logger: quiet }).handler("work", handler);
  const served = server.serve(worker);
  const stream = await server.accept();
  stream.welcome({ heartbeatMs: 30 });
  void pong(stream);
  stream.deliver(1n, { leaseId: BIG });
  const ctx = await started.take("start");
  const value = { action: { case: "revoke" as const, value: { leaseIds: [BIG], reason: "TIMED_OUT" } } };
  const aborted = new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
  stream.send({ case: "control", value });
  await aborted;
  assert.equal(ctx.stopReason, "revoked");
  await heartbeatWith([BIG]);
  open();
  await heartbeatWith([]);
  assert.deepEqual(seen.settles, []);
  worker.stop();
  await drained;
  stream.send({ case: "goodbye", value: {} });
  await served;

  async function heartbeatWith(held: bigint[]): Promise<void> {
    for (;;) {
      const beat = await seen.beats.take("heartbeat");
      if (String(beat) === String(held)) return;
    }
  }
});

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
let seen: { beats: Queue<bigint[]>; settles: bigint[] };
let drained: Promise<void>;

/** Answers heartbeats, and notes what they and settlements said. */
async function pong(stream: ScriptedStream): Promise<void> {
  const notes = { beats: new Queue<bigint[]>(), settles: [] as bigint[] };
  seen = notes;
  let onDrain: () => void = () => undefined;
  drained = new Promise((resolve) => (onDrain = resolve));
  for (;;) {
    const { frame } = await stream.request();
    if (frame.case === "heartbeat") {
      notes.beats.put(frame.value.held);
      stream.send({ case: "pong", value: { seq: frame.value.seq } });
    } else if (frame.case === "settle") {
      notes.settles.push(...frame.value.succeeded);
    } else if (frame.case === "drain") {
      onDrain();
      return;
    }
  }
}

test("two heartbeats without an answer, and the worker connects elsewhere with what it holds", async (t) => {
  const { handler, started } = gate(t);
  const server = await ScriptedServer.start(t);
  const worker = new Worker(server.address, { logger: quiet }).handler("work", handler);
  server.serve(worker);
  const stream = await server.accept();
  stream.welcome({ heartbeatMs: 30 });
  stream.deliver(1n, { leaseId: BIG });
  await started.take("start");
  const again = await server.accept();
  assert.equal(again.hello.resume?.held[0]?.leaseId, BIG);
  await stream.gone;
});

test("stop drains: what runs is finished, what crosses the Drain goes back, Goodbye ends it", async (t) => {
  const { handler, started, open } = gate(t);
  const { worker, stream, served } = await bench(t, handler);
  stream.deliver(1n, { leaseId: 1n });
  await started.take("start");
  worker.stop({ reason: "deploy" });
  assert.equal((await stream.next("drain")).reason, "deploy");
  stream.deliver(2n, { leaseId: 2n });
  const crossed = (await stream.next("settle")).outcomes[0];
  assert.deepEqual([crossed?.leaseId, crossed?.outcome.case], [2n, "release"]);
  stream.answer(1n);
  open();
  const last = await stream.next("settle");
  assert.deepEqual(last.succeeded, [1n]);
  stream.answer(last.seq);
  stream.send({ case: "goodbye", value: {} });
  await served;
});

test("at the end of the grace handlers are stopped and their jobs go back", async (t) => {
  const { handler: never } = gate(t);
  const { worker, stream, served } = await bench(t, async (job, ctx) =>
    job.id === "job-1" ? sleep(60_000, undefined, { signal: ctx.signal }) : never(job, ctx),
  );
  stream.deliver(1n, { leaseId: 1n }, { leaseId: 2n });
  await stream.request();
  worker.stop({ graceMs: 0 });
  const outcomes = [...(await stream.next("settle")).outcomes, ...(await stream.next("settle")).outcomes];
  assert.deepEqual(
    outcomes.map(({ leaseId, outcome }) => [leaseId, outcome.case]),
    [
      [1n, "release"],
      [2n, "release"],
    ],
  );
  stream.answer(1n);
  stream.answer(2n);
  stream.send({ case: "goodbye", value: {} });
  await served;
});

test("GoAway: the session goes on on another stream before the old one is let go", async (t) => {
  const { handler, started, open } = gate(t);
  const { server, stream } = await bench(t, handler);
  stream.deliver(1n, { leaseId: 1n });
  await started.take("start");
  await stream.next("capacity");
  let gone = false;
  void stream.gone.then(() => (gone = true));
  stream.send({ case: "goAway", value: { reason: "DRAINING" } });
  const next = await server.accept();
  assert.equal(next.hello.resume?.held[0]?.leaseId, 1n);
  assert.equal(gone, false);
  // It crosses the Hello, which does not name it: the server gives it to others.
  stream.deliver(2n, { leaseId: 2n });
  open();
  await sleep(50);
  next.welcome({ token: "t2" });
  assert.deepEqual((await next.next("settle")).succeeded, [1n]);
  await stream.gone;
  next.answer(1n);
  next.deliver(1n, { leaseId: 3n });
  assert.deepEqual((await next.next("settle")).succeeded, [3n]);
});

test("a worker that finds no other server stays, and gives back what crossed", async (t) => {
  const ran: string[] = [];
  const { handler, started } = gate(t);
  const { server, stream } = await bench(t, (job, ctx) =>
    job.id === "job-9" ? handler(job, ctx) : void ran.push(job.id),
  );
  stream.deliver(1n, { leaseId: 9n });
  const ctx = await started.take("start");
  const revoked = new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
  stream.send({ case: "goAway", value: { reason: "DATABASE_AWAY" } });
  const next = await server.accept();
  stream.deliver(2n, { leaseId: 1n });
  // Behind it on the same stream: who has read this has read the delivery.
  const value = { action: { case: "revoke" as const, value: { leaseIds: [9n], reason: "TIMED_OUT" } } };
  stream.send({ case: "control", value });
  await revoked;
  next.end();
  const { outcomes, lastDelivery } = await stream.next("settle");
  assert.deepEqual([outcomes[0]?.leaseId, outcomes[0]?.outcome.case, lastDelivery], [1n, "release", 2n]);
  assert.deepEqual(ran, []);
});

test("what the server could not commit is sent again, what it calls malformed becomes a failure", async (t) => {
  const { stream } = await bench(t, () => "output");
  stream.deliver(1n, { leaseId: 1n }, { leaseId: 2n });
  const { seq } = await stream.next("settle");
  const exceptions = [
    { leaseId: 1n, verdict: Verdict.TRY_AGAIN },
    { leaseId: 2n, verdict: Verdict.INVALID, message: "too long" },
  ];
  stream.send({ case: "settled", value: { seq, exceptions } });
  const outcomes = [...(await stream.next("settle")).outcomes, ...(await stream.next("settle")).outcomes];
  outcomes.sort((a, b) => Number(a.leaseId - b.leaseId));
  assert.deepEqual(
    outcomes.map(({ leaseId, outcome }) => [leaseId, outcome.case]),
    [
      [1n, "success"],
      [2n, "failure"],
    ],
  );
  const failure = outcomes[1]?.outcome;
  assert.ok(failure?.case === "failure" && failure.value.error.includes("too long"));
});

test("frames, actions, verdicts and statuses of a later version are ignored", async (t) => {
  const { server, stream, lines } = await bench(t, () => undefined);
  const unknown = { no: 99, wireType: 2, data: new Uint8Array([2, 8, 1]) };
  stream.responses.put(Object.assign(create(LeaseResponseSchema), { $unknown: [unknown] }));
  stream.send({ case: "control", value: {} });
  stream.deliver(1n, { leaseId: 1n });
  const { seq } = await stream.next("settle");
  const exceptions = [{ leaseId: 1n, verdict: 77 as Verdict, status: 66 as Job_Status }];
  stream.send({ case: "settled", value: { seq, exceptions } });
  stream.deliver(2n, { leaseId: 2n });
  assert.deepEqual((await stream.next("settle")).succeeded, [2n]);
  stream.end();
  const again = await server.accept();
  assert.deepEqual(
    again.hello.resume?.unanswered.map((lease) => lease.leaseId),
    [2n],
  );
  assert.ok(lines.some((line) => line.includes("verdict 77")));
});

test("a checkpoint is sent before the outcome, progress is gathered", async (t) => {
  const { stream } = await bench(t, (_job, ctx) => {
    ctx.progress(0.25, "begun");
    ctx.progress(0.5);
    const data = Buffer.from([1, 2]);
    ctx.saveCheckpoint(data);
    data.fill(9); // what was saved is what was there then
    throw new Error("later");
  });
  stream.deliver(1n, { leaseId: BIG });
  const progress = await stream.next("progress");
  assert.deepEqual([progress.leaseId, progress.fraction, progress.message], [BIG, 0.5, "begun"]);
  assert.deepEqual([...(progress.checkpoint ?? [])], [1, 2]);
  await stream.next("settle");
});

test("follow-ups travel with the outcome and carry the request id on", async (t) => {
  const { stream } = await bench(t, (_job, ctx) => {
    ctx.followUp({ kind: "next", payload: [1], headers: { own: "1" } });
  });
  stream.deliver(1n, { leaseId: BIG, headers: { "x-request-id": "r1", other: "no" } });
  const outcome = (await stream.next("settle")).outcomes[0]?.outcome;
  assert.ok(outcome?.case === "success");
  const [job] = outcome.value.followUps;
  assert.equal(job?.kind, "next");
  assert.deepEqual({ ...job.headers }, { own: "1", "x-request-id": "r1" });
});

test("a session that the server does not know is given up, and another one opened", async (t) => {
  const { handler, started } = gate(t);
  const server = await ScriptedServer.start(t);
  const worker = new Worker(server.address, { logger: quiet, concurrency: 4 }).handler("work", handler);
  server.serve(worker);
  const stream = await server.accept();
  stream.welcome();
  stream.deliver(1n, { leaseId: BIG });
  const ctx = await started.take("start");
  stream.send({ case: "goodbye", value: {} });
  const fresh = await server.accept();
  assert.equal(fresh.hello.resume, undefined);
  assert.equal(ctx.stopReason, "revoked");
  assert.equal(fresh.hello.capacity?.slots, 3, "the handler of the old session still takes up a slot");
});

test("a worker that the server refuses for good says so; one that finds no server goes on", async (t) => {
  const details = [{ desc: ErrorInfoSchema, value: { reason: "FIELD_INVALID", domain: "jobqueue" } }];
  const server = await ScriptedServer.start(t, {
    lease: async function* () {
      throw new ConnectError(
        "hello.subscriptions[0].queue: no name",
        Code.InvalidArgument,
        undefined,
        details,
      );
    },
  });
  const worker = new Worker(["127.0.0.1:1", server.address], { logger: quiet, queues: ["Bad Name"] });
  await assert.rejects(worker.handler("work", () => undefined).serve(), (error: unknown) => {
    assert.ok(error instanceof InvalidRequest);
    assert.equal(error.reason, "FIELD_INVALID");
    return true;
  });
});

test("a worker without handlers, and options out of their range, are refused at once", async () => {
  await assert.rejects(new Worker("127.0.0.1:1").serve(), /no handlers/);
  assert.throws(() => new Worker("127.0.0.1:1", { concurrency: 0 }), /concurrency is 0; it is 1 to 10000/);
  assert.throws(() => new Worker("127.0.0.1:1", { queues: [] }), /queues is empty/);
  assert.throws(() => new Worker("127.0.0.1:1").handler("a", () => 1).handler("a", () => 1), /already/);
});
