/** What goes around handlers and enqueues: order, count, ends, and what it may change. */

import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import {
  AUTO,
  Client,
  Discard,
  Retry,
  Snooze,
  Worker,
  defineKind,
  forKinds,
  withHeaders,
} from "../src/index.js";
import type { EnqueueResult, Handler, JobContext, LeasedJob, Middleware, NewJob } from "../src/index.js";
import { JobSchema, Job_Status } from "../src/gen/jobqueue/v1/job_pb.js";
import { SettleResult_Verdict as Verdict } from "../src/gen/jobqueue/v1/lease_pb.js";
import { RecordingClient, perform } from "../src/testing/index.js";
import { Handlers } from "../src/worker/handlers.js";
import { ScriptedServer } from "./scripted.js";

type Says = Record<string, unknown>;

function throws(what: unknown): void {
  if (what === "raise") throw new RangeError("no");
  if (what === "retry") throw new Retry("busy", { afterMs: 60_000 });
  if (what === "discard") throw new Discard("never");
  if (what === "snooze") throw new Snooze(5000);
}

/** Tells when it is entered and left, and does what the payload says of its name. */
class Traced implements Middleware {
  readonly name: string;
  readonly told: string[];

  constructor(name: string, told: string[]) {
    this.name = name;
    this.told = told;
  }

  async handle(job: LeasedJob<Says>, _: JobContext, next: () => Promise<unknown>): Promise<unknown> {
    const says = (what: string): unknown => job.payload[`${this.name}.${what}`];
    let output: unknown;
    this.told.push(`${this.name}(`);
    if (says("before") === "skip") return { by: "skip" };
    throws(says("before"));
    try {
      output = await next();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.told.push(`${this.name}!${error.message}`);
      if (!says("catches")) throw error;
    }
    this.told.push(`)${this.name}`);
    throws(says("after"));
    return output;
  }

  async enqueue(
    jobs: readonly NewJob[],
    next: (jobs: readonly NewJob[]) => Promise<readonly EnqueueResult[]>,
  ) {
    return next(jobs.map((job) => withHeaders(job, { by: (job.headers?.["by"] ?? "") + this.name })));
  }
}

function handling(told: string[]): Handler<Says> {
  return async (job, ctx) => {
    await sleep(0);
    told.push("handler");
    for (let number = 0; number < Number(job.payload["followUps"] ?? 0); number += 1) {
      ctx.followUp({ kind: "next", payload: number });
    }
    throws(job.payload["handler"]);
    return { by: "handler" };
  };
}

// What the payload says; what is told, in order; the outcome, and its output or error.
const TABLE: readonly [Says, string, string, string?][] = [
  [{}, "a( b( c( handler )c )b )a", "succeeded", "handler"],
  [{ handler: "raise" }, "a( b( c( handler c!no b!no a!no", "failed", "no"],
  [{ handler: "retry" }, "a( b( c( handler", "failed", "busy"],
  [{ handler: "discard" }, "a( b( c( handler", "discarded", "never"],
  [{ handler: "snooze" }, "a( b( c( handler", "snoozed"],
  [{ handler: "raise", "c.catches": 1 }, "a( b( c( handler c!no )c )b )a", "succeeded"],
  [{ handler: "raise", "a.catches": 1 }, "a( b( c( handler c!no b!no a!no )a", "succeeded"],
  [{ "a.before": "raise" }, "a(", "failed", "no"],
  [{ "b.before": "raise" }, "a( b( a!no", "failed", "no"],
  [{ "c.before": "raise" }, "a( b( c( b!no a!no", "failed", "no"],
  [{ "c.before": "raise", "b.catches": 1 }, "a( b( c( b!no )b )a", "succeeded"],
  [{ "b.before": "retry" }, "a( b(", "failed", "busy"],
  [{ "b.before": "discard" }, "a( b(", "discarded", "never"],
  [{ "b.before": "snooze" }, "a( b(", "snoozed"],
  [{ "a.before": "skip" }, "a(", "succeeded", "skip"],
  [{ "b.before": "skip" }, "a( b( )a", "succeeded", "skip"],
  [{ "c.before": "skip" }, "a( b( c( )b )a", "succeeded", "skip"],
  [{ "c.before": "skip", "a.after": "snooze" }, "a( b( c( )b )a", "snoozed"],
  [{ "a.after": "raise" }, "a( b( c( handler )c )b )a", "failed", "no"],
  [{ "b.after": "raise" }, "a( b( c( handler )c )b a!no", "failed", "no"],
  [{ "c.after": "raise" }, "a( b( c( handler )c b!no a!no", "failed", "no"],
  [{ "c.after": "raise", "b.catches": 1 }, "a( b( c( handler )c b!no )b )a", "succeeded"],
  [{ "b.after": "snooze" }, "a( b( c( handler )c )b", "snoozed"],
  [{ "b.after": "discard" }, "a( b( c( handler )c )b", "discarded", "never"],
  [{ followUps: 3 }, "a( b( c( handler )c )b )a", "succeeded", "handler"],
  [{ followUps: 3, handler: "raise" }, "a( b( c( handler c!no b!no a!no", "failed", "no"],
  [{ followUps: 3, handler: "raise", "c.catches": 1 }, "a( b( c( handler c!no )c )b )a", "succeeded"],
  [{ followUps: 3, "a.after": "raise" }, "a( b( c( handler )c )b )a", "failed", "no"],
];

