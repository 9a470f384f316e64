/** A client that has no server: it checks what is enqueued, and keeps it. */

import { create, toBinary } from "@bufbuild/protobuf";

import { Client } from "../client.js";
import { today } from "../clock.js";
import { timestamp } from "../convert.js";
import { wanted } from "../enqueuer.js";
import type { Enqueuer } from "../enqueuer.js";
import { IdempotencyKeyReused, InvalidRequest } from "../errors.js";
import type { FieldViolation } from "../errors.js";
import { JobSchema, Job_Hold, Job_Status, NewJobSchema } from "../gen/jobqueue/v1/job_pb.js";
import type * as pb from "../gen/jobqueue/v1/job_pb.js";
import { AUTO, Job, newJob } from "../job.js";
import type { JobOptions, NewJob } from "../job.js";
import type { Call } from "../calls.js";
import { msOf } from "../jobs.js";
import type { EnqueueResult } from "../jobs.js";
import type { JobKind } from "../kinds/kind.js";
import { enqueueThrough, listed } from "../middleware.js";
import type { Middleware } from "../middleware.js";
import { newJobOf } from "../newJobs.js";

const NAME = /^[a-z0-9][a-z0-9_.-]{0,127}$/;
const PAYLOAD_BYTES = 1024 * 1024;

/**
 * Stands for a `Client` in a unit test of code that enqueues.
 *
 * It checks names, ranges, JSON and typed payloads, answers a QUEUED job with a new id, and replays idempotency keys. A
 * server checks more: schemas, permissions, limits, unique names. Each other method of a client throws: it would have to
 * guess what a server does.
 */
export class RecordingClient implements Enqueuer {
  /**
   * What was enqueued, in order; a replay is no second one. Each says what was said of it, with its payload as JSON text
   * (`payloadJson`), and so compares with `kind.new(...)`.
   */
  readonly jobs: NewJob[] = [];
  readonly #middleware: readonly Middleware[];
  readonly #keyed = new Map<string, { said: Uint8Array; job: pb.Job }>();

  /** As `Client.enqueue`. */
  readonly enqueue: Enqueuer["enqueue"] = async (
    what: string | NewJob | JobKind,
    payloadOrOptions?: unknown,
    options?: JobOptions & Call,
  ): Promise<Job> => {
    const job = await wanted(what, payloadOrOptions, options).job;
    if (this.#middleware.length === 0) return this.#kept(job, "job");
    let kept: Job | undefined;
    await enqueueThrough(this.#middleware, [job], async ([changed]) => {
      kept = this.#kept(changed!, "job");
      return [resultOf(kept)];
    });
    return kept!;
  };

  /** As `Client.enqueueMany`. */
  readonly enqueueMany: Enqueuer["enqueueMany"] = async (jobs) => {
    const results: EnqueueResult[] = [];
    const keep = (each: NewJob): void => {
      results.push(resultOf(this.#kept(each, `jobs[${results.length}]`)));
    };
    if (this.#middleware.length === 0) {
      for await (const each of jobs) keep(each);
      return results;
    }
    const wished: NewJob[] = [];
    for await (const each of jobs) wished.push(each);
    if (wished.length > 0) {
      await enqueueThrough(this.#middleware, wished, async (changed) => {
        changed.forEach(keep);
        return results;
      });
    }
    return results;
  };

  /** @param options `middleware`: what goes around enqueues, the outermost first. Default: nothing. */
  constructor(options: { readonly middleware?: readonly Middleware[] | undefined } = {}) {
    this.#middleware = listed(options.middleware);
  }

  /** Does nothing. */
  close(): void {}

  static {
    for (const name of Object.getOwnPropertyNames(Client.prototype)) {
      if (name in this.prototype || name === "enqueue" || name === "enqueueMany") continue;
      const value = (): never => {
        throw new Error(
          `${name}: the recording client has no server and does not guess what one would do; use a real one`,
        );
      };
      // What is read before it is called throws when it is read.
      const read = Object.getOwnPropertyDescriptor(Client.prototype, name)?.get !== undefined;
      Object.defineProperty(this.prototype, name, read ? { get: value } : { value });
    }
  }

  #kept(asked: NewJob, path: string): Job {
    // It has no wire on which a payload would be seen.
    const message = newJob({ ...asked, encodings: undefined });
    check(message, path);
    const own = asked.idempotencyKey === AUTO ? "" : message.idempotencyKey;
    const said = digestOf(message);
    const before = this.#keyed.get(own);
    if (before !== undefined) {
      if (Buffer.compare(before.said, said) === 0) return new Job(before.job, true);
      throw new IdempotencyKeyReused(
        `the key was used for another request, whose job is ${before.job.id}; choose a new key for this one`,
        { code: "ALREADY_EXISTS", reason: "IDEMPOTENCY_KEY_REUSED", metadata: { job_id: before.job.id } },
      );
    }
    const job = storedOf(message, own);
    if (own) this.#keyed.set(own, { said, job });
    const kept = newJobOf(message);
    if (asked.encodings !== undefined) kept.encodings = asked.encodings;
    this.jobs.push(asked.idempotencyKey === AUTO ? { ...kept, idempotencyKey: AUTO } : kept);
    return new Job(job);
  }
}

