/** A job: as it is enqueued, as it is read, as its handler sees it, and their messages. */

import { create } from "@bufbuild/protobuf";

import { duration, retryPolicy, timestamp } from "./convert.js";
import { Encoded, EncodingRequired, encoded, envelopeIn, shown } from "./encoded.js";
import type { Reading } from "./encoded.js";
import { NewJobSchema } from "./gen/jobqueue/v1/job_pb.js";
import type * as pb from "./gen/jobqueue/v1/job_pb.js";
import type { LeasedJob as Leased } from "./gen/jobqueue/v1/lease_pb.js";
import { dateOf, holdName, msOf, retryPolicyOf, statusName } from "./jobs.js";
import type { Hold, RetryPolicy, Status } from "./jobs.js";
import { readCheckpoint } from "./kinds/checkpoint.js";
import { PayloadUnreadable } from "./kinds/errors.js";
import type { OutputOf, StandardSchema } from "./kinds/standardSchema.js";
import { Discard } from "./outcomes.js";
import { JsonText, decode, encode, textOf } from "./payload.js";
import { uniqueMessage } from "./unique.js";
import type { Unique, UniqueAction } from "./unique.js";

const NO_BYTES = new Uint8Array();
const TERMINAL: ReadonlySet<Status> = new Set(["SUCCEEDED", "FAILED_PERMANENT", "CANCELLED"] as const);

/** As an idempotency key: a new one for this call, which its retries share. */
export const AUTO: unique symbol = Symbol("AUTO");

/** What can be said of a job beside its kind and payload. */
export interface JobOptions {
  /** The queue in which the job waits. Default: `default`. */
  queue?: string | undefined;
  /** -10..10, higher first. Default 0. */
  priority?: number | undefined;
  /** The earliest time at which the job may start; at most 400 days ahead. */
  runAt?: Date | undefined;
  /** The same, from now by the database's clock. Not together with `runAt`. */
  delayMs?: number | undefined;
  /** After how many failures the job ends as FAILED_PERMANENT, 1..1000. Default: the kind's value, else 3. */
  maxAttempts?: number | undefined;
  /** How long one attempt may run, 1 s to 7 days. Default: the kind's value, else no limit. */
  timeoutMs?: number | undefined;
  /** The wait between attempts. Default: the kind's, else the default one. */
  retryPolicy?: RetryPolicy | undefined;
  /**
   * The same key and the same job again answers the job that is there. `AUTO` makes a key for this call, so that the
   * client may repeat it when a connection breaks.
   */
  idempotencyKey?: string | typeof AUTO | undefined;
  /** The producer's own labels, by which jobs can be found. */
  labels?: Readonly<Record<string, string>> | undefined;
  /** Data for the handler in addition to the payload, at most 8 KiB. */
  headers?: Readonly<Record<string, string>> | undefined;
  /** The payload as JSON text, instead of `payload`; stored byte for byte. */
  payloadJson?: string | Uint8Array | undefined;
  /** Whether no worker gets the job until `release`. Default false. */
  hold?: boolean | undefined;
  /** What the job is about, for example a customer: its queue may limit how many jobs of one key run. Default: no key. */
  key?: string | undefined;
  /** The name of the job's work, if it is to be done once. Default: the job is not unique. */
  unique?: Unique | undefined;
}

/**
 * Whether payloads are encoded: never; where a program has encodings, as is the default; or only encrypted. It differs in
 * what a server is told of "allowed" and of the default.
 */
export type EncodingRule = "never" | "allowed" | "required";

/** A job to enqueue. */
export interface NewJob extends JobOptions {
  /** The job's kind. */
  kind: string;
  /** The handler's input: anything that `JSON.stringify` takes. Default null. */
  payload?: unknown;
  /** Whether its payload is encoded, as `defineKind` says it. Default: where the client has encodings. */
  encodings?: EncodingRule | undefined;
}

/**
 * A job as a message.
 *
 * @throws EncodingRequired Its kind takes encrypted payloads alone, and it was not encoded.
 * @throws TypeError What was given can't be sent: both of two that exclude each other, or no JSON.
 */