test("the first middleware is the outermost, each is called once, and the attempt ends as they say", async () => {
  for (const [says, words, outcome, value] of TABLE) {
    const told: string[] = [];
    const middleware = ["a", "b", "c"].map((name) => new Traced(name, told));
    const done = await perform(handling(told), says, { middleware, catch: true });
    assert.deepEqual([told.join(" "), done.outcome], [words, outcome], JSON.stringify(says));
    if (outcome === "succeeded") assert.deepEqual(done.output, value && { by: value });
    else if (value !== undefined) assert.equal(done.error, value);
    const followed = value === "handler" ? Number(says["followUps"] ?? 0) : 0;
    const wanted = [...Array(followed).keys()].map((number) => [`${number}`, { by: "abc" }]);
    assert.deepEqual(
      done.followUps.map((each) => [each.payloadJson, each.headers]),
      wanted,
    );
  }
});

test("a middleware around a handler that does not keep to its part fails the attempt", async () => {
  class Does {
    readonly handle: Middleware["handle"];
    constructor(does: Middleware["handle"]) {
      this.handle = does;
    }
  }
  const cases: [Middleware["handle"], string][] = [
    [(_, __, next) => next().then(next), "Does.handle called next twice"],
    [async (_, __, next) => [await next(), await next().catch(() => 1)][0], "Does.handle called next twice"],
    [(_, __, next) => next().then(() => 1), "Does.handle must return what next answered"],
    [(_, __, next) => void next(), "Does.handle did not wait for next: return what it answers"],
  ];
  for (const [does, words] of cases) {
    const told: string[] = [];
    const done = await perform(handling(told), {}, { middleware: [new Does(does)], catch: true });
    assert.deepEqual([done.outcome, done.error, told], ["failed", words, ["handler"]]);
  }
});

test("a middleware follows up before next, and not after", async () => {
  const before: Middleware = {
    handle: (_, ctx, next) => {
      ctx.followUp({ kind: "more" });
      return next();
    },
  };
  const after: Middleware = {
    handle: async (_, ctx, next) => {
      const output = await next();
      ctx.followUp({ kind: "more" });
      return output;
    },
  };
  const skips: Middleware = { handle: () => 7 };
  const outer = new Traced("a", []);
  for (const middleware of [
    [outer, before],
    [outer, before, skips],
  ]) {
    const done = await perform(handling([]), {}, { middleware });
    assert.deepEqual(done.followUps, [{ kind: "more", payloadJson: "null", headers: { by: "a" } }]);
  }
  const done = await perform(handling([]), {}, { middleware: [outer, after], catch: true });
  const words = "ctx.followUp was called after a middleware's next(): call it before";
  assert.deepEqual([done.outcome, done.error, done.followUps], ["failed", words, []]);
});

test("what a middleware that catches a failure follows up is not lost silently", async () => {
  const catches: Middleware = {
    handle: (_, ctx, next) =>
      next().catch(() => {
        ctx.followUp({ kind: "alert" });
      }),
  };
  const handler: Handler = (_, ctx) => {
    ctx.followUp({ kind: "more" });
    throw new Error("no");
  };
  const done = await perform(handler, {}, { middleware: [catches], catch: true });
  const words = "ctx.followUp was called after a middleware's next(): call it before";
  assert.deepEqual([done.outcome, done.error, done.followUps], ["failed", words, []]);
});