/** The job as a server would have stored it, with an id of its own. */
function storedOf(message: pb.NewJob, own: string): pb.Job {
  const { start, unique } = message;
  const created = today();
  const now = timestamp(created, "now");
  const delayMs = start.case === "delay" ? msOf(start.value)! : 0;
  return create(JobSchema, {
    id: crypto.randomUUID(),
    kind: message.kind,
    status: Job_Status.QUEUED,
    queue: message.queue || "default",
    priority: message.priority,
    maxAttempts: message.maxAttempts || 3,
    content: message.content as pb.Job["content"],
    ...(message.timeout && { timeout: message.timeout }),
    ...(message.retryPolicy && { retryPolicy: message.retryPolicy }),
    labels: message.labels,
    headers: message.headers,
    idempotencyKey: own,
    key: message.key,
    uniqueKey: unique?.key ?? "",
    ...(message.hold && { hold: Job_Hold.HAND }),
    createdAt: now,
    updatedAt: now,
    runAt: start.case === "runAt" ? start.value : timestamp(new Date(created.getTime() + delayMs), "now"),
  });
}

function resultOf({ id, replayed }: Job): EnqueueResult {
  return { id, replayed, uniqueAction: undefined };
}

/** What makes two requests of one key the same. Headers are not part of it. */
function digestOf(message: pb.NewJob): Uint8Array {
  const labels = Object.fromEntries(Object.entries(message.labels).sort());
  return toBinary(NewJobSchema, create(NewJobSchema, { ...message, labels, headers: {} }));
}

/** Refuses what a server refuses whatever it has been told of the kind. */
function check(message: pb.NewJob, path: string): void {
  const wrong: FieldViolation[] = [];
  for (const field of ["kind", "queue"] as const) {
    if ((message[field] === "" && field === "queue") || NAME.test(message[field])) continue;
    const description = "must be 1 to 128 of a-z 0-9 _ . - and begin with a letter or digit";
    wrong.push({ field: `${path}.${field}`, description });
  }
  if (message.priority < -10 || message.priority > 10) {
    wrong.push({ field: `${path}.priority`, description: "must be from -10 to 10" });
  }
  if (message.maxAttempts > 1000) {
    wrong.push({ field: `${path}.max_attempts`, description: "must be 1 to 1000" });
  }
  const bytes = message.content.case === "payloadJson" ? message.content.value.length : 0;
  if (bytes > PAYLOAD_BYTES) {
    const description = `has ${bytes} bytes; at most ${PAYLOAD_BYTES} are allowed`;
    wrong.push({ field: `${path}.payload`, description });
  }
  const [first] = wrong;
  if (first === undefined) return;
  throw new InvalidRequest(`${first.field}: ${first.description}`, {
    code: "INVALID_ARGUMENT",
    reason: "FIELD_INVALID",
    violations: wrong,
  });
}