export function newJob(job: NewJob): pb.NewJob {
  if (job.encodings === "required") {
    // What encodes jobs says it of none that it has encoded.
    throw new EncodingRequired(
      `the kind ${job.kind} takes encrypted payloads alone: give the client or the worker encodings`,
    );
  }
  if (job.runAt !== undefined && job.delayMs !== undefined) {
    throw new TypeError("runAt and delayMs exclude each other: give one of them");
  }
  if (job.payload !== undefined && job.payloadJson !== undefined) {
    throw new TypeError("payload and payloadJson exclude each other: give one of them");
  }
  const message = create(NewJobSchema, {
    kind: job.kind,
    queue: job.queue ?? "",
    priority: job.priority ?? 0,
    maxAttempts: job.maxAttempts ?? 0,
    idempotencyKey: keyOf(job.idempotencyKey),
    labels: { ...job.labels },
    headers: { ...job.headers },
    hold: job.hold ?? false,
    key: job.key ?? "",
    content: { case: "payloadJson", value: payloadOf(job) },
  });
  if (job.runAt !== undefined) message.start = { case: "runAt", value: timestamp(job.runAt, "runAt") };
  if (job.delayMs !== undefined) message.start = { case: "delay", value: duration(job.delayMs, "delayMs") };
  if (job.timeoutMs !== undefined) message.timeout = duration(job.timeoutMs, "timeoutMs");
  if (job.retryPolicy !== undefined) message.retryPolicy = retryPolicy(job.retryPolicy);
  if (job.unique !== undefined) message.unique = uniqueMessage(job.unique);
  return message;
}

function payloadOf(job: NewJob): Uint8Array {
  if (job.payloadJson !== undefined) return new JsonText(job.payloadJson).bytes;
  return encode(job.payload ?? null, "the payload");
}

/** The key to send: AUTO becomes a new one, once, so that all tries of a call share it. */
function keyOf(key: JobOptions["idempotencyKey"]): string {
  if (key === AUTO) return crypto.randomUUID();
  if (key === "") {
    throw new TypeError("idempotencyKey is empty; it has 1 to 255 characters, or is undefined for no key");
  }
  return key ?? "";
}

/** One attempt that did not succeed. `reason` is HANDLER_FAILED, TIMED_OUT or SESSION_LOST; more may be added. */
export interface FailedAttempt {
  readonly attempt: number;
  readonly reason: string;
  readonly errorType: string;
  readonly error: string;
  readonly worker: string;
  readonly startedAt: Date | undefined;
  readonly endedAt: Date | undefined;
}

/** The last progress that a running attempt reported. */
export interface JobProgress {
  /** 0..1, of the whole. Undefined: it can't tell. */
  readonly fraction: number | undefined;
  readonly message: string;
  readonly updatedAt: Date | undefined;
}

/** What is thrown where a part of a job is looked at. Undefined: it was decoded, or is in plain text. For the runtime. */
export let unread: (job: Job, what: "payload" | "output") => Encoded | undefined;
/** The message of an attempt. For the runtime. */
export let leasedOf: (job: LeasedJob) => Leased;

/**
 * A job as it was when it was read.
 *
 * Payload, output, headers and failed attempts are left out of lists unless `full`; then `payloadJson` and `outputJson`
 * are undefined, which tells it from a payload of `null`.
 */
export class Job {
  readonly id: string;
  readonly kind: string;
  readonly queue: string;
  readonly status: Status;
  readonly priority: number;
  readonly attempts: number;
  readonly maxAttempts: number;
  readonly failures: number;
  readonly losses: number;
  /** The payload as the text that was enqueued, byte for byte. */
  readonly payloadJson: Uint8Array | undefined;
  /** The output as the text that the worker gave, byte for byte. */
  readonly outputJson: Uint8Array | undefined;
  readonly reason: string;
  readonly lastError: string;
  readonly runAt: Date | undefined;
  readonly createdAt: Date | undefined;
  readonly updatedAt: Date | undefined;
  readonly finishedAt: Date | undefined;
  readonly lockedAt: Date | undefined;
  readonly lockedBy: string;
  readonly cancelRequested: boolean;
  readonly idempotencyKey: string;
  /** The key by which its queue may limit it. Empty: none. */
  readonly key: string;
  readonly timeoutMs: number | undefined;
  readonly retryPolicy: RetryPolicy | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly failedAttempts: readonly FailedAttempt[];
  readonly progress: JobProgress | undefined;
  /** What it waits for before it is in line for a worker. Undefined: it is not held back. */
  readonly hold: Hold | undefined;
  /** The name that it was enqueued with (`unique`). Empty: it is not unique, or its payload makes the name. */
  readonly uniqueKey: string;
  /** Of an answer to `enqueue`: whether the job was there before, by its idempotency key. */
  readonly replayed: boolean;
  /**
   * Of an answer to `enqueue`: what was done with this job, which holds the name of the one that was to be enqueued
   * (`unique`). Undefined: that one was stored, or `replayed`.
   */
  readonly uniqueAction: UniqueAction | undefined;
  readonly #readings: Readings | undefined;