test("next does nothing once the middleware that was given it has given up", async () => {
  let late: Promise<unknown> = Promise.resolve();
  const giveUp = (next: () => Promise<unknown>): Promise<never> => {
    late = sleep(20).then(next);
    late.catch(() => undefined);
    return Promise.reject(new Error("the tenant is not known yet"));
  };
  const told: string[] = [];
  const around: Middleware = { handle: (_, __, next) => giveUp(next) };
  const done = await perform(handling(told), {}, { middleware: [around], catch: true });
  assert.equal(done.error, "the tenant is not known yet");
  await assert.rejects(late, /handle called next after it had ended/);
  assert.deepEqual(told, []);
  const client = new RecordingClient({ middleware: [{ enqueue: (jobs, next) => giveUp(() => next(jobs)) }] });
  await assert.rejects(client.enqueue("mail"), /the tenant is not known yet/);
  await assert.rejects(late, /enqueue called next after it had ended/);
  assert.equal(client.jobs.length, 0);
});

test("follow-ups that are refused or grow too large fail the attempt", async () => {
  const refuses: Middleware = { enqueue: () => Promise.reject(new Error("not these")) };
  const large: Middleware = {
    enqueue: (jobs, next) => next(jobs.map((job) => withHeaders(job, { large: "x".repeat(30_000) }))),
  };
  for (const [middleware, words] of [
    [refuses, /^not these$/],
    [large, /^the follow-ups of a job may have 2097152 bytes in all, not \d+$/],
  ] as const) {
    const payload = { followUps: 100 };
    const done = await perform(handling([]), payload, { middleware: [middleware], catch: true });
    assert.equal(done.outcome, "failed");
    assert.match(done.error, words);
  }
});

test("middleware for some kinds is around their handlers and their jobs alone", async () => {
  const told: string[] = [];
  const [a, b, c] = ["a", "b", "c"].map((name) => new Traced(name, told)) as [Traced, Traced, Traced];
  const kind = defineKind<Says, Says>("typed", { aliases: ["before"] });
  const middleware = [
    forKinds(a, "one", "next"),
    forKinds(b, kind),
    forKinds(forKinds(c, "one", "two"), "two"),
  ];
  const worker = new Worker("127.0.0.1:1", { middleware })
    .handler("one", handling(told))
    .handler("two", handling(told))
    .handler(kind, (_, ctx) => handling(told)(ctx.job, ctx) as Promise<Says>);
  for (const [name, words] of [
    ["one", "a( handler )a"],
    ["two", "c( handler )c"],
    ["typed", "b( handler )b"],
    ["before", "b( handler )b"],
  ] as const) {
    told.length = 0;
    const done = await perform(worker, { followUps: 1 }, { kind: name });
    assert.deepEqual([done.output, told.join(" ")], [{ by: "handler" }, words]);
    assert.deepEqual(done.followUps[0]?.headers, { by: "a" });
  }
  const client = new RecordingClient({ middleware });
  await client.enqueueMany(["one", "two", "next", "typed", "other"].map((name) => ({ kind: name })));
  assert.deepEqual(
    client.jobs.map((job) => job.headers?.["by"]),
    ["a", "c", "a", "b", undefined],
  );
  await assert.rejects(perform(worker, {}, { kind: "one", middleware }), /a worker has its own/);
});

test("without middleware a handler is run as it is", () => {
  const handlers = new Handlers([], []);
  const handler = handling([]);
  handlers.add("a", handler, {});
  assert.equal(handlers.get("a"), handler);
});

test("what is no middleware is refused where a client or a worker is made", () => {
  for (const each of ["mw", {}, Traced, { handle: 7 }, null]) {
    const middleware = [each as Middleware];
    const words = /each must be an object with the method handle, or enqueue, or both/;
    assert.throws(() => new Client("127.0.0.1:1", { middleware }), words);
    assert.throws(() => new Worker("127.0.0.1:1", { middleware }), words);
    assert.throws(() => new RecordingClient({ middleware }), words);
  }
});

/** Adds its name to the header `by`, and keeps what it saw. */
class Marks implements Middleware {
  readonly name: string;
  readonly seen: number[] = [];
  readonly answered: (readonly EnqueueResult[])[] = [];

  constructor(name: string) {
    this.name = name;
  }

  async enqueue(
    jobs: readonly NewJob[],
    next: (jobs: readonly NewJob[]) => Promise<readonly EnqueueResult[]>,
  ) {
    this.seen.push(jobs.length);
    const answered = await next(
      jobs.map((job) => withHeaders(job, { by: (job.headers?.["by"] ?? "") + this.name })),
    );
    this.answered.push(answered);
    return answered;
  }
}

