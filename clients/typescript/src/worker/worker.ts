/** The Worker: what user code makes, gives handlers, and runs. */

import { fromEnvironment, workerSettings } from "../environment.js";
import type { TypedHandler } from "../kinds/declaration.js";
import type { JobKind } from "../kinds/kind.js";
import { declare } from "./declaring.js";
import { Handlers } from "./handlers.js";
import type { Handler, HandlerOptions } from "./handlers.js";
import { HealthServer } from "./health.js";
import { Link } from "./link.js";
import { Observations } from "./observer.js";
import { settings } from "./options.js";
import type { Settings, WorkerOptions } from "./options.js";
import { tracesOfProcess } from "../traces.js";
import { Session } from "./session.js";
import { StatusBook } from "./status.js";
import type { WorkerStatus } from "./status.js";

/** The handlers of a worker, for the test kit. */
export let handlersOf: (worker: Worker) => Handlers;
/** What a worker was told at its making, for the test kit. */
export let settingsOf: (worker: Worker) => Settings;

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
  readonly #handlers: Handlers;
  #paused: boolean;
  #book: StatusBook | undefined;
  #session: Session | undefined;
  #link: Link | undefined;
  #declaring: AbortController | undefined;
  #stopAsked: StopOptions | undefined;

  static {
    handlersOf = (worker) => worker.#handlers;
    settingsOf = (worker) => worker.#settings;
  }

  /**
   * @param target The server's address, or several: a worker that loses one goes on with the next.
   * @throws InvalidRequest An address has no port, or begins with `http://`.
   */
  constructor(target: string | readonly string[], options: WorkerOptions = {}) {
    this.#settings = settings(target, options);
    this.#handlers = new Handlers(this.#settings.queues, this.#settings.middleware, this.#settings.encodings);
    this.#paused = this.#settings.paused;
  }

  /**
   * A worker by variables of the environment, as the command `jobqueue` reads them: JOBQUEUE_SERVER (default
   * `127.0.0.1:50051`), JOBQUEUE_TOKEN, JOBQUEUE_TLS_ROOTS (a PEM file, or `public`), JOBQUEUE_TLS_CLIENT_CERT and
   * JOBQUEUE_TLS_CLIENT_KEY. Of the worker service it reads JOBQUEUE_QUEUES, with commas between them, WORKER_CONCURRENCY and
   * JOBQUEUE_WORKER_NAME. What the options say wins.
   *
   * @throws TypeError WORKER_CONCURRENCY is no whole number, or a certificate or key is given without what it needs.
   */
  static fromEnv(options: WorkerOptions = {}): Worker {
    const found = fromEnvironment(workerSettings(options));
    return new Worker(found.target, found.options);
  }

  /** Makes a function the handler of a kind. `P` is what it takes its payload to be. */
  handler<P = any>(kind: string, handler: Handler<P>, options?: HandlerOptions): this;
  /**
   * Makes a function the handler of a typed kind, and of its aliases: it takes the payload and the context, and returns the
   * output. A payload that can't be read does not get to it.
   */
  handler<K extends JobKind>(kind: K, handler: TypedHandler<K>, options?: HandlerOptions): this;
  handler(
    kind: string | JobKind,
    handler: Handler | TypedHandler<JobKind>,
    options: HandlerOptions = {},
  ): this {
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
   * @throws Error Nothing can listen at the address of `health`.
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
    const { observer, logger, health: address } = this.#settings;
    const observations = observer && new Observations(observer, (line) => logger.error(line));
    const session = new Session(this.#settings, this.#handlers, traces, observations);
    const book = this.#newBook();
    book.counts = () => session.counts();
    if (observations !== undefined) {
      book.dropped = () => observations.dropped;
      book.changed = (status) => observations.tell((told) => told.sessionChanged?.(status));
    }
    this.#session = session;
    this.#link = new Link(this.#settings, session, book);
    session.pause(this.#paused);
    let health: HealthServer | undefined;
    try {
      if (address !== undefined) {
        health = await HealthServer.listen(address, book);
        book.tick();
      }
      this.#book = book;
      if (this.#settings.syncKinds && !(await this.#declared(book))) {
        book.ended();
        return;
      }
      const running = this.#link.run();
      if (this.#stopAsked !== undefined) this.stop(this.#stopAsked);
      await running;
      book.ended();
    } catch (error) {
      book.ended(error instanceof Error ? error : new Error(String(error)));
      throw error;
    } finally {
      this.#book = book;
      this.#link = this.#session = this.#stopAsked = this.#declaring = undefined;
      await observations?.end();
      health?.close();
    }
  }

  /** Drains; `run` or `serve` then returns. Returns at once. A second call with a shorter grace shortens it. */
  stop(options: StopOptions = {}): void {
    this.#stopAsked = options;
    if (this.#declaring !== undefined) {
      this.#declaring.abort();
      return;
    }
    this.#link?.leave(options.graceMs ?? this.#settings.shutdownGraceMs, options.reason ?? "stopped");
  }

  /** What the worker does now, by its own clock. Asks no server. */
  status(): WorkerStatus {
    return (this.#book ?? this.#newBook()).status();
  }

  /** Takes no more jobs until `resume`; running ones run on. A worker that does not serve yet keeps it. */
  pause(): void {
    this.#pause(true);
  }

  /** Takes jobs again. */
  resume(): void {
    this.#pause(false);
  }

  #pause(paused: boolean): void {
    this.#paused = paused;
    this.#session?.pause(paused);
  }

  /** Tells a server what the kinds are; false: it was stopped before. */
  async #declared(book: StatusBook): Promise<boolean> {
    if (this.#stopAsked !== undefined) return false;
    this.#declaring = new AbortController();
    const declared = await declare(this.#handlers.typed, this.#settings, book, this.#declaring.signal);
    this.#declaring = undefined;
    return declared;
  }

  #newBook(): StatusBook {
    const slots = this.#paused ? 0 : this.#settings.concurrency;
    return new StatusBook(this.#handlers.kinds(), slots, this.#settings.logger);
  }
}

const SIGNALS = ["SIGTERM", "SIGINT"] as const;
