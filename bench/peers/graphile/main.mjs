// Jobs of Graphile Worker through their life: `main.mjs WORKLOAD JOBS PAYLOAD`.
//
// With the batching of its performance page: a local queue of 500, 24 jobs at once on 25 connections, ends gathered and
// written together. This process stores jobs; workers are processes of their own, since one of Node has one thread.

import { fork } from "node:child_process";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { Logger, makeWorkerUtils, run } from "graphile-worker";
import pg from "pg";

const BATCH = 100;
const STORE_BATCH = 5000;
const CALLERS = 8;
const SINGLE_CALLERS = 32;
const WORKERS = 2;
const KEYS = 1000; // of `keyed`: a named queue each, which runs one job at a time
const preset = {
  worker: {
    concurrentJobs: 24,
    maxPoolSize: 25,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
  },
};
const logger = new Logger(() => (level, message) => {
  if (level === "error" || level === "warning") console.error(message);
});
const connectionString = process.env.DATABASE_URL;

function say(stage, fields = {}) {
  console.log(JSON.stringify({ stage, ...fields }));
}

async function connected(max) {
  const pool = new pg.Pool({ connectionString, max });
  // A connection that goes away says so here; without a listener that would end the process.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  const clients = await Promise.all(Array.from({ length: max }, () => pool.connect()));
  for (const client of clients) client.release();
  return pool;
}

/** Hands out `jobs` in portions to callers at work side by side. */
async function share(jobs, size, callers, insert) {
  let left = jobs;
  const caller = async () => {
    while (left > 0) {
      const count = Math.min(size, left);
      left -= count;
      await insert(count);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

/** A worker: works from the word `go` on, and tells how many it has done. */
async function work() {
  const pgPool = await connected(preset.worker.maxPoolSize);
  let done = 0;
  const taskList = {
    noop: () => {
      done += 1;
    },
  };
  process.once("disconnect", () => process.exit(0));
  process.once("message", () => run({ pgPool, preset, taskList, logger, noHandleSignals: true }));
  setInterval(() => process.send(done), 10);
  process.send(0);
}

async function measure(workload, jobs, payload) {
  const pool = await connected(workload === "singles" ? SINGLE_CALLERS : CALLERS);
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  const spec = { identifier: "noop", payload: { pad: "x".repeat(Math.max(0, payload - '{"pad":""}'.length)) } };
  let made = 0;
  const next = workload === "keyed" ? () => ({ ...spec, queueName: `key-${made++ % KEYS}` }) : () => spec;
  const many = (count) => utils.addJobs(Array.from({ length: count }, next));
  const producers = {
    drain: () => {},
    keyed: () => {},
    continuous: () => share(jobs, BATCH, CALLERS, many),
    singles: () => share(jobs, 1, SINGLE_CALLERS, () => utils.addJob(spec.identifier, spec.payload)),
  };
  const counts = Array.from({ length: WORKERS }, () => 0);
  const workers = counts.map(() => fork(import.meta.filename, ["work"]));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  workers.forEach((worker, place) => worker.on("message", (count) => (counts[place] = count)));
  if (workload === "drain" || workload === "keyed") {
    const stored = performance.now();
    await share(jobs, STORE_BATCH, 2, many);
    say("stored", { seconds: (performance.now() - stored) / 1000 });
  }
  say("ready");

  const started = performance.now();
  for (const worker of workers) worker.send("go");
  await producers[workload]();
  const produced = (performance.now() - started) / 1000;
  while (counts.reduce((sum, count) => sum + count, 0) < jobs) await sleep(5);
  // A job that has ended is deleted.
  const left = "select exists (select from graphile_worker._private_jobs) as some";
  while ((await pool.query(left)).rows[0].some) await sleep(5);
  say("ended", { seconds: (performance.now() - started) / 1000, produced_after: produced, workers: WORKERS });
  process.exit(0);
}

function versions() {
  const require = createRequire(import.meta.url);
  const found = { node: process.versions.node };
  for (const name of ["graphile-worker", "pg"]) found[name] = require(`./node_modules/${name}/package.json`).version;
  console.log(JSON.stringify(found));
}

const [command, jobs, payload] = process.argv.slice(2);
if (command === "versions") versions();
else if (command === "work") await work();
else await measure(command, Number(jobs), Number(payload));
