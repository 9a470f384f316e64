/** Typed kinds, from a declaration to a payload on the wire, its handler and back. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { create } from "@bufbuild/protobuf";
import * as z from "zod";

import {
  AUTO,
  Client,
  Discard,
  Job,
  JobNotSucceeded,
  JsonText,
  PayloadInvalid,
  PayloadTooNew,
  PayloadUnreadable,
  Snooze,
  Worker,
  defineKind,
} from "../src/index.js";
import type { JobContext, JobKind, JsonSchema, NewJob, StandardSchema } from "../src/index.js";
import { JobSchema, Job_Status } from "../src/gen/jobqueue/v1/job_pb.js";
import type * as pb from "../src/gen/jobqueue/v1/job_pb.js";
import { LeasedJobSchema } from "../src/gen/jobqueue/v1/lease_pb.js";
import { LeasedJob } from "../src/job.js";
import { Queue, ScriptedServer } from "./scripted.js";

const VERSION = "x-payload-version";

const mail = z.object({ to: z.email(), cc: z.array(z.string()).default([]) });
const sent = z.object({ id: z.string(), at: z.string().transform(Number).optional() });
const sendMail = defineKind({
  name: "send-mail",
  payload: mail,
  output: sent,
  maxAttempts: 5,
  queue: "mail",
});

/** A schema of no library, with what it answers. */
function schemaOf<T>(validate: StandardSchema<T>["~standard"]["validate"]): StandardSchema<T, T> {
  return { "~standard": { version: 1, vendor: "test", validate } };
}

function json(value: unknown): Uint8Array {
  return new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
}

function leased(payload: unknown, fields: Partial<LeasedJob> = {}): LeasedJob {
  const { headers = {}, attempt = 1, failures = 0 } = fields;
  const content = { case: "payloadJson" as const, value: json(payload) };
  return new LeasedJob(create(LeasedJobSchema, { id: "j1", attempt, failures, headers, content }));
}

function read(fields: { kind?: string; status?: Job_Status; payload?: unknown; output?: unknown } = {}): Job {
  const { kind = "send-mail", status = Job_Status.SUCCEEDED, payload, output } = fields;
  const message = create(JobSchema, { id: "j1", kind, status, reason: "R", lastError: "no such user" });
  if (payload !== undefined) message.content = { case: "payloadJson", value: json(payload) };
  if (output !== undefined) message.result = { case: "outputJson", value: json(output) };
  return new Job(message);
}

async function enqueued(t: TestContext): Promise<{ client: Client; jobs: pb.NewJob[] }> {
  const jobs: pb.NewJob[] = [];
  const job = create(JobSchema, { id: "j1", kind: "k", status: Job_Status.QUEUED });
  const server = await ScriptedServer.start(t, {
    enqueueJob: (request) => {
      if (request.job) jobs.push(request.job);
      return { job };
    },
    batchEnqueueJobs: (request) => {
      jobs.push(...request.jobs);
      return { results: request.jobs.map(() => ({ id: "j1" })) };
    },
  });
  const client = new Client(server.address);
  t.after(() => client.close());
  return { client, jobs };
}

function textOf(job: pb.NewJob | undefined): string {
  return job?.content.case === "payloadJson" ? new TextDecoder().decode(job.content.value) : "";
}

test("a job of a kind has the kind's defaults, and what is said of it wins", () => {
  assert.deepEqual(
    sendMail.new({ to: "a@b.org" }, { maxAttempts: 2, labels: { a: "b" }, queue: undefined }),
    {
      kind: "send-mail",
      payloadJson: '{"to":"a@b.org"}',
      queue: "mail",
      maxAttempts: 2,
      labels: { a: "b" },
    },
  );
});

