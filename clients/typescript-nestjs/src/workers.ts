/** The workers of an app: made of its handlers, started when it has started, and the first to leave when it ends. */

import { Worker } from "@jobqueue/client";
import type { JobKind, Logger as WorkerLogger, WorkerOptions } from "@jobqueue/client";
import { Inject, Injectable, Logger } from "@nestjs/common";
import type { OnApplicationBootstrap, OnModuleDestroy } from "@nestjs/common";
import { ModulesContainer } from "@nestjs/core";

import { found } from "./discovery.js";
import type { Found } from "./discovery.js";
import { DEFAULT_WORKER } from "./options.js";
import type { JobQueueOptions, JobQueueWorkerOptions } from "./options.js";
import { OPTIONS } from "./tokens.js";

// Below that of each module of the app, from the root on. Nest calls the hooks of starting from the highest to the lowest,
// and those of ending the other way.
const LAST_TO_START = -1;

/**
 * The workers of an app, by name.
 *
 * They start after all `onApplicationBootstrap` of the app, and leave before all its `onModuleDestroy`: a handler has what it
 * needs as long as it runs. Each drains for at most its `shutdownGraceMs`.
 */
@Injectable()
export class JobQueueWorkers implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger("JobQueue");
  readonly #options: JobQueueOptions;
  readonly #modules: ModulesContainer;
  readonly #workers = new Map<string, Worker>();
  readonly #serving: Promise<void>[] = [];

  constructor(
    @Inject(OPTIONS) options: JobQueueOptions,
    @Inject(ModulesContainer) modules: ModulesContainer,
  ) {
    this.#options = options;
    this.#modules = modules;
    for (const each of modules.values()) {
      if (each.providers.has(JobQueueWorkers)) each.distance = LAST_TO_START;
    }
  }

  /** The workers, by name. Empty before the app has started, and where it has no handlers. */
  get all(): ReadonlyMap<string, Worker> {
    return this.#workers;
  }

  /** Whether they take jobs in this process. */
  get running(): boolean {
    return this.#options.runWorkers ?? true;
  }

  /**
   * One of them, such as for `runUntilIdle` in a test of an app with `runWorkers: false`.
   *
   * @throws Error There is none of this name.
   */
  get(name: string = DEFAULT_WORKER): Worker {
    const worker = this.#workers.get(name);
    if (worker === undefined) throw new Error(`there is no worker ${name}; there are: ${this.#names()}`);
    return worker;
  }

  /** @throws Error A handler is attached to no worker, a worker has no handler, or a kind has two. */
  onApplicationBootstrap(): void {
    this.#make(found(this.#modules));
    if (!this.running) return;
    for (const [name, worker] of this.#workers) this.#serving.push(this.#serve(name, worker));
  }

  async onModuleDestroy(): Promise<void> {
    if (this.#serving.length === 0) return;
    for (const worker of this.#workers.values()) worker.stop({ reason: "the app ends" });
    await Promise.all(this.#serving);
  }

  #make(handlers: readonly Found[]): void {
    const { workers } = this.#options;
    const wanted = workers ?? (handlers.length > 0 ? { [DEFAULT_WORKER]: {} } : {});
    for (const [name, each] of Object.entries(wanted)) this.#workers.set(name, this.#worker(each));
    for (const { kind, options, run } of handlers) {
      const { worker = DEFAULT_WORKER, ...rest } = options;
      const names = typeof worker === "string" ? [worker] : worker;
      const said = typeof kind === "string" ? kind : kind.name;
      if (names.length === 0) {
        throw new Error(`${run.name}, the handler of ${said}, is attached to no worker`);
      }
      for (const name of names) {
        const owner = this.#workers.get(name);
        if (owner === undefined) {
          throw new Error(
            `${run.name}, the handler of ${said}, is attached to no worker: there is no ${name}; there are: ${this.#names()}`,
          );
        }
        owner.handler(kind as JobKind, run, rest);
      }
      if (this.running) this.#logger.log(`${said}: ${run.name}`);
    }
    for (const [name, worker] of this.#workers) {
      if (worker.status().kinds.length === 0) throw new Error(`the worker ${name} has no handler`);
    }
  }

  #worker(settings: JobQueueWorkerOptions): Worker {
    const { server, token, tls, traces, middleware, observer, encodings } = this.#options;
    const shared = { token, tls, traces, middleware, observer, encodings };
    const options: WorkerOptions = { logger: this.#words(), ...settings, ...shared };
    return server === undefined ? Worker.fromEnv(options) : new Worker(server, options);
  }

  async #serve(name: string, worker: Worker): Promise<void> {
    try {
      await worker.serve();
    } catch (error) {
      const trouble = error instanceof Error ? error : new Error(String(error));
      this.#logger.error(`the worker ${name} has ended: ${trouble.message}`, trouble.stack);
    }
  }

  /** Where workers write their lines, unless they were told otherwise. */
  #words(): WorkerLogger {
    return {
      info: (message) => this.#logger.log(message),
      warn: (message) => this.#logger.warn(message),
      error: (message) => this.#logger.error(message),
    };
  }

  #names(): string {
    return [...this.#workers.keys()].join(", ") || "none";
  }
}
