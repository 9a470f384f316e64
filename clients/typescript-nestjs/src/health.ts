/** How the workers are, for Terminus. */

import type { WorkerState, WorkerStatus } from "@jobqueue/client";
import { Inject, Injectable } from "@nestjs/common";

import type { JobQueueOptions } from "./options.js";
import { OPTIONS } from "./tokens.js";
import { JobQueueWorkers } from "./workers.js";

// A session's, where neither worker nor server says otherwise.
const DEFAULT_TTL_MS = 30_000;

/** How one worker is. */
export interface WorkerHealth {
  readonly state: WorkerState;
  /** How many handlers run. */
  readonly running: number;
  /** How many jobs it takes at most now. */
  readonly slots: number;
  /** Why there was no stream the last time, or with what the worker ended. Empty: it never was so. Only with `details`. */
  readonly lastError?: string;
}

/** What the indicator answers: what Terminus takes of one. */
export type JobQueueHealth<Key extends string> = Record<
  Key,
  { readonly status: "up" | "down"; readonly workers: Readonly<Record<string, WorkerHealth>> }
>;

/**
 * Says whether the workers of this process are ready: each serves, or has lost its server for less than its session's ttl.
 *
 *     this.health.check([() => this.jobs.isHealthy()])
 *
 * It is of readiness, not of liveness: a restart brings no server back. Where this process runs no worker it is up. It asks no
 * server, and needs no Terminus.
 */
@Injectable()
export class JobQueueHealthIndicator {
  readonly #workers: JobQueueWorkers;
  readonly #options: JobQueueOptions;

  constructor(@Inject(JobQueueWorkers) workers: JobQueueWorkers, @Inject(OPTIONS) options: JobQueueOptions) {
    this.#workers = workers;
    this.#options = options;
  }

  /**
   * @param key The name in the answer.
   * @param options.details Whether the answer has the last error of each worker, which may name addresses. Default: false.
   */
  isHealthy<Key extends string = "jobqueue">(
    key: Key = "jobqueue" as Key,
    options: { readonly details?: boolean | undefined } = {},
  ): JobQueueHealth<Key> {
    const workers: Record<string, WorkerHealth> = {};
    let ready = true;
    for (const [name, worker] of this.#workers.running ? this.#workers.all : []) {
      const status = worker.status();
      ready &&= isReady(status, this.#options.workers?.[name]?.sessionTtlMs ?? DEFAULT_TTL_MS);
      const { state, running, slots, lastError } = status;
      workers[name] = { state, running, slots, ...(options.details ? { lastError } : {}) };
    }
    return { [key]: { status: ready ? "up" : "down", workers } } as JobQueueHealth<Key>;
  }
}

function isReady({ state, since }: WorkerStatus, ttlMs: number): boolean {
  if (state === "reconnecting") return Date.now() - since.getTime() < ttlMs;
  return state === "serving";
}
