// The program of the bench's gates `handlers` and `kits`, which bench/programs.py specifies: a worker whose handler reads its
// payload and answers it, and what the test kit takes.
//
//     node handlers.mjs plain|typed|middleware|encoded SERVER
//     node handlers.mjs kit

import assert from "node:assert/strict";

import { AesGcm, Encodings, Worker, Zstd, defineKind } from "@jobqueue/client";
import { TestScope, TestServer, perform } from "@jobqueue/client/testing";
import * as z from "zod";

const SLOTS = 1000;
const [SCOPES, PERFORMED, SUITE] = [20, 200, 100];

const order = defineKind({
  name: "typed",
  payload: z.object({
    id: z.int(),
    customer: z.string(),
    paid: z.boolean(),
    lines: z.array(z.string()),
    note: z.string(),
  }),
  output: z.object({ id: z.int(), lines: z.int() }),
});

const total = ({ id, lines }) => ({ id, lines: lines.length });

/** A handler of a kind without types. */
const plain = async (job) => total(job.payload);

/** The handler of `order`. */
const typed = async (given) => total(given);

/** Goes around, and does nothing. */
const nothing = () => ({ handle: (job, ctx, next) => next() });

/** Compression and encryption, of payloads of any size. Zstd needs Node 22.15. */
function encodings() {
  const key = Uint8Array.from({ length: 32 }, (_, number) => number);
  return new Encodings([new Zstd({ over: 0 }), new AesGcm({ bench: key }, { primary: "bench" })]);
}

/** The workers by their ways. The kind has the way's name. */
const workers = {
  plain: (server) => new Worker(server, { concurrency: SLOTS }).handler("plain", plain),
  typed: (server) => new Worker(server, { concurrency: SLOTS }).handler(order, typed),
  middleware: (server) =>
    new Worker(server, { concurrency: SLOTS, middleware: [nothing(), nothing(), nothing()] }).handler(
      "middleware",
      plain,
    ),
  encoded: (server) =>
    new Worker(server, { concurrency: SLOTS, encodings: encodings() }).handler("encoded", plain),
};

const twice = async (job) => ({ twice: 2 * job.payload.number });

async function withOneJob(server) {
  const scope = await TestScope.open(server);
  try {
    await scope.client.putKind({ name: "twice" });
    await scope.client.enqueue("twice", { number: 21 });
    const worker = new Worker("127.0.0.1:1").handler("twice", twice);
    const { ended } = await scope.runUntilIdle(worker);
    assert.deepEqual(
      ended.map((job) => job.output),
      [{ twice: 42 }],
    );
  } finally {
    await scope.close();
  }
}

/** How many seconds it takes. */
async function seconds(what) {
  const began = performance.now();
  await what();
  return (performance.now() - began) / 1000;
}

function median(values) {
  const sorted = values.toSorted((one, other) => one - other);
  const half = sorted.length / 2;
  return (sorted[Math.ceil(half) - 1] + sorted[Math.floor(half)]) / 2;
}

/** Seconds by what is measured. */
async function measure() {
  let server;
  const start = await seconds(async () => (server = await TestServer.start()));
  try {
    const scopes = [];
    for (let count = 0; count < SCOPES; count++) {
      scopes.push(await seconds(async () => (await TestScope.open(server)).close()));
    }
    const performed = await seconds(async () => {
      for (let number = 0; number < PERFORMED; number++) {
        const done = await perform(twice, { number });
        assert.deepEqual(done.output, { twice: 2 * number });
      }
    });
    const suite = await seconds(async () => {
      for (let count = 0; count < SUITE; count++) await withOneJob(server);
    });
    const close = await seconds(() => server.close());
    return { start, scope: median(scopes), perform: performed, scopes: suite, close };
  } finally {
    await server.close();
  }
}

const [way, server] = process.argv.slice(2);
if (way === "kit") console.log(JSON.stringify(await measure()));
else await workers[way](server).run();