test("key and name of a job are made of its payload, unless they are said", () => {
  const kind = defineKind<{ user: string }>("bill", {
    key: (payload) => payload.user,
    unique: (payload) => (payload.user === "-" ? undefined : { key: payload.user }),
  });
  const { key, unique } = kind.new({ user: "ada" });
  assert.deepEqual([key, unique], ["ada", { key: "ada" }]);
  assert.deepEqual(kind.new({ user: "-" }, { key: "own" }), {
    kind: "bill",
    payloadJson: '{"user":"-"}',
    key: "own",
  });
  assert.equal(kind.new(new JsonText('{"user":"raw"}')).key, "raw");
});

test("a payload that does not fit is refused where it is made, with its place and without its value", async () => {
  const kind = defineKind({
    name: "k",
    payload: z.object({
      rows: z.array(z.object({ n: z.number() })),
      mode: z.enum(["fast", "slow"]).optional(),
    }),
  });
  const refused = (payload: unknown): unknown => {
    try {
      return kind.new(payload as { rows: { n: number }[] });
    } catch (error) {
      return error;
    }
  };
  const error = refused({ rows: [{ n: 1 }, { n: "secret" }] });
  assert.ok(error instanceof PayloadInvalid);
  assert.equal(error.message, "payload.rows[1].n: must be number");
  assert.deepEqual(error.violations, [{ field: "payload.rows[1].n", description: "must be number" }]);
  assert.deepEqual([error.code, error.reason], ["INVALID_ARGUMENT", "PAYLOAD_INVALID"]);
  assert.equal((refused(7) as Error).message, "payload: must be object");
  assert.equal(
    (refused({ rows: [], mode: "secret" }) as Error).message,
    'payload.mode: must be one of "fast"|"slow"',
  );
  assert.equal((refused(new JsonText("{secret")) as Error).message, "payload: must be JSON");
  assert.throws(() => kind.new({ rows: [] }, { payloadJson: "{}" } as object), /give a payload of its type/);
});

test("all fields of a payload that do not fit are named, not the first alone", () => {
  const kind = defineKind({ name: "k", payload: z.object({ to: z.string(), n: z.number() }) });
  assert.throws(
    () => kind.new({ to: 1, n: "secret" } as never),
    (error) => {
      assert.ok(error instanceof PayloadInvalid);
      assert.equal(error.message, "payload.to: must be string; payload.n: must be number");
      assert.deepEqual(error.violations, [
        { field: "payload.to", description: "must be string" },
        { field: "payload.n", description: "must be number" },
      ]);
      return true;
    },
  );
});

test("no words of a library let a value out", async () => {
  const words = [
    ['Invalid type: Expected number but received "secret"', "must be number"],
    ["must be a number (was a secret)", "must be a number"],
    ["secret is unknown", "does not fit its schema"],
    ["Invalid email address", "Invalid email address"],
    ["", "does not fit its schema"],
  ];
  for (const [message = "", told] of words) {
    const kind = defineKind({
      name: "k",
      payload: schemaOf<{ a: string[] }>(() => ({ issues: [{ message, path: [{ key: "a" }, 0] }] })),
    });
    await assert.rejects(kind.payloadIn(leased({ a: ["secret"] })), (error: Error) => {
      assert.equal(error.message, `payload.a[0]: ${told}`);
      return !String((error.cause as Error).stack).includes("secret");
    });
  }
  const whole = defineKind({
    name: "k",
    payload: schemaOf<object>(() => ({ issues: [{ message: "ada@example.org can not be reached" }] })),
  });
  const given = leased({ users: [{ to: "ada@example.org" }] });
  await assert.rejects(whole.payloadIn(given), { message: "payload: does not fit its schema" });
});

test("what was given is sent, and what the schema makes of it is handled: a transform runs once", async (t) => {
  const { client, jobs } = await enqueued(t);
  const kind = defineKind({
    name: "k",
    payload: z.object({ n: z.string().transform(Number), d: z.number().default(5) }),
  });
  await client.enqueue(kind, { n: "7" }, { idempotencyKey: AUTO });
  await client.enqueueMany([kind.new({ n: "8" })]);
  assert.deepEqual(jobs.map(textOf), ['{"n":"7"}', '{"n":"8"}']);
  assert.ok(jobs[0]?.idempotencyKey);
  assert.deepEqual(await kind.payloadIn(leased({ n: "7" })), { n: 7, d: 5 });
});

