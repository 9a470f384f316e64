/** Encodings with a real server: what is stored, who reads it, and what becomes of jobs that can't be read. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  AesGcm,
  Client,
  Encoded,
  Encodings,
  IdempotencyKeyReused,
  PayloadInvalid,
  defineKind,
} from "../src/index.js";
import type { Job } from "../src/index.js";
import { testScope } from "../src/testing/index.js";
import type { TestScope } from "../src/testing/index.js";

const KEY = Uint8Array.from({ length: 32 }, (_, number) => number);
const NEXT = Uint8Array.from({ length: 32 }, (_, number) => number + 1);
const SECRET = "the eagle has landed";
const mail = { text: SECRET };
const text = (data: Uint8Array | undefined): string => new TextDecoder().decode(data);

function aes(table: Record<string, Uint8Array> = { a: KEY }, primary = "a"): Encodings {
  return new Encodings([new AesGcm(table, { primary })]);
}

/** A scope whose client encodes, and a client of it that does not. */
async function opened(): Promise<{ scope: TestScope; plain: Client }> {
  const scope = await testScope({ encodings: aes() });
  for (const name of ["mail", "next", "elsewhere"]) await scope.client.putKind({ name });
  return { scope, plain: new Client(scope.target, { token: scope.key }) };
}

test("a payload is read by every call, and only where its key is", async () => {
  const { scope, plain } = await opened();
  const { client } = scope;
  const made = await client.enqueue("mail", mail);
  const watch = client.watch({ ids: [made.id], full: true });
  const seen: Job[] = [made, await client.get(made.id), (await watch.next()).value!];
  await watch.return();
  for await (const job of client.list({ full: true })) seen.push(job);
  assert.equal((await client.listPage()).jobs[0]?.payload, undefined);
  seen.push((await client.cancel(made.id)).job, await client.wait(made.id), await client.retry(made.id));
  assert.deepEqual(
    seen.map((job) => job.payload),
    [...Array(7)].map(() => mail),
  );
  const stored = await plain.get(made.id);
  assert.equal(JSON.parse(text(stored.payloadJson)).key_id, "a");
  assert.throws(() => stored.payload, { name: "Encoded", keyId: "a" });
  await scope.assertEnqueued("mail", mail);
  plain.close();
  await scope.close();
});

test("the same keyed call of two clients is one job, and another payload is refused", async () => {
  const { scope, plain } = await opened();
  const other = new Client(scope.target, { token: scope.key, encodings: aes() });
  const keyed = { idempotencyKey: "order-7" };
  const first = await scope.client.enqueue("mail", mail, keyed);
  const second = await other.enqueue("mail", mail, keyed);
  assert.deepEqual([second.id, second.replayed, second.payload], [first.id, true, mail]);
  await assert.rejects(other.enqueue("mail", { text: "x" }, keyed), IdempotencyKeyReused);
  const unique = { unique: { key: "one" } };
  assert.equal(
    (await other.enqueue("mail", 1, unique)).id,
    (await scope.client.enqueue("mail", 2, unique)).id,
  );
  for (const each of [other, plain]) each.close();
  await scope.close();
});

test("a handler sees all, and what is stored of it shows nothing", async () => {
  const { scope, plain } = await opened();
  const never = defineKind<typeof mail>("never", { encodings: "never" });
  await scope.client.putKind({ name: never.name });
  const worker = scope.worker({ encodings: aes() }).handler("mail", (job, ctx) => {
    if (job.attempt === 1) {
      ctx.saveCheckpoint(new TextEncoder().encode(`half of ${job.payload.text}`));
      throw new Error("again");
    }
    ctx.followUp({ kind: "next", payload: mail });
    ctx.followUp(never.new({ text: "in plain text" }));
    return { got: job.payload.text, checkpoint: text(job.checkpoint) };
  });
  const { id } = await scope.client.enqueue("mail", mail);
  await scope.runUntilIdle(worker, { failures: "retry", withinMs: 60_000 });
  const done = await scope.client.get(id);
  assert.deepEqual(done.output, { got: SECRET, checkpoint: `half of ${SECRET}` });
  const [next] = await scope.assertEnqueued("next", mail);
  for (const each of [await plain.get(id), await plain.get(next!.id)]) {
    assert.throws(() => each.payload, Encoded);
    assert.doesNotMatch(text(each.payloadJson) + text(each.outputJson), /eagle/);
  }
  const [open] = (await plain.listPage({ kind: "never", full: true })).jobs;
  assert.deepEqual(open?.payload, { text: "in plain text" });
  plain.close();
  await scope.close();
});

