/** Which calls are made again while no server answers, and when they give up. */

import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Client, Unavailable } from "../src/index.js";

const SPEC = { cron: "@daily" };
const JOB = { kind: "work", payload: 1 };
const [START, END] = [new Date("2026-01-01T00:00:00Z"), new Date("2026-01-02T00:00:00Z")];

const FILTER = { queue: "mail" };

type Asked = (client: Client, options: { deadlineMs: number }) => Promise<unknown>;

const AGAIN: Record<string, Asked> = {
  "schedules.get": (client, call) => client.schedules.get("s", call),
  "schedules.list": (client, call) => client.schedules.list(call).next(),
  "schedules.update": (client, call) => client.schedules.update("s", { spec: SPEC }, call),
  "schedules.pause": (client, call) => client.schedules.pause("s", call),
  "schedules.resume": (client, call) => client.schedules.resume("s", call),
  "schedules.run, by its id": (client, call) => client.schedules.run("s", { requestId: "r", ...call }),
  "schedules.backfill, by its id": (client, call) =>
    client.schedules.backfill("s", START, END, { requestId: "r", ...call }),
  "schedules.backfill that counts": (client, call) =>
    client.schedules.backfill("s", START, END, { validateOnly: true, ...call }),
  "schedules.runs": (client, call) => client.schedules.runs("s", call).next(),
  "schedules.preview": (client, call) => client.schedules.preview(SPEC, call),
  "retryJobs that counts": (client, call) => client.retryJobs(FILTER, call),
  "cancelJobs that counts": (client, call) => client.cancelJobs(FILTER, call),
  "deleteJobs that counts": (client, call) => client.deleteJobs(FILTER, call),
  "updateJobs that counts": (client, call) => client.updateJobs(FILTER, { priority: 1, ...call }),
  "retryJobs, by its id": (client, call) =>
    client.retryJobs(FILTER, { force: true, requestId: "r", ...call }),
  overview: (client, call) => client.overview(call),
  watchOverview: (client, call) => client.watchOverview(call).next(),
  stats: (client, call) => client.stats(call),
  countJobs: (client, call) => client.countJobs(call),
  listServers: (client, call) => client.listServers(call),
  listWorkers: (client, call) => client.listWorkers(call),
  getWorker: (client, call) => client.getWorker("1", call),
  drainWorker: (client, call) => client.drainWorker("1", call),
  getOperation: (client, call) => client.getOperation("operations/1", call),
  listOperations: (client, call) => client.listOperations(call),
  cancelOperation: (client, call) => client.cancelOperation("operations/1", call),
};

const ONCE: Record<string, Asked> = {
  "schedules.create": (client, call) => client.schedules.create("s", SPEC, JOB, call),
  "schedules.update, by its etag": (client, call) =>
    client.schedules.update("s", { spec: SPEC }, { etag: "e", ...call }),
  "schedules.delete": (client, call) => client.schedules.delete("s", call),
  "schedules.run": (client, call) => client.schedules.run("s", call),
  "schedules.backfill": (client, call) => client.schedules.backfill("s", START, END, call),
  retryJobs: (client, call) => client.retryJobs(FILTER, { force: true, ...call }),
  cancelJobs: (client, call) => client.cancelJobs(FILTER, { force: true, ...call }),
  deleteJobs: (client, call) => client.deleteJobs(FILTER, { force: true, ...call }),
  updateJobs: (client, call) => client.updateJobs(FILTER, { force: true, priority: 1, ...call }),
  deleteOperation: (client, call) => client.deleteOperation("operations/1", call),
};

test("what does no harm when it is done twice is asked again until its deadline, and all else once", async (t) => {
  const calls: string[] = [];
  // Every call is answered so: UNAVAILABLE.
  const server = http2.createServer((request, response) => {
    calls.push(request.url);
    response.writeHead(200, {
      "content-type": "application/grpc",
      "grpc-status": "14",
      "grpc-message": "away",
    });
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = new Client(`127.0.0.1:${(server.address() as AddressInfo).port}`, { deadlineMs: 300 });
  t.after(() => {
    client.close();
    server.close();
  });
  for (const [asked, again] of [
    [AGAIN, true],
    [ONCE, false],
  ] as const) {
    for (const [name, ask] of Object.entries(asked)) {
      calls.length = 0;
      await assert.rejects(ask(client, { deadlineMs: 300 }), Unavailable, name);
      assert.equal(calls.length > 1, again, `${name} was asked ${calls.length} times`);
      assert.equal(new Set(calls).size, 1);
    }
  }
  // A wait has the time that it waits, and then a call's.
  calls.length = 0;
  await assert.rejects(client.waitOperation("operations/1", { timeoutMs: 0 }), Unavailable);
  assert.ok(calls.length > 1);
});
