// Jobs of pg-boss through their life: `main.mjs WORKLOAD JOBS PAYLOAD`.
//
// Workers fetch a batch and complete it in one call each, over and over; its own `work` waits half a second at least when
// a batch came back short. This process stores jobs; workers are processes of their own, since one of Node has one thread.

import { fork } from "node:child_process";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { PgBoss } from "pg-boss";

const QUEUE = "noop";
const BATCH = 100;
const FETCH_BATCH = 500; // 100 is slower by a third
const STORE_BATCH = 1000;
const CALLERS = 8;
const SINGLE_CALLERS = 32;
const WORKERS = 2;
const LOOPS = 4; // of each worker
const IDLE_MS = 5;
const KEYS = 1000; // of `keyed`: a group each, of which one job runs at a time
const connectionString = process.env.DATABASE_URL;

function say(stage, fields = {}) {
  console.log(JSON.stringify({ stage, ...fields }));
}

async function started(max, options = {}) {
  const boss = new PgBoss({ connectionString, max, ...options });
  boss.on("error", (error) => console.error(error));
  await boss.start();
  return boss;
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
async function work(workload) {
  const limits = workload === "keyed" ? { groupConcurrency: 1 } : {};
  const boss = await started(LOOPS, { supervise: false, schedule: false, migrate: false });
  let done = 0;
  const loop = async () => {
    for (;;) {
      const jobs = await boss.fetch(QUEUE, { batchSize: FETCH_BATCH, ...limits });
      if (jobs.length === 0) {
        await sleep(IDLE_MS);
        continue;
      }
      await boss.complete(QUEUE, jobs.map((job) => job.id));
      done += jobs.length;
    }
  };
  process.once("disconnect", () => process.exit(0));
  process.once("message", () => Array.from({ length: LOOPS }, loop));
  setInterval(() => process.send(done), 10);
  process.send(0);
}

async function measure(workload, jobs, payload) {
  const boss = await started(workload === "singles" ? SINGLE_CALLERS : CALLERS);
  await boss.createQueue(QUEUE);
  const data = { pad: "x".repeat(Math.max(0, payload - '{"pad":""}'.length)) };
  let made = 0;
  const next = workload === "keyed" ? () => ({ data, group: { id: `key-${made++ % KEYS}` } }) : () => ({ data });
  const many = (count) => boss.insert(QUEUE, Array.from({ length: count }, next));
  const producers = {
    drain: () => {},
    keyed: () => {},
    continuous: () => share(jobs, BATCH, CALLERS, many),
    singles: () => share(jobs, 1, SINGLE_CALLERS, () => boss.send(QUEUE, data)),
  };
  const counts = Array.from({ length: WORKERS }, () => 0);
  const workers = counts.map(() => fork(import.meta.filename, ["work", workload]));
  await Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("message", resolve))));
  workers.forEach((worker, place) => worker.on("message", (count) => (counts[place] = count)));
  if (workload === "drain" || workload === "keyed") {
    const stored = performance.now();
    await share(jobs, STORE_BATCH, 4, many);
    say("stored", { seconds: (performance.now() - stored) / 1000 });
  }
  const observer = new pg.Client({ connectionString });
  await observer.connect();
  say("ready");

  const begun = performance.now();
  for (const worker of workers) worker.send("go");
  await producers[workload]();
  const produced = (performance.now() - begun) / 1000;
  while (counts.reduce((sum, count) => sum + count, 0) < jobs) await sleep(5);
  const completed = "select count(*) as count from pgboss.job where name = 'noop' and state = 'completed'";
  while (Number((await observer.query(completed)).rows[0].count) < jobs) await sleep(5);
  say("ended", { seconds: (performance.now() - begun) / 1000, produced_after: produced, workers: WORKERS, loops: LOOPS });
  process.exit(0);
}

function versions() {
  const require = createRequire(import.meta.url);
  const found = { node: process.versions.node };
  for (const name of ["pg-boss", "pg"]) found[name] = require(`./node_modules/${name}/package.json`).version;
  console.log(JSON.stringify(found));
}

const [command, jobs, payload] = process.argv.slice(2);
if (command === "versions") versions();
else if (command === "work") await work(jobs);
else await measure(command, Number(jobs), Number(payload));