test("a job whose key is missing waits for it, and then runs", async () => {
  const { scope, plain } = await opened();
  const producer = new Client(scope.target, { token: scope.key, encodings: aes({ b: NEXT }, "b") });
  const table: Record<string, Uint8Array> = { a: KEY };
  const worker = scope.worker({ encodings: aes(table) }).handler("mail", (job) => job.payload as unknown);
  const job = await producer.enqueue("mail", mail);
  const { ended, waiting } = await scope.runUntilIdle(worker, { withinMs: 60_000 });
  assert.deepEqual([ended, waiting.map((each) => [each.job.attempts, each.job.failures])], [[], [[1, 0]]]);
  table["b"] = NEXT;
  await scope.makeDue(waiting[0]!.job);
  assert.equal((await scope.runUntilIdle(worker, { withinMs: 60_000 })).ended[0]?.status, "SUCCEEDED");
  assert.deepEqual((await producer.get(job.id)).payload, mail);
  for (const each of [producer, plain]) each.close();
  await scope.close();
});

test("an envelope that was moved to another kind or damaged ends for good, and its payload stays", async () => {
  const { scope, plain } = await opened();
  const { id } = await scope.client.enqueue("elsewhere", mail);
  const { payloadJson = new Uint8Array() } = await plain.get(id);
  const cut = JSON.parse(text(payloadJson)) as { data: string };
  const moved = await plain.enqueue("mail", undefined, { payloadJson });
  const damaged = await plain.enqueue("mail", { ...cut, data: cut.data.slice(0, -4) });
  const worker = scope.worker({ encodings: aes() }).handler("mail", () => undefined);
  const { ended } = await scope.runUntilIdle(worker, { withinMs: 60_000 });
  assert.deepEqual(
    ended.map((job) => [job.id, job.status, job.failedAttempts[0]?.errorType, job.payloadJson]),
    [moved, damaged].map((job) => [job.id, "FAILED_PERMANENT", "PayloadUnreadable", job.payloadJson]),
  );
  plain.close();
  await scope.close();
});

test("a server refuses plain text of a kind that requires encryption, and takes both where it is allowed", async () => {
  const { scope, plain } = await opened();
  const jsonSchema = { type: "object", required: ["text"], properties: { text: { type: "string" } } };
  for (const [encodings, takesPlain, takesSealed] of [
    ["required", false, true],
    ["allowed", true, true],
    [undefined, true, true],
    ["never", true, false],
  ] as const) {
    const kind = defineKind<typeof mail>(`mail.${encodings ?? "unsaid"}`, { encodings, jsonSchema });
    const [synced] = await scope.client.syncKinds([kind]);
    assert.equal(synced?.changed, true);
    assert.equal((await scope.client.syncKinds([kind]))[0]?.changed, false);
    const [{ payloadJson } = {}] = await aes().jobs([{ kind: kind.name, payload: mail }]);
    const open = plain.enqueue(kind.name, mail);
    await (takesPlain ? open : assert.rejects(open, PayloadInvalid));
    const sealed = plain.enqueue(kind.name, undefined, { payloadJson });
    await (takesSealed ? sealed : assert.rejects(sealed, PayloadInvalid));
    await assert.rejects(plain.enqueue(kind.name, { text: 7 }), PayloadInvalid);
    const beside = { ...(JSON.parse(text(payloadJson as Uint8Array)) as object), text: 7 };
    await assert.rejects(plain.enqueue(kind.name, beside), PayloadInvalid);
  }
  plain.close();
  await scope.close();
});