  static {
    unread = (job, what) => {
      const reading = #readings in job ? job.#readings?.[what] : undefined;
      if (reading !== undefined) return reading === "opened" ? undefined : reading;
      const text = what === "payload" ? job.payloadJson : job.outputJson;
      const value = text && envelopeIn(text);
      return value && encoded(value);
    };
  }

  /** @param readings What a client with encodings has made of it. Undefined: it has none. */
  constructor(job: pb.Job, replayed = false, uniqueAction?: UniqueAction, readings?: Readings) {
    this.#readings = readings;
    this.id = job.id;
    this.kind = job.kind;
    this.queue = job.queue;
    this.status = statusName(job.status);
    this.priority = job.priority;
    this.attempts = job.attempts;
    this.maxAttempts = job.maxAttempts;
    this.failures = job.failures;
    this.losses = job.losses;
    this.payloadJson = job.content.case === "payloadJson" ? job.content.value : undefined;
    this.outputJson = job.result.case === "outputJson" ? job.result.value : undefined;
    this.reason = job.reason;
    this.lastError = job.lastError;
    this.runAt = dateOf(job.runAt);
    this.createdAt = dateOf(job.createdAt);
    this.updatedAt = dateOf(job.updatedAt);
    this.finishedAt = dateOf(job.finishedAt);
    this.lockedAt = dateOf(job.lockedAt);
    this.lockedBy = job.lockedBy;
    this.cancelRequested = job.cancelRequested;
    this.idempotencyKey = job.idempotencyKey;
    this.key = job.key;
    this.uniqueKey = job.uniqueKey;
    this.timeoutMs = msOf(job.timeout);
    this.retryPolicy = retryPolicyOf(job.retryPolicy);
    this.labels = job.labels;
    this.headers = job.headers;
    this.failedAttempts = job.failedAttempts.map((each) => ({
      attempt: each.attempt,
      reason: each.reason,
      errorType: each.errorType,
      error: each.error,
      worker: each.worker,
      startedAt: dateOf(each.startedAt),
      endedAt: dateOf(each.endedAt),
    }));
    this.progress = job.progress && {
      fraction: job.progress.fraction,
      message: job.progress.message,
      updatedAt: dateOf(job.progress.updatedAt),
    };
    this.hold = job.hold === undefined ? undefined : holdName(job.hold);
    this.replayed = replayed;
    this.uniqueAction = uniqueAction;
  }