test("what is checked is what a worker will read", () => {
  const when = new Date(0);
  assert.throws(
    () => defineKind({ name: "k", payload: z.object({ when: z.date() }) }).new({ when }),
    /^PayloadInvalid: payload.when: must be date$/,
  );
  const kind = defineKind({ name: "k", payload: z.object({ when: z.coerce.date<Date>() }) });
  assert.equal(kind.new({ when }).payloadJson, '{"when":"1970-01-01T00:00:00.000Z"}');
});

test("a schema that checks asynchronously is waited for, and the payload is read at the call", async (t) => {
  const { client, jobs } = await enqueued(t);
  const kind = defineKind({
    name: "k",
    payload: z.object({ to: z.string().refine(async (to) => to !== "nemo", "is no user") }),
    output: z.string().refine(async (output) => output !== "", "is empty"),
  });
  const payload = { to: "ada" };
  const call = client.enqueue(kind, payload);
  payload.to = "bob";
  await call;
  assert.deepEqual(jobs.map(textOf), ['{"to":"ada"}']);
  await assert.rejects(client.enqueue(kind, { to: "nemo" }), /PayloadInvalid: payload.to: is no user/);
  await assert.rejects(kind.newAsync({ to: "nemo" }), PayloadInvalid);
  assert.throws(() => kind.new({ to: "ada" }), /use newAsync/);
  assert.deepEqual(await kind.payloadIn(leased({ to: "ada" })), { to: "ada" });
  await assert.rejects(kind.outputText(""), /returned a string: output: is empty/);
  assert.equal(jobs.length, 1);
});

test("a kind without schemas checks nothing, and 20 digits go as JSON text", async (t) => {
  const { client, jobs } = await enqueued(t);
  const kind = defineKind<{ n: number }, string>("k", { priority: 3 });
  await client.enqueue(kind, new JsonText('{"n": 12345678901234567890}'));
  assert.equal(textOf(jobs[0]), '{"n": 12345678901234567890}');
  assert.equal(jobs[0]?.priority, 3);
  assert.deepEqual(await kind.payloadIn(leased({ x: 1 })), { x: 1 });
  assert.equal(await kind.outputOf(read({ kind: "k", payload: {}, output: '"done"' })), "done");
  assert.equal(kind.schema(), undefined);
});

test("a program that has the kind's type alone enqueues by its name", async (t) => {
  const { client, jobs } = await enqueued(t);
  await client.enqueue<typeof sendMail>("send-mail", { to: "a@b.org" });
  assert.deepEqual([jobs[0]?.kind, textOf(jobs[0]), jobs[0]?.queue], ["send-mail", '{"to":"a@b.org"}', ""]);
});

const versioned = defineKind({
  name: "typed",
  payload: z.object({ number: z.int(), unit: z.string().default("one") }),
  output: z.object({ number: z.int(), unit: z.string() }),
  version: 3,
  aliases: ["typed-old"],
  upcasters: {
    1: ({ count }) => ({ number: count }),
    2: { upcast: (old) => ({ ...old, unit: old.unit.toLowerCase() }), of: z.object({ unit: z.string() }) },
  },
});

test("a payload says its version, and one of an older version goes through every upcaster", async () => {
  const job = versioned.new({ number: 1 }, { headers: { a: "b" } });
  assert.deepEqual(job.headers, { a: "b", [VERSION]: "3" });
  assert.equal(sendMail.new({ to: "a@b.org" }).headers, undefined);
  const older = leased({ number: 4, unit: "KG" }, { headers: { [VERSION]: "2" } });
  assert.deepEqual(await versioned.payloadIn(older), { number: 4, unit: "kg" });
  const now = leased({ number: 4, added: true }, { headers: { [VERSION]: "3" } });
  assert.deepEqual(await versioned.payloadIn(now), { number: 4, unit: "one" });
});