test("a worker tells the server that its kinds may be encoded, and runs them", async () => {
  const { scope, plain } = await opened();
  const jsonSchema = { type: "object", required: ["text"], properties: { text: { type: "string" } } };
  const kind = defineKind<typeof mail, typeof mail>("mail.told", { jsonSchema });
  const worker = scope.worker({ syncKinds: true, encodings: aes() });
  worker.handler(kind, ({ text }) => ({ text: [...text].reverse().join("") }));
  await plain.syncKinds([kind]);
  await assert.rejects(scope.client.enqueue(kind, mail), PayloadInvalid);
  const serving = worker.serve();
  // It tells the server before it takes jobs.
  const first = await plain.enqueue(kind, mail);
  await plain.wait(first.id, { timeoutMs: 60_000 });
  const job = await scope.client.enqueue(kind, mail);
  const done = await scope.client.wait(job.id, { timeoutMs: 60_000 });
  assert.deepEqual(await kind.outputOf(done), { text: [...SECRET].reverse().join("") });
  await assert.rejects(kind.outputOf(await plain.get(job.id)), Encoded);
  worker.stop({ graceMs: 0 });
  await serving;
  plain.close();
  await scope.close();
});

test("a schedule is stored encoded, does not change when it is applied again, and its job is handled", async () => {
  const { scope, plain } = await opened();
  const { client } = scope;
  const spec = { cron: "0 0 1 1 *" };
  const job = { kind: "mail", payload: mail };
  const made = await client.schedules.create("s", spec, job);
  const envelope = String((await plain.schedules.get("s")).job.payloadJson);
  assert.equal((JSON.parse(envelope) as { key_id: string }).key_id, "a");
  assert.doesNotMatch(envelope, /eagle/);
  const same = await client.schedules.update("s", { job });
  const stored = await plain.schedules.get("s");
  assert.equal(stored.job.payloadJson, envelope);
  for (const each of [made, same, await client.schedules.get("s")]) {
    assert.equal(each.job.payloadJson, JSON.stringify(mail));
  }
  // What was read is written back as it is, with its key and without.
  await client.schedules.update("s", { job: same.job });
  await plain.schedules.update("s", { job: stored.job });
  assert.equal((await plain.schedules.get("s")).job.payloadJson, envelope);
  for (const each of [await client.schedules.pause("s"), await client.schedules.resume("s")]) {
    assert.equal(each.job.payloadJson, JSON.stringify(mail));
  }
  const { jobId } = await client.schedules.run("s");
  const got: unknown[] = [];
  const worker = scope.worker({ encodings: aes() }).handler("mail", ({ payload }) => {
    got.push(payload);
  });
  await scope.runUntilIdle(worker, { withinMs: 60_000 });
  assert.equal((await client.get(jobId)).status, "SUCCEEDED");
  assert.deepEqual(got, [mail]);
  plain.close();
  await scope.close();
});

test("a schedule whose key is missing is answered, and is not encoded twice", async () => {
  const { scope, plain } = await opened();
  await scope.client.schedules.create("s", { cron: "0 0 1 1 *" }, { kind: "mail", payload: mail });
  const stored = await plain.schedules.get("s");
  const next = new Client(scope.target, { token: scope.key, encodings: aes({ b: NEXT }, "b") });
  for (const call of [
    () => next.schedules.get("s"),
    () => next.schedules.update("s", { labels: { a: "b" } }),
    () => next.schedules.pause("s"),
    () => next.schedules.resume("s"),
  ]) {
    const found = await call();
    assert.ok(found.job.payload instanceof Encoded, String(found.job.payload));
    assert.deepEqual([found.job.payload.keyId, found.job.payloadJson], ["a", stored.job.payloadJson]);
    await assert.rejects(next.schedules.update("s", { job: found.job }), /KeyUnknown/);
  }
  const now = await plain.schedules.get("s");
  assert.deepEqual([now.labels, now.paused, now.job], [{ a: "b" }, false, stored.job]);
  for (const each of [next, plain]) each.close();
  await scope.close();
});
