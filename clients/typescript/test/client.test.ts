/** What the client asks, asks again and throws. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";

import {
  AUTO,
  Client,
  DeadlineExceeded,
  JobNotFound,
  JsonText,
  KindUnknown,
  PayloadInvalid,
  ServerFault,
  Unavailable,
  WaitTimeout,
} from "../src/index.js";
import type { JobQueueError } from "../src/index.js";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../src/gen/google/rpc/error_details_pb.js";
import { JobSchema, Job_Status } from "../src/gen/jobqueue/v1/job_pb.js";
import type { Job_Hold, NewJob } from "../src/gen/jobqueue/v1/job_pb.js";
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

test("tries end with the deadline, and the error says what was wrong all the time", async (t) => {
  const server = await ScriptedServer.start(t, {
    getJob: () => {
      throw away();
    },
  });
  const began = performance.now();
  await assert.rejects(new Client(server.address).get("j1", { deadlineMs: 400 }), (error: Error) => {
    assert.ok(error instanceof Unavailable);
    assert.match(error.message, /away \(tried again until the deadline of 400 ms\)/);
    return true;
  });
  assert.ok(performance.now() - began < 2000);
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
  assert.deepEqual([{ ...seen.labels }, { ...seen.headers }], [{ a: "b" }, { c: "d" }]);
});

test("what can't be sent is refused before it is", async () => {
  const client = new Client("127.0.0.1:1");
  await assert.rejects(client.enqueue("k", 1n), /the payload is no JSON: .*new JsonText/);
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
