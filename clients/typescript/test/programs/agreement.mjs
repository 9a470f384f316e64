// Performs each handler of tests/testing_kit/handlers.json alone, and by a worker of a real server, and holds both against
// each other and against the table. The server is found as that of any test is.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

import {
  AesGcm,
  Cancelled,
  Client,
  Discard,
  Encodings,
  JsonText,
  Retry,
  Snooze,
  Worker,
  defineKind,
} from "@jobqueue/client";
import { perform, testScope } from "@jobqueue/client/testing";
import * as z from "zod";

class Unwilling extends Error {
  name = "Unwilling";
}

const TABLE = new URL("../../../../tests/testing_kit/handlers.json", import.meta.url);
const rows = JSON.parse(readFileSync(TABLE, "utf8")).handlers.filter(
  (row) => !row.except?.typescript?.left_out,
);
const encodings = new Encodings([
  new AesGcm({ a: Uint8Array.from({ length: 32 }, (_, n) => n) }, { primary: "a" }),
]);
const logger = { info: () => undefined, warn: () => undefined, error: () => undefined };
const text = (bytes) => new TextDecoder().decode(bytes);
const halving = {
  payload: z.object({ number: z.number() }),
  output: z.object({ half: z.number() }),
  version: 2,
  upcasters: { 1: ({ n }) => ({ number: n }) },
};

/** Does a step. Undefined: there is another one. */
function done(job, ctx, [step, first, second]) {
  switch (step) {
    case "return":
      return first;
    case "payload":
      return new JsonText(job.payloadJson);
    case "echo": {
      const { payload, attempt, failures, isLastAttempt: last, key, labels } = job;
      return { payload, attempt, failures, last, checkpoint: text(job.checkpoint), key, labels };
    }
    case "raise":
      throw new Unwilling(first);
    case "raise_long":
      throw new Unwilling("é".repeat(first));
    case "break":
      throw first;
    case "retry":
      throw new Retry(first, { afterMs: second * 1000, cause: new Unwilling(first) });
    case "discard":
      throw new Discard(first, { cause: new Unwilling(first) });
    case "snooze":
      throw new Snooze(first * 1000);
    case "give_up":
      throw new Cancelled();
    case "no_json":
      return 5n;
    case "return_long":
      return "x".repeat(first - 2);
    case "follow_up": {
      const { delay = 0, ...next } = first;
      return ctx.followUp({ ...next, queue: job.kind, delayMs: delay * 1000 });
    }
    case "follow_ups":
      for (let each = 0; each < first; each += 1) ctx.followUp({ kind: "next", queue: job.kind });
      return undefined;
    case "progress":
      return ctx.progress(first);
    case "checkpoint":
      return ctx.saveCheckpoint(new TextEncoder().encode(first));
    case "checkpoint_long":
      return ctx.saveCheckpoint(new Uint8Array(first));
    case "stop":
      return ctx.throwIfCancelled();
    case "time_left":
      return ctx.remainingMs > 0 && ctx.remainingMs <= 60_000;
    default:
      throw new Error(`no step: ${step}`);
  }
}

/** The handlers of a row: one that answers a value, and one that answers a promise. The first can't be told to stop. */
function handlersOf(row) {
  const { typed, does, stop } = row;
  if (typed) {
    const halves = ({ number }) => ({ half: number / 2 });
    return { sync: halves, async: async (payload) => halves(payload) };
  }
  const sync = (job, ctx) => {
    for (const step of does[job.attempt - 1]) {
      const output = done(job, ctx, step);
      if (output !== undefined) return output;
    }
    return undefined;
  };
  const told = async (job, ctx) => {
    for (const [step, first, second] of does[job.attempt - 1]) {
      if (step.startsWith("told")) {
        ctx.progress(first, step === "told" ? second : "é".repeat(second));
        await new Promise((resolve) => ctx.signal.addEventListener("abort", resolve));
        continue;
      }
      const output = done(job, ctx, [step, first, second]);
      if (output !== undefined) return output;
    }
    return undefined;
  };
  return stop ? { async: told } : { sync, async: async (job, ctx) => sync(job, ctx) };
}

