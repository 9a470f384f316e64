/** What a worker was told at its making. */

import { hostname } from "node:os";

import { nodeTls, urlOf } from "../access.js";
import type { AccessOptions } from "../access.js";
import type { Encodings } from "../encodings/encodings.js";
import { listed } from "../middleware.js";
import type { Middleware } from "../middleware.js";
import { tracesWanted } from "../traces.js";
import { hostAndPort } from "./health.js";
import type { Observer } from "./observer.js";

/** Where a worker's own lines go. */
export interface Logger {
  info(message: string): void;
  warn(message: string): void;
  error(message: string): void;
}

/** The settings of a worker. */
export interface WorkerOptions extends AccessOptions {
  /** Which queues to take jobs from. They take turns. Default: `default`. */
  queues?: readonly string[];
  /** How many jobs run at once, 1..10,000. Default 8. */
  concurrency?: number;
  /** For people; shown as `Job.lockedBy`. Default: host and process id. */
  name?: string;
  /** The worker's own labels, for people. */
  labels?: Readonly<Record<string, string>>;
  /** How long the worker may be silent before its jobs are given to others, 5 s to 1 h. Default: the server's, 30 s. */
  sessionTtlMs?: number;
  /** How long a drain lets handlers run on before it stops them and gives their jobs back. Default 30 s. */
  shutdownGraceMs?: number;
  /**
   * Whether a worker that has heard no server for its session's ttl, by its own monotonic clock, stops its handlers: their
   * jobs may run elsewhere by now. What they answer is sent all the same if the session can be resumed; one that stopped
   * for it gives its job back. Default: false, they run on.
   */
  stopWhenLost?: boolean;
  /** Where the worker's own lines go. Default: standard error. */
  logger?: Logger;
  /** Is told of attempts and of the worker's state, for metrics. */
  observer?: Observer;
  /** What goes around handlers and their follow-ups, the outermost first. Default: nothing. */
  middleware?: readonly Middleware[];
  /**
   * What payloads and checkpoints come through before a handler and all middleware, and outputs, checkpoints and follow-ups
   * go through after them. A job whose key or encoding is not here waits for it, about half an hour, and then fails with
   * `KeyUnknown` or `EncodingUnknown`. Default: nothing is encoded or decoded.
   */
  encodings?: Encodings | undefined;
  /** Takes no jobs until `resume`. Default: false. */
  paused?: boolean;
  /**
   * Whether the worker tells the server what its typed kinds are, as `Client.syncKinds` does, before it takes jobs. It waits
   * for a server as long as it takes. The worker then needs OPERATE on them in all queues. Default: false.
   */
  syncKinds?: boolean;
  /**
   * Where `/livez` and `/readyz` are served, as `host:port`, such as `127.0.0.1:8081`. A port that is taken keeps the
   * worker from serving. Default: nowhere.
   */
  health?: string;
}

/** The settings, checked and with their defaults. */
export interface Settings {
  readonly targets: readonly string[];
  readonly access: AccessOptions;
  readonly queues: readonly string[];
  readonly concurrency: number;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sessionTtlMs: number | undefined;
  readonly shutdownGraceMs: number;
  readonly stopWhenLost: boolean;
  readonly logger: Logger;
  readonly observer: Observer | undefined;
  readonly middleware: readonly Middleware[];
  readonly encodings: Encodings | undefined;
  readonly paused: boolean;
  readonly syncKinds: boolean;
  readonly health: string | undefined;
  readonly traces: boolean;
}

const STANDARD_ERROR: Logger = {
  info: (message) => console.error(`jobqueue: ${message}`),
  warn: (message) => console.error(`jobqueue: warning: ${message}`),
  error: (message) => console.error(`jobqueue: error: ${message}`),
};

/** Checks what was given. */
export function settings(target: string | readonly string[], options: WorkerOptions): Settings {
  const targets = typeof target === "string" ? [target] : [...target];
  const name = options.name ?? `${hostname().slice(0, 100)}:${process.pid}`;
  const { queues = ["default"], concurrency = 8, sessionTtlMs, shutdownGraceMs = 30_000 } = options;
  check(targets.length > 0, "a worker needs the address of a server, for example '127.0.0.1:50051'");
  check(Array.isArray(queues), `queues is ${JSON.stringify(queues)}; it is a list, for example ["default"]`);
  check(queues.length > 0, 'queues is empty: name at least one, for example ["default"]');
  check(
    Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000,
    `concurrency is ${concurrency}; it is 1 to 10000`,
  );
  check(name.length >= 1 && name.length <= 128, `name has ${name.length} characters; it has 1 to 128`);
  check(
    sessionTtlMs === undefined || (sessionTtlMs >= 5000 && sessionTtlMs <= 3_600_000),
    `sessionTtlMs is ${sessionTtlMs}; it is 5 seconds to 1 hour`,
  );
  check(shutdownGraceMs >= 0, `shutdownGraceMs is ${shutdownGraceMs}; it must not be negative`);
  // Here and not at the first connect, which would try again and again.
  for (const each of targets) urlOf(each, options.tls !== undefined);
  nodeTls(options.tls);
  if (options.health !== undefined) hostAndPort(options.health);
  return {
    targets,
    // A stream belongs to no trace.
    access: { tls: options.tls, token: options.token, traces: false },
    traces: options.traces ?? tracesWanted(process.env),
    queues,
    concurrency,
    name,
    labels: options.labels ?? {},
    sessionTtlMs,
    shutdownGraceMs,
    stopWhenLost: options.stopWhenLost ?? false,
    logger: options.logger ?? STANDARD_ERROR,
    observer: options.observer,
    middleware: listed(options.middleware),
    encodings: options.encodings,
    paused: options.paused ?? false,
    syncKinds: options.syncKinds ?? false,
    health: options.health,
  };
}

function check(right: boolean, otherwise: string): void {
  if (!right) throw new RangeError(otherwise);
}
