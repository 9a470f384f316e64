/** Operations: changes of many jobs and backfills of schedules, which go on without the program that asked for them. */

import { create } from "@bufbuild/protobuf";
import { anyIs, anyUnpack } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import type { Client as Stub, Transport } from "@connectrpc/connect";

import type { Calling } from "./calling.js";
import type { Call } from "./calls.js";
import { now } from "./clock.js";
import { duration } from "./convert.js";
import { Operations } from "./gen/google/longrunning/operations_pb.js";
import type { Operation as Message } from "./gen/google/longrunning/operations_pb.js";
import { BulkMetadataSchema, BulkState as States } from "./gen/jobqueue/v1/bulk_pb.js";
import { BackfillMetadataSchema } from "./gen/jobqueue/v1/schedule_pb.js";
import { dateOf } from "./jobs.js";

// The longest that one call of WaitOperation waits; more is done by calling again.
const ONE_WAIT_MS = 30_000;

/** How an operation stands. `UNSPECIFIED`: something that this version does not know. */
export type BulkState = keyof typeof States;

/** A change of many jobs, or a backfill of a schedule. Of a backfill all that is counted is ticks, not jobs. */
export interface Operation {
  /** `operations/` and an id. Empty in a dry run. */
  readonly name: string;
  /** The method that made it, such as `RetryJobs` or `BackfillSchedule`. */
  readonly verb: string;
  readonly state: BulkState;
  /** Whether it goes on no more. */
  readonly done: boolean;
  /** Whether nothing is changed. */
  readonly dryRun: boolean;
  /** How many jobs were looked at. */
  readonly looked: number;
  /** How many jobs were changed. Of a backfill: how many ticks fired. */
  readonly changed: number;
  /**
   * How many jobs matched and were changed by another caller just before their turn. Of a backfill: how many ticks did not
   * fire.
   */
  readonly skipped: number;
  /** How many jobs matched when they were counted. */
  readonly estimate: number;
  /** Whether counting ended at its bound: more may match. */
  readonly estimateCapped: boolean;
  /** The limit that it was given. Undefined: none. */
  readonly perSecond: number | undefined;
  /** The limit that it was given, of jobs or of ticks. Undefined: none. */
  readonly maxJobs: number | undefined;
  /** The first jobs that matched, 20 at most. */
  readonly sampleIds: readonly string[];
  readonly createdAt: Date | undefined;
  /** When it last changed jobs, or was changed itself. */
  readonly updatedAt: Date | undefined;
  /** When it was done. */
  readonly endedAt: Date | undefined;
  /** Why it ended early. Empty: it did not. */
  readonly error: string;
  /** Of a backfill alone. Undefined: it is none. */
  readonly backfill: Backfill | undefined;
}

/** What an operation says of a backfill. */
export interface Backfill {
  /** The name of the schedule. */
  readonly schedule: string;
  /** The beginning of the span. */
  readonly startAt: Date | undefined;
  /** The end of the span. */
  readonly endAt: Date | undefined;
  /** The last tick that was decided. Undefined: none was yet. */
  readonly lastAt: Date | undefined;
}

/** How long to wait for an operation. */
export interface WaitOperationOptions {
  /** After so long the answer is the operation as it then is. Undefined: it is waited for as long as it takes. */
  timeoutMs?: number | undefined;
  /** Ends the wait: it then rejects with the signal's reason. The operation goes on. */
  signal?: AbortSignal | undefined;
}

/** The operation in an answer. */
export function operationOf(message: Message | undefined): Operation {
  if (!message) throw new TypeError("the server answered no operation");
  const { name, done, metadata, result } = message;
  const error = result.case === "error" ? result.value.message : "";
  const of = { name, done, error };
  if (metadata !== undefined && anyIs(metadata, BackfillMetadataSchema)) {
    const told = anyUnpack(metadata, BackfillMetadataSchema)!;
    const { schedule, startAt, endAt, lastAt } = told;
    return {
      ...of,
      ...counted(told),
      verb: "BackfillSchedule",
      dryRun: told.validateOnly,
      changed: Number(told.fired),
      maxJobs: Number(told.maxTicks) || undefined,
      sampleIds: [],
      backfill: { schedule, startAt: dateOf(startAt), endAt: dateOf(endAt), lastAt: dateOf(lastAt) },
    };
  }
  const told = (metadata && anyUnpack(metadata, BulkMetadataSchema)) ?? create(BulkMetadataSchema);
  return {
    ...of,
    ...counted(told),
    verb: told.verb,
    dryRun: told.dryRun,
    changed: Number(told.changed),
    maxJobs: Number(told.maxJobs) || undefined,
    sampleIds: told.sampleIds,
    backfill: undefined,
  };
}

/** What both sorts of metadata have. */
type Counted = Pick<
  NonNullable<ReturnType<typeof anyUnpack<typeof BulkMetadataSchema>>>,
  | "state"
  | "looked"
  | "skipped"
  | "estimate"
  | "estimateCapped"
  | "perSecond"
  | "createdAt"
  | "updatedAt"
  | "endedAt"
>;

function counted(told: Counted) {
  return {
    state: (States[told.state] as BulkState | undefined) ?? "UNSPECIFIED",
    looked: Number(told.looked),
    skipped: Number(told.skipped),
    estimate: Number(told.estimate),
    estimateCapped: told.estimateCapped,
    perSecond: told.perSecond || undefined,
    createdAt: dateOf(told.createdAt),
    updatedAt: dateOf(told.updatedAt),
    endedAt: dateOf(told.endedAt),
  };
}

/** The calls about operations. The methods of `Client` with these names say what they do. */
export class OperationCalls {
  readonly #stub: Stub<typeof Operations>;
  readonly #calling: Calling;
  readonly #deadlineMs: number;

  constructor(transport: Transport, calling: Calling, deadlineMs: number) {
    this.#stub = createClient(Operations, transport);
    this.#calling = calling;
    this.#deadlineMs = deadlineMs;
  }

  async get(name: string, options: Call): Promise<Operation> {
    return operationOf(await this.#calling(options, true, (call) => this.#stub.getOperation({ name }, call)));
  }

  async list(options: Call): Promise<Operation[]> {
    const found: Operation[] = [];
    let pageToken = "";
    do {
      // One may name 1000 jobs, and so have 40 KB.
      const request = { name: "operations", pageSize: 50, pageToken };
      const answer = await this.#calling(options, true, (call) => this.#stub.listOperations(request, call));
      found.push(...answer.operations.map(operationOf));
      pageToken = answer.nextPageToken;
    } while (pageToken);
    return found;
  }

  async wait(name: string, { timeoutMs = Infinity, signal }: WaitOperationOptions): Promise<Operation> {
    const ends = now() + timeoutMs;
    for (;;) {
      const waitMs = Math.min(Math.max(0, ends - now()), ONE_WAIT_MS);
      const request = { name, timeout: duration(waitMs, "timeoutMs") };
      // A server that restarts meanwhile costs a retry, not the wait.
      const answer = await this.#calling({ deadlineMs: waitMs + this.#deadlineMs, signal }, true, (call) =>
        this.#stub.waitOperation(request, call),
      );
      if (answer.done || now() >= ends) return operationOf(answer);
    }
  }

  async cancel(name: string, options: Call): Promise<void> {
    await this.#calling(options, true, (call) => this.#stub.cancelOperation({ name }, call));
  }

  async delete(name: string, options: Call): Promise<void> {
    // To delete one again is refused, and done.
    await this.#calling(options, false, (call) => this.#stub.deleteOperation({ name }, call));
  }
}
