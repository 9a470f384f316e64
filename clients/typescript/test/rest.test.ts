/** A producer over fetch, against a real server, and against answers that no server of ours gives. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";

import * as z from "zod";

import { AesGcm, Client, Encodings, Worker } from "../src/index.js";
import {
  AUTO,
  DeadlineExceeded,
  Duplicate,
  Encoded,
  EncodingRequired,
  IdempotencyKeyReused,
  InvalidRequest,
  Job,
  JobNotFound,
  JobQueueError,
  JobTerminal,
  JsonText,
  KindUnknown,
  NotSupported,
  Overloaded,
  PayloadInvalid,
  RestClient,
  ServerFault,
  TooLarge,
  Unauthenticated,
  Unavailable,
  WaitTimeout,
  debounce,
  defineKind,
  throttle,
  whileLive,
  whileWaiting,
} from "../src/rest.js";
import type { NewJob, RestOptions } from "../src/rest.js";

const greet = defineKind({
  name: "greet",
  payload: z.object({ name: z.string() }),
  output: z.object({ greeting: z.string() }),
  queue: "greetings",
});

let stop = (): Promise<unknown> => Promise.resolve();
let base = "";
let token = "";
let target = "";
let grpc: Client;
let client: RestClient;

before(async () => {
  const command = process.env["JOBQUEUE_SERVER_COMMAND"] ?? "jobqueue-server";
  const child = spawn(command, ["ephemeral"], { stdio: ["pipe", "pipe", "inherit"] });
  const exited = once(child, "exit");
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const said = JSON.parse(line) as { grpc: string; http: string; key: string };
  [base, token, target] = [`http://${said.http}`, said.key, said.grpc];
  grpc = new Client(said.grpc, { token });
  client = new RestClient(`${base}/`, { token: async () => token });
  for (const name of ["greet", "any"]) await grpc.putKind({ name });
  await grpc.putKind({ name: "strict", schema: { type: "object", required: ["to"] } });
  stop = () => {
    grpc.close();
    child.stdin.end();
    return exited;
  };
});

after(() => stop());

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

test("a job of a typed kind is enqueued, waited for and read with its output", async () => {
  const worker = new Worker(target, { token, queues: ["greetings"] });
  worker.handler(greet, ({ name }) => ({ greeting: `Hello ${name}` }));
  const served = worker.serve();
  try {
    const job = await client.enqueue(greet, { name: "Ada" }, { idempotencyKey: AUTO });
    assert.ok(job instanceof Job);
    assert.deepEqual(
      [job.kind, job.queue, job.status, job.replayed],
      ["greet", "greetings", "QUEUED", false],
    );
    const done = await client.wait(job.id);
    assert.deepEqual(await greet.outputOf(done), { greeting: "Hello Ada" });
    assert.deepEqual(await greet.payloadOf(done), { name: "Ada" });
  } finally {
    worker.stop();
    await served;
  }
  await assert.rejects(client.enqueue(greet, { name: 1 } as never), PayloadInvalid);
});

test("a job is read over REST as it is over gRPC, and says what it was given", async () => {
  const wished: NewJob = {
    kind: "any",
    payloadJson: '{"digits": 12345678901234567890, "b":1, "a":"x \\"}, \\u00e9 é"}',
    queue: "q",
    priority: -3,
    runAt: new Date("2027-01-01T00:00:00.250Z"),
    maxAttempts: 7,
    timeoutMs: 1500,
    retryPolicy: { minBackoffMs: 250, maxBackoffMs: 60_000 },
    labels: { of: "us" },
    headers: { tenant: "7" },
    key: "customer 42",
    unique: { key: "once", scope: "QUEUE", until: "PERIOD", periodMs: 60_000 },
  };
  const { id } = await client.enqueue(wished);
  const [mine, theirs] = [await client.get(id), await grpc.get(id)];
  for (const name of Object.keys(theirs) as (keyof Job)[]) {
    assert.deepEqual(mine[name], theirs[name], name);
  }
  assert.equal(new TextDecoder().decode(mine.payloadJson), wished.payloadJson);
  const { priority, runAt, maxAttempts, timeoutMs, retryPolicy, labels, headers, key, uniqueKey } = mine;
  assert.deepEqual(
    { priority, runAt, maxAttempts, timeoutMs, retryPolicy, labels, key, uniqueKey },
    {
      priority: -3,
      runAt: wished.runAt,
      maxAttempts: 7,
      timeoutMs: 1500,
      retryPolicy: wished.retryPolicy,
      labels: { of: "us" },
      key: "customer 42",
      uniqueKey: "once",
    },
  );
  assert.equal(headers["tenant"], "7");
  const later = await client.enqueue("any", new JsonText("[1.50]"), { delayMs: 1500, hold: true });
  assert.equal(later.hold, "HAND");
  assert.equal(new TextDecoder().decode((await client.get(later.id)).payloadJson), "[1.50]");
  const none = await client.enqueue("any");
  assert.equal(none.payload, null);
});

test("a key is replayed, and a name that is held is answered with its job", async () => {
  const first = await client.enqueue("any", { n: 1 }, { idempotencyKey: "k1" });
  const again = await client.enqueue("any", { n: 1 }, { idempotencyKey: "k1" });
  assert.deepEqual([again.id, again.replayed], [first.id, true]);
  const other = client.enqueue("any", { n: 2 }, { idempotencyKey: "k1" });
  assert.equal((await failure(other, IdempotencyKeyReused)).metadata["job_id"], first.id);
  const unique = { key: "name" };
  const held = await client.enqueue("any", 1, { unique });
  assert.equal(held.uniqueAction, undefined);
  const kept = await client.enqueue("any", 2, { unique });
  assert.deepEqual([kept.id, kept.uniqueAction], [held.id, "KEPT"]);
  const replaced = await client.enqueue("any", 2, { unique: { ...unique, onConflict: "REPLACE" } });
  assert.deepEqual([replaced.id, replaced.uniqueAction], [held.id, "REPLACED"]);
  const [result] = await client.enqueueMany([{ kind: "any", payload: 3, unique }]);
  assert.deepEqual(result, { id: held.id, replayed: false, uniqueAction: "KEPT" });
  await failure(client.enqueue("any", 2, { unique: { ...unique, onConflict: "REJECT" } }), Duplicate);
});

test("the usual unique jobs come once, and a debounced one is put off and has the last payload", async () => {
  for (const unique of [whileWaiting("w"), whileLive("l"), throttle(3_600_000, "t")]) {
    const jobs = [1, 2].map((payload) => ({ kind: "any", payload, queue: "once", unique }));
    const [first, second] = await client.enqueueMany(jobs);
    assert.deepEqual([first?.uniqueAction, second?.uniqueAction, second?.id], [undefined, "KEPT", first?.id]);
  }
  const options = { delayMs: 60_000, unique: debounce(90_000, "d") };
  const first = await client.enqueue("any", 1, options);
  const second = await client.enqueue("any", 2, options);
  assert.deepEqual([second.id, second.uniqueAction], [first.id, "DEBOUNCED"]);
  const { payload, runAt } = await client.get(first.id);
  assert.equal(payload, 2);
  assert.ok(runAt! > first.runAt!);
});

test("many jobs go in batches, and the error of one names the job among all", async () => {
  const many = Array.from({ length: 1001 }, (_, n): NewJob => ({ kind: "any", payload: n, queue: "many" }));
  const results = await client.enqueueMany(many);
  assert.equal(new Set(results.map((each) => each.id)).size, 1001);
  assert.equal((await client.get(results[1000]!.id)).payload, 1000);
  const wrong = await failure(client.enqueueMany([...many, { kind: "strict", payload: {} }]), PayloadInvalid);
  assert.equal(wrong.enqueued.length, 1000);
  assert.deepEqual(
    wrong.violations.map((each) => each.field),
    ["jobs[1001].payload.to"],
  );
  assert.deepEqual(await client.enqueueMany([]), []);
});

test("a job is cancelled, and what is wrong is told by its own error", async () => {
  const { id } = await client.enqueue("any", null, { delayMs: 60_000 });
  const early = await failure(client.wait(id, { timeoutMs: 50 }), WaitTimeout);
  assert.deepEqual([early.job.id, early.job.status], [id, "QUEUED"]);
  const { job, pending } = await client.cancel(id, { reason: "no longer wanted" });
  assert.deepEqual([job.id, job.status, pending], [id, "CANCELLED", false]);
  assert.equal((await client.wait(id)).status, "CANCELLED");
  assert.equal((await failure(client.cancel(id), JobTerminal)).metadata["status"], "CANCELLED");
  const none = "01a20e70-1111-7f3e-9d52-000000000001";
  const missing = await failure(client.get(none), JobNotFound);
  assert.deepEqual([missing.code, missing.reason], ["NOT_FOUND", "JOB_NOT_FOUND"]);
  assert.match(missing.requestId, /./);
  await failure(client.wait(none), JobNotFound);
  await failure(client.get("a/b?c"), InvalidRequest);
  await failure(client.enqueue("nowhere"), KindUnknown);
  const wrong = await failure(client.enqueue("strict", {}), PayloadInvalid);
  assert.equal(wrong.violations[0]?.field, "job.payload.to");
  await failure(client.enqueue("any", "x".repeat(1024 * 1024)), TooLarge);
  await failure(client.enqueue("any", "x".repeat(5 * 1024 * 1024)), TooLarge);
  await failure(new RestClient(base, { token: "jq_wrong" }).get(none), Unauthenticated);
  const signal = AbortSignal.abort(new Error("no longer"));
  await assert.rejects(client.get(id, { signal }), /no longer/);
  const running = new AbortController();
  const { id: late } = await client.enqueue("any", null, { delayMs: 60_000 });
  const waiting = client.wait(late, { signal: running.signal });
  running.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
});

test("a running job is cancelled by its worker, which is told", async () => {
  const worker = new Worker(target, { token, queues: ["slow"] });
  const begun = new EventTarget();
  worker.handler("any", async (_, ctx) => {
    const cancelled = once(ctx.signal, "abort");
    begun.dispatchEvent(new Event("begun"));
    await cancelled;
    ctx.signal.throwIfAborted();
  });
  const started = once(begun, "begun");
  const served = worker.serve();
  try {
    const { id } = await client.enqueue("any", null, { queue: "slow" });
    await started;
    assert.equal((await client.cancel(id)).pending, true);
    assert.equal((await client.wait(id)).status, "CANCELLED");
  } finally {
    worker.stop();
    await served;
  }
});

/** A client that is answered so, one after the other, and the requests that it made. */
function scripted(
  answers: ((init: RequestInit) => Response | Promise<Response>)[],
  options: RestOptions = {},
): { client: RestClient; asked: { url: string; init: RequestInit }[] } {
  const asked: { url: string; init: RequestInit }[] = [];
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const answer = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push({ url, init });
    return answer(init);
  };
  return {
    client: new RestClient("https://jobs.example.com/queue", { fetch, deadlineMs: 10_000, ...options }),
    asked,
  };
}

