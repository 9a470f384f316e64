/** A namespace of a real server for one test, and what a test asks of it. */

import { AssertionError } from "node:assert";
import { isDeepStrictEqual } from "node:util";

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";

import { connect } from "../access.js";
import { call } from "../calls.js";
import { Client } from "../client.js";
import type { ClientOptions } from "../client.js";
import { now, timers } from "../clock.js";
import { duration } from "../convert.js";
import { Operations } from "../gen/google/longrunning/operations_pb.js";
import { Bulk, BulkResultSchema } from "../gen/jobqueue/v1/bulk_pb.js";
import type { Job } from "../job.js";
import type { Status } from "../jobs.js";
import type { PayloadOf } from "../kinds/declaration.js";
import type { JobKind } from "../kinds/kind.js";
import { decode, encode, textOf, JsonText } from "../payload.js";
import type { WorkerOptions } from "../worker/options.js";
import { Worker } from "../worker/worker.js";
import { LIVE, Working } from "./idle.js";
import type { Idle, IdleOptions } from "./idle.js";
import { TestServer } from "./server.js";
import type { ScopeKey } from "./server.js";

const POLL_MS = 20;
// So many jobs a failed assertion shows.
const SHOWN = 20;
const DEADLINE_MS = 30_000;

/** What jobs are to be. All that is given must hold. */
export interface Wanted {
  /** Fields of the payload with these values; or a function of the job. */
  readonly matching?: Readonly<Record<string, unknown>> | ((job: Job) => boolean) | undefined;
  readonly queue?: string | undefined;
  /** Labels that they have, among others. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly key?: string | undefined;
  /** How long after their enqueue they may start, to a second. */
  readonly dueInMs?: number | undefined;
  /** With this status, or one of these. Default: those that have not ended. */
  readonly status?: Status | readonly Status[] | undefined;
}

/** What jobs are to be, and how many there are. */
export interface WantedCount extends Wanted {
  /** How many there are. Default: at least one. */
  readonly count?: number | undefined;
  /** How long it may take until they are there, of code that enqueues later. Default: they are there. */
  readonly withinMs?: number | undefined;
}

/**
 * A namespace of a real server, for one test. It sees its own jobs, kinds and queues alone.
 *
 *     await using scope = await TestScope.open(server);
 *     await scope.client.putKind({ name: "welcome" });
 *     await signUp(scope.client, "ada@example.org");
 *     await scope.assertEnqueued("welcome", { to: "ada@example.org" });
 *     await scope.runUntilIdle(worker);
 */
export class TestScope {
  /** The server's address. */
  readonly target: string;
  /** The name of the namespace. */
  readonly namespace: string;
  /** A key that permits everything in it. */
  readonly key: string;
  /** A client of it. */
  readonly client: Client;
  readonly #server: TestServer;

  private constructor(server: TestServer, made: ScopeKey, options: ClientOptions) {
    this.#server = server;
    this.target = made.target;
    this.namespace = made.namespace;
    this.key = made.key;
    this.client = new Client(this.target, { ...options, token: this.key });
  }

  /**
   * Makes one.
   *
   * @param server The server; it goes on when the scope is closed.
   * @param options Those of `client`, such as `middleware`.
   */
  static async open(server: TestServer, options: ClientOptions = {}): Promise<TestScope> {
    return new TestScope(server, await server.openScope(), options);
  }

