/** A worker's handlers, run by a real server until it has nothing more for them. */

import { AssertionError } from "node:assert";

import { timers, today } from "../clock.js";
import { JobNotFound } from "../errors.js";
import type { ReasonCode } from "../insight.js";
import type { Job } from "../job.js";
import type { Status } from "../jobs.js";
import { Cancelled, Discard, Retry, Snooze } from "../outcomes.js";
import type { Handler } from "../worker/handlers.js";
import { handlersOf, settingsOf } from "../worker/worker.js";
import type { Worker } from "../worker/worker.js";
import { StillRunning } from "./performing.js";
import type { TestScope } from "./scope.js";

/** What has not ended. */
export const LIVE: readonly Status[] = ["QUEUED", "RUNNING", "RETRYING"];
const POLL_MS = 20;
const SHOWN = 20;
const GRACE_MS = 1000;
// A job that waits for one of these starts by itself when a handler ends, or soon.
const SOON: ReadonlySet<ReasonCode> = new Set([
  "IS_RUNNING",
  "NO_CREDIT",
  "BEHIND",
  "ABOUT_TO_START",
  "RUNS_ALONE",
  "WORKERS_DRAINING",
  "KEY_TURN",
  "TERMINAL",
  "NO_WORKER",
] as const);
const LATER: ReadonlySet<ReasonCode> = new Set(["NOT_DUE", "BACKOFF"]);
// What is due later than this by the clock here is not asked for.
const CLOCKS_DIFFER_MS = 60_000;
// What a handler asks for by throwing it is no failure of the test.
const ASKED_FOR = [Retry, Discard, Snooze, Cancelled];

/** How to run handlers until nothing is due. */
export interface IdleOptions {
  /**
   * What an ordinary failure does; Retry, Discard, Snooze and Cancelled are none. `raise`: it ends this and is thrown as
   * itself. `keep`: it is the job's alone. `retry`: so it is, and backoffs are made due at once. Default `raise`.
   */
  readonly failures?: "raise" | "keep" | "retry" | undefined;
  /** So many jobs at most may be there. Default 1000. */
  readonly limit?: number | undefined;
  /** How long it may take. Default 10 s. */
  readonly withinMs?: number | undefined;
}

/** A job that waits. */
export interface Waiting {
  readonly job: Job;
  /** The server's words for what it waits for. */
  readonly why: string;
}

/** What `runUntilIdle` has left. */
export interface Idle {
  /** The jobs that ended meanwhile, the oldest first, with payloads, outputs and failed attempts. */
  readonly ended: readonly Job[];
  /** Those of the scope that wait, the oldest first. */
  readonly waiting: readonly Waiting[];
}

/** One run of a worker's handlers in a scope. */
export class Working {
  readonly #scope: TestScope;
  readonly #failures: "raise" | "keep" | "retry";
  readonly #limit: number;
  readonly #withinMs: number;
  readonly #worker: Worker;
  readonly #queues: ReadonlySet<string>;
  readonly #kinds: ReadonlySet<string>;
  readonly #raised: Promise<never>;
  #fail!: (error: unknown) => void;
  #over = false;