/** Does what `around` of a row says. */
function around(says) {
  return {
    async handle(job, ctx, next) {
      if (says === "raises") throw new Unwilling("of no tenant");
      if (says === "answers") return "instead";
      const output = await next();
      if (says === "raises_after") throw new Unwilling("too late");
      return says === "changes" ? { was: output } : output;
    },
    enqueue: (jobs, next) =>
      next(jobs.map((job) => ({ ...job, labels: { ...job.labels, of: `${jobs.length}` } }))),
  };
}

/** Whole hours, in seconds: a server adds up to a tenth to a retry. 0: less than one. */
const hours = (ms = 0) => Math.trunc(ms / 3_600_000) * 3600 || 0;

function jobOf({ row }) {
  const { max_attempts: maxAttempts = 1, timeout, ...said } = row.job ?? {};
  return { maxAttempts, ...said, ...(timeout && { timeoutMs: timeout * 1000 }) };
}

async function alone(of) {
  const { row, kind, handler } = of;
  const said = {
    ...jobOf(of),
    kind: of.typed ?? kind,
    catch: true,
    withinMs: 60_000,
    ...(row.around && { middleware: [around(row.around)] }),
    ...(row.stop && { stop: row.stop, stopAt: 1 }),
  };
  const subject = row.encoded
    ? new Worker("127.0.0.1:1", { encodings, logger }).handler(kind, handler)
    : handler;
  let came = await perform(subject, new JsonText(row.payload_text ?? "null"), said);
  for (const _ of row.does.slice(1)) came = await came.again();
  const again = came.outcome === "failed" && came.failures + 1 < said.maxAttempts;
  return {
    outcome: came.outcome,
    output: came.outputJson ?? "",
    error: came.error,
    errorType: came.errorType,
    after: hours(came.delayMs ?? (again ? came.retryAfterMs : 0)),
    progress: row.stop && { ...came.progress[0] },
    next: came.followUps.map((each) => ({
      kind: each.kind,
      payload: each.payloadJson ?? "null",
      labels: { ...each.labels },
      after: hours(each.delayMs),
    })),
  };
}

const ENDINGS = {
  SUCCEEDED: () => "succeeded",
  FAILED_PERMANENT: ({ reason }) => ({ ATTEMPTS_EXHAUSTED: "failed", NOT_RETRYABLE: "discarded" })[reason],
  // What an attempt that was to stop has failed with is kept, but there is no next one.
  CANCELLED: ({ failedAttempts }) => (failedAttempts.length > 0 ? "failed" : "cancelled"),
  RETRYING: () => "failed",
  QUEUED: ({ runAt, updatedAt }) => (runAt > updatedAt ? "snoozed" : "released"),
};

async function until(client, id, holds) {
  for (const ends = Date.now() + 60_000; ;) {
    const job = await client.get(id);
    if (holds(job)) return job;
    assert.ok(Date.now() < ends, `${job.kind} is still ${job.status}`);
    await sleep(20);
  }
}

async function there({ row, client, id }, leaving) {
  let progress;
  if (row.stop) {
    ({ progress } = await until(client, id, (job) => job.progress !== undefined));
    if (row.stop === "cancel") await client.cancel(id);
    else leaving.stop({ graceMs: 0 });
  }
  const attempts = row.does.length;
  const over = (job) => job.isTerminal || (job.attempts >= attempts && job.status !== "RUNNING");
  const job = await until(client, id, over);
  const outcome = ENDINGS[job.status](job);
  const failed = ["failed", "discarded"].includes(outcome) ? job.failedAttempts.at(-1) : undefined;
  const next = [];
  for await (const each of client.list({ queue: job.kind, full: true })) {
    const { kind, labels } = each;
    const after = hours(each.runAt - each.createdAt);
    next.push({ kind, payload: text(each.payloadJson), labels: { ...labels }, after });
  }
  return {
    outcome,
    output: job.outputJson === undefined ? "" : text(job.outputJson),
    error: failed?.error ?? "",
    errorType: failed?.errorType ?? "",
    after: job.isTerminal ? 0 : hours(job.runAt - job.createdAt),
    progress: progress && { fraction: progress.fraction, message: progress.message },
    next,
  };
}

