/** Kinds that a program tells a server. What a real server makes of it is in `programs/sync.mjs`. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Code, ConnectError } from "@connectrpc/connect";
import * as z from "zod";

import { Client, NotAllowed, NotSupported, Worker, defineKind } from "../src/index.js";
import type { PutKindRequest } from "../src/gen/jobqueue/v1/queue_admin_pb.js";
import { ScriptedServer } from "./scripted.js";

const mail = defineKind({
  name: "mail",
  payload: z.object({ to: z.string() }),
  output: z.object({ id: z.string() }),
  version: 2,
  timeoutMs: 60_000,
});
const other = defineKind("other", { maxAttempts: 5, retryPolicy: { minBackoffMs: 5 }, queue: "q" });
const heavy = defineKind("heavy", { slotWeight: 4 });
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };

test("what a declaration names is sent, and nothing is said of the rest", async (t) => {
  const requests: PutKindRequest[] = [];
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      putKind: (request) => {
        requests.push(request);
        return { kind: request.kind!, unchanged: false };
      },
    },
  );
  const client = new Client(server.address);
  const [synced] = await client.syncKinds([mail, other, heavy]);
  assert.deepEqual(
    requests.map(({ updateMask, onlyNewer }) => [updateMask?.paths, onlyNewer]),
    [
      [["version", "schema", "output_schema", "timeout"], true],
      // It has types alone, so that a schema which another program has told stays.
      [["version", "max_attempts", "retry_policy"], true],
      [["version", "slot_weight"], true],
    ],
  );
  assert.deepEqual(
    requests.map(({ kind }) => kind?.slotWeight),
    [0, 0, 4],
  );
  assert.deepEqual([synced?.changed, synced?.newer, synced?.kind.version], [true, false, 2]);
  assert.deepEqual(synced?.kind.schema, mail.schema());
  assert.deepEqual(synced?.kind.outputSchema, mail.outputSchema());
  client.close();
});

test("a server that is too old for it is named", async (t) => {
  const server = await ScriptedServer.start(t, {}, {}, { putKind: () => ({ kind: { name: "mail" } }) });
  const client = new Client(server.address);
  const words = /the server is older than syncKinds: it replaced all that was declared of the kind mail/;
  await assert.rejects(client.syncKinds([mail]), (error) => {
    return error instanceof NotSupported && words.test(error.message);
  });
  client.close();
});

test("a worker tells its typed kinds before it takes jobs, where it is told to", async (t) => {
  for (const syncKinds of [true, false]) {
    const put: string[] = [];
    const server = await ScriptedServer.start(
      t,
      {},
      {},
      {
        putKind: ({ kind }) => {
          put.push(kind?.name ?? "");
          return { kind: { ...kind! } };
        },
      },
    );
    const worker = new Worker(server.address, { syncKinds, logger: quiet })
      .handler(mail, () => ({ id: "1" }))
      .handler("untyped", () => undefined);
    void server.serve(worker);
    await server.accept();
    assert.deepEqual(put, syncKinds ? ["mail"] : []);
  }
});

test("a worker that waits for a server to tell it its kinds can be stopped", async () => {
  const lines: string[] = [];
  let said: () => void;
  const waits = new Promise<void>((resolve) => (said = resolve));
  const warn = (line: string): void => {
    lines.push(line);
    said();
  };
  const worker = new Worker("127.0.0.1:1", { syncKinds: true, logger: { ...quiet, warn } });
  worker.handler(mail, () => ({ id: "1" }));
  const serving = worker.serve();
  await assert.rejects(worker.serve(), /the worker serves already/);
  await waits;
  assert.match(lines[0] ?? "", /^the kinds are not synced with 127.0.0.1:1 yet: /);
  assert.equal(worker.status().state, "starting");
  assert.match(worker.status().lastError, /^127.0.0.1:1: /);
  worker.stop();
  await serving;
  assert.equal(worker.status().state, "ended");
});

test("a worker that may not tell its kinds ends with the reason", async (t) => {
  const server = await ScriptedServer.start(
    t,
    {},
    {},
    {
      putKind: () => {
        throw new ConnectError("OPERATE on mail is wanted", Code.PermissionDenied);
      },
    },
  );
  const worker = new Worker(server.address, { syncKinds: true, logger: quiet });
  worker.handler(mail, () => ({ id: "1" }));
  await assert.rejects(worker.serve(), NotAllowed);
  assert.equal(worker.status().state, "refused");
});