const refused = (): never => {
  throw new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED") });
};
const job = (): Response =>
  new Response('{"id":"j1","kind":"k","status":"NEW_ONE","new_field":[{"a":"}"}],"payload":7}');

test("reads and what has a key are tried again, and an enqueue without one never is", async () => {
  const reads = scripted([refused, () => new Response("<html>", { status: 502 }), job]);
  const read = await reads.client.get("j1");
  assert.deepEqual(
    [read.id, read.status, read.payload, reads.asked.length],
    ["j1", "STATUS_UNSPECIFIED", 7, 3],
  );
  const once = scripted([refused, job]);
  const lost = await failure(once.client.enqueue("k"), Unavailable);
  assert.match(lost.message, /^nothing answers at https:\/\/jobs\.example\.com\/queue: connect ECONNREFUSED/);
  assert.equal(once.asked.length, 1);
  const keyed = scripted([refused, job], { token: "jq_1" });
  await keyed.client.enqueue("k", null, { idempotencyKey: AUTO });
  const [first, second] = keyed.asked;
  assert.equal(first!.url, "https://jobs.example.com/queue/v1/jobs");
  assert.equal(first!.init.body, second!.init.body);
  assert.equal(first!.init.redirect, "manual");
  assert.deepEqual(new Headers(first!.init.headers).get("authorization"), "Bearer jq_1");
  const many = scripted([refused, job]);
  await failure(many.client.enqueueMany([{ kind: "k" }]), Unavailable);
  const cancel = scripted([refused, job]);
  await failure(cancel.client.cancel("j1"), Unavailable);
  assert.deepEqual([many.asked.length, cancel.asked.length], [1, 1]);
});

