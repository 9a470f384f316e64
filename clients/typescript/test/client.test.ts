/** What the client asks, asks again and throws. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import {
  AUTO,
  Client,
  DeadlineExceeded,
  EtagMismatch,
  JobNotFound,
  JsonText,
  KeyBacklogFull,
  KindUnknown,
  Overloaded,
  PayloadInvalid,
  QueueBacklogFull,
  QueueKeysFull,
  ScheduleExists,
  FilterChanged,
  InvalidRequest,
  WorkerNotFound,
  ScheduleNotFound,
  SchedulesFull,
  ServerFault,
  Unavailable,
  WaitTimeout,
  Worker,
  debounce,
  defineKind,
  throttle,
  whileLive,
  whileWaiting,
} from "../src/index.js";
import type { JobQueueError, KeyPolicy, Kind } from "../src/index.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../src/gen/google/rpc/error_details_pb.js";
import {
  JobSchema,
  Job_Status,
  Unique_Action,
  Unique_Field,
  Unique_OnConflict,
  Unique_Scope,
  Unique_Until,
} from "../src/gen/jobqueue/v1/job_pb.js";
import type { Job_Hold, NewJob } from "../src/gen/jobqueue/v1/job_pb.js";
import { LimitsSchema } from "../src/gen/jobqueue/v1/queue_admin_pb.js";
import { FirstUse } from "../src/firstUse.js";
import { VERSION } from "../src/version.js";
import { ScriptedServer } from "./scripted.js";

const away = (): ConnectError => new ConnectError("away", Code.Unavailable);
const job = create(JobSchema, { id: "j1", kind: "k", status: Job_Status.QUEUED });

function refusal(code: Code, reason: string, message = "no"): ConnectError {
  return new ConnectError(message, code, { "x-request-id": "r1" }, [
    { desc: ErrorInfoSchema, value: { reason, domain: "jobqueue", metadata: { job_id: "j1" } } },
    { desc: RetryInfoSchema, value: { retryDelay: { seconds: 1n, nanos: 500_000_000 } } },
    {
      desc: BadRequestSchema,
      value: { fieldViolations: [{ field: "jobs[2].payload", description: "is a number" }] },
    },
  ]);
}

test("the version is the package's", () => {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  assert.equal(VERSION, (JSON.parse(text) as { version: string }).version);
});

test("a read is asked again while no server answers", async (t) => {
  let calls = 0;
  const server = await ScriptedServer.start(t, {
    getJob: () => {
      calls += 1;
      if (calls < 3) throw away();
      return { job };
    },
  });
  const client = new Client(server.address);
  assert.equal((await client.get("j1")).status, "QUEUED");
  assert.equal(calls, 3);
});

test("an enqueue without a key is asked once, one with a key again, under the same key", async (t) => {
  const keys: string[] = [];
  const server = await ScriptedServer.start(t, {
    enqueueJob: (request) => {
      keys.push(request.job?.idempotencyKey ?? "");
      if (keys.length < 3) throw away();
      return { job, replayed: true };
    },
  });
  const client = new Client(server.address);
  await assert.rejects(client.enqueue("k"), Unavailable);
  assert.deepEqual(keys, [""]);
  assert.equal((await client.enqueue("k", null, { idempotencyKey: AUTO })).replayed, true);
  assert.match(keys[1] ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(keys[1], keys[2]);
});

test("a unique job goes out with its name, and the one that was kept comes back", async (t) => {
  const server = await ScriptedServer.start(t, {
    enqueueJob: (request) => {
      const unique = request.job?.unique;
      assert.deepEqual(
        [unique?.key, unique?.payloadFields, unique?.scope, unique?.until, unique?.onConflict],
        ["", ["/user/id"], Unique_Scope.QUEUE_AND_KIND, Unique_Until.PERIOD, Unique_OnConflict.REPLACE],
      );
      assert.deepEqual(unique?.replace, [Unique_Field.PAYLOAD, Unique_Field.RUN_AT]);
      assert.equal(unique?.maxDelay?.seconds, 2n);
      assert.equal(unique?.period?.seconds, 60n);
      return { job, uniqueAction: Unique_Action.REPLACED };
    },
    batchEnqueueJobs: () => ({ results: [{ id: "j1" }, { id: "j1", uniqueAction: Unique_Action.KEPT }] }),
  });
  const client = new Client(server.address);
  const unique = {
    payloadFields: ["/user/id"],
    scope: "QUEUE_AND_KIND",
    until: "PERIOD",
    periodMs: 60_000,
    onConflict: "REPLACE",
    replace: ["PAYLOAD", "RUN_AT"],
    maxDelayMs: 2_000,
  } as const;
  const answer = await client.enqueue("k", { user: { id: 7 } }, { unique });
  assert.deepEqual([answer.id, answer.uniqueAction, answer.replayed], ["j1", "REPLACED", false]);
  const results = await client.enqueueMany([{ kind: "k" }, { kind: "k" }]);
  assert.deepEqual(
    results.map((each) => each.uniqueAction),
    [undefined, "KEPT"],
  );
});

test("cancel, retry, release and delete are asked once", async (t) => {
  let calls = 0;
  const refuse = (): never => {
    calls += 1;
    throw away();
  };
  const server = await ScriptedServer.start(t, {
    cancelJob: refuse,
    retryJob: refuse,
    releaseJob: refuse,
    deleteJob: refuse,
  });
  const client = new Client(server.address);
  await assert.rejects(client.cancel("j1"), Unavailable);
  await assert.rejects(client.retry("j1"), Unavailable);
  await assert.rejects(client.release("j1"), Unavailable);
  await assert.rejects(client.delete("j1"), Unavailable);
  assert.equal(calls, 4);
});

test("a held job says so until it is released", async (t) => {
  const server = await ScriptedServer.start(t, {
    enqueueJob: (request) => ({ job: request.job?.hold ? { id: "j1", hold: 4 } : { id: "j1" } }),
    getJob: () => ({ job: { id: "j1", hold: 99 as number as Job_Hold } }),
    releaseJob: () => ({ job: { id: "j1" } }),
  });
  const client = new Client(server.address);
  assert.equal((await client.enqueue("k", null, { hold: true })).hold, "HAND");
  assert.equal((await client.enqueue("k")).hold, undefined);
  assert.equal((await client.get("j1")).hold, "HOLD_UNSPECIFIED");
  assert.equal((await client.release("j1")).hold, undefined);
});

test("a job is explained, and a queue's demand is told", async (t) => {
  const pause = { code: 6, unblockedBy: ["ResumeQueue q"], detail: { case: "pause", value: { by: "ada" } } };
  const server = await ScriptedServer.start(
    t,
    {},
    {
      explainJob: ({ id }) =>
        ({ jobId: id, status: 1, reasons: [pause, { code: 99 as number as 1 }] }) as never,
      getQueueDemand: () =>
        ({
          runnable: 3,
          held: 4,
          heldByKey: 3,
          wantedSlots: 5,
          oldestRunnableAge: { seconds: 60n },
        }) as never,
    },
  );
  const client = new Client(server.address);
  const { jobId, status, reasons, couldStartAt } = await client.explain("j1");
  assert.deepEqual([jobId, status, couldStartAt], ["j1", "QUEUED", undefined]);
  assert.deepEqual([reasons[0]?.code, reasons[0]?.unblockedBy], ["QUEUE_PAUSED", ["ResumeQueue q"]]);
  const detail = reasons[0]?.detail;
  assert.equal(detail?.case === "pause" && detail.value.by, "ada");
  assert.equal(reasons[1]?.code, "CODE_UNSPECIFIED");
  const demand = await client.getQueueDemand("q");
  assert.deepEqual([demand.runnable, demand.wantedSlots, demand.oldestRunnableAgeMs], [3, 5, 60_000]);
  assert.deepEqual([demand.held, demand.heldByKey, demand.readAt], [4, 3, undefined]);
});

test("an explanation says when the job may start, and a demand what came and ended", async (t) => {
  const estimate = { ahead: 7, endsPerSecond: 1.5, earliestAt: { seconds: 60n }, latestAt: { seconds: 90n } };
  const server = await ScriptedServer.start(
    t,
    {},
    {
      explainJob: ({ id }) =>
        (id === "j1" ? { estimate } : { estimate: { ahead: 10_000, capped: true } }) as never,
      getQueueDemand: () => ({ beyondLimit: 4, arrivalsPerSecond: 2.5, endsPerSecond: 0.5 }) as never,
    },
  );
  const client = new Client(server.address);
  const span = { earliestAt: new Date(60_000), latestAt: new Date(90_000) };
  assert.deepEqual((await client.explain("j1")).estimate, {
    ahead: 7,
    capped: false,
    endsPerSecond: 1.5,
    ...span,
  });
  const long = (await client.explain("j2")).estimate;
  assert.deepEqual([long?.ahead, long?.capped, long?.latestAt], [10_000, true, undefined]);
  const demand = await client.getQueueDemand("q");
  assert.deepEqual([demand.arrivalsPerSecond, demand.endsPerSecond, demand.beyondLimit], [2.5, 0.5, 4]);
});

test("a queue is changed with its etag", async (t) => {
  const masks: string[][] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      updateQueue: ({ queue, updateMask }) => {
        masks.push(updateMask?.paths ?? []);
        if (queue?.etag === "old") throw refusal(Code.Aborted, "ETAG_MISMATCH");
        if (queue?.keyPolicy?.rate) queue.keyPolicy.rate.mostInAPeriod = 15;
        const limits = create(LimitsSchema, {
          maxRunning: 40,
          rate: { count: 7, period: { seconds: 1n }, mostInAPeriod: 7 },
        });
        return { queue: { ...queue!, maxWaiting: 70, limits, etag: "new" } };
      },
    },
  );
  const client = new Client(server.address);
  const rate = { count: 10, periodMs: 60_000, burst: 3 };
  const policy: KeyPolicy = {
    maxRunning: 1,
    rate,
    maxWaiting: 9,
    requireKey: true,
    order: "STRICT",
    onFailure: "HOLD",
    fair: true,
  };
  const starts = { count: 7, periodMs: 1000, burst: undefined, mostInAPeriod: 7 };
  const queue = await client.updateQueue("q", policy);
  assert.deepEqual(
    [queue.etag, queue.maxWaiting, queue.limits, queue.keyPolicy],
    ["new", 70, { maxRunning: 40, rate: starts }, { ...policy, rate: { ...rate, mostInAPeriod: 15 } }],
  );
  assert.equal(
    (await client.updateQueue("q", undefined, { fields: ["rate", "max_running"] })).keyPolicy,
    undefined,
  );
  await client.updateQueue("q", {}, { fields: ["rate", "max_running"] });
  // Fields of nothing change nothing.
  assert.deepEqual(masks, [["key_policy"], [], ["key_policy.rate", "key_policy.max_running"]]);
  await assert.rejects(client.updateQueue("q", policy, { etag: "old" }), EtagMismatch);
});

test("how many jobs of a queue may wait is changed, and its key policy stays", async (t) => {
  const asked: [readonly string[] | undefined, number | undefined, boolean][] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      updateQueue: ({ queue, updateMask }) => {
        asked.push([updateMask?.paths, queue?.maxWaiting, queue?.keyPolicy !== undefined]);
        return { queue: queue! };
      },
    },
  );
  const client = new Client(server.address);
  assert.equal((await client.updateQueue("q", undefined, { maxWaiting: 5000 })).maxWaiting, 5000);
  assert.equal((await client.updateQueue("q", undefined, { maxWaiting: 0 })).maxWaiting, undefined);
  const both = await client.updateQueue("q", { maxWaiting: 9 }, { maxWaiting: 70, fields: ["max_waiting"] });
  assert.deepEqual([both.keyPolicy?.maxWaiting, both.maxWaiting], [9, 70]);
  await client.updateQueue("q", {});
  assert.deepEqual(asked, [
    [["max_waiting"], 5000, false],
    [["max_waiting"], 0, false],
    [["key_policy.max_waiting", "max_waiting"], 70, true],
    [["key_policy"], 0, true],
  ]);
});

test("what a queue allows of all its jobs is changed, as a whole or in part", async (t) => {
  const masks: (readonly string[] | undefined)[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      updateQueue: ({ queue, updateMask }) => {
        masks.push(updateMask?.paths);
        assert.equal(queue?.keyPolicy, undefined);
        return { queue: queue! };
      },
    },
  );
  const client = new Client(server.address);
  const limits = { maxRunning: 40, rate: { count: 7, periodMs: 1000, burst: 3 } };
  const changed = await client.updateQueue("q", undefined, { limits });
  assert.deepEqual(changed.limits, { ...limits, rate: { ...limits.rate, mostInAPeriod: 0 } });
  await client.updateQueue("q", undefined, { limits: { maxRunning: 4 }, limitFields: ["max_running"] });
  await client.updateQueue("q", undefined, { limits: {} });
  await client.updateQueue("q", undefined, { limits: {}, limitFields: ["rate"], maxWaiting: 1 });
  await client.updateQueue("q", undefined, {
    limitFields: ["rate"],
    retentionFields: ["succeeded"],
    maxWaiting: 1,
  });
  const parts = [["max_waiting", "limits.rate"], ["max_waiting"]];
  assert.deepEqual(masks, [["limits"], ["limits.max_running"], ["limits"], ...parts]);
});

test("a queue is paused with a reason", async (t) => {
  const reasons: string[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      pauseQueue: ({ name, reason }) => {
        reasons.push(reason);
        return { queue: { name, paused: true } };
      },
    },
  );
  const client = new Client(server.address);
  assert.equal((await client.pauseQueue("q", { reason: "the printer burns" })).paused, true);
  await client.pauseQueue("q");
  assert.deepEqual(reasons, ["the printer burns", ""]);
});

test("a key of a queue is listed, and changed with its etag", async (t) => {
  const masks: string[][] = [];
  const orders: string[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      listQueueKeys: ({ orderBy, only, pageToken }) => {
        orders.push(`${orderBy} ${only} ${pageToken}`);
        return pageToken
          ? { keys: [{ key: "b" }] }
          : { keys: [{ key: "a", waiting: 3 }], nextPageToken: "t" };
      },
      getQueueKey: ({ key }) => ({
        queueKey: {
          key,
          limit: 2,
          taken: 1,
          holders: [{ jobId: "j", worker: "w", since: { seconds: 7n } }],
          pausedUntil: { seconds: 8n },
          blockedBy: "f",
        },
      }),
      updateQueueKey: ({ queueKey, updateMask }) => {
        masks.push(updateMask?.paths ?? []);
        if (queueKey?.etag === "old") throw refusal(Code.Aborted, "ETAG_MISMATCH");
        return { queueKey: { ...queueKey!, etag: "new" } };
      },
    },
  );
  const client = new Client(server.address);
  const keys = await client.listQueueKeys("q", { only: "WAITING", mostWaitingFirst: true });
  assert.deepEqual(
    keys.map(({ key, waiting }) => [key, waiting]),
    [
      ["a", 3],
      ["b", 0],
    ],
  );
  assert.deepEqual(orders, ["waiting desc 3 ", "waiting desc 3 t"]);
  assert.equal((await client.listQueueKeys("q", { most: 1 })).length, 1);
  const key = await client.getQueueKey("q", "a/b");
  assert.deepEqual([key.key, key.limit, key.taken, key.maxRunning], ["a/b", 2, 1, undefined]);
  assert.deepEqual(key.holders, [{ jobId: "j", worker: "w", since: new Date(7000) }]);
  assert.deepEqual(key.pausedUntil, new Date(8000));
  assert.equal(key.blockedBy, "f");
  const changed = await client.updateQueueKey("q", "a", { maxRunning: 5, paused: true });
  assert.deepEqual([changed.maxRunning, changed.paused, changed.etag], [5, true, "new"]);
  assert.equal((await client.updateQueueKey("q", "a", { paused: false })).paused, false);
  assert.deepEqual(masks, [["max_running", "paused"], ["paused"]]);
  await assert.rejects(client.updateQueueKey("q", "a", { paused: true }, { etag: "old" }), EtagMismatch);
});

test("tries end with the deadline, and the error says what was wrong all the time", async (t) => {
  const server = await ScriptedServer.start(t, {
    getJob: () => {
      throw away();
    },
  });
  await assert.rejects(new Client(server.address).get("j1", { deadlineMs: 1500 }), (error: Error) => {
    assert.ok(error instanceof Unavailable);
    assert.match(error.message, /away \(tried again until the deadline of 1500 ms\)/);
    return true;
  });
});

test("a call that takes too long is DeadlineExceeded; a signal's own reason is thrown as it is", async (t) => {
  const server = await ScriptedServer.start(t, { getJob: () => new Promise(() => undefined) });
  const client = new Client(server.address);
  await assert.rejects(client.get("j1", { deadlineMs: 100 }), DeadlineExceeded);
  const mine = new Error("mine");
  const abort = new AbortController();
  const asked = client.get("j1", { signal: abort.signal, deadlineMs: 2000 });
  setTimeout(() => abort.abort(mine), 50);
  await assert.rejects(asked, (error) => error === mine);
});

test("errors are typed, and say all that the server said", async (t) => {
  const refusals: [Code, string, new (message: string) => JobQueueError][] = [
    [Code.InvalidArgument, "PAYLOAD_INVALID", PayloadInvalid],
    [Code.InvalidArgument, "KIND_UNKNOWN", KindUnknown],
    [Code.NotFound, "JOB_NOT_FOUND", JobNotFound],
    [Code.NotFound, "SCHEDULE_NOT_FOUND", ScheduleNotFound],
    [Code.AlreadyExists, "SCHEDULE_EXISTS", ScheduleExists],
    [Code.FailedPrecondition, "SCHEDULES_FULL", SchedulesFull],
    [Code.FailedPrecondition, "QUEUE_KEYS_FULL", QueueKeysFull],
    [Code.FailedPrecondition, "FILTER_CHANGED", FilterChanged],
    [Code.ResourceExhausted, "QUEUE_BACKLOG_FULL", QueueBacklogFull],
    [Code.ResourceExhausted, "KEY_BACKLOG_FULL", KeyBacklogFull],
    [Code.ResourceExhausted, "QUEUE_FULL", Overloaded],
    [Code.NotFound, "WORKER_NOT_FOUND", WorkerNotFound],
    [Code.Internal, "INTERNAL", ServerFault],
    [Code.Internal, "A_LATER_ONE", ServerFault],
  ];
  let next = 0;
  const server = await ScriptedServer.start(t, {
    cancelJob: () => {
      const [code, reason] = refusals[next++] ?? [Code.Unknown, ""];
      throw refusal(code, reason);
    },
  });
  const client = new Client(server.address);
  for (const [code, reason, type] of refusals) {
    await assert.rejects(client.cancel("j1"), (error: JobQueueError) => {
      assert.equal(error.constructor, type, Code[code]);
      assert.equal(error.name, type.name);
      assert.deepEqual([error.reason, error.requestId, error.retryAfterMs], [reason, "r1", 1500]);
      assert.deepEqual({ ...error.metadata }, { job_id: "j1" });
      assert.deepEqual(error.violations, [{ field: "jobs[2].payload", description: "is a number" }]);
      return true;
    });
  }
});

test("a backlog that is full is a kind of overload, and tried again when the server says", async (t) => {
  let calls = 0;
  const server = await ScriptedServer.start(t, {
    enqueueJob: ({ job: asked }) => {
      calls += 1;
      if (calls % 2 === 0) return { job };
      const reason = asked?.key ? "KEY_BACKLOG_FULL" : "QUEUE_BACKLOG_FULL";
      throw new ConnectError("full", Code.ResourceExhausted, {}, [
        {
          desc: ErrorInfoSchema,
          value: { reason, domain: "jobqueue", metadata: { queue: "q", limit: "2" } },
        },
        { desc: RetryInfoSchema, value: { retryDelay: { nanos: 10_000_000 } } },
      ]);
    },
  });
  const client = new Client(server.address);
  for (const [key, type] of [
    ["", QueueBacklogFull],
    ["ada", KeyBacklogFull],
  ] as const) {
    await assert.rejects(client.enqueue("k", null, { key }), (error: JobQueueError) => {
      assert.ok(error instanceof type && error instanceof Overloaded);
      assert.deepEqual([error.metadata["limit"], error.retryAfterMs], ["2", 10]);
      return true;
    });
    assert.equal(calls, 1);
    calls = 0;
    assert.equal((await client.enqueue("k", null, { key, idempotencyKey: AUTO })).id, "j1");
    assert.equal(calls, 2);
    calls = 0;
  }
});

test("the usual unique jobs have names, and a key or the payload", () => {
  assert.deepEqual([whileWaiting(), whileWaiting("w")], [{}, { key: "w" }]);
  assert.deepEqual([whileLive(), whileLive("l")], [{ until: "ENDS" }, { key: "l", until: "ENDS" }]);
  const period = { until: "PERIOD", periodMs: 600_000 };
  assert.deepEqual([throttle(600_000), throttle(600_000, "t")], [period, { key: "t", ...period }]);
  const last = { onConflict: "DEBOUNCE", replace: ["PAYLOAD"] };
  assert.deepEqual(
    [debounce(), debounce(10_000), debounce(10_000, "d"), debounce(undefined, "d")],
    [last, { ...last, maxDelayMs: 10_000 }, { key: "d", ...last, maxDelayMs: 10_000 }, { key: "d", ...last }],
  );
});

test("a connection that breaks in a call is Unavailable", async (t) => {
  const server: ScriptedServer = await ScriptedServer.start(t, {
    cancelJob: () => {
      server.stop();
      return new Promise(() => undefined);
    },
  });
  await assert.rejects(new Client(server.address, { deadlineMs: 2000 }).cancel("j1"), Unavailable);
});

test("many jobs go in batches, and a refused one is counted from the first of all", async (t) => {
  const sizes: number[] = [];
  const server = await ScriptedServer.start(t, {
    batchEnqueueJobs: ({ jobs }) => {
      sizes.push(jobs.length);
      if (sizes.length === 3) throw refusal(Code.InvalidArgument, "PAYLOAD_INVALID");
      return { results: jobs.map((each) => ({ id: each.labels["n"] ?? "" })) };
    },
  });
  async function* jobs(): AsyncGenerator<{ kind: string; labels: Record<string, string> }> {
    for (let n = 0; n < 2500; n++) yield { kind: "k", labels: { n: String(n) } };
  }
  await assert.rejects(new Client(server.address).enqueueMany(jobs()), (error: JobQueueError) => {
    assert.equal(error.enqueued.length, 2000);
    assert.equal(error.enqueued[1999]?.id, "1999");
    assert.equal(error.violations[0]?.field, "jobs[2002].payload");
    return true;
  });
  assert.deepEqual(sizes, [1000, 1000, 500]);
});

test("what a job is given travels as it was given", async (t) => {
  let seen: NewJob | undefined;
  let token: string | null = null;
  const server = await ScriptedServer.start(t, {
    enqueueJob: (request, context) => {
      seen = request.job;
      token = context.requestHeader.get("authorization");
      return { job };
    },
  });
  const client = new Client(server.address, { token: async () => "secret" });
  const text = '{ "n": 12345678901234567890 }';
  await client.enqueue("k", new JsonText(text), {
    queue: "q",
    priority: -3,
    runAt: new Date(1_700_000_000_500),
    maxAttempts: 7,
    timeoutMs: 1500,
    retryPolicy: { minBackoffMs: 250, maxBackoffMs: 60_000 },
    idempotencyKey: "key",
    labels: { a: "b" },
    headers: { c: "d" },
    key: "customer 42",
  });
  assert.equal(token, "Bearer secret");
  assert.ok(seen?.content.case === "payloadJson" && seen.start.case === "runAt");
  assert.equal(Buffer.from(seen.content.value).toString(), text);
  assert.deepEqual([seen.start.value.seconds, seen.start.value.nanos], [1_700_000_000n, 500_000_000]);
  assert.deepEqual([seen.queue, seen.priority, seen.maxAttempts, seen.idempotencyKey], ["q", -3, 7, "key"]);
  assert.deepEqual([seen.timeout?.seconds, seen.timeout?.nanos], [1n, 500_000_000]);
  assert.deepEqual(
    [seen.retryPolicy?.minBackoff?.nanos, seen.retryPolicy?.maxBackoff?.seconds],
    [250_000_000, 60n],
  );
  assert.deepEqual(
    [{ ...seen.labels }, { ...seen.headers }, seen.key],
    [{ a: "b" }, { c: "d" }, "customer 42"],
  );
});

test("what can't be sent is refused before it is", async () => {
  const client = new Client("127.0.0.1:1");
  await assert.rejects(client.enqueue("k", 1n), /the payload is no JSON: .*new JsonText/);
  await assert.rejects(
    client.enqueue("k", () => 1),
    /the payload is no JSON: it is a function$/,
  );
  await assert.rejects(client.enqueue("k", 1, { payloadJson: "1" }), /payload and payloadJson exclude/);
  await assert.rejects(
    client.enqueue("k", 1, { delayMs: 1, runAt: new Date() }),
    /runAt and delayMs exclude/,
  );
  await assert.rejects(client.enqueue("k", 1, { idempotencyKey: "" }), /idempotencyKey is empty/);
  await assert.rejects(client.enqueue("k", 1, { delayMs: NaN }), /delayMs is NaN/);
  assert.throws(() => new Client("127.0.0.1:1", { tls: { cert: "x" } }), /go together/);
  assert.throws(() => new Client("127.0.0.1:1", { tls: { ca: "x" } }), /tls.ca is no PEM/);
});

test("wait asks again until the job is over, or its time is", async (t) => {
  let calls = 0;
  const server = await ScriptedServer.start(t, {
    waitJob: () => {
      calls += 1;
      return { job: { ...job, status: calls < 3 ? Job_Status.RUNNING : Job_Status.SUCCEEDED } };
    },
  });
  const client = new Client(server.address);
  assert.equal((await client.wait("j1")).isTerminal, true);
  assert.equal(calls, 3);
  calls = 0;
  await assert.rejects(client.wait("j1", { timeoutMs: 0 }), (error: Error) => {
    assert.ok(error instanceof WaitTimeout);
    assert.equal(error.job.status, "RUNNING");
    return true;
  });
});

test("a wait of a second that ended in vain says why, and asks for a second at most", async (t) => {
  const asked: [id: string, ms: number | undefined][] = [];
  const server = await ScriptedServer.start(
    t,
    {
      waitJob: async ({ id, timeout }) => {
        await sleep(Number(timeout?.seconds ?? 0n) * 1000 + (timeout?.nanos ?? 0) / 1_000_000);
        return { job: { ...job, id } };
      },
    },
    {
      explainJob: ({ id }, context) => {
        asked.push([id, context.timeoutMs()]);
        if (id === "none") throw refusal(Code.NotFound, "JOB_NOT_FOUND");
        if (id === "silent" || id === "given up") return new Promise(() => undefined);
        return { jobId: id, summary: "The queue is paused." };
      },
    },
  );
  const client = new Client(server.address);
  const early = async (id: string, timeoutMs: number): Promise<[string, string, string]> => {
    const error: unknown = await client.wait(id, { timeoutMs }).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof WaitTimeout, String(error));
    return [error.job.id, error.summary, error.message];
  };
  const giveUp = new AbortController();
  const began = performance.now();
  const found = await Promise.all([
    early("j1", 1000),
    early("none", 1000),
    early("silent", 1000),
    early("short", 999),
    // Who gives up meanwhile is told so, as at any other time.
    assert.rejects(client.wait("given up", { timeoutMs: 1000, signal: giveUp.signal }), /enough/),
    sleep(1500).then(() => giveUp.abort(new Error("enough"))),
  ]);
  const words = (id: string, ms: number): string => `job ${id} is QUEUED and not over after ${ms} ms`;
  assert.deepEqual(found.slice(0, 4), [
    ["j1", "The queue is paused.", `${words("j1", 1000)}; The queue is paused.`],
    ["none", "", words("none", 1000)],
    ["silent", "", words("silent", 1000)],
    ["short", "", words("short", 999)],
  ]);
  assert.ok(performance.now() - began < 5000);
  assert.deepEqual(asked.map(([id]) => id).sort(), ["given up", "j1", "none", "silent"]);
  for (const [id, ms] of asked) assert.ok(ms !== undefined && ms > 0 && ms <= 1000, `${id}: ${ms}`);
});

test("list reads page after page; a status of a later version is STATUS_UNSPECIFIED", async (t) => {
  const server = await ScriptedServer.start(t, {
    listJobs: ({ pageToken }) =>
      pageToken === ""
        ? { jobs: [job], nextPageToken: "2" }
        : { jobs: [{ ...job, status: 99 as Job_Status }], nextPageToken: "" },
  });
  const statuses: string[] = [];
  for await (const each of new Client(server.address).list()) statuses.push(each.status);
  assert.deepEqual(statuses, ["QUEUED", "STATUS_UNSPECIFIED"]);
});

test("a watch whose stream breaks goes on after what it told last", async (t) => {
  const tokens: string[] = [];
  const server = await ScriptedServer.start(t, {
    watchJobs: async function* ({ resumeToken }) {
      tokens.push(resumeToken);
      if (tokens.length === 1) {
        yield { resumeToken: "a" };
        yield { resumeToken: "b", job };
        throw away();
      }
      yield { resumeToken: "c", job: { ...job, id: "gone", kind: "" } };
      yield { resumeToken: "d", job: { ...job, status: Job_Status.SUCCEEDED } };
    },
  });
  const watch = await new Client(server.address).watch({ ids: ["j1", "gone"] }).begun();
  const statuses: string[] = [];
  for await (const each of watch) statuses.push(each.status);
  assert.deepEqual(statuses, ["QUEUED", "SUCCEEDED"]);
  assert.deepEqual(tokens, ["", "b"]);
  assert.equal(watch.resumeToken, "d");
  assert.deepEqual([...watch.deleted], ["gone"]);
});

test("a watch ends with its signal, and its stream with the loop", async (t) => {
  let open = 0;
  const server = await ScriptedServer.start(t, {
    watchJobs: async function* (_request, context) {
      open += 1;
      yield { resumeToken: "a", job };
      await new Promise((resolve) => context.signal.addEventListener("abort", resolve));
      open -= 1;
    },
  });
  const client = new Client(server.address);
  const abort = new AbortController();
  const watch = client.watch({ signal: abort.signal });
  await watch.next();
  setTimeout(() => abort.abort(new Error("mine")), 20);
  await assert.rejects(watch.next(), /mine/);
  for await (const _job of client.watch()) break;
  while (open > 0) await new Promise((resolve) => setTimeout(resolve, 5));
});

test("an address without a usable port, or with http://, is refused before any network", () => {
  const words = "target: must be HOST:PORT, such as 127.0.0.1:50051";
  for (const [target, want] of [
    ...["", "localhost", "localhost:", ":50051", "127.0.0.1:0", "127.0.0.1:99999", "host:port", "[::1]"].map(
      (each) => [each, words] as const,
    ),
    ["http://127.0.0.1:50051", `${words}, without http://`],
    ["HTTPS://jobs.example.com", `${words}, without http://`],
  ] as const) {
    for (const make of [() => new Client(target), () => new Worker(["127.0.0.1:1", target])]) {
      assert.throws(make, (error) => {
        assert.ok(error instanceof InvalidRequest, target);
        assert.deepEqual([error.message, error.reason], [want, "FIELD_INVALID"]);
        assert.deepEqual(error.violations, [{ field: "target", description: want.slice("target: ".length) }]);
        return true;
      });
    }
  }
  for (const target of ["localhost:1", "127.0.0.1:65535", "[::1]:50051", "dns:///jobs.internal:50051"]) {
    new Client(target).close();
    new Worker([target, "127.0.0.1:1"]);
  }
});

test("a typed kind is no kind for putKind, and syncKinds is named", async () => {
  const client = new Client("127.0.0.1:1");
  await assert.rejects(
    client.putKind(defineKind<{ to: string }>("mail") as unknown as Kind),
    /^TypeError: mail was made by defineKind: use syncKinds/,
  );
  client.close();
});

test("a name that is not known is not taken for a server that is down", () => {
  const error = new Unavailable("getaddrinfo ENOTFOUND jobs.invalid");
  new FirstUse("jobs.invalid:50051").failed(error);
  assert.equal(
    error.message,
    "getaddrinfo ENOTFOUND jobs.invalid; the name in jobs.invalid:50051 is not known: check its spelling",
  );
});

// ---- schedules that a program declares

const declared = { name: "s", spec: { cron: "@daily" }, job: { kind: "work", payload: 1 } };
const labels = { "jobqueue.owner": "us" };
const template = { kind: "work" };

test("a schedule that another program changes meanwhile is applied again, by its new etag", async (t) => {
  t.mock.method(Math, "random", () => 0);
  let [reads, rival] = [0, "creates"];
  const etags: string[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {},
    {
      getSchedule: () => {
        reads += 1;
        if (reads === 1) throw refusal(Code.NotFound, "SCHEDULE_NOT_FOUND");
        return { schedule: { name: "s", job: template, labels, etag: `e${reads}` } };
      },
      createSchedule: () => {
        assert.equal(rival, "creates");
        rival = "changes";
        throw refusal(Code.AlreadyExists, "SCHEDULE_EXISTS");
      },
      updateSchedule: ({ schedule }) => {
        etags.push(schedule!.etag);
        if (rival === "changes") {
          rival = "deletes";
          throw refusal(Code.Aborted, "ETAG_MISMATCH");
        }
        if (rival === "deletes") {
          rival = "";
          throw refusal(Code.NotFound, "SCHEDULE_NOT_FOUND");
        }
        return { schedule: { name: "s", job: template, labels, etag: "e5" } };
      },
    },
  );
  const client = new Client(server.address);
  const [applied] = await client.schedules.apply([declared], { owner: "us" });
  assert.deepEqual([applied?.schedule.etag, applied?.done], ["e5", "CHANGED"]);
  assert.deepEqual(etags, ["e2", "e3", "e4"]);
});

test("a schedule that others change again and again is tried 10 times, with a wait between", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const at: number[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {},
    {
      getSchedule: () => ({ schedule: { name: "s", job: template, labels, etag: "e" } }),
      updateSchedule: () => {
        at.push(performance.now());
        throw refusal(Code.Aborted, "ETAG_MISMATCH");
      },
    },
  );
  const { schedules } = new Client(server.address);
  await assert.rejects(schedules.apply([declared], { owner: "us" }), EtagMismatch);
  assert.equal(at.length, 10);
  assert.ok(at[9]! - at[0]! >= 9 * 19, `${at[9]! - at[0]!} ms`);
  at.length = 0;
  const giveUp = new AbortController();
  const waiting = schedules.apply([declared], { owner: "us", signal: giveUp.signal });
  setTimeout(() => giveUp.abort(new Error("enough")), 30);
  await assert.rejects(waiting, /enough/);
  assert.ok(at.length < 10);
});

test("another owner's schedule is told at once, and what was changed since it was listed is not deleted", async (t) => {
  let reads = 0;
  const deleted: string[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {},
    {
      getSchedule: () => {
        reads += 1;
        return { schedule: { name: "s", job: template, labels: { "jobqueue.owner": "them" }, etag: "e" } };
      },
      listSchedules: ({ labels: wanted, pageToken }) => {
        assert.deepEqual(wanted, ["jobqueue.owner=us"]);
        const names = pageToken ? ["gone", "c"] : ["a", "changed"];
        const schedules = names.map((name) => ({ name, job: template, labels, etag: `${name}1` }));
        return { schedules, nextPageToken: pageToken ? "" : "2" };
      },
      deleteSchedule: ({ name, etag }) => {
        deleted.push(`${name} ${etag}`);
        if (name === "changed") throw refusal(Code.Aborted, "ETAG_MISMATCH");
        if (name === "gone") throw refusal(Code.NotFound, "SCHEDULE_NOT_FOUND");
        return {};
      },
    },
  );
  const { schedules } = new Client(server.address);
  await assert.rejects(schedules.apply([declared], { owner: "us", prune: true }), (error: JobQueueError) => {
    assert.ok(error instanceof ScheduleExists);
    assert.deepEqual([error.code, error.reason], ["ALREADY_EXISTS", "SCHEDULE_EXISTS"]);
    assert.deepEqual(error.metadata, { schedule: "s", owner: "them" });
    return true;
  });
  assert.deepEqual([reads, deleted], [1, []]);
  const done = await schedules.apply([], { owner: "us", prune: true });
  assert.deepEqual(
    done.map((each) => [each.schedule.name, each.done]),
    [
      ["a", "DELETED"],
      ["c", "DELETED"],
    ],
  );
  assert.deepEqual(deleted, ["a a1", "changed changed1", "gone gone1", "c c1"]);
});

test("schedules of one name, or without an owner, are refused before anything is asked", async () => {
  const { schedules } = new Client("127.0.0.1:1", { deadlineMs: 100 });
  const other = { ...declared, name: "t" };
  await assert.rejects(schedules.apply([declared, other, { ...declared }], { owner: "us" }), {
    name: "TypeError",
    message: "two schedules have one name",
  });
  await assert.rejects(schedules.apply([], { owner: "" }), { name: "TypeError", message: "owner is empty" });
});
