/** One attempt of one job in this process: the worker's own way from a leased job to an outcome. */

import { create } from "@bufbuild/protobuf";

import { timers, today } from "../clock.js";
import { duration, timestamp } from "../convert.js";
import { LeasedJobSchema } from "../gen/jobqueue/v1/lease_pb.js";
import type { LeasedJob as Message } from "../gen/jobqueue/v1/lease_pb.js";
import { LeasedJob } from "../job.js";
import { msOf } from "../jobs.js";
import { listed } from "../middleware.js";
import type { Middleware } from "../middleware.js";
import { newJobOf } from "../newJobs.js";
import type { PayloadOf, TypedHandler } from "../kinds/declaration.js";
import type { JobKind } from "../kinds/kind.js";
import { Discard, Retry } from "../outcomes.js";
import { JsonText, decode, encode, textOf } from "../payload.js";
import { attempted } from "../worker/attempt.js";
import type { Coding } from "../worker/coding.js";
import { JobContext } from "../worker/context.js";
import type { Report as Reported, Stop } from "../worker/context.js";
import type { Ending as Ended } from "../worker/ending.js";
import { Handlers } from "../worker/handlers.js";
import type { Handler } from "../worker/handlers.js";
import { Worker, handlersOf } from "../worker/worker.js";
import type { Ending, Performed, Report } from "./performed.js";

// A job whose kind nothing names.
const KIND = "performed";
const NO_BYTES = new Uint8Array();

/** What can be said of a job and its attempt. */
export interface AttemptOptions {
  /** The number of the attempt, from 1. Default 1. */
  attempt?: number | undefined;
  /** How many failures there were before. Default: each earlier attempt was one. */
  failures?: number | undefined;
  /** Default 3. */
  maxAttempts?: number | undefined;
  /** What an earlier attempt has left. Default: nothing. */
  checkpoint?: Uint8Array | undefined;
  /** Default `default`. */
  queue?: string | undefined;
  /** -10..10, higher first. Default 0. */
  priority?: number | undefined;
  labels?: Readonly<Record<string, string>> | undefined;
  headers?: Readonly<Record<string, string>> | undefined;
  /** Default: none. */
  key?: string | undefined;
  /** How long the attempt may run. `perform` does not hold it to that. Default: no limit. */
  timeoutMs?: number | undefined;
  /** Default: now. */
  createdAt?: Date | undefined;
  /** Default: a new one. */
  id?: string | undefined;
}

/** How to perform an attempt. */
export interface PerformOptions extends AttemptOptions {
  /** Why the handler is to stop, with `stopAt` or `stopAfterMs`. Default `cancel`. */
  stop?: Stop | undefined;
  /** When it is told to stop: at its start, or at the nth call of `ctx.progress`. Default: never. */
  stopAt?: "start" | number | undefined;
  /** The same by time. Default: never. */
  stopAfterMs?: number | undefined;
  /** How long it may take. Default 10 s. */
  withinMs?: number | undefined;
  /** Whether an ordinary failure is answered and not thrown. Default false. */
  catch?: boolean | undefined;
  /** What goes around the handler and its follow-ups, the outermost first. A worker has its own. Default: nothing. */
  middleware?: readonly Middleware[] | undefined;
}

/** A handler has not ended in the time that the test gives it. It may run on: nothing can end it from outside. */
export class StillRunning extends Error {
  override readonly name = "StillRunning";
}

/** Performs one attempt of a job of an untyped kind; `kind` is its name, which a worker needs. */
export function perform(
  handler: Handler | Worker,
  payload?: unknown,
  options?: PerformOptions & { readonly kind?: string | undefined },
): Promise<Performed>;
/**
 * Performs one attempt of a job of a typed kind, by the code that a worker runs, without a server.
 *
 *     const done = await perform(deliver, { to: "ada@example.org" }, { kind: sendMail, attempt: 2 });
 *     assert.deepEqual(done.output, { messageId: "m1" });
 *
 * The payload goes through JSON and the kind's schema, and the limits of outputs, checkpoints and follow-ups hold. What only
 * a server knows does not: the schema of an untyped kind, slots, permissions. Timers of it are real where a test tool has
 * replaced the global ones after this package was imported.
 *
 * @param handler A handler, or a worker that has one of the `kind`.
 * @param payload Of the kind's type; a `JsonText` goes as it is, as if another program had enqueued it.
 * @throws unknown What the handler threw, itself, if it is an ordinary failure. Retry, Discard, Snooze and Cancelled are
 *     outcomes.
 * @throws StillRunning It has not ended in time.
 * @throws PayloadInvalid The payload is not of the kind's type.
 * @throws Error The worker has no handler of the kind.
 * @throws TypeError `middleware` with a worker, which has its own, or something of it is none.
 */