test("what no server of ours answers is an error with its words", async () => {
  const cases: [Response, new (...a: never[]) => JobQueueError, RegExp][] = [
    [
      new Response("<html>hello", { status: 200 }),
      NotSupported,
      /HTTP 200: it is no answer of a JobQueue server: <html>/,
    ],
    [
      new Response(null, { status: 307, headers: { location: "https://b" } }),
      NotSupported,
      /answers at https:\/\/b/,
    ],
    [new Response("no such page", { status: 404 }), NotSupported, /HTTP 404: .*no such page/],
    [new Response("", { status: 413 }), TooLarge, /HTTP 413/],
    [new Response("slow", { status: 429, headers: { "retry-after": "9" } }), Overloaded, /HTTP 429/],
    [
      new Response(
        '{"code":13,"message":"broken","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"NEW"}]}',
        { status: 500 },
      ),
      ServerFault,
      /^broken/,
    ],
    [
      new Response(
        '{"error":{"code":404,"message":"none","status":"NOT_FOUND","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"JOB_NOT_FOUND"},{"@type":"x/new"}]}}',
        { status: 404 },
      ),
      JobNotFound,
      /^none$/,
    ],
  ];
  for (const [answer, type, words] of cases) {
    const error = await failure(scripted([() => answer.clone()], { deadlineMs: 400 }).client.get("j1"), type);
    assert.match(error.message, words);
    if (type === Overloaded) assert.equal(error.retryAfterMs, 9000);
  }
});

