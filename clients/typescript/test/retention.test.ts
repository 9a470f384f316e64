/** How long a queue of a real server keeps jobs that ended. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { EtagMismatch, InvalidRequest } from "../src/index.js";
import { testScope } from "../src/testing/index.js";

const HOUR_MS = 3_600_000;

test("a queue is told how long to keep jobs, by the status of their end, and what is not given stays", async () => {
  await using scope = await testScope();
  const { client } = scope;
  const whole = { succeededMs: 24 * HOUR_MS, failedPermanentMs: 720 * HOUR_MS, cancelledMs: undefined };
  const made = await client.updateQueue("mail", {}, { retention: whole, maxWaiting: 5, allowMissing: true });
  assert.deepEqual(made.retention, whole);
  assert.deepEqual((await client.getQueue("mail")).retention, whole);
  const retention = { succeededMs: 99 * HOUR_MS, cancelledMs: HOUR_MS };
  const part = { retention, retentionFields: ["cancelled"] };
  const changed = await client.updateQueue("mail", undefined, part);
  assert.deepEqual([changed.retention, changed.maxWaiting], [{ ...whole, cancelledMs: HOUR_MS }, 5]);
  assert.notEqual(changed.etag, made.etag);
  // What is named and not given is set back.
  const back = await client.updateQueue("mail", undefined, { retention: {}, retentionFields: ["succeeded"] });
  assert.equal(back.retention?.succeededMs, undefined);
  assert.equal(back.retention?.cancelledMs, HOUR_MS);
  const [other] = (await client.listQueues()).filter((each) => each.name === "mail");
  assert.deepEqual(other?.retention, back.retention);
  const limited = await client.updateQueue("mail", undefined, { limits: { maxRunning: 3 } });
  assert.deepEqual(limited.retention, back.retention);
  assert.equal((await client.updateQueue("mail", undefined, { retention: {} })).retention, undefined);
});

test("what is wrong is told by its own error", async () => {
  await using scope = await testScope();
  const { client } = scope;
  const { etag } = await client.updateQueue(
    "mail",
    {},
    { retention: { succeededMs: HOUR_MS }, allowMissing: true },
  );
  const retention = { succeededMs: 2 * HOUR_MS };
  await client.updateQueue("mail", undefined, { retention, etag });
  await assert.rejects(client.updateQueue("mail", undefined, { retention: {}, etag }), EtagMismatch);
  await assert.rejects(
    client.updateQueue("mail", undefined, { retention: { cancelledMs: 1000 } }),
    (thrown) => {
      assert.ok(thrown instanceof InvalidRequest);
      assert.deepEqual(
        thrown.violations.map((each) => each.field),
        ["queue.retention.cancelled"],
      );
      return true;
    },
  );
  await assert.rejects(
    client.updateQueue("mail", undefined, { retention: { cancelledMs: NaN } }),
    /retention\.cancelledMs/,
  );
  assert.equal((await client.getQueue("mail")).retention?.succeededMs, 2 * HOUR_MS);
});