test("of a call each middleware is called once, the first outermost, with all its jobs", async () => {
  const three = ["a", "b", "c"].map((name) => new Marks(name));
  const client = new RecordingClient({ middleware: three });
  const job = await client.enqueue("mail", 1, { headers: { x: "1" } });
  const many = await client.enqueueMany(
    [...Array(2500).keys()].map((payload) => ({ kind: "mail", payload })),
  );
  assert.deepEqual(
    three.map((each) => each.seen),
    [
      [1, 2500],
      [1, 2500],
      [1, 2500],
    ],
  );
  assert.deepEqual(job.headers, { x: "1", by: "abc" });
  assert.deepEqual(new Set(client.jobs.map((each) => each.headers?.["by"])), new Set(["abc"]));
  assert.equal(three[0]!.answered[0]![0]!.id, job.id);
  assert.equal(three[2]!.answered[1]!.length, 2500);
  assert.equal(many[2499]!.id, three[0]!.answered[1]![2499]!.id);
  assert.deepEqual(await client.enqueueMany([]), []);
});

test("a middleware around enqueues that does not keep to its part is refused", async () => {
  class Does {
    readonly enqueue: Middleware["enqueue"];
    constructor(does: Middleware["enqueue"]) {
      this.enqueue = does;
    }
  }
  const changing =
    (changes: Partial<NewJob>): Middleware["enqueue"] =>
    (jobs, next) =>
      next(jobs.map((job) => ({ ...job, ...changes })));
  const other = /headers and labels alone may be others, since another payload under its idempotency key/;
  // What it does; what is said of it; whether the job is enqueued all the same.
  const cases: [Middleware["enqueue"], RegExp, number][] = [
    [(jobs, next) => next(jobs).then(() => next(jobs)), /^Error: Does.enqueue called next twice; what it/, 1],
    [
      async (jobs, next) => {
        const answered = await next(jobs);
        await next(jobs).catch(() => undefined);
        return answered;
      },
      /Does.enqueue called next twice/,
      1,
    ],
    [async () => [], /Does.enqueue did not call next, so nothing says that the jobs are enqueued/, 0],
    [
      (jobs, next) => next([...jobs, ...jobs]).catch(() => []),
      /Does.enqueue has dropped an error of next/,
      0,
    ],
    [
      async (jobs, next) => [...(await next(jobs))],
      /must return what next answered; the jobs are enqueued/,
      1,
    ],
    [async (jobs, next) => (void next(jobs), []), /Does.enqueue did not wait for next/, 1],
    [changing({ payload: { n: 2 } }), /has changed a job of kind mail/, 0],
    [changing({ payload: undefined, payloadJson: "2" }), other, 0],
    [changing({ idempotencyKey: "other" }), other, 0],
    [changing({ kind: "other" }), other, 0],
    [changing({ queue: "other" }), other, 0],
    [
      (jobs, next) => {
        (jobs[0] as NewJob).kind = "other";
        return next(jobs);
      },
      /TypeError: Cannot assign to read only property/,
      0,
    ],
  ];
  for (const [does, words, enqueued] of cases) {
    const client = new RecordingClient({ middleware: [new Does(does)] });
    await assert.rejects(client.enqueue("mail", { n: 1 }, { idempotencyKey: "k" }), words);
    assert.equal(client.jobs.length, enqueued, String(words));
  }
});

test("what is sent is what was given, with other headers and labels", async () => {
  const spoils: Middleware = {
    enqueue: (jobs, next) => {
      (jobs[0]!.payload as { n: number }).n = 2;
      return next(jobs.map((job) => ({ ...structuredClone(job), headers: { h: "1" }, labels: {} })));
    },
  };
  const client = new RecordingClient({ middleware: [spoils] });
  const retryPolicy = { minBackoffMs: 5 };
  await client.enqueue("mail", { n: 1 }, { labels: { l: "1" }, retryPolicy, deadlineMs: 1000 });
  assert.deepEqual(client.jobs, [
    {
      kind: "mail",
      payloadJson: '{"n":1}',
      headers: { h: "1" },
      retryPolicy: { ...retryPolicy, maxBackoffMs: undefined },
    },
  ]);
});

test("the version of a payload stays, whatever becomes of the headers", async () => {
  const others: Middleware = {
    enqueue: (jobs, next) =>
      next(jobs.map((job) => ({ ...job, headers: { tenant: "a", "x-payload-version": "7" } }))),
  };
  const client = new RecordingClient({ middleware: [others] });
  await client.enqueueMany([{ kind: "typed", headers: { "x-payload-version": "2" } }, { kind: "mail" }]);
  assert.deepEqual(
    client.jobs.map((job) => job.headers),
    [{ tenant: "a", "x-payload-version": "2" }, { tenant: "a" }],
  );
});

