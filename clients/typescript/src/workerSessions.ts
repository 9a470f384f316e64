/** The workers of a service, and the calls about them. */

import { createClient } from "@connectrpc/connect";
import type { Client as Stub, Transport } from "@connectrpc/connect";

import type { Calling } from "./calling.js";
import type { Call } from "./calls.js";
import { Insight } from "./gen/jobqueue/v1/insight_pb.js";
import { Worker_State } from "./gen/jobqueue/v1/worker_pb.js";
import type * as pb from "./gen/jobqueue/v1/worker_pb.js";
import { dateOf } from "./jobs.js";

/** What a worker does, as servers see it. `STATE_UNSPECIFIED`: something that this version does not know. */
export type WorkerSessionState = keyof typeof Worker_State;

/** A job that a worker holds. */
export interface HeldJob {
  readonly jobId: string;
  readonly queue: string;
  readonly kind: string;
  readonly attempt: number;
  readonly since: Date | undefined;
  /** Undefined: it may run as long as it likes. */
  readonly deadlineAt: Date | undefined;
  readonly cancelRequested: boolean;
}

/** Since when and why a worker takes no more jobs. */
export interface WorkerDrain {
  readonly since: Date | undefined;
  /** Who asked for it. Empty: it is shutting down by itself. */
  readonly by: string;
  readonly reason: string;
}

/** A worker, as far as the caller may read what it takes. */
export interface WorkerSession {
  /** The number of its session. */
  readonly sessionId: string;
  /** Its name, which need not be unique. */
  readonly name: string;
  /** Its own labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** Its client library. */
  readonly client: string;
  /** The IP address from which it connected last. */
  readonly address: string;
  /** On whose behalf it works. */
  readonly principal: string;
  /** The server that has its stream. */
  readonly server: string;
  /** The kinds, by queue. */
  readonly takes: Readonly<Record<string, readonly string[]>>;
  /** How many slots it has. 0: none, or it makes calls and bounds nothing. */
  readonly slots: number;
  /** Of these, the free ones. */
  readonly freeSlots: number;
  /** How many jobs it holds. */
  readonly held: number;
  readonly state: WorkerSessionState;
  /** When its session was opened. */
  readonly openedAt: Date | undefined;
  /** When it was heard last. Undefined: it is heard. */
  readonly silentSince: Date | undefined;
  /** When its session ends if it is not heard before. Undefined: it is heard. */
  readonly endsAt: Date | undefined;
  /** Why it takes no more jobs. Undefined: it takes some. */
  readonly drain: WorkerDrain | undefined;
  /** What it holds. Of `getWorker` and `drainWorker` alone; empty in lists. */
  readonly jobs: readonly HeldJob[];
}

/** Which workers to list. What is given must all match. */
export interface ListWorkersOptions extends Call {
  /** Those that take jobs of it. */
  queue?: string | undefined;
  /** Those that take jobs of it. */
  kind?: string | undefined;
  /** Those whose name begins so. */
  name?: string | undefined;
  /** Those in this state, or one of these. */
  state?: WorkerSessionState | readonly WorkerSessionState[] | undefined;
}

/** The calls about workers. The methods of `Client` with these names say what they do. */
export class WorkerCalls {
  readonly #stub: Stub<typeof Insight>;
  readonly #calling: Calling;

  constructor(transport: Transport, calling: Calling) {
    this.#stub = createClient(Insight, transport);
    this.#calling = calling;
  }

  async list(options: ListWorkersOptions): Promise<WorkerSession[]> {
    const { queue = "", kind = "", name = "", state = [] } = options;
    const states = (typeof state === "string" ? [state] : state).map(stateNumber);
    const found: WorkerSession[] = [];
    let pageToken = "";
    do {
      const request = { pageSize: 1000, pageToken, queue, kind, name, state: states };
      const answer = await this.#calling(options, true, (call) => this.#stub.listWorkers(request, call));
      found.push(...answer.workers.map(sessionOf));
      pageToken = answer.nextPageToken;
    } while (pageToken);
    return found;
  }

  async get(sessionId: string, options: Call): Promise<WorkerSession> {
    const answer = await this.#calling(options, true, (call) => this.#stub.getWorker({ sessionId }, call));
    return sessionOf(answer.worker);
  }

  async drain(sessionId: string, reason: string, options: Call): Promise<WorkerSession> {
    const request = { sessionId, reason };
    const answer = await this.#calling(options, true, (call) => this.#stub.drainWorker(request, call));
    return sessionOf(answer.worker);
  }
}

/** The worker in an answer. */
function sessionOf(message: pb.Worker | undefined): WorkerSession {
  if (!message) throw new TypeError("the server answered no worker");
  const { sessionId, name, labels, client, address, principal, server, slots, freeSlots, held } = message;
  const { state, drain } = message;
  return {
    sessionId,
    name,
    labels,
    client,
    address,
    principal,
    server,
    takes: Object.fromEntries(message.takes.map(({ queue, kinds }) => [queue, kinds])),
    slots,
    freeSlots,
    held,
    state: (Worker_State[state] as WorkerSessionState | undefined) ?? "STATE_UNSPECIFIED",
    openedAt: dateOf(message.openedAt),
    silentSince: dateOf(message.silentSince),
    endsAt: dateOf(message.endsAt),
    drain: drain && { since: dateOf(drain.since), by: drain.by, reason: drain.reason },
    jobs: message.jobs.map(({ jobId, queue, kind, attempt, since, deadlineAt, cancelRequested }) => ({
      jobId,
      queue,
      kind,
      attempt,
      since: dateOf(since),
      deadlineAt: dateOf(deadlineAt),
      cancelRequested,
    })),
  };
}

function stateNumber(name: WorkerSessionState): Worker_State {
  const number: unknown = Worker_State[name];
  if (typeof number === "number") return number;
  throw new TypeError(`${String(name)} is no state of a worker; there are CONNECTED, DRAINING, SILENT`);
}
