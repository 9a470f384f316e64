/** What a worker does now: the value for callers, and the book in which the session writes it. */

import { now, timers, today } from "../clock.js";
import type { Logger } from "./options.js";

/** What a worker does at the moment. */
export type WorkerState =
  /** No server has welcomed it yet. */
  | "starting"
  | "serving"
  /** It has lost its stream and tries again; handlers run on. */
  | "reconnecting"
  /** It takes no more jobs, from a signal or `stop` on. */
  | "draining"
  /** `run` or `serve` has ended. */
  | "ended"
  /** The server refused it for what another try does not mend, such as its token. */
  | "refused";

/** What a worker does now, by its own clock: a copy. */
export interface WorkerStatus {
  readonly state: WorkerState;
  /** Name and version of the server of the newest stream. Empty: none yet. */
  readonly server: string;
  /** The number of the newest session. 0: none yet. */
  readonly session: number;
  /** When the state began. */
  readonly since: Date;
  /** When the newest frame of a server came. Undefined: none yet. */
  readonly lastHeard: Date | undefined;
  /** How many jobs it takes at most now: 0 while it is paused, and once it has ended. */
  readonly slots: number;
  /** How many handlers run. */
  readonly running: number;
  /** How many of these are of a session that is over. They take up slots. */
  readonly orphans: number;
  /** The kinds that have a handler, in order. */
  readonly kinds: readonly string[];
  /** Those of them that are not declared at the server: no job of them can be enqueued. */
  readonly unknownKinds: readonly string[];
  /** The newest reason why there was no stream, or with which the worker ended. Empty: none yet. */
  readonly lastError: string;
  /** How many calls of the observer were left out because it was too slow. */
  readonly observerDropped: number;
}

/** Slots, handlers that run, and those of them that are orphans. */
export type Counts = Pick<WorkerStatus, "slots" | "running" | "orphans">;

// Of a session that no Welcome has told its ttl yet.
const DEFAULT_TTL_MS = 30_000;
const TICK_MS = 5000;

/** The state of a worker, from its start to its end. */
export class StatusBook {
  /** How long the worker may be silent. */
  ttlMs = DEFAULT_TTL_MS;
  /** When the event loop was last seen to run. As of `now()`. */
  ticked = now();
  /** Whether the worker has ended with an error. */
  failed = false;
  counts: () => Counts;
  dropped: () => number = () => 0;
  /** Gets the status when state, server, session or unknown kinds have changed. */
  changed: ((status: WorkerStatus) => void) | undefined;

  readonly #kinds: readonly string[];
  readonly #logger: Logger;
  #state: WorkerState = "starting";
  #since = today();
  #server = "";
  #session = 0;
  #unknownKinds: readonly string[] = [];
  #lastError = "";
  #heardAt: number | undefined;
  #lostAt: number | undefined;
  #told = "";
  #ticking: NodeJS.Timeout | undefined;

  constructor(kinds: readonly string[], slots: number, logger: Logger) {
    this.#kinds = [...kinds].sort();
    this.#logger = logger;
    this.counts = () => ({ slots, running: 0, orphans: 0 });
    this.#told = this.#shown();
  }

  status(): WorkerStatus {
    return {
      state: this.#state,
      server: this.#server,
      session: this.#session,
      since: this.#since,
      lastHeard: this.#heardAt === undefined ? undefined : ago(now() - this.#heardAt),
      ...this.counts(),
      kinds: this.#kinds,
      unknownKinds: this.#unknownKinds,
      lastError: this.#lastError,
      observerDropped: this.dropped(),
    };
  }

  /** Whether the event loop ran within the ttl, 30 s at least, and no error has ended the worker. */
  get alive(): boolean {
    return !this.failed && now() - this.ticked <= Math.max(this.ttlMs, DEFAULT_TTL_MS);
  }

