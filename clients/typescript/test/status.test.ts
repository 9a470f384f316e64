/** What a worker says of itself: status, health, observer; and what makes the first use easy. */

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as listener } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import { Client, JsonText, KindUnknown, NotAllowed, Unavailable, Worker } from "../src/index.js";
import type { Attempt, Handler, Observer, WorkerOptions, WorkerStatus } from "../src/index.js";
import { JobSchema, Job_Status } from "../src/gen/jobqueue/v1/job_pb.js";
import type * as pb from "../src/gen/jobqueue/v1/job_pb.js";
import { SettleResult_Verdict as Verdict } from "../src/gen/jobqueue/v1/lease_pb.js";
import { ErrorInfoSchema } from "../src/gen/google/rpc/error_details_pb.js";
import { Queue, ScriptedServer } from "./scripted.js";

/** A worker with one handler of the kind `work` that runs until the test is over. */
async function bench(t: TestContext, handler: Handler, options: WorkerOptions = {}) {
  const server = await ScriptedServer.start(t);
  const lines: string[] = [];
  const log = (line: string): unknown => lines.push(line);
  const worker = new Worker(server.address, { logger: { info: log, warn: log, error: log }, ...options });
  worker.handler("work", handler);
  const served = server.serve(worker);
  served.catch(() => undefined);
  const stream = await server.accept();
  return { server, worker, served, stream, lines };
}

/** An observer of what the worker does. */
function states(): { observer: Observer; seen: Queue<WorkerStatus> } {
  const seen = new Queue<WorkerStatus>();
  return { observer: { sessionChanged: (status) => seen.put(status) }, seen };
}