  /** Closes the client and disables the namespace. */
  async close(): Promise<void> {
    this.client.close();
    await this.#server.closeScope(this.namespace);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What `Client.fromEnv` and `Worker.fromEnv` need, and the command `jobqueue`. */
  get environment(): Readonly<Record<string, string>> {
    return { JOBQUEUE_SERVER: this.target, JOBQUEUE_TOKEN: this.key };
  }

  /** A worker of the scope. */
  worker(options: WorkerOptions = {}): Worker {
    return new Worker(this.target, { ...options, token: this.key });
  }

  // ---- what was enqueued

  /**
   * The jobs of the scope, the oldest first, with their payloads.
   *
   * @param kind Of this kind. Default: of any.
   * @param options `status`: with this status, or one of these; none given: any. Default: those that have not ended.
   */
  async enqueued(
    kind: string | JobKind = "",
    options: { readonly status?: Status | readonly Status[] | undefined } = {},
  ): Promise<Job[]> {
    const { status = LIVE } = options;
    const name = typeof kind === "string" ? kind : kind.name;
    const found: Job[] = [];
    for await (const job of this.client.list({ kind: name, status, full: true, pageSize: 1000 })) {
      found.push(job);
    }
    return found.reverse();
  }

  /**
   * Returns the jobs that are so. Judged here, by decoded values; all that is given must hold.
   *
   * @param payload Theirs, equal after JSON; of a typed kind, of its type. Undefined: any.
   * @throws AssertionError There are none, or not so many. It shows what there is.
   */
  async assertEnqueued<K extends JobKind>(
    kind: K,
    payload?: PayloadOf<K> | JsonText,
    options?: WantedCount,
  ): Promise<Job[]>;
  async assertEnqueued(kind: string, payload?: unknown, options?: WantedCount): Promise<Job[]>;
  async assertEnqueued(kind: string | JobKind, payload?: unknown, options: WantedCount = {}): Promise<Job[]> {
    const { count, withinMs = 0 } = options;
    const wanted = await Judge.of(kind, payload, options);
    const ends = now() + withinMs;
    for (;;) {
      const all = await this.enqueued("", options);
      const found = all.filter((job) => wanted.holds(job));
      if (count === undefined ? found.length > 0 : found.length === count) return found;
      if (now() >= ends) {
        const jobs = found.length === 0 ? "no job" : found.length === 1 ? "1 job" : `${found.length} jobs`;
        const not = count === undefined ? "" : `, not ${count}`;
        throw new AssertionError({ message: `${jobs} of ${wanted}${not}${shown(all)}` });
      }
      await new Promise((resolve) => timers.setTimeout(resolve, POLL_MS));
    }
  }

  /**
   * Returns if no job is so. The arguments are those of `assertEnqueued`.
   *
   * @throws AssertionError There is one.
   */
  async assertNotEnqueued<K extends JobKind>(
    kind: K,
    payload?: PayloadOf<K> | JsonText,
    options?: Wanted,
  ): Promise<void>;
  async assertNotEnqueued(kind: string, payload?: unknown, options?: Wanted): Promise<void>;
  async assertNotEnqueued(kind: string | JobKind, payload?: unknown, options: Wanted = {}): Promise<void> {
    const wanted = await Judge.of(kind, payload, options);
    const found = (await this.enqueued("", options)).filter((job) => wanted.holds(job));
    if (found.length === 0) return;
    const message = `${found.length} of ${wanted}, and there should be none${shown(found)}`;
    throw new AssertionError({ message });
  }

  /** What is enqueued within the block alone, the oldest first. */
  async recorded(block: () => unknown): Promise<Job[]> {
    const before = new Set((await this.enqueued("", { status: [] })).map((job) => job.id));
    await block();
    return (await this.enqueued("", { status: [] })).filter((job) => !before.has(job.id));
  }

  // ---- what becomes of it

  /**
   * Lets jobs start now that wait for their time or for their backoff: `runAt` becomes now.
   *
   * It is the job that changes; time goes on as it does.
   *
   * @throws AssertionError One of them does not wait.
   */
  async makeDue(...jobs: readonly Job[]): Promise<void> {
    // A filter without ids would be of all jobs.
    if (jobs.length === 0) return;
    const connection = connect(this.target, { token: this.key, traces: false });
    const options = { deadlineMs: DEADLINE_MS, signal: undefined, retry: true };
    try {
      const bulk = createClient(Bulk, connection.transport);
      const operations = createClient(Operations, connection.transport);
      const request = {
        filter: { ids: jobs.map((job) => job.id) },
        force: true,
        requestId: crypto.randomUUID(),
        start: { case: "delay" as const, value: duration(0, "delay") },
      };
      let { operation } = await call((each) => bulk.updateJobs(request, each), options);
      while (operation !== undefined && !operation.done) {
        const waited = { name: operation.name, timeout: duration(DEADLINE_MS / 2, "timeout") };
        operation = await call((each) => operations.waitOperation(waited, each), options);
      }
      const result = operation?.result;
      const done = result?.case === "response" ? anyUnpack(result.value, BulkResultSchema) : undefined;
      const changed = Number(done?.changed ?? 0n);
      if (changed === jobs.length) return;
      throw new AssertionError({ message: `${changed} of ${jobs.length} jobs waited` });
    } finally {
      connection.close();
    }
  }

  /**
   * Runs a worker's handlers in this process until no job that they take is due or runs, follow-ups too.
   *
   * Jobs that wait for their time, a backoff, a hold or a limit are not waited for: `Idle.waiting` says why each waits.
   *
   * @param worker Its handlers, queues and slots. Whatever server it is for, it serves this scope.
   * @throws unknown What a handler threw.
   * @throws StillRunning It takes longer. It says what runs and what is due.
   * @throws AssertionError There are more jobs than `limit`.
   */
  async runUntilIdle(worker: Worker, options: IdleOptions = {}): Promise<Idle> {
    return new Working(this, worker, options).run();
  }
}

let shared: Promise<TestServer> | undefined;

/**
 * A scope of the server that all tests of this process share, which is started for the first one.
 *
 *     await using scope = await testScope();
 *
 * @param options Those of its client, such as `middleware`.
 * @throws ServerMissing There is no server, or it does not start.
 */
export async function testScope(options: ClientOptions = {}): Promise<TestScope> {
  shared ??= TestServer.start();
  return TestScope.open(await shared, options);
}

/** What a job is to be. */
class Judge {
  readonly #kind: string;
  readonly #payload: { readonly value: unknown } | undefined;
  readonly #wanted: Wanted;