  constructor(scope: TestScope, worker: Worker, options: IdleOptions) {
    const { failures = "raise", limit = 1000, withinMs = 10_000 } = options;
    if (!["raise", "keep", "retry"].includes(failures)) {
      throw new TypeError(`failures is ${String(failures)}: it is "raise", "keep" or "retry"`);
    }
    this.#scope = scope;
    this.#failures = failures;
    this.#limit = limit;
    this.#withinMs = withinMs;
    this.#raised = new Promise((_, reject) => (this.#fail = reject));
    this.#raised.catch(() => undefined);
    const { queues, concurrency } = settingsOf(worker);
    this.#queues = new Set(queues);
    const handlers = handlersOf(worker);
    this.#kinds = new Set(handlers.kinds());
    const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
    this.#worker = scope.worker({ queues, concurrency, logger: quiet });
    handlersOf(this.#worker).adopt(handlers, (handler) => this.#watched(handler));
  }

  /** A handler of which is kept what it throws. */
  #watched(handler: Handler): Handler {
    return async (job, ctx) => {
      try {
        return await handler(job, ctx);
      } catch (error) {
        const stopped = ctx.cancelled && error instanceof Error && error.name === "AbortError";
        const asked = stopped || ASKED_FOR.some((type) => error instanceof type);
        if (this.#failures === "raise" && !asked) this.#fail(error);
        throw error;
      }
    };
  }

  async run(): Promise<Idle> {
    const before = new Set((await this.#jobs([])).filter((job) => job.isTerminal).map((job) => job.id));
    const serving = this.#worker.serve();
    const idle = this.#untilIdle();
    // What ends first is told; what the others end with later is not.
    for (const each of [serving, idle]) each.catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = timers.setTimeout(() => resolve("late"), this.#withinMs);
    });
    try {
      if ((await Promise.race([serving, idle, this.#raised, late])) === "late") {
        throw new StillRunning(await this.#said());
      }
    } finally {
      timers.clearTimeout(timer);
      this.#over = true;
      this.#worker.stop({ reason: "the test is done", graceMs: GRACE_MS });
      await Promise.allSettled([serving, idle]);
    }
    // One that failed while the others ended.
    await Promise.race([this.#raised, Promise.resolve()]);
    const jobs = await this.#jobs([]);
    const waiting: Waiting[] = [];
    for (const job of jobs) if (!job.isTerminal) waiting.push({ job, why: await this.#why(job) });
    return { ended: jobs.filter((job) => job.isTerminal && !before.has(job.id)), waiting };
  }

  async #untilIdle(): Promise<void> {
    while (!this.#over) {
      const live = await this.#jobs(LIVE);
      const later = this.#failures === "retry" ? live.filter(backsOff) : [];
      if (later.length > 0) {
        await this.#scope.makeDue(...later).catch((error: unknown) => {
          // One of them has begun meanwhile.
          if (!(error instanceof AssertionError)) throw error;
        });
        continue;
      }
      const ours = live.filter((job) => this.#kinds.has(job.kind) && this.#queues.has(job.queue));
      const waiting = ours.filter((job) => job.status !== "RUNNING");
      if (waiting.length === ours.length && !(await this.#anyStarts(waiting))) return;
      await new Promise((resolve) => timers.setTimeout(resolve, POLL_MS));
    }
  }

  /** Whether one of these jobs, which all wait, starts soon by itself. */
  async #anyStarts(jobs: readonly Job[]): Promise<boolean> {
    for (const job of jobs) {
      // What is due the server says: its clock may differ from the one here.
      const far = job.runAt !== undefined && job.runAt.getTime() > today().getTime() + CLOCKS_DIFFER_MS;
      if (job.hold !== undefined || far) continue;
      try {
        const { status, reasons } = await this.#scope.client.explain(job.id);
        if (status !== job.status) return true; // it goes on meanwhile
        const [first] = reasons;
        // It has failed since its backoff was made due.
        if (this.#failures === "retry" && reasons.some(({ code }) => code === "BACKOFF")) return true;
        if (first !== undefined && SOON.has(first.code) && !reasons.some(({ code }) => LATER.has(code)))
          return true;
      } catch (error) {
        if (!(error instanceof JobNotFound)) throw error;
        return true;
      }
    }
    return false;
  }

  async #jobs(status: readonly Status[]): Promise<Job[]> {
    const found = await this.#scope.enqueued("", { status });
    if (found.length <= this.#limit) return found;
    throw new AssertionError({ message: `the scope has ${found.length} jobs, and limit is ${this.#limit}` });
  }

  async #why(job: Job): Promise<string> {
    try {
      return (await this.#scope.client.explain(job.id)).summary;
    } catch (error) {
      if (error instanceof JobNotFound) return "it is gone";
      throw error;
    }
  }

  async #said(): Promise<string> {
    const after = `after ${this.#withinMs / 1000} s`;
    const { state, lastError } = this.#worker.status();
    if (state !== "serving") return `the worker is ${state} ${after}: ${lastError || "no server answers it"}`;
    const lines: string[] = [];
    for (const job of (await this.#jobs(LIVE)).slice(0, SHOWN)) {
      const { lockedAt } = job;
      const since = lockedAt && ((today().getTime() - lockedAt.getTime()) / 1000).toFixed(1);
      lines.push(`  ${job.kind} ${job.id}: ${since ? `runs for ${since} s` : await this.#why(job)}`);
    }
    return [`${after} there is still something to do:`, ...lines].join("\n");
  }
}

function backsOff(job: Job): boolean {
  return job.status === "RETRYING" && job.runAt !== undefined && job.runAt > today();
}