/** A port of loopback at which nothing listens. */
async function unused(): Promise<string> {
  const server = listener().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

async function codes(address: string): Promise<number[]> {
  const answers = await Promise.all(["livez", "readyz"].map((path) => fetch(`http://${address}/${path}`)));
  return answers.map((answer) => answer.status);
}

function refusal(code: Code, reason: string): ConnectError {
  return new ConnectError("no", code, {}, [
    { desc: ErrorInfoSchema, value: { reason, domain: "jobqueue", metadata: {} } },
  ]);
}

test("a worker's status follows its life, and so do its probes", async (t) => {
  const { observer, seen } = states();
  const health = await unused();
  let open: (value?: unknown) => void = () => undefined;
  const gated = new Promise((resolve) => (open = resolve));
  t.after(() => open());
  const { server, worker, stream } = await bench(t, () => gated, { observer, health });
  assert.equal(worker.status().state, "starting");
  assert.deepEqual(
    [worker.status().slots, worker.status().kinds, worker.status().lastHeard],
    [8, ["work"], undefined],
  );
  assert.deepEqual(await codes(health), [200, 503]);

  stream.welcome({ ttlS: 1 });
  const serving = await seen.take("state");
  assert.deepEqual([serving.state, serving.server, serving.session], ["serving", "server-1", 7]);
  stream.deliver(1n, { leaseId: 1n });
  while (worker.status().running !== 1) await sleep(1);
  assert.ok(worker.status().lastHeard instanceof Date);
  assert.deepEqual(await codes(health), [200, 200]);

  stream.end();
  const lost = await seen.take("state");
  assert.equal(lost.state, "reconnecting");
  assert.match(lost.lastError, /ended the stream/);
  assert.deepEqual(await codes(health), [200, 200]);
  const again = await server.accept();
  await sleep(1100); // the ttl of the session is over
  assert.deepEqual(await codes(health), [200, 503]);
  again.welcome({ ttlS: 1 });
  assert.equal((await seen.take("state")).state, "serving");

  worker.stop({ graceMs: 5000 });
  assert.equal((await seen.take("state")).state, "draining");
  assert.deepEqual(await codes(health), [200, 503]);
  open();
});

test("a probe has the status as JSON, and other paths and methods are refused", async (t) => {
  const health = await unused();
  await bench(t, () => undefined, { health });
  const answer = await fetch(`http://${health}/livez?verbose`);
  assert.equal(answer.headers.get("cache-control"), "no-store");
  const body = (await answer.json()) as Record<string, unknown>;
  assert.deepEqual(Object.keys(body).sort(), [
    ...["kinds", "last_error", "last_heard", "observer_dropped", "orphans", "running", "server", "session"],
    ...["since", "slots", "state", "unknown_kinds"],
  ]);
  assert.ok(Date.now() - Date.parse(String(body["since"])) < 60_000);
  assert.equal(body["last_heard"], null);
  assert.equal((await fetch(`http://${health}/metrics`)).status, 404);
  assert.equal((await fetch(`http://${health}/livez`, { method: "POST" })).status, 405);
});

test("a worker that the server refuses says so, is not live, and frees its port", async (t) => {
  const server = await ScriptedServer.start(t, {
    // eslint-disable-next-line require-yield
    async *lease() {
      throw refusal(Code.PermissionDenied, "PERMISSION_DENIED");
    },
  });
  const health = await unused();
  const { observer, seen } = states();
  const worker = new Worker(server.address, { health, observer }).handler("work", () => undefined);
  await assert.rejects(worker.serve(), NotAllowed);
  assert.equal((await seen.take("state")).state, "refused");
  assert.equal(worker.status().state, "refused");
  assert.match(worker.status().lastError, /no/);
  const free = createServer().listen(Number(health.split(":")[1]), "127.0.0.1");
  await new Promise((resolve) => free.once("listening", resolve));
  free.close();
});

test("a worker whose port is taken does not start, and names the address", async (t) => {
  const taken = listener().listen(0, "127.0.0.1");
  await new Promise((resolve) => taken.once("listening", resolve));
  t.after(() => taken.close());
  const health = `127.0.0.1:${(taken.address() as AddressInfo).port}`;
  const worker = new Worker("127.0.0.1:1", { health }).handler("work", () => undefined);
  await assert.rejects(worker.serve(), new RegExp(`health can't be served at ${health}: EADDRINUSE`));
  assert.equal(worker.status().state, "ended");
  assert.throws(() => new Worker("127.0.0.1:1", { health: "8081" }), /it is host:port/);
});

test("kinds that the server does not know are said once for each set of them", async (t) => {
  const { server, worker, stream, lines } = await bench(t, () => undefined);
  let on = stream;
  for (const unknownKinds of [["work"], ["work"], [], ["work"]]) {
    on.welcome({ unknownKinds });
    await on.next("capacity");
    assert.deepEqual(worker.status().unknownKinds, unknownKinds);
    on.end();
    on = await server.accept();
  }
  const line =
    'the server knows no kind "work": no job of it can be enqueued; declare it by syncKinds or PutKind (jobqueue kinds put work)';
  assert.equal(lines.filter((each) => each === line).length, 2);
});

test("a pause before the worker serves is kept", async (t) => {
  for (const paused of [true, false]) {
    const server = await ScriptedServer.start(t);
    const worker = new Worker(server.address, { paused }).handler("work", () => undefined);
    worker.pause();
    assert.equal(worker.status().slots, 0);
    void server.serve(worker).catch(() => undefined);
    const stream = await server.accept();
    assert.equal(stream.hello.capacity?.slots, 0);
    stream.welcome();
    assert.equal((await stream.next("capacity")).slots, 0);
    worker.resume();
    assert.equal((await stream.next("capacity")).slots, 8);
  }
  assert.equal(new Worker("127.0.0.1:1", { paused: true }).status().slots, 0);
});

test("a second handler is refused with both names and the queues", () => {
  const deliver: Handler = () => undefined;
  const bounce: Handler = () => undefined;
  const worker = new Worker("127.0.0.1:1", { queues: ["mail"] }).handler("send", deliver);
  assert.throws(() => worker.handler("send", bounce), {
    message:
      'send has a handler already, deliver, in the worker of queues ["mail"]; bounce would be its second',
  });
});

test("an observer is told of every attempt and of what became of it, after it happened", async (t) => {
  const told: string[] = [];
  const all = new Queue<string>();
  const put = (line: string): void => {
    told.push(line);
    all.put(line);
  };
  const observer: Observer = {
    attemptStarted: ({ kind, attempt, requestId }: Attempt) => put(`started ${kind} ${attempt} ${requestId}`),
    attemptEnded: ({ kind }, outcome, tookMs, error) => {
      assert.ok(tookMs >= 0);
      put(`${outcome} ${kind}: ${String(error)}`);
    },
  };
  const handler: Handler = (job, ctx) => {
    if (job.attempt === 2) throw new Error("no");
    if (job.attempt === 3) return new Promise((_, reject) => ctx.signal.addEventListener("abort", reject));
    return undefined;
  };
  const { stream } = await bench(t, handler, { observer });
  stream.welcome();
  const answered = async (leaseId: bigint, attempt: number, result?: object): Promise<void> => {
    stream.deliver(leaseId, { leaseId, attempt, headers: { "x-request-id": "r1" } });
    const { seq } = await stream.next("settle");
    stream.send({ case: "settled", value: { seq, exceptions: result ? [{ leaseId, ...result }] : [] } });
    await all.take("start");
    await all.take("end");
  };
  await answered(1n, 1);
  await answered(2n, 2, { verdict: Verdict.APPLIED, status: Job_Status.RETRYING });
  await answered(3n, 2, { verdict: Verdict.APPLIED, status: Job_Status.FAILED_PERMANENT });
  await answered(4n, 1, { verdict: Verdict.STALE_LEASE });
  stream.deliver(9n, { leaseId: 9n, attempt: 3 });
  const action = { case: "revoke" as const, value: { leaseIds: [9n], reason: "TIMED_OUT" } };
  stream.send({ case: "control", value: { action } });
  await all.take("start");
  await all.take("end");
  assert.deepEqual(told, [
    ...["started work 1 r1", "succeeded work: undefined"],
    ...["started work 2 r1", "retrying work: Error: no"],
    ...["started work 2 r1", "failed_permanent work: Error: no"],
    ...["started work 1 r1", "error work: Error: the outcome was not taken: STALE_LEASE "],
    ...["started work 3 ", "error work: Error: the lease was revoked: TIMED_OUT"],
  ]);
});

test("an observer that is slow or throws holds up nothing, and what is too much is counted", async (t) => {
  let leave: (value?: unknown) => void = () => undefined;
  const slow = new Promise((resolve) => (leave = resolve));
  t.after(() => leave());
  const after = new Queue<string>();
  const observer: Observer = {
    attemptStarted: () => slow,
    attemptEnded: () => {
      after.put("call");
      throw new Error("no such gauge");
    },
  };
  const { stream, worker, lines } = await bench(t, () => undefined, { observer, concurrency: 1000 });
  stream.welcome();
  for (let seq = 1n; seq <= 52n; seq += 1n) {
    const jobs = Array.from({ length: 100 }, (_, i) => ({ leaseId: seq * 100n + BigInt(i) }));
    stream.deliver(seq, ...jobs);
    for (let settled = 0; settled < jobs.length;) {
      const { seq: frame, succeeded } = await stream.next("settle");
      settled += succeeded.length;
      stream.answer(frame);
    }
  }
  const { observerDropped } = worker.status();
  assert.ok(observerDropped >= 200 && observerDropped <= 600, String(observerDropped));
  leave();
  for (let i = 0; i < 3; i += 1) await after.take("call after one that threw");
  assert.equal(lines.filter((line) => line.includes("no such gauge")).length, 1);
});

test("an observer is told what a client enqueued", async (t) => {
  const server = await ScriptedServer.start(t, {
    enqueueJob: () => {
      throw refusal(Code.InvalidArgument, "KIND_UNKNOWN");
    },
    batchEnqueueJobs: ({ jobs }) => ({ results: jobs.map((_, index) => ({ id: String(index) })) }),
  });
  const told = new Queue<unknown[]>();
  const observer: Observer = {
    enqueued: (count, kind, queue, _tookMs, error) =>
      told.put([count, kind, queue, error instanceof KindUnknown]),
  };
  const client = new Client(server.address, { observer });
  t.after(() => client.close());
  await assert.rejects(client.enqueue("k", 1, { queue: "mail" }), KindUnknown);
  await client.enqueueMany([{ kind: "a" }, { kind: "b" }]);
  assert.deepEqual(await told.take("enqueue"), [1, "k", "mail", true]);
  assert.deepEqual(await told.take("batch"), [2, "", "", false]);
});

test("a job may be enqueued as a whole", async (t) => {
  const jobs = new Queue<pb.NewJob>();
  const server = await ScriptedServer.start(t, {
    enqueueJob: ({ job }) => {
      if (job) jobs.put(job);
      return { job: create(JobSchema, { id: "j1", kind: "k" }) };
    },
  });
  const client = new Client(server.address);
  t.after(() => client.close());
  await client.enqueue({ kind: "k", payload: new JsonText("7"), queue: "mail" }, { deadlineMs: 5000 });
  const job = await jobs.take("job");
  assert.deepEqual(
    [job.kind, job.queue, Buffer.from((job.content.value ?? []) as Uint8Array).toString()],
    ["k", "mail", "7"],
  );
});

test("where nothing listens the first error says what to do, and no later one", async (t) => {
  const address = await unused();
  const client = new Client(address);
  t.after(() => client.close());
  const hint = `; nothing answers at ${address}; start a server by "make run" or "jobqueue-server"`;
  const failure = async (by = client): Promise<Unavailable> => {
    try {
      await by.retry("1");
    } catch (error) {
      if (error instanceof Unavailable) return error;
    }
    throw new Error("it was not Unavailable");
  };
  assert.ok((await failure()).message.endsWith(hint));
  assert.ok(!(await failure()).message.includes("nothing answers"));
  const before = process.env["JOBQUEUE_SERVER"];
  process.env["JOBQUEUE_SERVER"] = address;
  const named = Client.fromEnv();
  if (before === undefined) delete process.env["JOBQUEUE_SERVER"];
  else process.env["JOBQUEUE_SERVER"] = before;
  t.after(() => named.close());
  assert.ok((await failure(named)).message.endsWith(`${hint}, or set JOBQUEUE_SERVER`));
});

test("where nothing listens a watch says what to do too, once of its client", async (t) => {
  const address = await unused();
  const client = new Client(address, { deadlineMs: 50 });
  t.after(() => client.close());
  const hint = new RegExp(`ECONNREFUSED.*tried again.*; nothing answers at ${address}; start a server by`);
  await assert.rejects(client.watch({ queue: "q" }).begun(), hint);
  await assert.rejects(client.watch({ queue: "q" }).next(), (error: Unavailable) => {
    return /ECONNREFUSED/.test(error.message) && !error.message.includes("nothing answers");
  });
});

test("server, token and TLS come from the environment, and what is given wins", async (t) => {
  const names = ["SERVER", "TOKEN", "TLS_ROOTS", "TLS_CLIENT_CERT", "TLS_CLIENT_KEY"].map(
    (each) => `JOBQUEUE_${each}`,
  );
  const before = names.map((name) => process.env[name]);
  t.after(() =>
    names.forEach((name, index) => {
      const value = before[index];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }),
  );
  for (const name of names) delete process.env[name];
  const server = await ScriptedServer.start(t);
  process.env["JOBQUEUE_SERVER"] = server.address;
  process.env["JOBQUEUE_TOKEN"] = "t0ken";
  for (const [token, want] of [
    [undefined, "Bearer t0ken"],
    ["other", "Bearer other"],
  ] as const) {
    const worker = Worker.fromEnv({ token }).handler("work", () => undefined);
    void server.serve(worker).catch(() => undefined);
    assert.equal((await server.accept()).token, want);
  }
  process.env["JOBQUEUE_TLS_CLIENT_CERT"] = "client.pem";
  assert.throws(() => Client.fromEnv(), /need JOBQUEUE_TLS_ROOTS/);
  process.env["JOBQUEUE_TLS_ROOTS"] = "/nowhere/ca.pem";
  assert.throws(() => Client.fromEnv(), /\/nowhere\/ca.pem/);
  delete process.env["JOBQUEUE_TLS_CLIENT_CERT"];
  process.env["JOBQUEUE_TLS_ROOTS"] = "public";
  delete process.env["JOBQUEUE_SERVER"];
  Client.fromEnv().close();
});

test("queues, slots and name of a worker come from the environment, and what is given wins", async (t) => {
  const names = ["JOBQUEUE_SERVER", "JOBQUEUE_QUEUES", "WORKER_CONCURRENCY", "JOBQUEUE_WORKER_NAME"];
  const before = names.map((name) => process.env[name]);
  const set = (...values: readonly (string | undefined)[]): void =>
    names.forEach((name, index) => {
      const value = values[index];
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    });
  t.after(() => set(...before));
  const server = await ScriptedServer.start(t);
  const told = async (options?: WorkerOptions): Promise<unknown> => {
    const worker = Worker.fromEnv(options).handler("work", () => undefined);
    void server.serve(worker).catch(() => undefined);
    const { subscriptions, capacity, worker: name } = (await server.accept()).hello;
    return [subscriptions.map((each) => each.queue), capacity?.slots, name];
  };
  set(server.address, " mail, reports,, ", "7", "blue");
  assert.deepEqual(await told(), [["mail", "reports"], 7, "blue"]);
  const given = { queues: ["bulk"], concurrency: 2, name: "green" };
  assert.deepEqual(await told(given), [["bulk"], 2, "green"]);
  // What is undefined is not given.
  assert.deepEqual(await told({ concurrency: undefined, name: "green" }), [["mail", "reports"], 7, "green"]);
  set(server.address, " , ", "", "");
  assert.deepEqual(await told({ name: "green" }), [["default"], 8, "green"]);
  for (const many of ["many", "7.5", "0x10", " "]) {
    set(server.address, undefined, many);
    const message = `WORKER_CONCURRENCY is ${JSON.stringify(many)}; it is a whole number`;
    assert.throws(() => Worker.fromEnv(), { name: "TypeError", message });
  }
  set(server.address, undefined, "0");
  assert.throws(() => Worker.fromEnv(), {
    name: "RangeError",
    message: "concurrency is 0; it is 1 to 10000",
  });
});

test("time that a test tool freezes stops neither heartbeats nor receipts nor settlements", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "setImmediate", "Date"] });
  const { stream, worker } = await bench(t, () => undefined);
  stream.welcome({ heartbeatMs: 20 });
  for (let beats = 0; beats < 5; beats += 1) {
    const { seq } = await stream.next("heartbeat");
    stream.send({ case: "pong", value: { seq } });
  }
  stream.deliver(1n, { leaseId: 1n });
  const { seq } = await stream.next("settle");
  stream.answer(seq);
  assert.equal(Date.now(), 0);
  assert.ok(worker.status().since.getTime() > 0);
});

test("a worker that finds no server says what to do", async () => {
  const address = await unused();
  const lines = new Queue<string>();
  const log = (line: string): void => lines.put(line);
  const worker = new Worker(address, { logger: { info: log, warn: log, error: log } });
  const served = worker.handler("work", () => undefined).serve();
  assert.match(await lines.take("line"), new RegExp(`nothing answers at ${address}; start a server by`));
  assert.equal(worker.status().state, "starting");
  assert.match(worker.status().lastError, /ECONNREFUSED/);
  worker.stop({ graceMs: 0 });
  await served;
});