test("a payload that can not be read ends its job, and the error has no word of it", async () => {
  const unreadable: [unknown, string | undefined, string][] = [
    [{ count: 1 }, undefined, "the payload has version 1, and its upcaster from 2 on failed with TypeError"],
    [{ number: "secret" }, "3", "payload.number: must be number"],
    [{}, "secret", `headers.${VERSION}: must be the number of a version, from 1`],
    [{}, "0", `headers.${VERSION}: must be the number of a version, from 1`],
    [{}, "1234567890", `headers.${VERSION}: must be the number of a version, from 1`],
    ["{secret", "3", "payload: must be JSON"],
  ];
  for (const [payload, version, words] of unreadable) {
    const headers: Record<string, string> = version === undefined ? {} : { [VERSION]: version };
    await assert.rejects(versioned.payloadIn(leased(payload, { headers })), (error) => {
      assert.ok(error instanceof Discard && error.cause instanceof PayloadUnreadable);
      assert.equal(error.message, words);
      return true;
    });
  }
  const gap = defineKind<unknown, void, 3>("k", { version: 3, upcasters: { 2: (value) => value } });
  await assert.rejects(gap.payloadIn(leased({})), {
    message: "the payload has version 1, and the kind has no upcaster from 1 on",
  });
});

test("a payload of a later version waits twenty times for a worker that knows it, up to two minutes each", async () => {
  const later = (attempt: number, failures: number): Promise<unknown> =>
    versioned.payloadIn(leased({}, { headers: { [VERSION]: "4" }, attempt, failures }));
  for (const [attempt, failures, seconds] of [
    [1, 0, 15],
    [5, 2, 45],
    [20, 0, 120],
    [23, 3, 120],
  ] as const) {
    const error: unknown = await later(attempt, failures).catch((error: unknown) => error);
    assert.ok(error instanceof Snooze);
    assert.ok(error.delayMs >= 750 * seconds && error.delayMs <= 1250 * seconds, `${error.delayMs}`);
  }
  await assert.rejects(later(21, 0), (error) => {
    assert.ok(error instanceof PayloadTooNew);
    assert.equal(error.message, "the payload has version 4; this program knows 3");
    return true;
  });
});

test("what a schema throws, rather than answers, is no payload that can't be read", async () => {
  const kind = defineKind({
    name: "k",
    payload: schemaOf(() => Promise.reject(new Error("the user database is away"))),
  });
  await assert.rejects(kind.payloadIn(leased({})), { name: "Error", message: "the user database is away" });
});

test("the schema of a kind is that of what is on the wire, open to fields it does not know", () => {
  const kind = defineKind({
    name: "k",
    payload: z.strictObject({
      n: z.string().transform(Number),
      d: z.number().default(1),
      additionalProperties: z.strictObject({ a: z.string() }),
    }),
  });
  const schema = kind.schema() as any;
  assert.deepEqual(schema.required, ["n", "additionalProperties"]);
  assert.equal(schema.properties.n.type, "string");
  assert.deepEqual(schema.properties.additionalProperties.required, ["a"]);
  assert.ok(!JSON.stringify(schema).includes("false"));
  assert.equal(schema["x-payload-version"], 1);
  const strict = defineKind({ name: "k", payload: z.strictObject({ n: z.string() }), strict: true });
  assert.equal(strict.schema()?.["additionalProperties"], false);
  assert.deepEqual((sendMail.outputSchema() as any).properties.at.type, "string");
});

test("the schema of a kind has each version with an upcaster, and its references stay in their version", () => {
  const Tree = z.object({
    name: z.string(),
    get parts() {
      return z.array(Tree);
    },
  });
  const kind = defineKind({
    name: "k",
    payload: Tree,
    version: 3,
    upcasters: {
      1: (value) => value,
      2: { upcast: (value) => value, of: { $ref: "#/$defs/a", $defs: { a: true } } },
    },
  });
  const { anyOf } = kind.schema() as { anyOf: any[] };
  assert.deepEqual(
    anyOf.map((each) => each["x-payload-version"]),
    [3, 2, 1],
  );
  assert.equal(anyOf[0].properties.parts.items.$ref, "#/anyOf/0");
  assert.equal(anyOf[1].$ref, "#/anyOf/1/$defs/a");
  assert.deepEqual(anyOf[2], { type: "object", "x-payload-version": 1 });
  assert.ok(anyOf.every((each) => !("$schema" in each)));
});