  /**
   * The payload, decoded. Integers above 2^53 lose digits: those are in `payloadJson`.
   *
   * @throws Encoded It is encoded, and the client has no encodings or can't decode it. `payloadJson` is the envelope.
   */
  get payload(): unknown {
    return valueOf(this.payloadJson, this.#readings?.payload);
  }

  /** The output, decoded. Undefined if there is none. Throws as `payload`. */
  get output(): unknown {
    return valueOf(this.outputJson, this.#readings?.output);
  }

  /** Whether the job has ended. */
  get isTerminal(): boolean {
    return TERMINAL.has(this.status);
  }
}

/** The value of a payload. What was encoded no server has looked into. */
function valueIn(text: Uint8Array): unknown {
  try {
    return decode(text);
  } catch {
    // Its own error would show a piece of the payload to those who may read errors.
    const unreadable = new PayloadUnreadable("payload: must be JSON");
    throw new Discard(unreadable.message, { cause: unreadable });
  }
}

interface Readings {
  readonly payload?: Reading | undefined;
  readonly output?: Reading | undefined;
}

function valueOf(text: Uint8Array | undefined, reading: Reading | undefined): unknown {
  if (text === undefined) return undefined;
  if (reading instanceof Encoded) throw reading;
  const value = decode(text);
  return reading === undefined ? shown(value) : value;
}

/**
 * One attempt of one job. `P` is what the handler takes its payload to be.
 *
 * `(id, attempt)` is a fencing token: a store that refuses a lower attempt of the same id is safe from a worker that was
 * thought dead. It reads from the message that came over the wire, so that a job costs only what is looked at.
 */
// With `unknown` every handler would begin with a cast, of what the kind's schema has checked already.
export class LeasedJob<P = any> {
  readonly #message: Leased;
  /** Whether encodings of the worker have decoded it: what then looks encoded is what a producer gave. For the runtime. */
  readonly opened: boolean;
  #payload: { value: P } | undefined;

  static {
    leasedOf = (job) => job.#message;
  }

  constructor(message: Leased, opened = false) {
    this.#message = message;
    this.opened = opened;
  }

  /** The job's id. */
  get id(): string {
    return this.#message.id;
  }

  /** The attempt's number in its job, from 1. Higher than that of every earlier one. */
  get attempt(): number {
    return this.#message.attempt;
  }

  /** The job's kind. */
  get kind(): string {
    return this.#message.kind;
  }

  /** The key by which the queue may limit the job. Empty: none. */
  get key(): string {
    return this.#message.key;
  }

  /** The queue that it was claimed from. */
  get queue(): string {
    return this.#message.queue;
  }

  /**
   * The payload, decoded at the first look. Integers above 2^53 lose digits: those are in `payloadText`.
   *
   * @throws Encoded It is encoded, and the worker does not decode this kind, or has no encodings.
   * @throws Discard It is no JSON; caused by a PayloadUnreadable. The job keeps its payload.
   */
  get payload(): P {
    if (this.#payload === undefined) {
      const value = valueIn(this.payloadJson);
      this.#payload = { value: (this.opened ? value : shown(value)) as P };
    }
    return this.#payload.value;
  }

  /** The payload as the text that was enqueued, byte for byte. */
  get payloadJson(): Uint8Array {
    const content = this.#message.content;
    return content.case === "payloadJson" ? content.value : NO_BYTES;
  }

  /** The same as a string. */
  get payloadText(): string {
    return textOf(this.payloadJson);
  }

  /** After how many failures the job ends as FAILED_PERMANENT. */
  get maxAttempts(): number {
    return this.#message.maxAttempts;
  }

  /** How many failures there have been. */
  get failures(): number {
    return this.#message.failures;
  }

  /** Whether one more failure ends the job as FAILED_PERMANENT. */
  get isLastAttempt(): boolean {
    return this.failures >= this.maxAttempts - 1;
  }

  /** -10..10, higher first. */
  get priority(): number {
    return this.#message.priority;
  }

  /** When the job was enqueued, by the database's clock. */
  get createdAt(): Date | undefined {
    return dateOf(this.#message.createdAt);
  }

  /** How long this attempt may run. Undefined: no limit. */
  get timeoutMs(): number | undefined {
    return msOf(this.#message.timeout);
  }

  /** The producer's own labels. */
  get labels(): Readonly<Record<string, string>> {
    return this.#message.labels;
  }

  /** The producer's headers, with `x-request-id` and `traceparent` of the call that enqueued the job. */
  get headers(): Readonly<Record<string, string>> {
    return this.#message.headers;
  }

  /** The last checkpoint of the earlier attempts. Empty: none. */
  get checkpoint(): Uint8Array {
    return this.#message.checkpoint;
  }

  /**
   * The last checkpoint of the earlier attempts, as the value that `saveCheckpoint` was given.
   *
   * @param schema Of the value: one of zod, valibot or arktype, for example.
   * @returns What the schema makes of it. Undefined: there is no checkpoint.
   * @throws CheckpointUnreadable It does not fit the schema, or is no JSON.
   * @throws Encoded It is encoded, and the worker does not decode this kind, or has no encodings.
   * @throws TypeError This is no schema, or one that checks asynchronously.
   */
  checkpointAs<S extends StandardSchema>(schema: S): OutputOf<S> | undefined {
    return this.checkpoint.length === 0 ? undefined : readCheckpoint(this.checkpoint, schema, this.opened);
  }
}