test("a call that is not answered ends at its deadline", async () => {
  const silent = (init: RequestInit): Promise<Response> =>
    new Promise((_, reject) =>
      init.signal!.addEventListener("abort", () => reject(init.signal!.reason as Error)),
    );
  const error = await failure(
    scripted([silent]).client.enqueue("k", null, { deadlineMs: 100 }),
    DeadlineExceeded,
  );
  assert.match(error.message, /time ended/);
  for (const wrong of ["jobs.example.com", "ftp://jobs", "http://"]) {
    assert.throws(() => new RestClient(wrong), { name: "TypeError", message: /is no URL of a server/ });
  }
});

test("a kind that requires encryption is refused, and nothing of it is sent", async () => {
  const sealed = defineKind<{ text: string }>("sealed", { encodings: "required" });
  const { client: rest, asked } = scripted([job]);
  const payload = { text: "the eagle has landed" };
  for (const call of [
    () => rest.enqueue(sealed, payload),
    () => rest.enqueue(sealed.new(payload)),
    () => rest.enqueueMany([{ kind: "any" }, sealed.new(payload)]),
  ]) {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof EncodingRequired);
      assert.match(error.message, /^the kind sealed takes encrypted payloads alone/);
      return true;
    });
  }
  assert.equal(asked.length, 0);
  // By its name alone the kind says nothing, and the server refuses it.
  const key = new Uint8Array(32);
  const encoding = new Client(target, {
    token,
    encodings: new Encodings([new AesGcm({ a: key }, { primary: "a" })]),
  });
  await encoding.syncKinds([sealed]);
  await failure(client.enqueue("sealed", payload), PayloadInvalid);
  const { id } = await encoding.enqueue(sealed, payload);
  const found = await client.get(id);
  assert.throws(() => found.payload, Encoded);
  await assert.rejects(sealed.payloadOf(found), Encoded);
  encoding.close();
});

