/** Which calls are made again while no server answers. */

import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Client, NotSupported, Unavailable } from "../src/index.js";
import { ScriptedServer } from "./scripted.js";

const SPEC = { cron: "@daily" };
const JOB = { kind: "work", payload: 1 };
const [START, END] = [new Date("2026-01-01T00:00:00Z"), new Date("2026-01-02T00:00:00Z")];

const FILTER = { queue: "mail" };

type Asked = (client: Client) => Promise<unknown>;

const AGAIN: Record<string, Asked> = {
  "schedules.get": (client) => client.schedules.get("s"),
  "schedules.list": (client) => client.schedules.list().next(),
  "schedules.update": (client) => client.schedules.update("s", { spec: SPEC }),
  "schedules.pause": (client) => client.schedules.pause("s"),
  "schedules.resume": (client) => client.schedules.resume("s"),
  "schedules.run, by its id": (client) => client.schedules.run("s", { requestId: "r" }),
  "schedules.backfill, by its id": (client) => client.schedules.backfill("s", START, END, { requestId: "r" }),
  "schedules.backfill that counts": (client) =>
    client.schedules.backfill("s", START, END, { validateOnly: true }),
  "schedules.runs": (client) => client.schedules.runs("s").next(),
  "schedules.preview": (client) => client.schedules.preview(SPEC),
  "retryJobs that counts": (client) => client.retryJobs(FILTER),
  "cancelJobs that counts": (client) => client.cancelJobs(FILTER),
  "deleteJobs that counts": (client) => client.deleteJobs(FILTER),
  "updateJobs that counts": (client) => client.updateJobs(FILTER, { priority: 1 }),
  "retryJobs, by its id": (client) => client.retryJobs(FILTER, { force: true, requestId: "r" }),
  overview: (client) => client.overview(),
  watchOverview: (client) => client.watchOverview().next(),
  stats: (client) => client.stats(),
  countJobs: (client) => client.countJobs(),
  listServers: (client) => client.listServers(),
  listWorkers: (client) => client.listWorkers(),
  getWorker: (client) => client.getWorker("1"),
  drainWorker: (client) => client.drainWorker("1"),
  getOperation: (client) => client.getOperation("operations/1"),
  listOperations: (client) => client.listOperations(),
  waitOperation: (client) => client.waitOperation("operations/1", { timeoutMs: 0 }),
  cancelOperation: (client) => client.cancelOperation("operations/1"),
};

const ONCE: Record<string, Asked> = {
  "schedules.create": (client) => client.schedules.create("s", SPEC, JOB),
  "schedules.update, by its etag": (client) => client.schedules.update("s", { spec: SPEC }, { etag: "e" }),
  "schedules.delete": (client) => client.schedules.delete("s"),
  "schedules.run": (client) => client.schedules.run("s"),
  "schedules.backfill": (client) => client.schedules.backfill("s", START, END),
  retryJobs: (client) => client.retryJobs(FILTER, { force: true }),
  cancelJobs: (client) => client.cancelJobs(FILTER, { force: true }),
  deleteJobs: (client) => client.deleteJobs(FILTER, { force: true }),
  updateJobs: (client) => client.updateJobs(FILTER, { force: true, priority: 1 }),
  deleteOperation: (client) => client.deleteOperation("operations/1"),
};

test("what does no harm when it is done twice is asked again where no server answers, and all else once", async (t) => {
  const calls: string[] = [];
  // The first call is answered UNAVAILABLE, the second UNIMPLEMENTED.
  const server = http2.createServer((request, response) => {
    calls.push(request.url);
    const status = calls.length === 1 ? "14" : "12";
    response.writeHead(200, {
      "content-type": "application/grpc",
      "grpc-status": status,
      "grpc-message": "no",
    });
    response.end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = new Client(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.after(() => {
    client.close();
    server.close();
  });
  for (const [asked, tries, error] of [
    [AGAIN, 2, NotSupported],
    [ONCE, 1, Unavailable],
  ] as const) {
    for (const [name, ask] of Object.entries(asked)) {
      calls.length = 0;
      await assert.rejects(ask(client), error, name);
      assert.equal(calls.length, tries, name);
      assert.equal(new Set(calls).size, 1);
    }
  }
});

test("an answer without an overview ends the loop, as no other would come", async (t) => {
  let streams = 0;
  const server = await ScriptedServer.start(
    t,
    {},
    {
      async *watchOverview() {
        streams += 1;
        yield {};
      },
    },
  );
  const client = new Client(server.address);
  await assert.rejects(client.watchOverview({ deadlineMs: 1000 }).next(), {
    name: "TypeError",
    message: "the server answered no overview",
  });
  client.close();
  assert.equal(streams, 1);
});