export function perform<K extends JobKind>(
  handler: Worker | TypedHandler<K>,
  payload: PayloadOf<K> | JsonText,
  options: PerformOptions & { readonly kind: K },
): Promise<Performed<K["~types"]["read"]>>;
export async function perform(
  handler: Handler | TypedHandler<JobKind> | Worker,
  payload: unknown = null,
  options: PerformOptions & { readonly kind?: string | JobKind | undefined } = {},
): Promise<Performed> {
  const { kind = KIND } = options;
  const { found, coding } = handlerOf(handler, options.kind, options.middleware);
  const message = await messageOf(payload, kind, options);
  const { checkpoint: before } = message;
  await coding?.seal(message);
  const run = await runOf(found, message, options);
  await coding?.open(message, run.ending.outcome, run.checkpoints);
  const { outcome } = run.ending;
  const checkpoint = run.checkpoints.at(-1) ?? before;
  const done: Performed = {
    ...(await valuesOf(run.ending, kind)),
    progress: run.progress,
    checkpoints: run.checkpoints,
    checkpoint,
    followUps: outcome?.outcome.case === "success" ? outcome.outcome.value.followUps.map(newJobOf) : [],
    attempt: message.attempt,
    failures: message.failures,
    again: (changes = {}) => {
      const next = {
        id: message.id,
        attempt: message.attempt + 1,
        failures: message.failures + (done.outcome === "failed" ? 1 : 0),
        checkpoint,
      };
      const merged = { ...options, ...next, ...changes };
      return perform(handler as Handler, payload, merged as PerformOptions & { kind?: string });
    },
  };
  const { error } = run;
  const asked = error instanceof Retry || error instanceof Discard;
  if (done.outcome === "failed" && !asked && options.catch !== true) throw error;
  return done;
}

/**
 * The context of an attempt, for code that is called with one. What it reports is dropped; `perform` keeps it.
 *
 * @param payload Any JSON; a `JsonText` goes as it is.
 * @param options `kind`: the name of the job's kind.
 */
export function attempt(
  payload: unknown = null,
  options: AttemptOptions & { readonly kind?: string | undefined } = {},
): JobContext {
  const message = leased(
    options.kind ?? KIND,
    encode(payload, "the payload"),
    options,
    options.headers ?? {},
  );
  return new JobContext(new LeasedJob(message), () => undefined);
}

/** The function that a worker would call, and what its encodings do. */
function handlerOf(
  handler: Handler | TypedHandler<JobKind> | Worker,
  kind: string | JobKind | undefined,
  middleware: readonly Middleware[] | undefined,
): { found: Handler; coding: Coding | undefined } {
  const name = kind === undefined ? KIND : typeof kind === "string" ? kind : kind.name;
  let handlers: Handlers;
  if (handler instanceof Worker) {
    if (middleware !== undefined) throw new TypeError("middleware: a worker has its own");
    handlers = handlersOf(handler);
  } else {
    handlers = new Handlers([], listed(middleware));
    handlers.add(kind ?? KIND, handler, {});
  }
  const found = handlers.get(name);
  if (found !== undefined) return { found, coding: handlers.coding(name) };
  const has = handlers.kinds().join(", ") || "none";
  throw new Error(`the worker has no handler of kind ${name}; it has: ${has}`);
}

/** The lease, as a server would send it. */
async function messageOf(
  payload: unknown,
  kind: string | JobKind,
  options: AttemptOptions,
): Promise<Message> {
  const { headers = {} } = options;
  if (typeof kind === "string") return leased(kind, encode(payload, "the payload"), options, headers);
  // As it is stored: of any version, and of any shape.
  if (payload instanceof JsonText) return leased(kind.name, payload.bytes, options, headers);
  const job = await kind.newAsync(payload, { headers });
  return leased(kind.name, new JsonText(job.payloadJson ?? "null").bytes, options, job.headers ?? {});
}