test("a typed job is read where there is no Buffer", async () => {
  const text =
    '{"id":"j1","kind":"greet","status":"SUCCEEDED","payload":{"name":"Ada"},"output":{"greeting":"Hello"}}';
  // Node's own Response needs one.
  const answer = { status: 200, headers: new Headers(), text: () => Promise.resolve(text) } as Response;
  const { client: rest } = scripted([() => answer]);
  const { Buffer } = globalThis;
  Reflect.deleteProperty(globalThis, "Buffer");
  try {
    await rest.enqueue(greet, { name: "Ada" });
    const found = await rest.get("j1");
    assert.deepEqual(await greet.payloadOf(found), { name: "Ada" });
    assert.deepEqual(await greet.outputOf(found), { greeting: "Hello" });
  } finally {
    globalThis.Buffer = Buffer;
  }
});

const answered = (text: string, init?: ResponseInit) => (): Response => new Response(text, init);

test("a payload that is no JSON is refused, and never becomes members of the job", async () => {
  const { client: rest, asked } = scripted([job]);
  for (const text of ['1,"hold":true', "", "{", "1 2", new Uint8Array([0x22, 0xff, 0x22]), `"${"eagle"}`]) {
    for (const call of [
      () => rest.enqueue({ kind: "k", payloadJson: text }),
      () => rest.enqueue("k", new JsonText(text)),
    ]) {
      const wrong = await failure(call(), PayloadInvalid);
      assert.deepEqual(
        wrong.violations.map((each) => each.field),
        ["job.payload"],
      );
      assert.doesNotMatch(wrong.message, /eagle|hold/);
    }
  }
  const many = rest.enqueueMany([{ kind: "k" }, { kind: "k", payloadJson: '1},{"kind":"other"' }]);
  assert.equal((await failure(many, PayloadInvalid)).violations[0]?.field, "jobs[1].payload");
  assert.equal(asked.length, 0);
});

test("an answer is a job if it is whole and has an id, and an error shows nothing of it", async () => {
  for (const text of ["{}", '{"id":""}', '{"id":7}', '{"id":"j1","kind":["eagle"]}', '{"job":null}']) {
    const { client: rest, asked } = scripted([answered(text)]);
    for (const call of [
      () => rest.enqueue("k", null, { idempotencyKey: "k" }),
      () => rest.get("j1"),
      () => rest.wait("j1"),
      () => rest.cancel("j1"),
    ]) {
      assert.doesNotMatch((await failure(call(), NotSupported)).message, /eagle/);
    }
    assert.equal(asked.length, 4);
  }
  for (const results of [
    "null",
    "[]",
    '[{"id":"a"}]',
    '[{"id":"a"},{}]',
    '[{"id":"a"},{"id":"b"},{"id":"c"}]',
  ]) {
    const { client: rest } = scripted([answered(`{"results":${results}}`)]);
    await failure(rest.enqueueMany([{ kind: "k" }, { kind: "k" }]), NotSupported);
  }
  const cut = scripted([answered('{"id":"j1","payload":"eagle')]);
  const error = await failure(cut.client.get("j1"), JobQueueError);
  assert.doesNotMatch(error.message + String(error.cause), /eagle/);
  assert.equal(cut.asked.length, 1);
});

test("what was answered for good is not asked again", async () => {
  const status = '{"code":13,"message":"broken","details":[]}';
  for (const code of [302, 402, 406, 409, 410, 414, 415, 421, 422, 431, 451]) {
    const { client: rest, asked } = scripted([answered("no", { status: code })]);
    const error = await failure(rest.get("j1"), JobQueueError);
    assert.ok(!(error instanceof Unavailable), `${code}: ${error.name}`);
    assert.equal(asked.length, 1);
  }
  const { client: rest, asked } = scripted([answered(status, { status: 500 })]);
  await failure(rest.get("j1"), ServerFault);
  assert.equal(asked.length, 1);
  const away = scripted([answered("no", { status: 520 }), job]);
  assert.equal((await away.client.get("j1")).id, "j1");
});

