/** The Worker: what user code makes, gives handlers, and runs. */

import { Handlers } from "./handlers.js";
import type { Handler, HandlerOptions } from "./handlers.js";
import { Link } from "./link.js";
import { settings } from "./options.js";
import type { Settings, WorkerOptions } from "./options.js";
import { tracesOfProcess } from "../traces.js";
import { Session } from "./session.js";

/** How to stop. */
export interface StopOptions {
  /** How long handlers may run on. Default: the worker's `shutdownGraceMs`. */
  graceMs?: number;
  /** Why, for the server's log. */
  reason?: string;
}

/**
 * Runs jobs: holds one stream to a server, is handed jobs over it, and runs a handler for each. Making one connects to
 * nothing.
 *
 * Handlers share the event loop with the session: one that blocks it for longer than a heartbeat interval, 5 s, holds
 * back heartbeats and receipts, and from `sessionTtlMs` on the worker counts as lost. What computes for long belongs into
 * a `worker_threads` Worker.
 */
export class Worker {
  readonly #settings: Settings;
  readonly #handlers = new Handlers();
  #session: Session | undefined;
  #link: Link | undefined;
  #stopAsked: StopOptions | undefined;

  /** @param target The server's address, or several: a worker that loses one goes on with the next. */
  constructor(target: string | readonly string[], options: WorkerOptions = {}) {
    this.#settings = settings(target, options);
  }

  /** Makes a function the handler of a kind. `P` is what it takes its payload to be. */
  handler<P = any>(kind: string, handler: Handler<P>, options: HandlerOptions = {}): this {
    this.#handlers.add(kind, handler, options);
    return this;
  }

  /**
   * Serves until a signal or `stop`.
   *
   * SIGTERM and SIGINT (Ctrl-C) drain: no new jobs, running ones finish within the grace, others go back uncharged. A
   * second one ends the process at once.
   *
   * @throws JobQueueError The server refused the worker for what no other try will mend, such as a queue's name.
   */
  async run(): Promise<void> {
    const onSignal = (signal: NodeJS.Signals): void => {
      if (this.#stopAsked !== undefined) {
        this.#settings.logger.warn(`${signal} again: ending at once`);
        for (const name of SIGNALS) process.off(name, onSignal);
        process.kill(process.pid, signal);
        return;
      }
      const grace = this.#settings.shutdownGraceMs;
      this.#settings.logger.info(`${signal}: draining, for at most ${grace} ms; again to end at once`);
      this.stop({ reason: signal });
    };
    for (const name of SIGNALS) process.on(name, onSignal);
    try {
      await this.serve();
    } finally {
      for (const name of SIGNALS) process.off(name, onSignal);
    }
  }

  /** Serves until `stop`, and leaves signals alone: for programs that do more than this. Throws as `run`. */
  async serve(): Promise<void> {
    if (this.#handlers.kinds().length === 0) {
      throw new Error('the worker has no handlers: add one with worker.handler("kind", ...)');
    }
    const traces = this.#settings.traces ? await tracesOfProcess() : undefined;
    if (this.#settings.traces && traces === undefined) {
      this.#settings.logger.warn("traces are asked for: install @opentelemetry/api");
    }
    if (this.#link !== undefined) throw new Error("the worker serves already");
    this.#session = new Session(this.#settings, this.#handlers, traces);
    this.#link = new Link(this.#settings, this.#session);
    const running = this.#link.run();
    if (this.#stopAsked !== undefined) this.stop(this.#stopAsked);
    try {
      await running;
    } finally {
      this.#link = this.#session = this.#stopAsked = undefined;
    }
  }

  /** Drains; `run` or `serve` then returns. Returns at once. A second call with a shorter grace shortens it. */
  stop(options: StopOptions = {}): void {
    this.#stopAsked = options;
    this.#link?.leave(options.graceMs ?? this.#settings.shutdownGraceMs, options.reason ?? "stopped");
  }

  /** Takes no more jobs until `resume`; running ones run on. */
  pause(): void {
    this.#pause(true);
  }

  /** Takes jobs again. */
  resume(): void {
    this.#pause(false);
  }

  #pause(paused: boolean): void {
    if (this.#session === undefined) throw new Error("the worker does not serve");
    this.#session.pause(paused);
  }
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
