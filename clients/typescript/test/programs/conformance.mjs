// The worker under test of `make conformance`; docs/conformance.md specifies its lines.

import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

import { AesGcm, Discard, Encodings, Retry, Snooze, Worker, defineKind } from "@jobqueue/client";
import * as z from "zod";

const typed = defineKind({
  name: "typed",
  payload: z.object({ number: z.int(), unit: z.string().default("one") }),
  output: z.object({ number: z.int(), unit: z.string() }),
  version: 2,
  aliases: ["typed-old"],
  upcasters: { 1: ({ count }) => ({ number: count }) },
});

const key = Uint8Array.from({ length: 32 }, (_, at) => at);
const encrypted = new Encodings([new AesGcm({ conformance: key }, { primary: "conformance" })]);

const holds = new Map();

/** One line for the driver, at once and whole. */
function say(event, fields) {
  process.stdout.write(`${JSON.stringify({ event, ...fields })}\n`);
}

/** What a job waits for; also asked for before or after the job holds. */
function hold(job) {
  let found = holds.get(job);
  if (found === undefined) {
    found = {};
    found.released = new Promise((resolve) => (found.release = resolve));
    holds.set(job, found);
  }
  return found;
}

/** Says that a handler has started; answers how its other lines name the attempt. */
function started(job) {
  const lease = { job: job.id, attempt: job.attempt };
  say("handler_started", {
    ...lease,
    kind: job.kind,
    queue: job.queue,
    payload_sha256: createHash("sha256").update(job.payloadJson).digest("hex"),
    payload_bytes: job.payloadJson.length,
    checkpoint_base64: Buffer.from(job.checkpoint).toString("base64"),
  });
  return lease;
}

function double({ number, unit }, ctx) {
  const lease = started(ctx.job);
  say("handler_ended", lease);
  return { number: 2 * number, unit };
}

async function handle(job, ctx) {
  const lease = started(job);
  try {
    const { steps = [], on_cancel = "stop" } = job.payload;
    let output;
    for (const each of steps) output = await step(job, ctx, lease, each, on_cancel);
    return output;
  } finally {
    say("handler_ended", lease);
  }
}

async function step(job, ctx, lease, said, onCancel) {
  switch (said.do) {
    case "hold":
      return wait(job, ctx, lease, onCancel);
    case "succeed":
      return said.output;
    case "fail":
      if (said.retry_after_s === undefined) throw new Error(said.error);
      throw new Retry(said.error, { afterMs: said.retry_after_s * 1000, pauseKey: said.pause_key });
    case "discard":
      throw new Discard(said.error);
    case "snooze":
      throw new Snooze(said.delay_s * 1000);
    case "progress":
      return ctx.progress(said.fraction, said.message);
    case "checkpoint":
      return ctx.saveCheckpoint(Buffer.from(said.data_base64, "base64"));
    case "die":
      return process.kill(process.pid, "SIGKILL");
    case "follow_up":
      return ctx.followUp({ kind: said.kind, payloadJson: said.payload });
    default:
      throw new Discard(`no such step: ${said.do}`);
  }
}

async function wait(job, ctx, lease, onCancel) {
  const { released } = hold(job.id);
  const stopped = new Promise((resolve) => {
    const tell = () => {
      const { why, message } = ctx.signal.reason;
      say("handler_cancelled", { ...lease, reason: why, words: message });
      resolve(true);
    };
    if (ctx.cancelled) tell();
    else ctx.signal.addEventListener("abort", tell, { once: true });
  });
  if (!(await Promise.race([released, stopped]))) return;
  if (onCancel === "stop") ctx.throwIfCancelled();
  if (onCancel === "ignore") await released;
}

let asked = 0;

function nextToken() {
  asked += 1;
  return `token-${asked}`;
}

function begin(start) {
  const worker = new Worker(start.addresses, {
    queues: start.queues,
    concurrency: start.slots,
    name: start.name,
    labels: start.labels,
    sessionTtlMs: start.session_ttl_s * 1000,
    shutdownGraceMs: start.shutdown_grace_s * 1000,
    stopWhenLost: start.stop_when_lost,
    token: start.tokens ? nextToken : undefined,
    encodings: start.encrypted ? encrypted : undefined,
  });
  for (const kind of start.kinds) worker.handler(kind, handle, { slots: start.slots_by_kind[kind] });
  if (start.typed) worker.handler(typed, double);
  worker.run().then(
    () => end(null, 0),
    (error) => end(`${error.name}: ${error.message}`, 1),
  );
  return worker;
}

function end(error, code) {
  process.stdout.write(`${JSON.stringify({ event: "ended", error })}\n`, () => process.exit(code));
}

/** The status, with the names of the lines. */
function statusOf(status) {
  const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  const fields = Object.entries({ ...status, lastHeard: status.lastHeard ?? null });
  return Object.fromEntries(fields.map(([name, value]) => [snake(name), value]));
}

let worker;
const lines = createInterface({ input: process.stdin });
lines.on("line", (text) => {
  const line = JSON.parse(text);
  if (line.do === "start") worker = begin(line);
  else if (line.do === "release") hold(line.job).release();
  else if (line.do === "pause") worker.pause();
  else if (line.do === "resume") worker.resume();
  else if (line.do === "status") say("status", statusOf(worker.status()));
});
lines.on("close", () => process.exit(3)); // no driver, no worker