  private constructor(kind: string, payload: Uint8Array | undefined, wanted: Wanted) {
    this.#kind = kind;
    // As it is after JSON: what is undefined is not there, and a Date is a string.
    this.#payload = payload && { value: decode(payload) };
    this.#wanted = wanted;
  }

  static async of(kind: string | JobKind, payload: unknown, wanted: Wanted): Promise<Judge> {
    if (typeof kind === "string") {
      return new Judge(kind, payload === undefined ? undefined : encode(payload, "payload"), wanted);
    }
    if (payload === undefined) return new Judge(kind.name, undefined, wanted);
    const { payloadJson = "null" } = await kind.newAsync(payload);
    return new Judge(kind.name, new JsonText(payloadJson).bytes, wanted);
  }

  /** Whether a job is so. */
  holds(job: Job): boolean {
    const { queue, labels = {}, key, dueInMs } = this.#wanted;
    return (
      job.kind === this.#kind &&
      (this.#payload === undefined || isDeepStrictEqual(job.payload, this.#payload.value)) &&
      this.#matches(job) &&
      (queue === undefined || queue === job.queue) &&
      Object.entries(labels).every(([name, value]) => job.labels[name] === value) &&
      (key === undefined || key === job.key) &&
      (dueInMs === undefined || Math.abs(dueIn(job) - dueInMs) < 1000)
    );
  }

  #matches(job: Job): boolean {
    const { matching } = this.#wanted;
    if (matching === undefined) return true;
    if (typeof matching === "function") return Boolean(matching(job));
    const { payload } = job;
    if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return false;
    const fields = payload as Record<string, unknown>;
    return Object.entries(matching).every(
      ([name, value]) => Object.hasOwn(fields, name) && isDeepStrictEqual(fields[name], value),
    );
  }

  toString(): string {
    const { matching, queue, labels, key, dueInMs } = this.#wanted;
    const said = [`kind ${this.#kind}`];
    if (this.#payload !== undefined) said.push(`payload ${JSON.stringify(this.#payload.value)}`);
    if (matching !== undefined) {
      said.push(`matching ${typeof matching === "function" ? "a function" : JSON.stringify(matching)}`);
    }
    if (queue !== undefined) said.push(`queue ${queue}`);
    if (labels !== undefined) said.push(`labels ${JSON.stringify(labels)}`);
    if (key !== undefined) said.push(`key ${key}`);
    if (dueInMs !== undefined) said.push(`due in ${dueInMs / 1000} s`);
    return said.join(", ");
  }
}

function dueIn(job: Job): number {
  if (job.runAt === undefined || job.createdAt === undefined) return 0;
  return job.runAt.getTime() - job.createdAt.getTime();
}

function shown(jobs: readonly Job[]): string {
  if (jobs.length === 0) return ". The scope has no job of this status";
  const lines = jobs.slice(0, SHOWN).map((job) => {
    const labels = Object.keys(job.labels).length > 0 ? ` labels ${JSON.stringify(job.labels)}` : "";
    const key = job.key ? ` key ${job.key}` : "";
    const status = LIVE.includes(job.status) ? "" : `, ${job.status}`;
    const due = dueIn(job) > 1000 ? `, due in ${Math.round(dueIn(job) / 1000)} s` : "";
    return `  ${job.kind} ${textOf(job.payloadJson ?? new Uint8Array())} queue ${job.queue}${labels}${key}${status}${due}`;
  });
  const more = jobs.length > SHOWN ? `\n  and ${jobs.length - SHOWN} more` : "";
  return `. There are:\n${lines.join("\n")}${more}`;
}