test("a deadline that is none is refused, and a token that does not come ends with the call", async () => {
  const { client: rest, asked } = scripted([refused]);
  for (const deadlineMs of [NaN, Infinity, -1, 2 ** 32]) {
    assert.throws(() => scripted([job], { deadlineMs }), { name: "TypeError", message: /^deadlineMs is / });
    await assert.rejects(rest.get("j1", { deadlineMs }), { name: "TypeError", message: /^deadlineMs is / });
  }
  const never = scripted([job], { token: () => new Promise<string>(() => undefined) });
  await failure(never.client.enqueue("k", null, { deadlineMs: 50 }), DeadlineExceeded);
  const giveUp = new AbortController();
  const waiting = never.client.get("j1", { signal: giveUp.signal });
  giveUp.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  assert.deepEqual([asked.length, never.asked.length], [0, 0]);
});

test("a secret in an address or a broken token is refused, and shown by no error", async () => {
  for (const wrong of [
    "https://ada:hunter2@jobs.example.com",
    "https://hunter2@jobs.example.com",
    "https://jobs.example.com?key=hunter2",
    "https://jobs.example.com/#hunter2",
    "https://ada:hunter2@",
  ]) {
    assert.throws(
      () => new RestClient(wrong),
      (error: Error) => error.name === "TypeError" && !error.message.includes("hunter2"),
    );
  }
  const { client: rest, asked } = scripted([job], { token: "hunter2\nhunter2" });
  const error = await failure(rest.get("j1"), Unauthenticated);
  assert.match(error.message, /the token has a character/);
  assert.doesNotMatch(error.message + String(error.cause), /hunter2/);
  assert.equal(asked.length, 0);
});

test("a job that is held back for a reason of later versions is held back", async () => {
  const held = (text: string): Promise<Job> => scripted([answered(text)]).client.get("j1");
  assert.equal((await held('{"id":"j1","hold":"MOON"}')).hold, "HOLD_UNSPECIFIED");
  assert.equal((await held('{"id":"j1","hold":"KEY"}')).hold, "KEY");
  assert.equal((await held('{"id":"j1"}')).hold, undefined);
});

test("an id that would make another path is refused before anything is asked", async () => {
  const { client: rest, asked } = scripted([job]);
  for (const id of ["", ".", ".."]) {
    for (const call of [() => rest.get(id), () => rest.wait(id), () => rest.cancel(id)]) {
      assert.equal((await failure(call(), InvalidRequest)).violations[0]?.field, "id");
    }
  }
  assert.equal(asked.length, 0);
});

test("a wait of a second that ended in vain says why, and a shorter one does not ask", async () => {
  const { id } = await client.enqueue("any", null, { queue: "unserved" });
  const late = await failure(client.wait(id, { timeoutMs: 1000 }), WaitTimeout);
  assert.match(late.summary, /no worker/);
  assert.equal(late.summary, (await grpc.explain(id)).summary);
  assert.equal(late.message, `job ${id} is QUEUED and not over after 1000 ms; ${late.summary}`);
  assert.equal((await failure(client.wait(id, { timeoutMs: 50 }), WaitTimeout)).summary, "");
  const slow = (): Promise<Response> => new Promise((resolve) => setTimeout(() => resolve(job()), 1050));
  const why = (): Response => new Response('{"summary":"The queue is paused."}');
  const waits = [
    [why, 1000, "The queue is paused.", 2],
    [() => new Response("{}"), 1000, "", 2],
    [() => new Response("no", { status: 404 }), 1000, "", 2],
    [why, 999, "", 1],
  ] as const;
  const ends = waits.map(async ([answer, timeoutMs, summary, calls]) => {
    const { client: rest, asked } = scripted([slow, answer]);
    const error = await failure(rest.wait("j1", { timeoutMs }), WaitTimeout);
    assert.deepEqual([error.summary, asked.length], [summary, calls]);
    const last = calls === 2 ? "j1:explain" : "j1:wait?timeout=0.999s";
    assert.equal(asked[calls - 1]?.url, `https://jobs.example.com/queue/v1/jobs/${last}`);
  });
  await Promise.all(ends);
});