test("a call that is tried again went through it once, and one that it refuses makes no request", async (t) => {
  const requests: string[] = [];
  const job = create(JobSchema, { id: "j1", kind: "k", status: Job_Status.QUEUED });
  const server = await ScriptedServer.start(t, {
    enqueueJob: (request) => {
      requests.push(`${request.job?.headers["by"]} ${request.job?.idempotencyKey.length}`);
      if (requests.length < 3) throw new ConnectError("away", Code.Unavailable);
      return { job };
    },
    batchEnqueueJobs: (request) => {
      requests.push(`batch of ${request.jobs.length}`);
      return { results: request.jobs.map(() => ({ id: "j" })) };
    },
  });
  const marks = new Marks("a");
  const client = new Client(server.address, { middleware: [marks] });
  await client.enqueue("k", null, { idempotencyKey: AUTO });
  assert.deepEqual([marks.seen, requests], [[1], ["a 36", "a 36", "a 36"]]);
  await client.enqueueMany([...Array(1001).keys()].map((payload) => ({ kind: "k", payload })));
  assert.deepEqual(
    [marks.seen, requests.splice(0).slice(3)],
    [
      [1, 1001],
      ["batch of 1000", "batch of 1"],
    ],
  );
  const middleware: Middleware[] = [{ enqueue: () => Promise.reject(new RangeError("not these")) }];
  const refused = new Client(server.address, { middleware });
  await assert.rejects(refused.enqueue("k"), RangeError);
  await assert.rejects(refused.enqueueMany([{ kind: "k" }]), RangeError);
  assert.deepEqual(requests, []);
  client.close();
  refused.close();
});

test("what a middleware sets is seen by handler, follow-ups, failure's line and observer, and ends with its job", async (t) => {
  const server = await ScriptedServer.start(t);
  const tenant = new AsyncLocalStorage<string>();
  const runs: Middleware = {
    handle: (job, _, next) => tenant.run(job.headers["tenant"] ?? "", next),
    enqueue: (jobs, next) => next(jobs.map((job) => withHeaders(job, { tenant: tenant.getStore() ?? "" }))),
  };
  // It is not put back.
  const enters: Middleware = {
    handle: (job, _, next) => {
      if (job.headers["tenant"]) tenant.enterWith(job.headers["tenant"]);
      return next();
    },
  };
  for (const [middleware, without] of [
    [[runs], ""],
    [[enters], undefined],
  ] as const) {
    const seen: unknown[] = [];
    const log = (line: string): void =>
      void (line.includes("failed") && seen.push(["log", tenant.getStore()]));
    const worker = new Worker(server.address, {
      middleware,
      logger: { info: log, warn: log, error: log },
      observer: { attemptEnded: (attempt) => seen.push(["ended", attempt.id, tenant.getStore()]) },
    }).handler("work", (job, ctx) => {
      seen.push(["handler", job.id, tenant.getStore()]);
      if (job.id === "job-1") throw new Error("no");
      ctx.followUp({ kind: "next" });
    });
    void server.serve(worker);
    const stream = await server.accept();
    stream.welcome();
    stream.deliver(1n, { leaseId: 1n, headers: { tenant: "t1" } }, { leaseId: 2n });
    const answered = new Set<bigint>();
    while (answered.size < 2) {
      const settle = await stream.next("settle");
      for (const { leaseId } of settle.outcomes) answered.add(leaseId);
      const failed = settle.outcomes.filter(({ leaseId }) => leaseId === 1n);
      const exceptions = failed.map(({ leaseId }) => ({
        leaseId,
        verdict: Verdict.APPLIED,
        status: Job_Status.RETRYING,
      }));
      stream.send({ case: "settled", value: { seq: settle.seq, exceptions } });
    }
    while (seen.length < 5) await sleep(1);
    assert.deepEqual(seen, [
      ["handler", "job-1", "t1"],
      ["handler", "job-2", without],
      ["log", "t1"],
      ["ended", "job-1", "t1"],
      ["ended", "job-2", without],
    ]);
  }
  const done = await perform((_, ctx) => ctx.followUp({ kind: "next" }), null, {
    middleware: [runs],
    headers: { tenant: "t2" },
  });
  assert.deepEqual(done.followUps[0]?.headers, { tenant: "t2" });
  assert.equal(tenant.getStore(), undefined);
});

test("a handler that is told to stop is stopped within it", async () => {
  const told: string[] = [];
  const done = await perform(
    (_, ctx) => sleep(60_000, undefined, { signal: ctx.signal }),
    {},
    {
      middleware: [new Traced("a", told)],
      stopAt: "start",
    },
  );
  assert.deepEqual([done.outcome, told], ["cancelled", ["a("]]);
});