  /** Whether it serves, or lost its stream less than a ttl ago. */
  get ready(): boolean {
    if (this.#state === "reconnecting" && this.#lostAt !== undefined)
      return now() - this.#lostAt < this.ttlMs;
    return this.#state === "serving";
  }

  /** Sees from now on that the event loop runs; keeps no process alive. */
  tick(): void {
    this.ticked = now();
    this.#ticking ??= timers.setInterval(() => (this.ticked = now()), TICK_MS).unref();
  }

  /** A frame of the server came. */
  heard(): void {
    this.#heardAt = now();
  }

  /** There is a stream. Warns of kinds that are not declared, once for each set of them. */
  welcomed(server: string, session: number, ttlMs: number, unknownKinds: readonly string[]): void {
    this.ttlMs = ttlMs;
    this.#lostAt = undefined;
    this.#server = server;
    this.#session = session;
    this.heard();
    const before = this.#unknownKinds;
    this.#unknownKinds = [...unknownKinds].sort();
    if (this.#unknownKinds.length > 0 && this.#unknownKinds.join(" ") !== before.join(" ")) {
      this.#logger.warn(wordsOfUnknown(this.#unknownKinds));
    }
    this.#enter("serving");
  }

  /** There is no stream any more. */
  lost(why?: string): void {
    if (why !== undefined) this.#lastError = why;
    this.#lostAt ??= now();
    this.#enter("reconnecting");
  }

  /** There is no stream, for this reason; `refused`: for one that another try does not mend. */
  failing(why: string, refused: boolean): void {
    this.#lastError = why;
    if (refused) this.#enter("refused");
    else this.#enter(this.#lostAt === undefined ? this.#state : "reconnecting");
  }

  /** The worker takes no more jobs. */
  draining(): void {
    this.#enter("draining");
  }

  /** The worker serves no longer, without an error if none is given. One that was refused stays so. */
  ended(error?: Error): void {
    timers.clearInterval(this.#ticking);
    this.ticked = Infinity;
    const { running, orphans } = this.counts();
    this.counts = () => ({ slots: 0, running, orphans });
    if (error !== undefined) {
      this.failed = true;
      this.#lastError = `${error.name}: ${error.message}`;
    }
    if (error === undefined || this.#state !== "refused") this.#enter("ended");
  }

  #enter(state: WorkerState): void {
    // A drain goes on over another stream.
    if (this.#state !== state && (this.#state !== "draining" || state === "ended")) {
      this.#state = state;
      this.#since = today();
    }
    const shown = this.#shown();
    if (shown === this.#told) return;
    this.#told = shown;
    this.changed?.(this.status());
  }

  #shown(): string {
    return JSON.stringify([this.#state, this.#server, this.#session, this.#unknownKinds]);
  }
}

/** The status for JSON: names in snake_case, times as RFC 3339, null before there is one. */
export function statusJson(status: WorkerStatus): Record<string, unknown> {
  return {
    state: status.state,
    server: status.server,
    session: status.session,
    since: status.since.toISOString(),
    last_heard: status.lastHeard?.toISOString() ?? null,
    slots: status.slots,
    running: status.running,
    orphans: status.orphans,
    kinds: status.kinds,
    unknown_kinds: status.unknownKinds,
    last_error: status.lastError,
    observer_dropped: status.observerDropped,
  };
}

function ago(ms: number): Date {
  const date = today();
  date.setTime(date.getTime() - ms);
  return date;
}

function wordsOfUnknown(kinds: readonly string[]): string {
  const names = kinds.map((kind) => `"${kind}"`).join(", ");
  return kinds.length === 1
    ? `the server knows no kind ${names}: no job of it can be enqueued; ` +
        `declare it by syncKinds or PutKind (jobqueue kinds put ${kinds[0]})`
    : `the server knows no kinds ${names}: no job of them can be enqueued; ` +
        `declare each by syncKinds or PutKind (jobqueue kinds put ${kinds[0]})`;
}
