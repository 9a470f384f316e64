/** A server that answers HTTP/1 where HTTP/2 was expected: the HTTP port, or a proxy. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import type { TestContext } from "node:test";

import { Client, Worker } from "../src/index.js";

// Not this process: what is looked at is whether it lives.
const INDEX = new URL("../src/index.js", import.meta.url).href;

/** The address of what answers HTTP/1 to everything. */
async function proxy(t: TestContext): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Runs a program in a process of its own: its exit code, and what it said. */
async function ran(address: string, program: string): Promise<[code: number | null, said: string]> {
  const head = `import { Client, Worker } from ${JSON.stringify(INDEX)}; const address = "${address}";`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", head + program]);
  let said = "";
  for (const pipe of [child.stdout, child.stderr]) pipe.on("data", (data) => (said += String(data)));
  const [code] = (await once(child, "close")) as [number | null];
  return [code, said];
}

test("a worker whose address answers HTTP/1 goes on trying, and is stopped as any other", async (t) => {
  const address = await proxy(t);
  const [code, said] = await ran(
    address,
    `const worker = new Worker(address).handler("work", () => undefined);
     setTimeout(() => worker.stop({ graceMs: 0 }), 1500);
     await worker.run();
     console.log("stopped");`,
  );
  assert.equal(code, 0, said);
  assert.match(said, /can't reach .*; trying again until a server answers/);
  assert.match(said, /stopped/);
});

test("a client whose call was answered by HTTP/1 can be closed at once", async (t) => {
  const address = await proxy(t);
  const [code, said] = await ran(
    address,
    `const client = new Client(address);
     await client.enqueue("work", 1).catch((error) => console.log("failed: " + error.name));
     client.close();
     setTimeout(() => console.log("lives"), 200);`,
  );
  assert.equal(code, 0, said);
  assert.match(said, /failed: Unavailable\nlives/);
});

test("a client and a worker that reach the HTTP port are told of the other one", async (t) => {
  const address = await proxy(t);
  const hint =
    "; this may be the HTTP port (gRPC has another one, 50051 unless told otherwise), or one that speaks TLS";
  const client = new Client(address);
  t.after(() => client.close());
  await assert.rejects(client.enqueue("work", 1), { message: `Protocol error${hint}` });
  await assert.rejects(client.enqueue("work", 1), { message: "Protocol error" });
  const said: string[] = [];
  const log = (line: string): void => void (said.push(line), worker.stop({ graceMs: 0 }));
  const worker = new Worker(address, { logger: { info: log, warn: log, error: log } });
  await worker.handler("work", () => undefined).serve();
  assert.ok(said[0]?.startsWith(`can't reach ${address}: Protocol error${hint}`), said[0]);
});