test("a library that can't say its schema is warned of once, and the kind may say it itself", (t) => {
  const lines = t.mock.method(console, "error", () => undefined).mock;
  const payload = schemaOf<object>((value) => ({ value: value as object }));
  const kind = defineKind({ name: "k", payload });
  assert.deepEqual([kind.schema(), kind.schema()], [undefined, undefined]);
  assert.equal(lines.callCount(), 1);
  assert.match(String(lines.calls[0]?.arguments[0]), /^jobqueue: warning: the library of a schema of kind k/);
  const jsonSchema: JsonSchema = { type: "object", default: { additionalProperties: false } };
  const told = defineKind({ name: "k", payload, jsonSchema }).schema();
  assert.deepEqual(told, { ...jsonSchema, "x-payload-version": 1 });
  assert.throws(
    () => defineKind({ name: "k", payload: z.date() }).schema(),
    /kind k has no JSON Schema: .*give it as/,
  );
});

test("an output is read as its type, and one of a job that has none says why", async () => {
  const done = { payload: { to: "a@b.org" }, output: { id: "m1", at: "7", more: 1 } };
  assert.deepEqual(await sendMail.outputOf(read(done)), { id: "m1", at: 7 });
  assert.deepEqual(await sendMail.payloadOf(read(done)), { to: "a@b.org", cc: [] });
  await assert.rejects(sendMail.outputOf(read({ ...done, output: { id: 5 } })), {
    name: "PayloadUnreadable",
    message: "output.id: must be string",
  });
  await assert.rejects(sendMail.outputOf(read({ status: Job_Status.FAILED_PERMANENT })), (error) => {
    assert.ok(error instanceof JobNotSucceeded);
    assert.equal(error.message, "the job j1 is FAILED_PERMANENT (R: no such user)");
    return error.job.id === "j1";
  });
  await assert.rejects(sendMail.outputOf(read()), /was read without its output: use get/);
  await assert.rejects(sendMail.payloadOf(read()), /was read without its payload: use get/);
  await assert.rejects(
    sendMail.outputOf(read({ ...done, kind: "other" })),
    /is of the kind other, not send-mail/,
  );
  const old = read({ kind: "typed-old", payload: {}, output: { number: 1, unit: "a" } });
  assert.equal((await versioned.outputOf(old)).number, 1);
  const none = defineKind({ name: "k", payload: mail });
  assert.equal(await none.outputOf(read({ kind: "k", payload: {}, output: 7 })), undefined);
});

test("a declaration that can't be is refused at once", () => {
  const anything = (options: object) => () => defineKind("k", options);
  assert.throws(anything({ version: 0 }), /version is 0, of kind k; it is a whole number from 1 on/);
  assert.throws(
    anything({ version: 2, upcasters: { 2: () => 1 } }),
    /from version 2 on: each leads from a version below 2/,
  );
  assert.throws(anything({ upcasters: { x: () => 1 } }), /from version NaN on/);
  assert.throws(anything({ aliases: "old" }), /aliases is "old", of kind k; it is a list/);
  assert.throws(
    () => defineKind({ name: "k", payload: {} as StandardSchema }),
    /payload of kind k is no Standard Schema/,
  );
  assert.throws(() => defineKind({} as { name: string }), /the name of a kind is undefined/);
});

/** A worker of a kind that was welcomed. */
async function serving(t: TestContext, give: (worker: Worker) => Worker) {
  const server = await ScriptedServer.start(t);
  const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const worker = give(new Worker(server.address, { logger }));
  server.serve(worker).catch(() => undefined);
  const stream = await server.accept();
  stream.welcome();
  return stream;
}

