// Tells a real server kinds, and looks what it makes of them: node sync.mjs ADDRESS

import assert from "node:assert/strict";

import { Client, PayloadInvalid, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const client = new Client(process.argv[2]);
const stored = async (name) => (await client.listKinds()).find((kind) => kind.name === name);
const name = `mail-${crypto.randomUUID().slice(0, 8)}`;

const older = z.object({ name: z.string() });
const first = defineKind({ name, payload: older, maxAttempts: 7 });
const second = defineKind({
  name,
  payload: z.object({ first: z.string(), last: z.string() }),
  output: z.object({ id: z.string() }),
  version: 2,
  upcasters: { 1: { upcast: (value) => ({ first: value.name, last: "" }), of: older } },
  timeoutMs: 60_000,
});

// A second sync changes nothing, and the server holds payloads to what it was told.
const [synced] = await client.syncKinds([second]);
assert.deepEqual([synced.changed, synced.newer], [true, false]);
assert.deepEqual(synced.kind, await stored(name));
assert.deepEqual(synced.kind.schema, second.schema());
assert.deepEqual(synced.kind.outputSchema, second.outputSchema());
assert.deepEqual(
  [synced.kind.version, synced.kind.timeoutMs, synced.kind.maxAttempts],
  [2, 60_000, undefined],
);
const [again] = await client.syncKinds([second]);
assert.deepEqual([again.changed, again.newer, again.kind], [false, false, synced.kind]);
await assert.rejects(client.enqueue(name, { first: 7 }), PayloadInvalid);
await client.enqueue(first, { name: "Ada" });

// A program of an older version undoes nothing.
const [left] = await client.syncKinds([first]);
assert.deepEqual([left.changed, left.newer, left.kind.version], [false, true, 2]);
assert.equal((await stored(name)).maxAttempts, undefined);

// What an operator set stays, as far as the declaration does not name it.
const limits = { maxRunning: 20 };
const set = { maxAttempts: 9, slotWeight: 2, limits, annotations: { owner: "post" }, timeoutMs: 5000 };
await client.putKind({ name, ...set, retryPolicy: { minBackoffMs: 3000, maxBackoffMs: 4000 } });
const [{ kind, changed }] = await client.syncKinds([second]);
assert.equal(changed, true);
assert.deepEqual([kind.maxAttempts, kind.slotWeight, kind.limits.maxRunning], [9, 2, 20]);
assert.deepEqual(
  [kind.annotations, kind.retryPolicy.minBackoffMs, kind.timeoutMs],
  [{ owner: "post" }, 3000, 60_000],
);
// A kind that was read and is put loses nothing.
assert.deepEqual(await client.putKind(kind), kind);

// A declaration says how many slots a job takes, and another one that does not say it leaves it.
const heavy = defineKind(`${name}-3`, { slotWeight: 4 });
assert.equal((await client.syncKinds([heavy]))[0].kind.slotWeight, 4);
assert.equal((await client.syncKinds([heavy]))[0].changed, false);
const [kept] = await client.syncKinds([defineKind(heavy.name, {})]);
assert.deepEqual([kept.kind.slotWeight, kept.changed], [4, false]);

// A worker tells its kinds before it takes jobs.
const served = defineKind(`${name}-2`, { version: 3 });
await client.putKind({ name: served.name });
const worker = new Worker(process.argv[2], { syncKinds: true });
worker.handler(served, () => undefined);
const serving = worker.serve();
await client.wait((await client.enqueue(served, 1)).id, { timeoutMs: 60_000 });
assert.equal((await stored(served.name)).version, 3);
worker.stop();
await serving;
client.close();
console.log("the server knows them");