function leased(
  kind: string,
  payload: Uint8Array,
  options: AttemptOptions,
  headers: Readonly<Record<string, string>>,
): Message {
  const { attempt: number = 1, failures = number - 1, maxAttempts = 3, checkpoint = NO_BYTES } = options;
  if (!Number.isInteger(number) || number < 1) {
    throw new RangeError(`attempt is ${number}; attempts count from 1`);
  }
  const message = create(LeasedJobSchema, {
    leaseId: 1n,
    id: options.id ?? crypto.randomUUID(),
    attempt: number,
    kind,
    content: { case: "payloadJson", value: payload },
    queue: options.queue ?? "default",
    maxAttempts,
    failures,
    priority: options.priority ?? 0,
    labels: { ...options.labels },
    headers: { ...headers },
    checkpoint,
    key: options.key ?? "",
    createdAt: timestamp(options.createdAt ?? today(), "createdAt"),
  });
  if (options.timeoutMs !== undefined) message.timeout = duration(options.timeoutMs, "timeoutMs");
  return message;
}

interface Run {
  readonly ending: Ended;
  readonly error: unknown;
  readonly progress: Report[];
  readonly checkpoints: Uint8Array[];
}

/** Runs the handler to its end. */
async function runOf(handler: Handler, message: Message, options: PerformOptions): Promise<Run> {
  const { stop: why = "cancel", stopAt, stopAfterMs, withinMs = 10_000 } = options;
  const progress: Report[] = [];
  const checkpoints: Uint8Array[] = [];
  const stop = (): void => {
    if (!context.cancelled) context.stop(why, `${why}, by the test`);
  };
  const report = ({ fraction, message: words = "", checkpoint }: Reported): void => {
    if (checkpoint !== undefined) {
      checkpoints.push(checkpoint);
      return;
    }
    progress.push({ fraction, message: words });
    // As a server's word would come: not within the call.
    if (stopAt === progress.length) timers.setImmediate(stop);
  };
  const job = new LeasedJob(message);
  const context = new JobContext(job, report);
  if (stopAt === "start") timers.setImmediate(stop);
  const stopping = stopAfterMs === undefined ? undefined : timers.setTimeout(stop, stopAfterMs);
  let late: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    late = timers.setTimeout(() => {
      const told = context.cancelled ? ", though it was told to stop" : "";
      context.stop("shutdown", "the test gives it no more time");
      reject(new StillRunning(`the handler of ${message.kind} still runs after ${withinMs} ms${told}`));
    }, withinMs);
  });
  try {
    const { ending, error } = await Promise.race([attempted(handler, job, context), tooLate]);
    return { ending, error, progress, checkpoints };
  } finally {
    timers.clearTimeout(late);
    timers.clearTimeout(stopping);
  }
}

const ENDINGS = {
  success: "succeeded",
  snooze: "snoozed",
  cancellation: "cancelled",
  release: "released",
} as const;

type Values = Pick<
  Performed,
  | "outcome"
  | "output"
  | "outputJson"
  | "error"
  | "errorType"
  | "stack"
  | "retryAfterMs"
  | "pauseKeyMs"
  | "delayMs"
>;

/** What an outcome says. */
async function valuesOf({ outcome }: Ended, kind: string | JobKind): Promise<Values> {
  const said = outcome?.outcome ?? { case: "success" as const, value: undefined };
  const failure = said.case === "failure" ? said.value : undefined;
  const result = said.case === "success" ? said.value?.result : undefined;
  const json = result?.case === "outputJson" ? result.value : undefined;
  const typed = typeof kind !== "string" && said.case === "success";
  const ending: Ending =
    said.case === "failure"
      ? said.value.permanent
        ? "discarded"
        : "failed"
      : ENDINGS[said.case ?? "success"];
  return {
    outcome: ending,
    output: typed ? await kind.readOutput(json) : json && decode(json),
    outputJson: json && textOf(json),
    // As a server keeps it.
    error: (failure?.error ?? "").replaceAll("\0", "\ufffd"),
    errorType: failure?.errorType ?? "",
    stack: failure?.stack ?? "",
    retryAfterMs: msOf(failure?.retryAfter),
    pauseKeyMs: msOf(outcome?.pauseKey),
    delayMs: said.case === "snooze" ? msOf(said.value.delay) : undefined,
  };
}