test("a handler gets the payload and the context, and its output is what it returned", async (t) => {
  const seen = new Queue<[unknown, JobContext]>();
  const stream = await serving(t, (worker) =>
    worker.handler(sendMail, async (payload, ctx) => {
      seen.put([payload, ctx]);
      ctx.followUp(versioned.new({ number: 1 }));
      return { id: "m1", at: "7" };
    }),
  );
  const content = { case: "payloadJson" as const, value: json({ to: "a@b.org", more: 1 }) };
  stream.deliver(1n, { leaseId: 1n, kind: "send-mail", content } as Parameters<typeof stream.deliver>[1]);
  const [payload, ctx] = await seen.take("payload");
  assert.deepEqual(payload, { to: "a@b.org", cc: [] });
  assert.deepEqual([ctx.job.id, ctx.job.kind], ["job-1", "send-mail"]);
  const { outcomes } = await stream.next("settle");
  const success = outcomes[0]?.outcome;
  assert.ok(success?.case === "success" && success.value.result.case === "outputJson");
  assert.equal(new TextDecoder().decode(success.value.result.value), '{"id":"m1","at":"7"}');
  assert.deepEqual({ ...success.value.followUps[0]?.headers }, { [VERSION]: "3" });
});

test("a worker subscribes to a kind's aliases, each with its slots", async (t) => {
  const server = await ScriptedServer.start(t);
  const worker = new Worker(server.address).handler(versioned, (payload) => payload, { slots: 2 });
  assert.throws(() => worker.handler("typed-old", function second() {}), /typed-old has a handler already/);
  server.serve(worker).catch(() => undefined);
  const { hello } = await server.accept();
  assert.deepEqual(hello.subscriptions[0]?.kinds, ["typed", "typed-old"]);
  assert.deepEqual(hello.capacity?.slotsByKind, { typed: 2, "typed-old": 2 });
});

test("an output that does not fit is a failure, of a kind that has none any output", async (t) => {
  const none = defineKind({ name: "none" });
  const stream = await serving(t, (worker) =>
    worker
      .handler(sendMail, () => ({ id: 5 }) as unknown as { id: string })
      .handler(none as JobKind, () => "something"),
  );
  const content = { case: "payloadJson" as const, value: json({ to: "a@b.org" }) };
  const failures: (string | undefined)[] = [];
  for (const [number, kind] of [sendMail, none].entries()) {
    const job = { leaseId: BigInt(number), kind: kind.name, content };
    stream.deliver(BigInt(number + 1), job as Parameters<typeof stream.deliver>[1]);
    const { outcomes, seq } = await stream.next("settle");
    stream.answer(seq);
    const outcome = outcomes[0]?.outcome;
    assert.ok(outcome?.case === "failure" && !outcome.value.permanent);
    failures.push(`${outcome.value.errorType}: ${outcome.value.error}`);
  }
  assert.deepEqual(failures, [
    "TypeError: the handler of send-mail returned an object: output.id: must be string",
    "TypeError: the handler of none returned a string; the kind has no output: return nothing, or declare output",
  ]);
});

test("a payload that a worker can't read ends its job for good, by the name of the error", async (t) => {
  const stream = await serving(t, (worker) => worker.handler(sendMail, () => assert.fail("it was handled")));
  const content = { case: "payloadJson" as const, value: json({ to: 5 }) };
  stream.deliver(1n, { leaseId: 1n, kind: "send-mail", content } as Parameters<typeof stream.deliver>[1]);
  const outcome = (await stream.next("settle")).outcomes[0]?.outcome;
  assert.ok(outcome?.case === "failure" && outcome.value.permanent);
  assert.deepEqual(
    [outcome.value.errorType, outcome.value.error],
    ["PayloadUnreadable", "payload.to: must be string"],
  );
});

test("a kind of another copy of this package is taken as one", async (t) => {
  const { client, jobs } = await enqueued(t);
  const made = (payload: unknown): NewJob => ({ kind: "foreign", payload });
  await client.enqueue({ name: "foreign", made } as unknown as typeof sendMail, { to: "a@b.org" });
  assert.equal(jobs[0]?.kind, "foreign");
});