/** What the table would say of it, by the names of what it does. */
function inTable(found, wanted) {
  const bytes = (words) => Buffer.byteLength(words);
  const named = {
    outcome: found.outcome,
    output: found.output === "" ? null : JSON.parse(found.output),
    output_text: found.output,
    output_bytes: bytes(found.output),
    error: found.error,
    error_ends: found.error.slice(-wanted.error_ends?.length),
    error_type: found.errorType.toLowerCase(),
    after: found.after,
    progress: found.progress && [found.progress.fraction, bytes(found.progress.message)],
    follow_ups: found.next.map(({ payload, labels }) => ({ payload: JSON.parse(payload), labels })),
  };
  return Object.fromEntries(Object.keys(wanted).map((name) => [name, named[name]]));
}

const without = ({ why: _, alone: __, ...wanted }) => wanted;

const scope = await testScope();
const { target, key: token } = scope;
const sealing = new Client(target, { token, encodings });
// Those with middleware of their own have a worker each, and so has the one that leaves.
const workers = new Map();
const cases = [];
const kinds = new Set(["next"]);
for (const row of rows) {
  const name = row.around ?? (row.encoded ? "encoding" : row.stop === "shutdown" ? "leaving" : "plain");
  if (!workers.has(name)) {
    const middleware = row.around ? [around(row.around)] : [];
    const said = { token, logger, middleware, ...(row.encoded && { encodings }) };
    workers.set(name, new Worker(target, said));
  }
  for (const [style, handler] of Object.entries(handlersOf(row))) {
    const kind = `${style}.${row.typed ? "halves" : row.name}`;
    const typed = row.typed && defineKind({ name: kind, ...halving });
    if (!kinds.has(kind)) workers.get(name).handler(typed ?? kind, handler);
    kinds.add(kind);
    cases.push({ row, kind, typed, handler, client: row.encoded ? sealing : scope.client });
  }
}
for (const name of kinds) await scope.client.putKind({ name });
const served = [...workers.values()].map((worker) => worker.serve());
for (const each of cases) {
  const payload = new JsonText(each.row.payload_text ?? "null");
  each.id = (await each.client.enqueue(each.kind, payload, jobOf(each))).id;
}
const wrong = [];
for (const each of cases) {
  const { row, kind } = each;
  const [byWorker, byItself] = [await there(each, workers.get("leaving")), await alone(each)];
  const otherwise = row.except?.typescript;
  const aloneWanted = otherwise?.alone ?? row.alone;
  const wanted = { ...row.comes_to, ...otherwise };
  const pairs = [
    [inTable(byWorker, without(wanted)), without(wanted), "by a worker"],
    [inTable(byItself, without(aloneWanted ?? wanted)), without(aloneWanted ?? wanted), "alone"],
  ];
  if (aloneWanted === undefined) pairs.push([byWorker, byItself, "by a worker"]);
  for (const [found, other, who] of pairs) {
    try {
      assert.deepEqual(found, other);
    } catch {
      const shown = [found, other].map((value) => JSON.stringify(value).slice(0, 1000));
      wrong.push(`${kind} ${who}: ${shown.join(", not ")}`);
    }
  }
}
for (const worker of workers.values()) worker.stop({ graceMs: 0 });
await Promise.all(served);
sealing.close();
await scope.close();
console.log(wrong.join("\n") || `${cases.length} handlers came to the same`);
